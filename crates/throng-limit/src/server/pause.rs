//! The pause after a refusal: until when no request is sent. Pure.

use std::time::Duration;

use crate::time::Time;

/// The first pause after a refusal that names none; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum time by which a pause that the server names is lengthened.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Until when no request is sent, and the refusals in a row.
#[derive(Debug, Default)]
pub struct Pause {
    until: Time,
    /// Refusals since the server last took a request in.
    refusals: u32,
}

impl Pause {
    /// The end of the pause, which may have passed.
    #[must_use]
    pub fn until(&self) -> Time {
        self.until
    }

    /// The number of refusals in a row.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Whether the pause is over, and the server has taken a request in since.
    #[must_use]
    pub fn is_forgotten(&self, now: Time) -> bool {
        self.refusals == 0 && now >= self.until
    }

    /// Whether a refusal of a request that was sent at `sent` is explained: the server had
    /// asked for a pause already.
    #[must_use]
    pub fn explains(&self, sent: Time) -> bool {
        sent < self.until
    }

    /// The server refused a request that was sent at `sent`. The pause lasts for `named`,
    /// or, if the server names none, for a time that doubles with each refusal. `chance`
    /// (0 to 1) lengthens that by up to a quarter, so that several clients don't come back
    /// at once. Gives whether the refusal is not explained.
    pub fn refused(&mut self, now: Time, sent: Time, named: Option<Duration>, chance: f64) -> bool {
        let is_news = !self.explains(sent);
        self.refusals += u32::from(is_news);
        let unnamed = if is_news { self.doubled(chance) } else { Duration::ZERO };
        let pause = named.map_or(unnamed, |pause| pause + delay(pause, chance));
        self.until = self.until.max(now.after(pause));
        is_news
    }

    /// The pause for a refusal of a request with other keys.
    pub fn begin(&mut self, now: Time, named: Option<Duration>, chance: f64) {
        let pause = named.unwrap_or(FIRST);
        self.until = self.until.max(now.after(pause + delay(pause, chance)));
    }

    /// The server took a request in.
    pub fn accepted(&mut self) {
        self.refusals = 0;
    }

    /// The pause after this many refusals that named none.
    fn doubled(&self, chance: f64) -> Duration {
        let pause = FIRST * 2u32.pow(self.refusals.saturating_sub(1).min(6));
        pause.min(LONGEST).mul_f64(1.0 + chance / 4.0)
    }
}

/// How much later than told requests are sent: never sooner, and never much.
fn delay(pause: Duration, chance: f64) -> Duration {
    (pause / 20).min(LONGEST_DELAY).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn refusals_without_a_pause_double_it_until_one_is_accepted() {
        let mut pause = Pause::default();
        let (mut sent, mut opens) = (at(0), at(0));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(pause.refused(opens, sent, None, 0.0));
            assert_eq!(pause.until().since(opens), Duration::from_secs(seconds));
            // An older request's refusal adds nothing.
            assert!(!pause.refused(opens, Time::ZERO, None, 0.0));
            opens = pause.until();
            sent = opens;
        }
        pause.accepted();
        assert!(pause.refused(opens, sent, None, 1.0));
        assert_eq!(pause.until().since(opens), Duration::from_millis(1_250));
    }
}
