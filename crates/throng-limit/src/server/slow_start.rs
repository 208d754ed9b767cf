//! The slow start after a pause: a few probes first, and then more with each that
//! the server takes in, so that waiting requests don't all leave at one instant. Pure.

/// Number of attempts that leave before the first of them is answered.
const PROBES: u64 = 2;
/// Number of accepted attempts after which the slow start is over.
const ENOUGH: u64 = 64;

/// The attempts that may leave before more is known.
#[derive(Debug, Default)]
pub struct SlowStart {
    /// Number of this slow start: attempts of an earlier one prove nothing.
    era: u64,
    /// None once the slow start is over.
    credits: Option<Credits>,
}

#[derive(Debug)]
struct Credits {
    left: u64,
    accepted: u64,
}

impl SlowStart {
    /// Begins a slow start.
    pub fn begin(&mut self) {
        self.era += 1;
        self.credits = Some(Credits { left: PROBES, accepted: 0 });
    }

    /// Whether one more attempt has to wait for an answer.
    pub fn holds_back(&self) -> bool {
        self.credits.as_ref().is_some_and(|c| c.left == 0)
    }

    /// Takes an attempt. Gives the era that it belongs to.
    pub fn take(&mut self) -> u64 {
        if let Some(credits) = &mut self.credits {
            credits.left = credits.left.saturating_sub(1);
        }
        self.era
    }

    /// The server took an attempt of that era in: two more may leave.
    pub fn accepted(&mut self, era: u64) {
        let Some(credits) = self.credits.as_mut().filter(|_| era == self.era) else {
            return;
        };
        credits.accepted += 1;
        credits.left += 1;
        if credits.accepted >= ENOUGH {
            self.credits = None;
        }
    }

    /// An attempt of that era is over, whatever came of it: another may take its place.
    pub fn finished(&mut self, era: u64) {
        if let Some(credits) = self.credits.as_mut().filter(|_| era == self.era) {
            credits.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_go_first_and_each_that_is_taken_in_lets_two_more_go() {
        let mut slow_start = SlowStart::default();
        let old = slow_start.take();
        slow_start.begin();
        slow_start.accepted(old);
        slow_start.finished(old);
        let mut bursts = Vec::new();
        for _ in 0..6 {
            let mut burst = Vec::new();
            while !slow_start.holds_back() && burst.len() < 500 {
                burst.push(slow_start.take());
            }
            for era in &burst {
                slow_start.accepted(*era);
                slow_start.finished(*era);
            }
            bursts.push(burst.len());
        }
        assert_eq!(bursts, [2, 4, 8, 16, 32, 64]);
        assert!(!slow_start.holds_back());
    }

    #[test]
    fn what_is_lost_makes_room_for_the_next() {
        let mut slow_start = SlowStart::default();
        slow_start.begin();
        for _ in 0..100 {
            assert!(!slow_start.holds_back());
            let era = slow_start.take();
            slow_start.finished(era);
        }
    }
}
