//! What the server said is left, until its window ends. Pure.
//!
//! A server's count is older than the answer that tells it: it may not hold
//! what is in flight. So an attempt remembers how much had been answered when
//! it was taken; what was taken since, and is not its own, may or may not be in
//! the count, and is taken to be left out. A reading so becomes a lower bound
//! of what is left, and the newest is the best. It can only ever hold back:
//! limits that are declared hold beside it.

use smallvec::SmallVec;

use crate::time::Time;

/// What is left by the server's count, by unit; and what is needed to say so.
#[derive(Debug, Default)]
pub struct RemainingByUnit {
    left: Vec<Remaining>,
    taken: PerUnit,
    ended: PerUnit,
}

pub(crate) type PerUnit = SmallVec<[u64; 2]>;

/// What had been answered when an attempt was taken, by unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnsweredMark(PerUnit);

impl AnsweredMark {
    /// These units had been answered.
    pub(crate) fn of(units: PerUnit) -> AnsweredMark {
        AnsweredMark(units)
    }
}

#[derive(Debug)]
struct Remaining {
    /// An index into the policy's units; none for one that nobody here counts.
    unit: Option<usize>,
    left: u64,
    until: Time,
    /// Whether it has held anybody back.
    binds: bool,
}

/// Resets of one window are not told more exactly than this, in parts of the
/// time until then, and in nanoseconds.
const SAME_PART: u32 = 20;
const SAME: std::time::Duration = std::time::Duration::from_millis(1_500);

impl RemainingByUnit {
    /// Until when something is held back, if so many units of each kind are asked.
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

    /// Forgets what has ended. Gives whether one of them held anybody back:
    /// then nothing is known of the window that follows.
    pub fn expire(&mut self, now: Time) -> bool {
        let ended = |allowance: &Remaining| allowance.until <= now;
        let bound = self.left.iter().any(|a| ended(a) && a.binds);
        self.left.retain(|allowance| !ended(allowance));
        bound
    }

    /// Whether nothing that was said still holds.
    pub fn is_silent(&self, now: Time) -> bool {
        self.left.iter().all(|allowance| allowance.until <= now)
    }

    /// So many requests were taken, and so many of them have ended, of which nothing
    /// was said here.
    pub fn count_in(&mut self, taken: u64, ended: u64) {
        add(&mut self.taken, &|_| taken, 1);
        add(&mut self.ended, &|_| ended, 1);
    }

    /// So many units of each kind are taken.
    pub fn take(&mut self, units: impl Fn(usize) -> u64, kinds: usize) -> AnsweredMark {
        add(&mut self.taken, &units, kinds);
        for allowance in &mut self.left {
            if let Some(unit) = allowance.unit {
                allowance.left = allowance.left.saturating_sub(units(unit));
            }
        }
        AnsweredMark(PerUnit::from_slice(&self.ended))
    }

    /// The same are answered, or given up.
    pub fn end(&mut self, units: impl Fn(usize) -> u64, kinds: usize) {
        add(&mut self.ended, &units, kinds);
    }

    /// The server's count: `remaining` are left until `until`, as an answer says
    /// to an attempt of so many units that was taken at `mark`.
    pub fn hear(
        &mut self,
        unit: Option<usize>,
        (own, mark): (u64, &AnsweredMark),
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
            None => self.left.push(Remaining {
                unit,
                left,
                until,
                binds: false,
            }),
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
        let mut said = RemainingByUnit::default();
        let mark = said.take(one, 1);
        said.hear(Some(0), (1, &mark), 2, at(10), at(0));
        said.take(one, 1);
        assert_eq!(said.closed_until(&one), None);
        said.take(one, 1);
        assert_eq!(said.closed_until(&one), Some(at(10)));
        assert!(!said.expire(at(9)));
        assert!(said.expire(at(10)), "it held somebody back");
        assert_eq!(said.closed_until(&one), None);
    }

    #[test]
    fn what_is_in_flight_may_not_be_counted_yet() {
        let mut said = RemainingByUnit::default();
        let marks: Vec<AnsweredMark> = (0..4).map(|_| said.take(one, 1)).collect();
        // Three more are in flight: if the server has not seen them, none is left.
        said.hear(Some(0), (1, &marks[3]), 3, at(10), at(0));
        assert_eq!(said.closed_until(&one), Some(at(10)));
        // A later attempt, sent when all had been answered, knows better.
        for _ in 0..4 {
            said.end(one, 1);
        }
        let mark = said.take(one, 1);
        said.hear(Some(0), (1, &mark), 3, at(10), at(1));
        for _ in 0..3 {
            assert_eq!(said.closed_until(&one), None);
            said.take(one, 1);
        }
        assert_eq!(said.closed_until(&one), Some(at(10)));
    }

    #[test]
    fn windows_are_told_apart_by_their_ends() {
        let mut said = RemainingByUnit::default();
        let mark = said.take(one, 1);
        said.hear(Some(0), (1, &mark), 0, at(10), at(0));
        said.hear(Some(0), (1, &mark), 5, at(3_600), at(0));
        assert_eq!(said.closed_until(&one), Some(at(10)));
        said.expire(at(10));
        assert_eq!(said.closed_until(&one), None);
    }

    #[test]
    fn a_unit_that_nobody_counts_closes_it_when_nothing_is_left() {
        let mut said = RemainingByUnit::default();
        let mark = said.take(one, 1);
        said.hear(None, (1, &mark), 0, at(10), at(0));
        assert_eq!(said.closed_until(&one), Some(at(10)));
    }
}
