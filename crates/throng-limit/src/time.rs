//! Points in time for the limit's arithmetic, which never reads a clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Nanoseconds on a clock that never steps back and counts suspended time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The clock's zero.
    pub const ZERO: Time = Time(0);

    /// The time this number of nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This much later; it stops at the end of time instead of wrapping.
    #[must_use]
    pub fn after(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(nanos(wait)))
    }

    /// This much earlier; it stops at the clock's zero.
    #[must_use]
    pub fn before(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(span)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The next multiple of `grain`, so that many times may share one entry.
    /// Rounding is only ever towards later, which is towards waiting.
    #[must_use]
    pub(crate) fn round_up(self, grain: Duration) -> Time {
        match nanos(grain) {
            0 | 1 => self,
            grain => Time(self.0.div_ceil(grain).saturating_mul(grain)),
        }
    }
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads the clock that windows are timed by. On Linux it goes on counting
/// while the machine sleeps; elsewhere it may stand still, which is safe:
/// a window then only lasts longer.
#[must_use]
pub fn now() -> Time {
    boot_time()
}

/// What the calendar says now.
#[cfg(feature = "http")]
pub(crate) fn calendar() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// What the calendar said, or would have said, when the clock was at its zero.
#[must_use]
pub fn calendar_at_zero() -> Timestamp {
    let closest = (0..3).map(|_| read_both()).min_by_key(|(apart, _)| *apart);
    closest.map_or(Timestamp::UNIX_EPOCH, |(_, zero)| zero)
}

/// How far apart the two clocks were read, and the calendar at the clock's zero.
fn read_both() -> (Duration, Timestamp) {
    let (before, calendar, after) = (now(), Timestamp::now(), now());
    let since = SignedDuration::try_from(before.since(Time::ZERO)).unwrap_or_default();
    let zero = calendar.checked_sub(since);
    (after.since(before), zero.unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(target_os = "linux")]
fn boot_time() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time(seconds * 1_000_000_000 + nanos)
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Time {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Time(nanos(START.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_towards_later_and_never_wraps() {
        let grain = Duration::from_nanos(10);
        assert_eq!(Time(21).round_up(grain), Time(30));
        assert_eq!(Time(30).round_up(grain), Time(30));
        assert_eq!(Time(21).round_up(Duration::ZERO), Time(21));
        assert_eq!(Time(5).after(Duration::MAX), Time(u64::MAX));
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
    }
}
