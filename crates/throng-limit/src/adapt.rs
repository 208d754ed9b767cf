//! The controller that learns from refusals which our own count cannot explain. Pure.
//!
//! A refusal is explained if it answers a request that was in flight when the server had
//! already asked for a pause. Any other one shows that the server allows less than the job
//! says, counts in another way, or counts what others sent; which of these, it doesn't say.
//!
//! **The rule.** An unexplained refusal takes one unit off the limit, or as many as leave
//! what the server has taken in within a period, unless those are fewer than half, and
//! spreads the requests over the period. After 3 periods in which the limit was used up it
//! is tried again: requests are no longer spread and one unit comes back, after each 2 more
//! such periods two units, four, eight, up to all. A refusal during these steps, or within
//! 32 periods after the last one, undoes the last step, and the next try comes after 32
//! periods; then after 64, 128 and so on, until as many have passed without a refusal.
//! Refusals that go on before a try take one more unit, then two, four, eight, or as many as
//! leave what the server has taken in, also fewer than half; the try comes after 16 periods
//! then. Under the guards `acked` and `sent` each refusal but that of a step also doubles
//! the margin, for good; the first three are taken for its fault: they spread nothing, and
//! take one unit each; at the fourth, `acked` gives itself up, and the limit begins anew under
//! `strict`. Under `sent`, fewer than half are believed from the sixth on, by half at a time.
//!
//! So one refusal that another client of the account caused costs a few periods, a limit
//! that is too large is refused about log2(n) times in n periods, and a limit of which
//! others use a part is soon down to the rest.

use std::time::Duration;

use crate::time::Time;

/// Used-up periods for which the first refusal in a long time is believed.
const FIRST_BELIEF: u32 = 3;
/// Used-up periods for which a further one is believed at least.
const FURTHER_BELIEF: u32 = 16;
/// Used-up periods for which the refusal of a try is believed at least, and after which
/// refusals are forgotten.
const TRIED_BELIEF: u32 = 32;
/// Number of refusals before a try each of which takes one unit.
const GENTLE: u32 = 2;
/// Number of refusals more for which that holds where a margin has to grow; by all of them,
/// fewer than half of the limit are not believed there.
const GENTLE_MARGIN: u32 = 3;
/// Used-up periods that show that a step was right: all that was sent since has been
/// counted together by then.
const STEP: u32 = 2;
/// The margin from which on refusals spread requests, in first margins: before, the
/// refusal is taken for the fault of the margin.
const SPREAD_FROM: u32 = 8;

/// What is concluded from refusals.
#[derive(Debug)]
pub struct Controller {
    period: Duration,
    /// Units that the job says.
    declared: u64,
    /// Units that the job or the server says; more are never used.
    ceiling: u64,
    /// Units that are used.
    units: u64,
    /// Units when the last unexplained refusal came.
    refused_from: u64,
    /// Whether requests are spread.
    is_spread: bool,
    margin: Option<Margin>,
    /// Used-up periods for which the last refusal is believed; 0 if there was none.
    belief: u32,
    /// Used-up periods until the next step.
    left: u32,
    /// Refusals before a try.
    refusals: u32,
    /// Size of the last step, in units.
    step: u64,
    /// Units before the last step, as long as that may still be refused.
    tried_from: Option<u64>,
    /// Whether the limit was used up in this period: otherwise it shows nothing that
    /// nothing is refused.
    is_used_up: bool,
    period_ends: Time,
}

/// A margin that grows with refusals, and is never taken back.
#[derive(Debug, Clone, Copy)]
struct Margin {
    first: Duration,
    now: Duration,
    longest: Duration,
}

impl Controller {
    /// The declared limit, of which nothing is doubted yet.
    #[must_use]
    pub fn new(units: u64, period: Duration) -> Controller {
        Controller {
            period,
            declared: units,
            ceiling: units,
            units,
            refused_from: units,
            is_spread: false,
            margin: None,
            belief: 0,
            left: 0,
            refusals: 0,
            step: 1,
            tried_from: None,
            is_used_up: false,
            period_ends: Time::ZERO,
        }
    }

    /// Gives the controller a margin that begins with `first`.
    #[must_use]
    pub fn with_margin(self, first: Duration, longest: Duration) -> Controller {
        let margin = Some(Margin { first, now: first, longest });
        Controller { margin, ..self }
    }

    /// Units that are used in a period.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Units that the job or the server says; more are never used.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// Units that the server has named, if those are not what the job says.
    #[must_use]
    pub fn named(&self) -> Option<u64> {
        (self.ceiling != self.declared).then_some(self.ceiling)
    }

    /// Units that are used, if that was learnt.
    #[must_use]
    pub fn learnt(&self) -> Option<u64> {
        (self.units != self.declared).then_some(self.units)
    }

    /// Whether requests are to be spread over the period.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// The time by which the server may count later than is known; zero without a margin.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.margin.map_or(Duration::ZERO, |margin| margin.now)
    }

    /// Whether refusals have gone on while the margin grew: they have another reason.
    #[must_use]
    pub fn is_margin_large(&self) -> bool {
        self.margin.is_some_and(Margin::is_large)
    }

    /// Forgets what refusals have taught: the limit that was declared or named holds again,
    /// without a margin.
    pub fn begin_anew(&mut self) {
        let anew = Controller::new(self.ceiling, self.period);
        *self = Controller { declared: self.declared, ..anew };
    }

    /// The server says that the limit is `amount` units from now on.
    pub fn allow(&mut self, amount: u64) {
        if amount > self.ceiling {
            self.units = amount;
        }
        self.units = self.units.min(amount);
        self.ceiling = amount;
        self.refused_from = self.units;
    }

    /// A request has to wait for the limit.
    pub fn used_up(&mut self) {
        self.is_used_up = true;
    }

    /// The server took a request in. Gives whether the conclusions change.
    pub fn accepted(&mut self, now: Time) -> bool {
        if !self.is_used_up || now < self.period_ends {
            return false;
        }
        self.begin(now);
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.relax();
        true
    }

    /// The server refused a request, which our own count cannot explain. Gives by how many
    /// units less than before it is thought to take.
    pub fn refused(&mut self, now: Time) -> u64 {
        let is_spread = self.margin.is_none_or(Margin::is_large);
        let less = match self.tried_from.take() {
            Some(units) => {
                self.units = units.min(self.ceiling);
                self.belief = self.belief.saturating_mul(2).max(TRIED_BELIEF);
                0
            }
            None => self.doubt(),
        };
        self.refused_from = self.units;
        self.is_spread = is_spread;
        self.left = self.belief;
        self.begin(now);
        less
    }

    /// A refusal that comes before anything is tried.
    fn doubt(&mut self) -> u64 {
        if let Some(margin) = &mut self.margin {
            margin.now = (margin.now * 2).min(margin.longest);
        }
        self.belief = if self.belief == 0 { FIRST_BELIEF } else { self.belief.max(FURTHER_BELIEF) };
        self.refusals += 1;
        1 << self.refusals.saturating_sub(self.gentle()).min(32)
    }

    fn gentle(&self) -> u32 {
        GENTLE + self.margin.map_or(0, |_| GENTLE_MARGIN)
    }

    /// The server took in no more than so many units in a period, by the last refusal.
    /// Fewer than half of the limit are not believed at the first refusal, which may have
    /// another reason; at the next one the requests were spread, and it has none.
    pub fn limit_to(&mut self, units: u64) {
        // A refused try has been undone.
        if self.refusals == 0 {
            return;
        }
        let half = self.ceiling.div_ceil(2);
        self.units = if self.margin.is_some() && self.refusals > self.gentle() {
            units.clamp(self.refused_from.div_ceil(2), self.refused_from)
        } else if self.margin.is_none() && self.refusals > 1 {
            units.clamp(1, self.refused_from)
        } else if units < half {
            self.refused_from
        } else {
            units.min(self.refused_from)
        };
    }

    /// The next step back to the whole limit, or towards forgetting.
    fn relax(&mut self) {
        self.refusals = 0;
        if self.is_whole() {
            self.tried_from = None;
            self.belief /= 2;
            if self.belief < TRIED_BELIEF {
                self.belief = 0;
            }
            self.left = self.belief;
            return;
        }
        self.step = match self.tried_from {
            Some(_) => self.step.saturating_mul(2),
            None => 1,
        };
        self.tried_from = Some(self.units);
        self.units = self.units.saturating_add(self.step).min(self.ceiling);
        self.is_spread = false;
        self.left = if self.is_whole() { self.belief.max(TRIED_BELIEF) } else { STEP };
    }

    fn is_whole(&self) -> bool {
        self.units == self.ceiling && !self.is_spread
    }

    fn begin(&mut self, now: Time) {
        self.period_ends = now.after(self.period);
        self.is_used_up = false;
    }
}

impl Margin {
    fn is_large(self) -> bool {
        self.now >= (self.first * SPREAD_FROM).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        at_millis(seconds * 1_000)
    }

    fn at_millis(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// A limit of twenty in a second.
    fn controller() -> Controller {
        Controller::new(20, Duration::from_secs(1))
    }

    /// The server refuses one, and takes in so many by that.
    fn refuse(controller: &mut Controller, now: Time, takes: u64) {
        controller.refused(now);
        controller.limit_to(takes);
    }

    /// In which second of a run that uses all how many units are used from then on.
    fn changes(controller: &mut Controller, seconds: std::ops::Range<u64>) -> Vec<(u64, u64)> {
        let mut changes = Vec::new();
        for second in seconds {
            let before = controller.units();
            controller.used_up();
            controller.accepted(at(second));
            let units = controller.units();
            changes.extend((units != before).then_some((second, units)));
        }
        changes
    }

    #[test]
    fn the_limit_comes_back_in_steps_that_grow() {
        let mut controller = controller();
        refuse(&mut controller, at(0), 10);
        assert!(controller.is_spread());
        let steps = changes(&mut controller, 0..30);
        assert_eq!(steps, [(3, 11), (5, 13), (7, 17), (9, 20)]);
        assert!(!controller.is_spread());
    }

    #[test]
    fn a_try_that_is_refused_is_undone_and_the_next_comes_later_and_later() {
        let mut controller = controller();
        let mut now = 0;
        for periods in [3, 32, 64, 128] {
            refuse(&mut controller, at(now), 19);
            // Others that were in flight are refused, too.
            controller.limit_to(19);
            assert_eq!((controller.units(), controller.is_spread()), (19, true));
            let tried = changes(&mut controller, now..now + periods + 2);
            assert_eq!(tried, [(now + periods, 20)]);
            now += periods + 2;
        }
    }

    #[test]
    fn only_the_step_that_is_refused_is_undone() {
        let mut controller = controller();
        refuse(&mut controller, at(0), 10);
        changes(&mut controller, 0..8);
        refuse(&mut controller, at(8), 15);
        assert_eq!(controller.units(), 13);
    }

    #[test]
    fn after_many_periods_without_a_refusal_the_next_is_the_first() {
        let mut controller = controller();
        refuse(&mut controller, at(0), 19);
        changes(&mut controller, 0..30);
        refuse(&mut controller, at(30), 19);
        assert_eq!(changes(&mut controller, 30..90), [(62, 20)]);
        changes(&mut controller, 90..130);
        refuse(&mut controller, at(130), 19);
        assert_eq!(changes(&mut controller, 130..140), [(133, 20)]);
    }

    #[test]
    fn refusals_that_go_on_take_ever_more_away() {
        let mut controller = controller();
        let less: Vec<u64> = (0..6).map(|second| controller.refused(at(second))).collect();
        assert_eq!(less, [1, 1, 2, 4, 8, 16]);
        assert_eq!(changes(&mut controller, 6..100), []);
        refuse(&mut controller, at(100), 12);
        assert_eq!(controller.units(), 12);
    }

    #[test]
    fn fewer_than_half_are_believed_only_if_refusals_go_on() {
        let mut controller = controller();
        // Two are taken in; more, as long as others are in flight.
        for (second, units) in [(0, 20), (1, 2), (2, 2)] {
            refuse(&mut controller, at(second), 12);
            controller.limit_to(2);
            assert_eq!(controller.units(), units);
        }
    }

    #[test]
    fn under_a_margin_fewer_than_half_are_believed_later_and_by_half_at_a_time() {
        let millis = Duration::from_millis;
        let mut controller = controller().with_margin(millis(20), millis(1_000));
        for second in 0..5 {
            refuse(&mut controller, at(second), 2);
            assert_eq!(controller.units(), 20);
        }
        for units in [10, 5, 3, 2, 2] {
            refuse(&mut controller, at(6), 2);
            assert_eq!(controller.units(), units);
        }
    }

    #[test]
    fn where_nobody_waits_nothing_is_tried() {
        let mut controller = controller();
        refuse(&mut controller, at(0), 19);
        for second in 0..100 {
            assert!(!controller.accepted(at(second)));
        }
    }

    #[test]
    fn a_margin_grows_before_anything_is_spread_and_not_for_a_try() {
        let millis = Duration::from_millis;
        let mut controller = controller().with_margin(millis(20), millis(1_000));
        for (second, margin) in [(0, 40), (1, 80), (2, 160)] {
            assert_eq!(controller.refused(at(second)), 1);
            assert_eq!(controller.margin(), millis(margin));
            assert!(!controller.is_spread());
        }
        controller.refused(at(3));
        assert!(controller.is_spread());
        controller.limit_to(19);
        changes(&mut controller, 3..24);
        assert_eq!((controller.units(), controller.is_spread()), (20, false));
        controller.refused(at(24));
        assert_eq!(controller.margin(), millis(320));
    }

    #[test]
    fn no_more_comes_back_than_the_server_says() {
        let mut controller = controller();
        refuse(&mut controller, at(0), 10);
        controller.allow(12);
        assert_eq!(changes(&mut controller, 0..30).last(), Some(&(5, 12)));
        controller.allow(8);
        assert_eq!(controller.units(), 8);
        controller.allow(30);
        assert_eq!((controller.units(), controller.learnt()), (30, Some(30)));
    }
}
