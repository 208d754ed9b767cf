//! What is known of one quota: who keeps how many units, and by when others had
//! arrived. Pure: clocks, and who lives, are arguments.
//!
//! Times are those of the calendar, since they outlive the machine's clock. The
//! calendar's may be set: so a book also says what both clocks said when it was
//! written. On a machine that wasn't started anew since, the machine's says how long
//! ago that was; only windows that end by the calendar end when both say so.
//! Otherwise there is the calendar alone: set back, it only releases later, and
//! nothing counts longer than what would arrive now.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limit::{LeaseReply, LeaseRequest, Quota, Time};

/// What both clocks say: the calendar's, and the machine's, since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Milliseconds since 1970.
    pub wall: u64,
    /// Milliseconds since the machine was started.
    pub up: u64,
    /// Which start that was, if it is known.
    pub boot: Option<String>,
}

/// The clocks are read one after the other.
const APART: u64 = 50;

/// Units of one quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// When it was written.
    clock: ClockReading,
    /// Units that runs keep, by the run.
    kept: BTreeMap<String, u64>,
    /// Units that have arrived, by the latest time of it.
    arrived: Vec<(u64, u64)>,
    /// A reset that the server told: what arrived before doesn't count after it.
    reset: Option<u64>,
}

/// Now, by all clocks.
#[derive(Debug, Clone)]
pub struct Now {
    /// The clock that limits are timed by.
    pub time: Time,
    /// Those that a book is written by.
    pub clock: ClockReading,
}

/// The machine's clock begins when it is started, and what a book tells of may be
/// older: so a book reckons on a line that has so long a past.
const PAST: Duration = Duration::from_secs(20 * 366 * 86_400);

impl Now {
    /// Now, on the book's line.
    fn line(&self) -> Time {
        self.time.after(PAST)
    }

    /// The calendar's time, in milliseconds since 1970, on the book's line.
    fn time_of(&self, wall: u64) -> Time {
        let ago = Duration::from_millis(self.clock.wall.saturating_sub(wall));
        let ahead = Duration::from_millis(wall.saturating_sub(self.clock.wall));
        self.line().before(ago).after(ahead)
    }

    fn wall_of(&self, time: Time) -> u64 {
        let ago = millis(self.time.since(time));
        let ahead = time.since(self.time).as_nanos().div_ceil(1_000_000);
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        (self.clock.wall.saturating_sub(ago)).saturating_add(ahead)
    }

    /// What the calendar says at the beginning of the book's line.
    fn zero(&self) -> Timestamp {
        let past = signed(millis(self.line().since(Time::ZERO)));
        let zero = Timestamp::from_millisecond(signed(self.clock.wall) - past);
        zero.unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl QuotaState {
    /// The same book in terms of the clocks of now, without what doesn't count any
    /// more, and with what dead runs kept as arrived by now.
    pub fn turn(&mut self, now: &Now, quota: &Quota, is_alive: &dyn Fn(&str) -> bool) {
        let set = self.set(&now.clock, quota);
        let linger = millis(quota.linger);
        let latest = now.clock.wall + linger;
        for (time, _) in &mut self.arrived {
            *time = time.saturating_add_signed(set).min(latest);
        }
        self.reset = self.reset.map(|reset| reset.saturating_add_signed(set));
        self.clock = now.clock.clone();
        self.expire(now, quota);
        let dead: Vec<String> = self
            .kept
            .keys()
            .filter(|run| !is_alive(run))
            .cloned()
            .collect();
        for run in dead {
            let units = self.kept.remove(&run).unwrap_or(0);
            self.count(latest, signed(units), quota);
        }
    }

    /// Units that runs keep which live no more.
    pub fn unclosed(&self, is_alive: &dyn Fn(&str) -> bool) -> u64 {
        let dead = self.kept.iter().filter(|(run, _)| !is_alive(run));
        dead.map(|(_, units)| units).sum()
    }

    /// By how much the calendar's clock was set since, as far as that matters.
    fn set(&self, now: &ClockReading, quota: &Quota) -> i64 {
        let same_boot = now.boot.is_some() && now.boot == self.clock.boot;
        let expected = self.clock.wall + now.up.saturating_sub(self.clock.up);
        let set = signed(now.wall) - signed(expected);
        match set.unsigned_abs() > APART && same_boot {
            true if quota.follows_calendar() => set.max(0),
            true => set,
            false => 0,
        }
    }

    fn expire(&mut self, now: &Now, quota: &Quota) {
        let zero = now.zero();
        let reset = self
            .reset
            .map(|reset| (reset, quota.end_at_reset(now.time_of(reset))));
        self.arrived.retain(|(time, _)| {
            let is_reset = reset.is_some_and(|(reset, end)| {
                *time <= reset && end.is_some_and(|end| end <= now.line())
            });
            !is_reset && quota.end(now.time_of(*time), zero) > now.line()
        });
        if reset.is_some_and(|(_, end)| end.is_none_or(|end| end <= now.line())) {
            self.reset = None;
        }
    }

    /// Notes what a run offers, and lends what it wants if there is enough.
    pub fn trade(
        &mut self,
        now: &Now,
        quota: &Quota,
        run: &str,
        offer: &LeaseRequest<'_>,
    ) -> LeaseReply {
        for &(time, units) in offer.arrived {
            self.count(now.wall_of(time), units, quota);
        }
        if let Some(reset) = offer.reset.filter(|it| quota.end_at_reset(*it).is_some()) {
            self.reset = self.reset.max(Some(now.wall_of(reset)));
        }
        self.keep(run, offer.kept);
        let left = self.left(quota);
        if left < offer.least {
            return LeaseReply::Later(self.back(now, quota, offer.least - left));
        }
        let lent = left.min(offer.wanted);
        self.keep(run, offer.kept + lent);
        LeaseReply::Units(lent)
    }

    /// The units that nobody keeps and that don't count.
    pub fn left(&self, quota: &Quota) -> u64 {
        let arrived: u64 = self.arrived.iter().map(|(_, units)| units).sum();
        let kept: u64 = self.kept.values().sum();
        quota.units.saturating_sub(arrived + kept)
    }

    /// When so many more come back, if all of them are counted.
    pub fn back(&self, now: &Now, quota: &Quota, mut missing: u64) -> Option<Time> {
        let zero = now.zero();
        let reset = self
            .reset
            .map(|reset| (reset, quota.end_at_reset(now.time_of(reset))));
        for &(time, units) in &self.arrived {
            missing = missing.saturating_sub(units);
            if missing == 0 {
                let end = quota.end(now.time_of(time), zero);
                let sooner = reset
                    .filter(|(reset, _)| time <= *reset)
                    .and_then(|(_, end)| end);
                return Some(sooner.map_or(end, |sooner| sooner.min(end)).before(PAST));
            }
        }
        None
    }

    /// Whether there is more in it than another reading of the clocks.
    pub fn says_more_than(&self, before: &QuotaState) -> bool {
        (&self.kept, &self.arrived, self.reset) != (&before.kept, &before.arrived, before.reset)
    }

    fn keep(&mut self, run: &str, units: u64) {
        match units {
            0 => self.kept.remove(run),
            units => self.kept.insert(run.to_owned(), units),
        };
    }

    /// More units have arrived by then, or fewer than was noted.
    fn count(&mut self, time: u64, units: i64, quota: &Quota) {
        let grain = millis(quota.resolution()).max(1);
        let time = time.div_ceil(grain) * grain;
        match (
            self.arrived.binary_search_by_key(&time, |(time, _)| *time),
            units,
        ) {
            (Ok(at), units) => {
                let known = &mut self.arrived[at].1;
                *known = known.saturating_add_signed(units);
                if *known == 0 {
                    self.arrived.remove(at);
                }
            }
            (Err(at), 1..) => self.arrived.insert(at, (time, units.unsigned_abs())),
            // What is not known by its time goes on counting.
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
