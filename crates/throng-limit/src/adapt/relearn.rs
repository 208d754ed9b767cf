//! For how long it is believed what a refusal taught that our own count can't explain.
//! Pure.
//!
//! Either the server takes less than the job says, which lasts; or others used a part of
//! it, which passes. Nobody tells which, so after some periods without a refusal a
//! little of what was learnt is forgotten, and then more. If that is refused again,
//! twice as many periods must pass before the next try: in n periods, a limit that is
//! too large is refused for this reason about log2(n) times, and no more.

use std::time::Duration;

use crate::time::Time;

/// So many periods it is believed at first.
const BELIEVED: u32 = 16;
/// So many periods show that a step was right: what was sent since has all been counted
/// together by then.
const STEP: u32 = 2;

/// How long to wait until something is forgotten, and how much of it.
#[derive(Debug)]
pub struct RelearnBackoff {
    period: Duration,
    periods: u32,
    until: Time,
    /// The next step; each is twice as large as the one before.
    step: u64,
    /// Whether what was forgotten may still be refused.
    tries: bool,
    /// Whether anybody had to wait for the limit: otherwise it shows nothing that nothing
    /// is refused.
    binds: bool,
}

impl RelearnBackoff {
    /// In periods of this length.
    #[must_use]
    pub fn new(period: Duration) -> RelearnBackoff {
        RelearnBackoff {
            period,
            periods: BELIEVED,
            until: Time::ZERO,
            step: 1,
            tries: false,
            binds: false,
        }
    }

    /// The server refused what it should have taken. Gives whether it is what was
    /// forgotten that shows by that.
    pub fn refused(&mut self, now: Time) -> bool {
        let tried = std::mem::take(&mut self.tries);
        if tried {
            self.periods = self.periods.saturating_mul(2);
        }
        self.step = 1;
        self.wait(now, self.periods);
        tried
    }

    /// Somebody has to wait for the limit.
    pub fn bind(&mut self) {
        self.binds = true;
    }

    /// The server takes something in. Gives how much is forgotten by that, of as many
    /// steps as are learnt.
    pub fn ease(&mut self, now: Time, learnt: u64) -> u64 {
        if !self.binds || now < self.until {
            return 0;
        }
        let step = self.step.min(learnt);
        let is_last = step == learnt;
        if learnt > 0 {
            self.tries = true;
            self.step = self.step.saturating_mul(2);
        } else if std::mem::take(&mut self.tries) {
            // It has held without as long as with it: the next refusal is another story.
            self.periods = (self.periods / 2).max(BELIEVED);
        }
        self.wait(now, if is_last { self.periods } else { STEP });
        step
    }

    fn wait(&mut self, now: Time, periods: u32) {
        self.until = now.after(self.period.saturating_mul(periods));
        self.binds = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// In which second how much is forgotten of what was learnt.
    fn forgets(
        patience: &mut RelearnBackoff,
        mut learnt: u64,
        seconds: std::ops::Range<u64>,
    ) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        for second in seconds {
            patience.bind();
            let step = patience.ease(at(second), learnt);
            learnt -= step;
            steps.extend((step > 0).then_some((second, step)));
        }
        steps
    }

    fn patience() -> RelearnBackoff {
        RelearnBackoff::new(Duration::from_secs(1))
    }

    #[test]
    fn what_was_learnt_is_forgotten_in_steps_that_grow() {
        let mut patience = patience();
        patience.refused(at(10));
        let steps = forgets(&mut patience, 10, 10..100);
        assert_eq!(steps, [(26, 1), (28, 2), (30, 4), (32, 3)]);
    }

    #[test]
    fn what_is_refused_again_is_believed_for_twice_as_long() {
        let mut patience = patience();
        let mut now = 0;
        for periods in [16, 32, 64, 128] {
            patience.refused(at(now));
            // Others that were in flight are refused, too, and teach nothing new.
            patience.refused(at(now));
            let steps = forgets(&mut patience, 1, now..now + periods + 1);
            assert_eq!(steps, [(now + periods, 1)]);
            now += periods + 1;
        }
    }

    #[test]
    fn a_refusal_long_after_all_was_forgotten_is_another_story() {
        let mut patience = patience();
        patience.refused(at(0));
        assert_eq!(forgets(&mut patience, 1, 0..17), [(16, 1)]);
        patience.refused(at(17));
        assert_eq!(forgets(&mut patience, 1, 17..50), [(49, 1)]);
        assert_eq!(forgets(&mut patience, 0, 50..120), []);
        patience.refused(at(120));
        assert_eq!(forgets(&mut patience, 1, 120..140), [(136, 1)]);
    }

    #[test]
    fn where_nobody_waits_nothing_is_tried() {
        let mut patience = patience();
        patience.refused(at(0));
        assert_eq!(patience.ease(at(1_000), 1), 0);
        patience.bind();
        assert_eq!(patience.ease(at(1_000), 1), 1);
    }
}
