//! All limits of a run at once, and the pauses that the server asks for.
//! Pure: time and chance are arguments.

use std::time::Duration;

use super::time::Time;
use super::window::{When, Window, WindowState};

/// The first pause after a refusal that names none; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The limits, and until when the server wants to be left alone.
#[derive(Debug)]
pub struct Limits {
    windows: Vec<Window>,
    closed_until: Time,
    /// Refusals since the server last took an attempt in.
    refusals: u32,
}

/// The times at which one attempt's slots come back, one for each window that
/// has given one at sending.
pub type Releases = Vec<Option<Time>>;

impl Limits {
    /// These windows together; none of them means no limit.
    #[must_use]
    pub fn new(windows: Vec<Window>) -> Limits {
        Limits {
            windows,
            closed_until: Time::ZERO,
            refusals: 0,
        }
    }

    /// When all windows have `units` to give, and the gate is open.
    pub fn earliest(&mut self, now: Time, units: u64) -> When {
        let closed = if now < self.closed_until {
            When::At(self.closed_until)
        } else {
            When::Now
        };
        self.windows
            .iter_mut()
            .map(|window| window.earliest(now, units))
            .fold(closed, When::max)
    }

    /// Takes `units` from every window, or from none.
    pub fn take(&mut self, now: Time, units: u64) -> bool {
        let free = self.earliest(now, units) == When::Now;
        if free {
            for window in &mut self.windows {
                window.take(now, units);
            }
        }
        free
    }

    /// The attempt is being written.
    pub fn sent(&mut self, now: Time, units: u64) -> Releases {
        if !self.counts_sending() {
            return Releases::new();
        }
        self.windows
            .iter_mut()
            .map(|window| window.sent(now, units))
            .collect()
    }

    /// Whether any window's slots come back by when they were sent.
    #[must_use]
    pub fn counts_sending(&self) -> bool {
        self.windows.iter().any(Window::counts_sending)
    }

    /// The answer's head has been seen.
    pub fn answered(&mut self, now: Time, units: u64, releases: &Releases) {
        for (window, release) in pairs(&mut self.windows, releases) {
            window.answered(now, units, release);
        }
    }

    /// No answer came, or none that proves that the request arrived by now.
    pub fn lost(&mut self, now: Time, units: u64, releases: &Releases) {
        for (window, release) in pairs(&mut self.windows, releases) {
            window.lost(now, units, release);
        }
    }

    /// Nothing was sent.
    pub fn returned(&mut self, units: u64, releases: &Releases) {
        for (window, release) in pairs(&mut self.windows, releases) {
            window.returned(units, release);
        }
    }

    /// The server took an attempt in: what it refused before is over.
    pub fn accepted(&mut self) {
        self.refusals = 0;
    }

    /// How often the gate was closed since an attempt was last taken in.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// The server refused an attempt that was sent at `sent`: nobody sends for
    /// `pause`, or, if it named none, for a while that doubles with each refusal.
    /// `chance` (0 to 1) lengthens that by up to a quarter, so that several
    /// clients don't come back at once. Gives the time at which the gate opens.
    pub fn refused(&mut self, now: Time, sent: Time, pause: Option<Duration>, chance: f64) -> Time {
        // What was in flight when the gate closed tells nothing new.
        let news = sent >= self.closed_until;
        if news {
            self.refusals += 1;
            self.windows.iter_mut().for_each(Window::unexplained);
        }
        let unsaid = match news {
            true => doubled(self.refusals, chance),
            false => Duration::ZERO,
        };
        self.closed_until = self.closed_until.max(now.after(pause.unwrap_or(unsaid)));
        self.closed_until
    }

    /// Each window's own account.
    #[must_use]
    pub fn state(&self) -> Vec<WindowState> {
        self.windows.iter().map(Window::state).collect()
    }
}

/// The pause after this many refusals that named none.
fn doubled(refusals: u32, chance: f64) -> Duration {
    let pause = FIRST_PAUSE * 2u32.pow(refusals.saturating_sub(1).min(6));
    pause.min(LONGEST_PAUSE).mul_f64(1.0 + chance / 4.0)
}

/// Each window with its release, if the attempt had one.
fn pairs<'a>(
    windows: &'a mut [Window],
    releases: &'a Releases,
) -> impl Iterator<Item = (&'a mut Window, Option<Time>)> {
    let releases = releases.iter().copied().chain(std::iter::repeat(None));
    windows.iter_mut().zip(releases)
}

#[cfg(test)]
mod tests {
    use super::super::window::Guard;
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn limits(rates: &[&str]) -> Limits {
        let window = |rate: &&str| {
            Window::new(
                rate.parse().unwrap(),
                Guard::Strict,
                Duration::from_secs(30),
            )
        };
        Limits::new(rates.iter().map(window).collect())
    }

    #[test]
    fn takes_from_all_or_from_none() {
        let mut limits = limits(&["1/1s", "3/10s"]);
        let none = Releases::new();
        for start in [0, 2_000, 4_000] {
            assert!(limits.take(at(start), 1));
            assert!(!limits.take(at(start), 1), "the first limit is used up");
            limits.answered(at(start), 1, &none);
        }
        let opens = at(10_000).after(Duration::from_micros(6_000));
        assert_eq!(limits.earliest(at(6_000), 1), When::At(opens));
    }

    #[test]
    fn a_refusal_closes_the_gate_for_as_long_as_it_says() {
        let mut limits = limits(&[]);
        assert!(limits.take(at(0), 1));
        limits.refused(at(100), at(0), Some(Duration::from_secs(7)), 0.0);
        limits.refused(at(200), at(0), Some(Duration::from_secs(2)), 0.0);
        assert_eq!(limits.earliest(at(300), 1), When::At(at(7_100)));
        assert_eq!(limits.earliest(at(7_100), 1), When::Now);
    }

    #[test]
    fn refusals_without_a_pause_double_it_until_one_is_accepted() {
        let mut limits = limits(&[]);
        let mut opens = at(0);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let again = limits.refused(opens, opens, None, 0.0);
            assert_eq!(again.since(opens), Duration::from_secs(seconds));
            // an older attempt's refusal adds nothing
            assert_eq!(limits.refused(opens, Time::ZERO, None, 0.0), again);
            opens = again;
        }
        limits.accepted();
        let again = limits.refused(opens, opens, None, 1.0);
        assert_eq!(again.since(opens), Duration::from_millis(1_250));
    }
}
