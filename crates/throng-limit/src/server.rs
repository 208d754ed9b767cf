//! What the server says of its limits: the pauses that it asks for, the units that are left by
//! its own count, and the slow start after either. Pure.

use std::time::Duration;

use smallvec::SmallVec;

use crate::time::Time;

/// The first pause after a refusal that names none; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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
        let pause = named.unwrap_or(FIRST_PAUSE);
        self.until = self.until.max(now.after(pause + delay(pause, chance)));
    }

    /// The server took a request in.
    pub fn accepted(&mut self) {
        self.refusals = 0;
    }

    /// The pause after this many refusals that named none.
    fn doubled(&self, chance: f64) -> Duration {
        let pause = FIRST_PAUSE * 2u32.pow(self.refusals.saturating_sub(1).min(6));
        pause.min(LONGEST_PAUSE).mul_f64(1.0 + chance / 4.0)
    }
}

/// How much later than told requests are sent: never sooner, and never much.
fn delay(pause: Duration, chance: f64) -> Duration {
    (pause / 20).min(LONGEST_DELAY).mul_f64(chance.clamp(0.0, 1.0))
}

/// The units that are left by the server's count, by kind of unit.
///
/// A server's count is older than the answer that tells it: it may leave out the attempts
/// in flight. So an attempt remembers how many units had been answered when it was taken.
/// The units that were taken since, and are not its own, may or may not be in the count,
/// and are taken to be left out. So each count is a lower bound of what is left, and the
/// newest is the best. It can only ever hold back: declared limits hold beside it.
#[derive(Debug, Default)]
pub struct RemainingByUnit {
    left: Vec<Remaining>,
    taken: PerUnit,
    ended: PerUnit,
}

pub(crate) type PerUnit = SmallVec<[u64; 2]>;

/// The units that had been answered when an attempt was taken, by kind of unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnsweredMark(PerUnit);

impl AnsweredMark {
    /// The mark of an attempt that was taken when this many requests had been answered.
    pub(crate) fn of_requests(requests: u64) -> AnsweredMark {
        AnsweredMark(PerUnit::from_slice(&[requests]))
    }
}

#[derive(Debug)]
struct Remaining {
    /// An index into the policy's units; none for a unit that no limit counts.
    unit: Option<usize>,
    left: u64,
    until: Time,
    /// Whether it has held an attempt back.
    binds: bool,
}

/// Resets that differ by less than this part of the time until then are of one window.
const SAME_PART: u32 = 20;
/// Resets that differ by less than this time are of one window.
const SAME: Duration = Duration::from_millis(1_500);

impl RemainingByUnit {
    /// Until when an attempt of so many units of each kind has to wait, if it has to.
    pub fn closed_until(&mut self, units: &dyn Fn(usize) -> u64) -> Option<Time> {
        let lacking = |allowance: &&mut Remaining| allowance.unit.map_or(1, units) > allowance.left;
        let lacking = self.left.iter_mut().filter(lacking);
        lacking
            .map(|allowance| {
                allowance.binds = true;
                allowance.until
            })
            .max()
    }

    /// Forgets the windows that have ended. Gives whether one of them held an attempt
    /// back: then nothing is known of the window that follows.
    pub fn expire(&mut self, now: Time) -> bool {
        let ended = |allowance: &Remaining| allowance.until <= now;
        let bound = self.left.iter().any(|a| ended(a) && a.binds);
        self.left.retain(|allowance| !ended(allowance));
        bound
    }

    /// Whether no count of the server still holds.
    pub fn is_silent(&self, now: Time) -> bool {
        self.left.iter().all(|allowance| allowance.until <= now)
    }

    /// Counts requests that were taken, and have ended, before any count was needed.
    pub fn count_in(&mut self, taken: u64, ended: u64) {
        add(&mut self.taken, &|_| taken, 1);
        add(&mut self.ended, &|_| ended, 1);
    }

    /// Takes so many units of each kind.
    pub fn take(&mut self, units: impl Fn(usize) -> u64, kinds: usize) -> AnsweredMark {
        add(&mut self.taken, &units, kinds);
        for allowance in &mut self.left {
            if let Some(unit) = allowance.unit {
                allowance.left = allowance.left.saturating_sub(units(unit));
            }
        }
        AnsweredMark(PerUnit::from_slice(&self.ended))
    }

    /// Counts these units of each kind as answered, or given up.
    pub fn end(&mut self, units: impl Fn(usize) -> u64, kinds: usize) {
        add(&mut self.ended, &units, kinds);
    }

    /// The server's count: `remaining` units are left until `until`, by the answer to an
    /// attempt that was taken at `mark`, and took `own` units.
    pub fn update(
        &mut self,
        unit: Option<usize>,
        own: u64,
        mark: &AnsweredMark,
        remaining: u64,
        until: Time,
        now: Time,
    ) {
        let at = |units: &PerUnit, unit: usize| units.get(unit).copied().unwrap_or_default();
        let unsure = unit.map_or(0, |unit| {
            let since = at(&self.taken, unit).saturating_sub(at(&mark.0, unit));
            since.saturating_sub(own)
        });
        let left = remaining.saturating_sub(unsure);
        let near = SAME.max(until.since(now) / SAME_PART);
        let same = |a: &&mut Remaining| {
            a.unit == unit && a.until.since(until).max(until.since(a.until)) <= near
        };
        match self.left.iter_mut().find(same) {
            Some(known) => {
                known.left = left;
                known.until = known.until.max(until);
            }
            None => self.left.push(Remaining { unit, left, until, binds: false }),
        }
    }
}

fn add(to: &mut PerUnit, units: &impl Fn(usize) -> u64, kinds: usize) {
    if to.len() < kinds {
        to.resize(kinds, 0);
    }
    for (unit, sum) in to.iter_mut().enumerate().take(kinds) {
        *sum += units(unit);
    }
}

/// Number of attempts that leave before the first of them is answered.
const PROBES: u64 = 2;
/// Number of accepted attempts after which the slow start is over.
const ENOUGH: u64 = 64;

/// The slow start after a pause: a few probes leave first, and then two more with each that
/// the server accepts, so that the attempts that wait don't all leave at one instant.
///
/// Where the server is thought to take no more than a number, no more than the probes go beyond
/// it, until the server has accepted more than that.
#[derive(Debug, Default)]
pub struct SlowStart {
    /// Number of this slow start: attempts of an earlier one prove nothing.
    era: u64,
    /// None once the slow start is over.
    credits: Option<Credits>,
}

#[derive(Debug, Default)]
struct Credits {
    left: u64,
    accepted: u64,
    /// Attempts that have left.
    taken: u64,
    /// Attempts that are over.
    finished: u64,
    /// The number that the server is thought to take.
    expected: Option<u64>,
}

impl SlowStart {
    /// Begins a slow start.
    pub fn begin(&mut self) {
        self.era += 1;
        self.credits = Some(Credits { left: PROBES, ..Credits::default() });
    }

    /// The server is thought to take this number of attempts.
    pub fn expect(&mut self, attempts: u64) {
        if let Some(credits) = &mut self.credits {
            credits.expected = Some(attempts);
        }
    }

    /// Whether it is over, or never began.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.credits.is_none()
    }

    /// Whether one more attempt has to wait for an answer.
    pub fn holds_back(&self) -> bool {
        self.credits.as_ref().is_some_and(|it| it.left == 0 || it.is_at_limit())
    }

    /// Takes an attempt. Gives the era that it belongs to.
    pub fn take(&mut self) -> u64 {
        if let Some(credits) = &mut self.credits {
            credits.left = credits.left.saturating_sub(1);
            credits.taken += 1;
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
        if credits.accepted >= ENOUGH && credits.is_limit_disproved() {
            self.credits = None;
        }
    }

    /// An attempt of that era is over, whatever came of it: another may take its place.
    pub fn finished(&mut self, era: u64) {
        if let Some(credits) = self.credits.as_mut().filter(|_| era == self.era) {
            credits.left += 1;
            credits.finished += 1;
        }
    }
}

impl Credits {
    /// Whether the server has accepted more than it is thought to take.
    fn is_limit_disproved(&self) -> bool {
        self.expected.is_none_or(|expected| self.accepted > expected)
    }

    /// Whether another attempt would be more than the probes beyond that. Where none is in
    /// flight, lost ones were counted among them.
    fn is_at_limit(&self) -> bool {
        let most = self.expected.map_or(u64::MAX, |expected| expected.saturating_add(PROBES));
        self.taken >= most && self.taken > self.finished && !self.is_limit_disproved()
    }
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

    fn one(_: usize) -> u64 {
        1
    }

    #[test]
    fn holds_back_until_the_window_ends() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 2, at(10_000), at(0_000));
        server.take(one, 1);
        assert_eq!(server.closed_until(&one), None);
        server.take(one, 1);
        assert_eq!(server.closed_until(&one), Some(at(10_000)));
        assert!(!server.expire(at(9_000)));
        assert!(server.expire(at(10_000)), "it held an attempt back");
        assert_eq!(server.closed_until(&one), None);
    }

    #[test]
    fn what_is_in_flight_may_not_be_counted_yet() {
        let mut server = RemainingByUnit::default();
        let marks: Vec<AnsweredMark> = (0..4).map(|_| server.take(one, 1)).collect();
        // Three more are in flight: if the server has not seen them, none is left.
        server.update(Some(0), 1, &marks[3], 3, at(10_000), at(0_000));
        assert_eq!(server.closed_until(&one), Some(at(10_000)));
        // A later attempt, sent when all had been answered, knows better.
        for _ in 0..4 {
            server.end(one, 1);
        }
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 3, at(10_000), at(1_000));
        for _ in 0..3 {
            assert_eq!(server.closed_until(&one), None);
            server.take(one, 1);
        }
        assert_eq!(server.closed_until(&one), Some(at(10_000)));
    }

    #[test]
    fn windows_are_told_apart_by_their_ends() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 0, at(10_000), at(0_000));
        server.update(Some(0), 1, &mark, 5, at(3_600_000), at(0_000));
        assert_eq!(server.closed_until(&one), Some(at(10_000)));
        server.expire(at(10_000));
        assert_eq!(server.closed_until(&one), None);
    }

    #[test]
    fn a_unit_that_nobody_counts_closes_it_when_nothing_is_left() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(None, 1, &mark, 0, at(10_000), at(0_000));
        assert_eq!(server.closed_until(&one), Some(at(10_000)));
    }

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

    /// The attempts that leave at once, of which the server accepts some.
    fn burst(slow_start: &mut SlowStart, accepted: usize) -> usize {
        let mut burst = Vec::new();
        while !slow_start.holds_back() && burst.len() < 500 {
            burst.push(slow_start.take());
        }
        burst.iter().take(accepted).for_each(|era| slow_start.accepted(*era));
        burst.iter().for_each(|era| slow_start.finished(*era));
        burst.len()
    }

    #[test]
    fn two_probes_go_beyond_what_the_server_is_thought_to_take() {
        for expected in [20, 100] {
            let mut slow_start = SlowStart::default();
            slow_start.begin();
            slow_start.expect(expected);
            let (mut sent, mut bursts) = (0, Vec::new());
            while sent < expected as usize + 2 {
                bursts.push(burst(&mut slow_start, 500));
                sent += bursts[bursts.len() - 1];
            }
            assert_eq!(sent, expected as usize + 2, "{bursts:?}");
            // More than that were accepted.
            assert!(burst(&mut slow_start, 500) > 20);
        }
    }

    #[test]
    fn lost_attempts_hold_nothing_back_for_long() {
        let mut slow_start = SlowStart::default();
        slow_start.begin();
        slow_start.expect(3);
        let bursts = [0, 1, 2, 1, 1, 1].map(|accepted| burst(&mut slow_start, accepted));
        assert_eq!(bursts, [2, 2, 1, 1, 1, 6]);
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
