//! The beginning after a pause: a few probes first, and then more with each that
//! is taken in, so that those who waited don't all come back at one instant. Pure.

/// So many go out before the first of them is answered.
const PROBES: u64 = 2;
/// After so many have been taken in there is no more to be careful about.
const ENOUGH: u64 = 64;

/// How many may be taken before more is known.
#[derive(Debug, Default)]
pub struct SlowStart {
    /// Which beginning this is: attempts of an earlier one prove nothing.
    era: u64,
    /// None once it is over.
    credits: Option<Credits>,
}

#[derive(Debug)]
struct Credits {
    left: u64,
    accepted: u64,
}

impl SlowStart {
    /// Begins (again).
    pub fn begin(&mut self) {
        self.era += 1;
        self.credits = Some(Credits {
            left: PROBES,
            accepted: 0,
        });
    }

    /// Whether one more has to wait for an answer.
    pub fn holds_back(&self) -> bool {
        self.credits.as_ref().is_some_and(|c| c.left == 0)
    }

    /// One is taken. Gives the era that it belongs to.
    pub fn take(&mut self) -> u64 {
        if let Some(credits) = &mut self.credits {
            credits.left = credits.left.saturating_sub(1);
        }
        self.era
    }

    /// One of that era was taken in by the server: two more may go.
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

    /// One of that era is over, whatever came of it: another may take its place.
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
        let mut restart = SlowStart::default();
        let old = restart.take();
        restart.begin();
        restart.accepted(old);
        restart.finished(old);
        let mut bursts = Vec::new();
        for _ in 0..6 {
            let mut burst = Vec::new();
            while !restart.holds_back() && burst.len() < 500 {
                burst.push(restart.take());
            }
            for era in &burst {
                restart.accepted(*era);
                restart.finished(*era);
            }
            bursts.push(burst.len());
        }
        assert_eq!(bursts, [2, 4, 8, 16, 32, 64]);
        assert!(!restart.holds_back());
    }

    #[test]
    fn what_is_lost_makes_room_for_the_next() {
        let mut restart = SlowStart::default();
        restart.begin();
        for _ in 0..100 {
            assert!(!restart.holds_back());
            let era = restart.take();
            restart.finished(era);
        }
    }
}
