//! The clocks that the state of a shared limit is written with, and its own line of time. Pure.
//!
//! Times of a state are microseconds of the machine's clock, which goes on while the machine
//! sleeps. They count from 20 years before the machine's start, so that what has arrived
//! before it has a time, too.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// A reading of both clocks: the calendar's, and the machine's since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Microseconds since 1970.
    pub wall: i64,
    /// Microseconds since the machine was started.
    pub up: i64,
    /// The id of that start, if it is known.
    pub boot: Option<String>,
}

/// The time now, by all clocks.
#[derive(Debug, Clone)]
pub struct ClockSnapshot {
    /// The clock of the limits.
    pub time: Time,
    /// The clocks that the state is written with.
    pub clock: ClockReading,
}

/// Offset of a state's times from the machine's start.
const LINE_START: Duration = Duration::from_secs(20 * 366 * 86_400);

/// A time of the limits' clock as a state has it.
pub fn line(time: Time) -> u64 {
    let nanos = time.after(LINE_START).since(Time::ZERO).as_nanos();
    u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// A time of a state, on its own line.
pub fn on_line(micros: u64) -> Time {
    Time::from_nanos(micros.saturating_mul(1_000))
}

/// A time on a state's line as the limits' clock has it.
pub fn off_line(time: Time) -> Time {
    time.before(LINE_START)
}

impl ClockReading {
    /// The calendar's time at the machine's start.
    pub fn zero(&self) -> i64 {
        self.wall.saturating_sub(self.up)
    }

    /// The time of a calendar in milliseconds since 1970 as a state has it.
    pub fn line_of_calendar(&self, millis: u64) -> u64 {
        let up = signed(millis).saturating_mul(1_000).saturating_sub(self.zero());
        line_of_start(up)
    }

    /// When it was read, as the clocks of now have it; 0 if it never was.
    pub fn read_at(&self, now: &ClockSnapshot) -> u64 {
        match self {
            clock if *clock == ClockReading::default() => 0,
            clock if clock.is_of_start(&now.clock) => line_of_start(clock.up),
            clock => line_of_start(clock.wall.saturating_sub(now.clock.zero())),
        }
    }

    /// The time since it was read, which a calendar that was set makes no longer; after a
    /// restart of the machine, no more than the time since that.
    pub fn age(&self, now: &ClockSnapshot) -> Duration {
        let up = now.clock.up;
        let age = if self.is_of_start(&now.clock) {
            up.saturating_sub(self.up)
        } else {
            now.clock.wall.saturating_sub(self.wall).min(up)
        };
        Duration::from_micros(u64::try_from(age).unwrap_or(0))
    }

    /// Whether both were read since the same start of the machine, as far as is known.
    pub fn is_of_start(&self, other: &ClockReading) -> bool {
        self.boot.is_some() && self.boot == other.boot
    }
}

/// Microseconds since the machine's start as a state has them.
fn line_of_start(up: i64) -> u64 {
    u64::try_from(up.saturating_add(signed(micros(LINE_START)))).unwrap_or(0)
}

/// A time of a state as microseconds since the machine's start.
pub fn since_start(line: u64) -> i64 {
    signed(line).saturating_sub(signed(micros(LINE_START)))
}

impl ClockSnapshot {
    /// Now, as a state has times.
    pub fn line(&self) -> u64 {
        line(self.time)
    }

    /// The calendar's time at the zero of a state's times.
    pub fn zero(&self) -> Timestamp {
        let zero = self.clock.zero().saturating_sub(signed(micros(LINE_START)));
        Timestamp::from_microsecond(zero).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
