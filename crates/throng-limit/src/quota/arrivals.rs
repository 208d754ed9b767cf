//! The units of a limit that have arrived, by the latest time at which each can have. Pure.
//!
//! Times are those of [`clocks`](crate::quota::clocks).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quota::clocks::{ClockSnapshot, line, micros, off_line, on_line, signed};
use crate::quota::terms::{Lifetime, Quota};
use crate::quota::units_by_time;
use crate::time::Time;
use crate::window::two_windows::TwoWindows;

/// How long units are remembered that count no more.
pub const PAST: Duration = Duration::from_secs(600);
/// The precision of the times of units that count no more.
const PAST_RESOLUTION: Duration = Duration::from_secs(5);

/// The units of a limit that have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The precision of times of arrival.
    #[serde(default)]
    resolution: u64,
    /// Units that have arrived, by their latest time of arrival.
    #[serde(with = "units_by_time")]
    arrived: Vec<(u64, u64)>,
    /// When all that has been poured into a bucket will have leaked.
    #[serde(default, skip_serializing_if = "is_zero")]
    empty: u64,
    /// Units that count no more here, by their time of arrival, for limits with longer
    /// periods that a run may state later.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "units_by_time")]
    past: Vec<(u64, u64)>,
    /// A reset that the server announced: earlier arrivals don't count after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset: Option<u64>,
}

pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Arrivals {
    /// Units by their times of arrival, and the reset that the server announced.
    pub fn new(arrived: Vec<(u64, u64)>, reset: Option<u64>) -> Arrivals {
        Arrivals { arrived, reset, ..Arrivals::default() }
    }

    /// Sets the precision of the times that are counted from now on.
    pub fn set_resolution(&mut self, resolution: Duration) {
        self.resolution = micros(resolution);
    }

    /// Counts units that have arrived, or takes them back.
    pub fn count_all(&mut self, arrived: &[(Time, i64)]) {
        for &(time, units) in arrived {
            self.count(line(time), units);
        }
    }

    /// Adds arrived units at this time, or subtracts units that were counted before, unless
    /// they count no more.
    pub fn count(&mut self, time: u64, units: i64) {
        let grain = self.resolution.max(1);
        let time = time.div_ceil(grain) * grain;
        match (self.arrived.binary_search_by_key(&time, |(time, _)| *time), units) {
            (Ok(at), units) => {
                let known = &mut self.arrived[at].1;
                *known = known.saturating_add_signed(units);
                if *known == 0 {
                    self.arrived.remove(at);
                }
            }
            (Err(at), 1..) => self.arrived.insert(at, (time, units.unsigned_abs())),
            // They are perhaps leased again by now.
            (Err(_), _) => {}
        }
    }

    /// The server announces a reset at this time.
    pub fn note_reset(&mut self, quota: &Quota, reset: Time) {
        if quota.end_at_reset(reset).is_some() {
            self.reset = self.reset.max(Some(line(reset)));
        }
    }

    /// Moves all times, but none further than to that of an attempt which is lost now.
    pub fn shift(&mut self, now: &ClockSnapshot, later: i64, quota: &Quota) {
        let latest = now.line() + micros(quota.linger);
        for (time, _) in self.arrived.iter_mut().chain(&mut self.past) {
            *time = time.saturating_add_signed(later).min(latest);
        }
        if self.empty > 0 {
            let full = now.line() + micros(quota.terms.span);
            self.empty = self.empty.saturating_add_signed(later).min(full);
        }
        self.reset = self.reset.map(|reset| reset.saturating_add_signed(later));
    }

    /// Drops units that don't count any more.
    pub fn expire(&mut self, now: &ClockSnapshot, quota: &Quota) {
        match &quota.terms.lifetime {
            Lifetime::Window(_) | Lifetime::TwoWindows { .. } => self.expire_window(now, quota),
            Lifetime::Leak { per_unit, skew } => self.leak(now, quota, *per_unit, *skew),
        }
    }

    fn leak(&mut self, now: &ClockSnapshot, quota: &Quota, per_unit: Duration, skew: Duration) {
        let ended = self.arrived.partition_point(|(time, _)| *time <= now.line());
        let poured: Vec<(u64, u64)> = self.arrived.drain(..ended).collect();
        for (time, units) in poured {
            let from = self.empty.max(time + micros(skew));
            self.empty = from + leaks_in(per_unit, units);
            self.remember(now, time, units);
        }
        // Units that are reported late were poured behind those that have leaked since then.
        if self.empty + micros(quota.terms.span) <= now.line() {
            self.empty = 0;
        }
    }

    fn expire_window(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let (zero, at) = (now.zero(), on_line(now.line()));
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(on_line(reset))));
        let counts = |time: u64| {
            let is_reset =
                reset.is_some_and(|(reset, end)| time <= reset && end.is_some_and(|end| end <= at));
            !is_reset && quota.end(on_line(time), zero) > at
        };
        if self.arrived.iter().any(|(time, _)| !counts(*time)) {
            let (arrived, past) =
                std::mem::take(&mut self.arrived).into_iter().partition(|(time, _)| counts(*time));
            self.arrived = arrived;
            let past: Vec<(u64, u64)> = past;
            past.into_iter().for_each(|(time, units)| self.remember(now, time, units));
        }
        if reset.is_some_and(|(_, end)| end.is_none_or(|end| end <= at)) {
            self.reset = None;
        }
    }

    fn remember(&mut self, now: &ClockSnapshot, time: u64, units: u64) {
        let grain = micros(PAST_RESOLUTION);
        let time = time.div_ceil(grain) * grain;
        let oldest = now.line().saturating_sub(micros(PAST));
        match self.past.binary_search_by_key(&time, |(time, _)| *time) {
            Ok(at) => self.past[at].1 += units,
            Err(at) => self.past.insert(at, (time, units)),
        }
        let ended = self.past.partition_point(|(time, _)| *time < oldest);
        self.past.drain(..ended);
    }

    /// The units that count now.
    pub fn counted(&self, now: &ClockSnapshot, quota: &Quota) -> u64 {
        let arrived: u64 = self.arrived.iter().map(|(_, units)| units).sum();
        match quota.terms.lifetime {
            Lifetime::Window(_) => arrived,
            Lifetime::TwoWindows { period, skew } => {
                let counted = self.counted_from(skew);
                TwoWindows::new(&counted, period).estimate(on_line(now.line()))
            }
            Lifetime::Leak { .. } => arrived + self.level(now, quota),
        }
    }

    /// Units by the time from which on they count where that is `skew` after their arrival.
    fn counted_from(&self, skew: Duration) -> Vec<(Time, u64)> {
        let from = |(time, units): &(u64, u64)| (on_line(*time).after(skew), *units);
        self.arrived.iter().map(from).collect()
    }

    /// The level of a bucket.
    fn level(&self, now: &ClockSnapshot, quota: &Quota) -> u64 {
        let Lifetime::Leak { per_unit, .. } = quota.terms.lifetime else {
            return 0;
        };
        let left = u128::from(self.empty.saturating_sub(now.line())) * 1_000;
        u64::try_from(left.div_ceil(per_unit.as_nanos().max(1))).unwrap_or(u64::MAX)
    }

    /// Whether no units count.
    pub fn is_empty(&self, now: &ClockSnapshot) -> bool {
        self.arrived.is_empty() && self.empty <= now.line()
    }

    /// Units that count, by the time at which the last of them is available again.
    pub fn used(&self, now: &ClockSnapshot, quota: &Quota) -> Vec<(Time, u64)> {
        let zero = now.zero();
        let (per_unit, skew) = match &quota.terms.lifetime {
            Lifetime::Window(_) => {
                let end = |time: u64| off_line(quota.end(on_line(time), zero));
                return self.arrived.iter().map(|&(time, units)| (end(time), units)).collect();
            }
            // In the next window they count in part: those may be available at once.
            Lifetime::TwoWindows { period, skew } => {
                let from = self.counted_from(*skew).into_iter();
                let used = from.map(|(time, units)| (off_line(time.after(*period)), units));
                return used.filter(|(time, _)| *time > now.time).collect();
            }
            Lifetime::Leak { per_unit, skew } => (per_unit, skew),
        };
        let mut empty = self.empty;
        let mut used = vec![(empty, self.level(now, quota))];
        for &(time, units) in &self.arrived {
            empty = empty.max(time + micros(*skew)) + leaks_in(*per_unit, units);
            used.push((empty, units));
        }
        used.retain(|(_, units)| *units > 0);
        used.into_iter().map(|(time, units)| (off_line(on_line(time)), units)).collect()
    }

    /// The time at which the missing units are free; none if they don't count, but are leased.
    pub fn free_at(&self, now: &ClockSnapshot, quota: &Quota, missing: u64) -> Option<Time> {
        match &quota.terms.lifetime {
            Lifetime::Window(_) => self.free_in_window(now, quota, missing),
            Lifetime::TwoWindows { period, skew } => {
                let most = self.counted(now, quota).checked_sub(missing)?;
                let time = TwoWindows::new(&self.counted_from(*skew), *period).at_most(most);
                Some(off_line(time).max(now.time))
            }
            Lifetime::Leak { per_unit, .. } => {
                let kept = self.level(now, quota).checked_sub(missing)?;
                let time = self.empty.saturating_sub(leaks_in(*per_unit, kept));
                Some(off_line(on_line(time)).max(now.time))
            }
        }
    }

    fn free_in_window(&self, now: &ClockSnapshot, quota: &Quota, missing: u64) -> Option<Time> {
        let (zero, mut missing) = (now.zero(), missing);
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(on_line(reset))));
        for &(time, units) in &self.arrived {
            missing = missing.saturating_sub(units);
            if missing == 0 {
                let end = quota.end(on_line(time), zero);
                let sooner = reset.filter(|(reset, _)| time <= *reset).and_then(|(_, end)| end);
                return Some(off_line(sooner.map_or(end, |sooner| sooner.min(end))));
            }
        }
        None
    }

    /// Number of units that are remembered.
    pub fn units(&self) -> u64 {
        self.past.iter().chain(&self.arrived).map(|(_, units)| units).sum()
    }

    /// Units that are remembered, by their time of arrival.
    pub fn known(&self) -> Vec<(u64, u64)> {
        let mut known: Vec<(u64, u64)> = self.past.iter().chain(&self.arrived).copied().collect();
        known.sort_unstable();
        known
    }

    /// Counts units so that as many as the other limit knows have arrived since each time.
    pub fn take_over_since(&mut self, other: &Arrivals, from: u64) {
        let (mut own, mut own_units, mut units) = (self.known(), 0, 0);
        let theirs = other.known();
        for (time, more) in theirs.into_iter().rev().take_while(|(time, _)| *time >= from) {
            while let Some((_, known)) = own.pop_if(|(own, _)| *own >= time) {
                own_units += known;
            }
            units += more;
            if units > own_units {
                self.count(time, signed(units - own_units));
                own_units = units;
            }
        }
    }

    /// Number of entries.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.arrived.len()
    }
}

/// The time in microseconds in which units leak.
fn leaks_in(per_unit: Duration, units: u64) -> u64 {
    let nanos = per_unit.as_nanos() * u128::from(units);
    u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX)
}
