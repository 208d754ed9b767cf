//! Units by time: the queue under slots, observed rates and worst cases. Pure.
//!
//! Entries are in the order of their times, and units of one time share an entry. Where
//! there would be too many entries, times are rounded up to a resolution, so that memory
//! stays bounded; rounding is only ever towards later, which is towards waiting.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// Units by time.
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

    /// Removes one unit of the earliest time; false if there is none.
    pub fn remove_first(&mut self) -> bool {
        let has_any = !self.entries.is_empty();
        if has_any {
            self.subtract(0, 1);
        }
        has_any
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
