//! N slots, and when each comes back: the arithmetic that windows share; and the queue of units
//! by time under it, which observed rates, worst cases and buckets share, too. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limiter::{Availability, Reservation, UnitsState};
use crate::time::Time;
use crate::window::estimated::{Estimate, Estimated};

/// Number of slots up to which times are exact.
const EXACT: u64 = 4_096;
/// Entries for one period where times are rounded.
const ENTRIES: u32 = 2_048;
/// Entries for the time for which lost attempts may still arrive.
const LATE_ENTRIES: u32 = 1_024;
/// Entries for the same time where only the number of lost attempts matters.
const LINGERING_ENTRIES: u32 = 64;

/// N slots. Each is free, in flight, or counted until a time that is known.
#[derive(Debug)]
pub struct Slots {
    units: u64,
    period: Duration,
    in_flight: u64,
    /// Units by the time at which they come back.
    counted: Timeline,
    /// Units of lost attempts, by the latest time of their arrival.
    late: Timeline,
    peak: u64,
    estimated: Estimated,
}

impl Slots {
    /// Slots that are all free. Where they are many, times are rounded up by a small part
    /// of `period`.
    #[must_use]
    pub fn new(units: u64, period: Duration) -> Slots {
        let mut slots = Slots {
            units,
            period,
            in_flight: 0,
            counted: Timeline::default(),
            late: Timeline::default(),
            peak: 0,
            estimated: Estimated::default(),
        };
        slots.resize(units);
        slots
    }

    /// When so many are free, if none is given back before its time.
    pub fn earliest(&mut self, now: Time, units: u64) -> Availability {
        self.release(now);
        if units > self.units {
            return Availability::Never;
        }
        let missing = (self.used() + units).saturating_sub(self.units);
        if missing == 0 {
            return Availability::Now;
        }
        match self.counted.time_of(missing) {
            Some(time) => Availability::At(time),
            None => Availability::AfterAnAnswer,
        }
    }

    /// Puts so many in flight.
    pub fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.release(now);
        self.in_flight += units;
        self.peak = self.peak.max(self.used());
        self.estimated.taken(now, units);
        Reservation::new(units)
    }

    /// When so many are free by an estimate of the units that are counted, by which a unit counts
    /// for no more once it is answered than in flight.
    pub fn earliest_by(&mut self, now: Time, units: u64, by: &impl Estimate) -> Availability {
        if units > self.units {
            return Availability::Never;
        }
        let Some(most) = self.units.checked_sub(self.in_flight + units) else {
            return Availability::AfterAnAnswer;
        };
        self.release(now);
        let counted = self.counted.entries.make_contiguous();
        self.estimated.earliest(now, units, most, counted, by)
    }

    /// Units that were in flight may hold up others less from this time on.
    pub fn relieved_at(&mut self, time: Time) {
        self.estimated.relieved_at(time);
    }

    /// Counts the units of an attempt until this time.
    pub fn count_until(&mut self, until: Time, hold: &mut Reservation) {
        if hold.place != UnitsState::InFlight {
            self.estimated = Estimated::default();
        }
        self.leave(hold);
        hold.place = UnitsState::Until(self.counted.add(until, hold.units));
    }

    /// Counts the units of an attempt that may still arrive for as long as `linger`, up to
    /// `latest`.
    pub fn count_late(
        &mut self,
        until: Time,
        latest: Time,
        linger: Duration,
        hold: &mut Reservation,
    ) {
        self.late.add_within(latest, linger / LINGERING_ENTRIES, hold.units);
        let until = if self.is_exact() {
            until
        } else {
            // Later than others by the resolution, lest a reset take it for one that has
            // arrived.
            until.round_up(linger / LATE_ENTRIES).after(self.resolution())
        };
        self.count_until(until, hold);
    }

    /// Frees the units of an attempt at once.
    pub fn give_back(&mut self, hold: &mut Reservation) {
        self.estimated = Estimated::default();
        self.leave(hold);
    }

    fn leave(&mut self, hold: &mut Reservation) {
        match hold.place {
            UnitsState::InFlight => self.in_flight -= hold.units,
            UnitsState::Until(time) => self.counted.remove(time, hold.units),
            UnitsState::Free => {}
        }
        hold.place = UnitsState::Free;
    }

    /// The attempt holds more or fewer units from now on. More may be a debt, which is
    /// paid before anything else is taken.
    pub fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64) {
        self.release(now);
        let until = hold.place;
        self.give_back(hold);
        hold.units = units;
        match until {
            UnitsState::InFlight => self.in_flight += units,
            UnitsState::Until(time) if time > now => self.counted.put(time, units),
            _ => {}
        }
        hold.place = until;
        self.peak = self.peak.max(self.used());
    }

    /// Number of slots.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Changes the number of slots. More may be taken: that is a debt.
    pub fn resize(&mut self, units: u64) {
        self.units = units;
        self.estimated = Estimated::default();
        self.counted.set_resolution(self.resolution());
    }

    /// Units that are counted until later than `until`, but not than `latest`, are
    /// counted until `until`.
    pub fn release_by(&mut self, now: Time, until: Time, latest: Time) {
        self.release(now);
        self.estimated = Estimated::default();
        self.counted.move_up(latest, until);
    }

    /// All units are counted until later than they were, or as long. Attempts that
    /// remember the earlier time count twice if their cost turns out to differ.
    pub fn postpone(&mut self, later: impl Fn(Time) -> Time) {
        self.estimated = Estimated::default();
        self.counted.map(later);
    }

    /// Units in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Units by the time until which they count, in the order of that.
    pub fn counted(&mut self, now: Time) -> &[(Time, u64)] {
        self.release(now);
        self.counted.entries.make_contiguous()
    }

    /// Number of slots that are not free.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.in_flight + self.counted.units()
    }

    /// Whether all are free.
    pub fn is_idle(&mut self, now: Time) -> bool {
        self.release(now);
        self.used() == 0
    }

    /// The most slots that were not free at any time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Thousandths of the slots that lost attempts hold, which may still arrive.
    #[must_use]
    pub fn lingering(&self) -> u16 {
        thousandths(self.late.units(), self.units)
    }

    fn is_exact(&self) -> bool {
        self.units <= EXACT
    }

    fn resolution(&self) -> Duration {
        if self.is_exact() { Duration::ZERO } else { self.period / ENTRIES }
    }

    fn release(&mut self, now: Time) {
        self.counted.forget(now, Duration::ZERO);
        self.late.forget(now, Duration::ZERO);
    }

    /// Number of times that it remembers.
    pub fn entries(&self) -> usize {
        self.counted.entries() + self.late.entries()
    }
}

/// The part of `all` units, in thousandths.
#[must_use]
pub fn thousandths(part: u64, all: u64) -> u16 {
    let thousandths = u128::from(part.min(all)) * 1_000 / u128::from(all.max(1));
    u16::try_from(thousandths).unwrap_or(1_000)
}

/// Units by time.
///
/// Entries are in the order of their times, and units of one time share an entry. Where
/// there would be too many entries, times are rounded up to a resolution, so that memory
/// stays bounded; rounding is only ever towards later, which is towards waiting.
#[derive(Debug, Default)]
pub struct Timeline {
    entries: VecDeque<(Time, u64)>,
    units: u64,
    /// Number of entries from which on times are rounded.
    exact: usize,
    resolution: Duration,
}

impl Timeline {
    /// A timeline that rounds times up to multiples of `resolution` while it has `exact`
    /// entries or more.
    #[must_use]
    pub fn new(exact: usize, resolution: Duration) -> Timeline {
        Timeline { exact, resolution, ..Timeline::default() }
    }

    /// The resolution of what is added from now on.
    pub fn set_resolution(&mut self, resolution: Duration) {
        self.resolution = resolution;
    }

    /// Units of all times.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// The earliest time.
    #[must_use]
    pub fn first(&self) -> Option<Time> {
        self.entries.front().map(|(time, _)| *time)
    }

    /// The earliest time up to which there are so many units.
    #[must_use]
    pub fn time_of(&self, mut units: u64) -> Option<Time> {
        for &(time, here) in &self.entries {
            units = units.saturating_sub(here);
            if units == 0 {
                return Some(time);
            }
        }
        None
    }

    /// Adds units, and gives the time at which they are noted.
    pub fn add(&mut self, time: Time, units: u64) -> Time {
        self.add_within(time, self.resolution, units)
    }

    /// Adds units under a resolution of their own.
    pub fn add_within(&mut self, time: Time, resolution: Duration, units: u64) -> Time {
        let is_exact = self.entries.len() < self.exact;
        let time = if is_exact { time } else { time.round_up(resolution) };
        self.put(time, units);
        time
    }

    /// Adds units at exactly this time.
    pub fn put(&mut self, time: Time, units: u64) {
        if units == 0 {
            return;
        }
        self.units += units;
        match self.entries.back_mut() {
            Some((last, sum)) if *last == time => *sum += units,
            Some((last, _)) if *last > time => self.insert_between(time, units),
            _ => self.entries.push_back((time, units)),
        }
    }

    fn insert_between(&mut self, time: Time, units: u64) {
        let index = self.entries.partition_point(|(there, _)| *there < time);
        match self.entries.get_mut(index) {
            Some((there, sum)) if *there == time => *sum += units,
            _ => self.entries.insert(index, (time, units)),
        }
    }

    /// Removes units that are noted at this time, as far as they are still there.
    pub fn remove(&mut self, time: Time, units: u64) {
        let index = self.entries.partition_point(|(there, _)| *there < time);
        if self.entries.get(index).is_some_and(|(there, _)| *there == time) {
            self.subtract(index, units);
        }
    }

    /// The units of the last time up to `time` are `after` instead of `before`; units of
    /// others at that time are never taken for them.
    pub fn settle(&mut self, time: Time, before: u64, after: u64) {
        let later = self.entries.partition_point(|(there, _)| *there <= time);
        if let Some(index) = later.checked_sub(1) {
            let more = after.saturating_sub(before);
            self.units += more;
            self.entries[index].1 += more;
            self.subtract(index, before.saturating_sub(after));
        }
    }

    fn subtract(&mut self, index: usize, units: u64) {
        let (_, sum) = &mut self.entries[index];
        let units = units.min(*sum);
        *sum -= units;
        self.units -= units;
        if *sum == 0 {
            self.entries.remove(index);
        }
    }

    /// Removes the units whose time is at least `age` ago.
    pub fn forget(&mut self, now: Time, age: Duration) {
        while let Some(&(time, units)) = self.entries.front() {
            if time.after(age) > now {
                break;
            }
            self.units -= units;
            self.entries.pop_front();
        }
    }

    /// Removes the units of the earliest time and gives them, if that time has come.
    pub fn pop(&mut self, now: Time) -> Option<(Time, u64)> {
        let (time, units) = self.entries.front().copied().filter(|(time, _)| *time <= now)?;
        self.units -= units;
        self.entries.pop_front();
        Some((time, units))
    }

    /// Moves the units that are noted later than `to`, but not than `latest`, to `to`.
    pub fn move_up(&mut self, latest: Time, to: Time) {
        let (to, rounded) = (to.round_up(self.resolution), latest.round_up(self.resolution));
        let first = self.entries.partition_point(|(time, _)| *time <= to);
        let end = self.entries.partition_point(|(time, _)| *time <= latest);
        // Units that were noted under another resolution are later than they seem.
        let is_last = self.entries.get(end).is_some_and(|(time, _)| *time == rounded);
        let end = (end + usize::from(is_last)).max(first);
        let units = self.entries.drain(first..end).map(|(_, units)| units).sum();
        self.units -= units;
        self.put(to, units);
    }

    /// Notes all units at other times.
    pub fn map(&mut self, time: impl Fn(Time) -> Time) {
        self.units = 0;
        for (there, units) in std::mem::take(&mut self.entries) {
            self.put(time(there), units);
        }
    }

    /// Number of times that it remembers.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn slots_come_back_when_their_time_comes() {
        let mut slots = Slots::new(2, Duration::from_secs(1));
        let mut first = slots.take(at(0), 1);
        let mut second = slots.take(at(0), 1);
        assert_eq!(slots.earliest(at(1), 1), Availability::AfterAnAnswer);
        slots.count_until(at(900), &mut second);
        slots.count_until(at(500), &mut first);
        assert_eq!(slots.earliest(at(1), 1), Availability::At(at(500)));
        assert_eq!(slots.earliest(at(1), 2), Availability::At(at(900)));
        assert_eq!(slots.earliest(at(500), 1), Availability::Now);
        assert_eq!(slots.earliest(at(1), 3), Availability::Never);
        slots.give_back(&mut second);
        assert!(slots.is_idle(at(500)));
        assert_eq!(slots.peak(), 2);
    }

    #[test]
    fn a_debt_is_paid_first_and_a_refund_is_free_at_once() {
        let mut slots = Slots::new(10, Duration::from_secs(1));
        let mut hold = slots.take(at(0), 4);
        slots.count_until(at(1_000), &mut hold);
        slots.settle(at(1), &mut hold, 15);
        assert_eq!(slots.used(), 15);
        assert_eq!(slots.earliest(at(1), 1), Availability::At(at(1_000)));
        slots.settle(at(2), &mut hold, 3);
        assert_eq!(slots.earliest(at(2), 7), Availability::Now);
        slots.settle(at(1_500), &mut hold, 9);
        assert!(slots.is_idle(at(1_500)), "its time has come already");
    }

    #[test]
    fn many_slots_keep_few_entries() {
        let day = Duration::from_secs(86_400);
        let mut slots = Slots::new(10_000_000, day);
        for i in 0..1_000_000u64 {
            let now = at(i * 86);
            let mut hold = slots.take(now, 1);
            slots.count_until(now.after(day), &mut hold);
        }
        assert!(slots.entries() <= 2_049, "{}", slots.entries());
        assert_eq!(slots.used(), 1_000_000);
    }

    #[test]
    fn what_costs_nothing_is_not_remembered() {
        let mut slots = Slots::new(10, Duration::from_secs(1));
        for i in 0..100 {
            let mut hold = slots.take(at(i), 1);
            slots.count_until(at(1_000 + i), &mut hold);
            slots.settle(at(i), &mut hold, 0);
        }
        assert_eq!((slots.used(), slots.entries()), (0, 0));
    }

    #[test]
    fn they_may_become_many_later() {
        let day = Duration::from_secs(86_400);
        let mut slots = Slots::new(100, day);
        let mut first = slots.take(at(7), 1);
        slots.count_until(at(7).after(day), &mut first);
        slots.resize(10_000_000);
        for i in 0..100_000 {
            let now = at(8 + i * 864);
            let mut hold = slots.take(now, 1);
            slots.count_until(now.after(day), &mut hold);
        }
        slots.give_back(&mut first);
        assert_eq!(slots.used(), 100_000);
        assert!(slots.entries() <= 2_049, "{}", slots.entries());
    }

    #[test]
    fn a_reset_frees_nothing_that_may_still_arrive_however_many_there_are() {
        let (hour, linger) = (Duration::from_secs(3_600), Duration::from_millis(100));
        for units in [10, 10_000] {
            for i in 0..2_000 {
                let now = at(i);
                let mut slots = Slots::new(units, hour);
                let [mut answered, mut lost] = [0; 2].map(|_| slots.take(now, 1));
                slots.count_until(now.after(hour), &mut answered);
                let latest = now.after(linger);
                slots.count_late(latest.after(hour), latest, linger, &mut lost);
                slots.release_by(now, at(5_000), now.after(hour));
                assert_eq!(slots.earliest(at(9_000), units - 1), Availability::Now, "{i}");
                assert_ne!(slots.earliest(at(9_000), units), Availability::Now, "{i}");
            }
        }
    }

    /// Random operations on a timeline and on a map, which must agree.
    #[test]
    fn it_keeps_what_a_map_keeps() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut timeline = Timeline::default();
            let mut map = BTreeMap::<Time, u64>::new();
            for now in 0..200 {
                let time = at(now + random.random_range(0..20));
                let units = random.random_range(0..4);
                match random.random_range(0..5) {
                    0 => {
                        timeline.remove(time, units);
                        if let Some(sum) = map.get_mut(&time) {
                            *sum = sum.saturating_sub(units);
                        }
                    }
                    1 => {
                        timeline.move_up(time, at(now + 5));
                        let moved: Vec<Time> = map.range(..=time).map(|(time, _)| *time).collect();
                        for time in moved.into_iter().filter(|time| *time > at(now + 5)) {
                            let units = map.remove(&time).unwrap_or_default();
                            *map.entry(at(now + 5)).or_default() += units;
                        }
                    }
                    _ => {
                        assert_eq!(timeline.add(time, units), time);
                        *map.entry(time).or_default() += units;
                    }
                }
                timeline.forget(at(now), Duration::from_millis(3));
                map.retain(|time, units| {
                    *units > 0 && time.after(Duration::from_millis(3)) > at(now)
                });
                let kept: Vec<(Time, u64)> =
                    map.iter().map(|(time, units)| (*time, *units)).collect();
                assert_eq!(Vec::from(timeline.entries.clone()), kept, "seed {seed}");
                assert_eq!(timeline.units(), map.values().sum::<u64>());
            }
        }
    }

    #[test]
    fn beyond_its_exact_entries_times_are_rounded_up() {
        let mut timeline = Timeline::new(2, Duration::from_millis(10));
        let noted: Vec<Time> = [1, 2, 3, 14].map(|time| timeline.add(at(time), 1)).into();
        assert_eq!(noted, [1, 2, 10, 20].map(at));
        assert_eq!(timeline.time_of(3), Some(at(10)));
        assert_eq!(timeline.time_of(5), None);
        assert_eq!(timeline.pop(at(0)), None);
        assert_eq!(timeline.pop(at(1)), Some((at(1), 1)));
    }
}
