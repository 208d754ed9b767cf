//! The units that the server says are left, until its window ends. Pure.
//!
//! A server's count is older than the answer that tells it: it may leave out the attempts
//! in flight. So an attempt remembers how many units had been answered when it was taken.
//! The units that were taken since, and are not its own, may or may not be in the count,
//! and are taken to be left out. So each count is a lower bound of what is left, and the
//! newest is the best. It can only ever hold back: declared limits hold beside it.

use smallvec::SmallVec;

use crate::time::Time;

/// The units that are left by the server's count, by kind of unit.
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
    /// The mark of so many answered units.
    pub(crate) fn of(units: PerUnit) -> AnsweredMark {
        AnsweredMark(units)
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
const SAME: std::time::Duration = std::time::Duration::from_millis(1_500);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn one(_: usize) -> u64 {
        1
    }

    #[test]
    fn holds_back_until_the_window_ends() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 2, at(10), at(0));
        server.take(one, 1);
        assert_eq!(server.closed_until(&one), None);
        server.take(one, 1);
        assert_eq!(server.closed_until(&one), Some(at(10)));
        assert!(!server.expire(at(9)));
        assert!(server.expire(at(10)), "it held an attempt back");
        assert_eq!(server.closed_until(&one), None);
    }

    #[test]
    fn what_is_in_flight_may_not_be_counted_yet() {
        let mut server = RemainingByUnit::default();
        let marks: Vec<AnsweredMark> = (0..4).map(|_| server.take(one, 1)).collect();
        // Three more are in flight: if the server has not seen them, none is left.
        server.update(Some(0), 1, &marks[3], 3, at(10), at(0));
        assert_eq!(server.closed_until(&one), Some(at(10)));
        // A later attempt, sent when all had been answered, knows better.
        for _ in 0..4 {
            server.end(one, 1);
        }
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 3, at(10), at(1));
        for _ in 0..3 {
            assert_eq!(server.closed_until(&one), None);
            server.take(one, 1);
        }
        assert_eq!(server.closed_until(&one), Some(at(10)));
    }

    #[test]
    fn windows_are_told_apart_by_their_ends() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(Some(0), 1, &mark, 0, at(10), at(0));
        server.update(Some(0), 1, &mark, 5, at(3_600), at(0));
        assert_eq!(server.closed_until(&one), Some(at(10)));
        server.expire(at(10));
        assert_eq!(server.closed_until(&one), None);
    }

    #[test]
    fn a_unit_that_nobody_counts_closes_it_when_nothing_is_left() {
        let mut server = RemainingByUnit::default();
        let mark = server.take(one, 1);
        server.update(None, 1, &mark, 0, at(10), at(0));
        assert_eq!(server.closed_until(&one), Some(at(10)));
    }
}
