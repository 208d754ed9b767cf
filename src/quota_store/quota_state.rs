//! The state of one quota: the units that runs lease, and the units that have arrived.
//! Pure: clocks and living runs are arguments.
//!
//! Times are calendar times, which outlive the machine's clock. The calendar can be
//! set, so the state also keeps both clocks as of its writing. If the machine was not
//! restarted since, its clock tells the elapsed time; only calendar windows end when
//! both clocks agree. After a restart the calendar alone counts: set back, it releases
//! units later, but no unit counts longer than one that arrives now.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limit::{LeaseReply, LeaseRequest, Quota, Time};

/// A reading of both clocks: the calendar's, and the machine's since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Milliseconds since 1970.
    pub wall: u64,
    /// Milliseconds since the machine was started.
    pub up: u64,
    /// The id of that start, if it is known.
    pub boot: Option<String>,
}

/// Tolerance between both clocks in milliseconds: they are read one after the other.
const CLOCK_TOLERANCE: u64 = 50;

/// The units of one quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Both clocks when the state was written.
    clock: ClockReading,
    /// Leased units, by the run.
    kept: BTreeMap<String, u64>,
    /// Units that have arrived, by their latest time of arrival.
    arrived: Vec<(u64, u64)>,
    /// A reset that the server announced: earlier arrivals don't count after it.
    reset: Option<u64>,
}

/// The time now, by all clocks.
#[derive(Debug, Clone)]
pub struct ClockSnapshot {
    /// The clock of the limits.
    pub time: Time,
    /// The clocks that the state is written with.
    pub clock: ClockReading,
}

/// Offset of the state's time line. Arrivals can be older than the machine's start,
/// at which its clock is zero.
const LINE_START: Duration = Duration::from_secs(20 * 366 * 86_400);

impl ClockSnapshot {
    /// Now, on the state's time line.
    fn line_time(&self) -> Time {
        self.time.after(LINE_START)
    }

    /// A calendar time, in milliseconds since 1970, on the state's time line.
    fn time_of(&self, wall: u64) -> Time {
        let ago = Duration::from_millis(self.clock.wall.saturating_sub(wall));
        let ahead = Duration::from_millis(wall.saturating_sub(self.clock.wall));
        self.line_time().before(ago).after(ahead)
    }

    fn wall_of(&self, time: Time) -> u64 {
        let ago = millis(self.time.since(time));
        let ahead = time.since(self.time).as_nanos().div_ceil(1_000_000);
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        (self.clock.wall.saturating_sub(ago)).saturating_add(ahead)
    }

    /// The calendar time at the zero of the state's time line.
    fn zero(&self) -> Timestamp {
        let past = signed(millis(self.line_time().since(Time::ZERO)));
        let zero = Timestamp::from_millisecond(signed(self.clock.wall) - past);
        zero.unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl QuotaState {
    /// Converts the state to the clocks of now, drops expired arrivals, and counts
    /// the units of dead runs as arrived now.
    pub fn advance(&mut self, now: &ClockSnapshot, quota: &Quota, is_alive: &dyn Fn(&str) -> bool) {
        let shift = self.clock_shift(&now.clock, quota);
        let linger = millis(quota.linger);
        let latest = now.clock.wall + linger;
        for (time, _) in &mut self.arrived {
            *time = time.saturating_add_signed(shift).min(latest);
        }
        self.reset = self.reset.map(|reset| reset.saturating_add_signed(shift));
        self.clock = now.clock.clone();
        self.expire(now, quota);
        let dead: Vec<String> = self.kept.keys().filter(|run| !is_alive(run)).cloned().collect();
        for run in dead {
            let units = self.kept.remove(&run).unwrap_or(0);
            self.count(latest, signed(units), quota);
        }
    }

    /// Units leased by runs that no longer live.
    pub fn units_of_dead_runs(&self, is_alive: &dyn Fn(&str) -> bool) -> u64 {
        let dead = self.kept.iter().filter(|(run, _)| !is_alive(run));
        dead.map(|(_, units)| units).sum()
    }

    /// The change of the calendar's clock since the state was written, as it counts.
    fn clock_shift(&self, now: &ClockReading, quota: &Quota) -> i64 {
        let same_boot = now.boot.is_some() && now.boot == self.clock.boot;
        let expected = self.clock.wall + now.up.saturating_sub(self.clock.up);
        let shift = signed(now.wall) - signed(expected);
        if shift.unsigned_abs() <= CLOCK_TOLERANCE || !same_boot {
            0
        } else if quota.follows_calendar() {
            shift.max(0)
        } else {
            shift
        }
    }

    fn expire(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let zero = now.zero();
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(now.time_of(reset))));
        self.arrived.retain(|(time, _)| {
            let is_reset = reset.is_some_and(|(reset, end)| {
                *time <= reset && end.is_some_and(|end| end <= now.line_time())
            });
            !is_reset && quota.end(now.time_of(*time), zero) > now.line_time()
        });
        if reset.is_some_and(|(_, end)| end.is_none_or(|end| end <= now.line_time())) {
            self.reset = None;
        }
    }

    /// Records the arrivals and returned units of a run, and leases the units that it wants.
    pub fn exchange(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
    ) -> LeaseReply {
        for &(time, units) in request.arrived {
            self.count(now.wall_of(time), units, quota);
        }
        if let Some(reset) = request.reset.filter(|it| quota.end_at_reset(*it).is_some()) {
            self.reset = self.reset.max(Some(now.wall_of(reset)));
        }
        self.set_kept(run, request.kept);
        let left = self.left(quota);
        if left < request.least {
            return LeaseReply::Later(self.free_at(now, quota, request.least - left));
        }
        let reply = left.min(request.wanted);
        self.set_kept(run, request.kept + reply);
        LeaseReply::Units(reply)
    }

    /// The units that are neither leased nor used.
    pub fn left(&self, quota: &Quota) -> u64 {
        let arrived: u64 = self.arrived.iter().map(|(_, units)| units).sum();
        let kept: u64 = self.kept.values().sum();
        quota.units.saturating_sub(arrived + kept)
    }

    /// The time at which the missing units are free; none if leased ones are among them.
    pub fn free_at(&self, now: &ClockSnapshot, quota: &Quota, mut missing: u64) -> Option<Time> {
        let zero = now.zero();
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(now.time_of(reset))));
        for &(time, units) in &self.arrived {
            missing = missing.saturating_sub(units);
            if missing == 0 {
                let end = quota.end(now.time_of(time), zero);
                let sooner = reset.filter(|(reset, _)| time <= *reset).and_then(|(_, end)| end);
                return Some(sooner.map_or(end, |sooner| sooner.min(end)).before(LINE_START));
            }
        }
        None
    }

    /// Whether anything but the reading of the clocks differs.
    pub fn differs_from(&self, before: &QuotaState) -> bool {
        (&self.kept, &self.arrived, self.reset) != (&before.kept, &before.arrived, before.reset)
    }

    fn set_kept(&mut self, run: &str, units: u64) {
        match units {
            0 => self.kept.remove(run),
            units => self.kept.insert(run.to_owned(), units),
        };
    }

    /// Adds arrived units at this time, or subtracts units that were counted before.
    fn count(&mut self, time: u64, units: i64, quota: &Quota) {
        let grain = millis(quota.resolution()).max(1);
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
            // Units without an entry at their time keep counting.
            (Err(_), _) => {}
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
