//! A fixed window whose edges are known: it begins at a multiple of its length
//! on the clock, or at midnight in some zone. Pure.
//!
//! **Guarantee.** An attempt is charged to every window that it may have
//! arrived in: from when it is sent to when its answer is seen, and `skew` more
//! on either side for clocks that differ. What is in flight counts in every
//! window until then; what was answered counts until the end of the window of
//! its answer. So no window holds more than N arrivals, whatever the latencies,
//! as long as our clock and the server's differ by no more than `skew`.
//!
//! All of N is free at each edge, and latency is paid once, not once for each
//! window. Nothing keeps two windows from holding 2N arrivals close to their
//! common edge: a server that slides its windows needs a sliding limit.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::time::Time;
use super::window::Span;

/// Where windows begin and end.
#[derive(Debug, Clone)]
pub struct Fixed {
    edges: Edges,
    /// The calendar's time at [`Time::ZERO`].
    zero: Timestamp,
    skew: Duration,
}

/// Where the windows of one limit touch.
#[derive(Debug, Clone)]
pub enum Edges {
    /// At multiples of this, counted from 1970-01-01 00:00 UTC.
    Clock(Duration),
    /// At midnight there.
    Midnight(TimeZone),
}

impl Fixed {
    /// Windows with these edges, where it is `zero` at [`Time::ZERO`].
    #[must_use]
    pub fn new(edges: Edges, zero: Timestamp, skew: Duration) -> Fixed {
        Fixed { edges, zero, skew }
    }

    /// The first edge after a time; the time itself if the calendar ends before.
    fn edge_after(&self, time: Time) -> Time {
        self.try_edge_after(time).unwrap_or(time)
    }

    fn try_edge_after(&self, time: Time) -> Option<Time> {
        let since = SignedDuration::try_from(time.since(Time::ZERO)).ok()?;
        let now = self.zero.checked_add(since).ok()?;
        let edge = match &self.edges {
            Edges::Clock(period) => {
                let period = i128::try_from(period.as_nanos()).ok()?.max(1);
                let next = (now.as_nanosecond().div_euclid(period) + 1) * period;
                Timestamp::from_nanosecond(next).ok()?
            }
            Edges::Midnight(zone) => {
                let tomorrow = now.to_zoned(zone.clone()).tomorrow().ok()?;
                tomorrow.start_of_day().ok()?.timestamp()
            }
        };
        let wait = edge.duration_since(now).unsigned_abs();
        Some(time.after(wait))
    }
}

impl Span for Fixed {
    fn end(&self, arrived: Time) -> Time {
        self.edge_after(arrived.after(self.skew)).after(self.skew)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Guard;
    use super::super::kind::{Kind, When};
    use super::super::window::Window;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn secs(seconds: f64) -> Time {
        Time::ZERO.after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn all_is_free_at_each_edge_but_what_is_in_flight() {
        let zero = Timestamp::from_second(1_000_005).unwrap();
        let span = Fixed::new(Edges::Clock(10 * SECOND), zero, SECOND / 10);
        let mut window = Window::new(2, 10 * SECOND, span, Guard::Strict, 30 * SECOND);
        let mut first = window.take(secs(0.0), 1);
        let mut second = window.take(secs(0.0), 1);
        window.answered(secs(1.0), &mut first);
        assert_eq!(window.earliest(secs(1.0), 1), When::At(secs(5.1)));
        assert_eq!(window.earliest(secs(5.1), 2), When::AfterAnAnswer);
        // It may have arrived in the window that ends at 15.
        window.answered(secs(5.2), &mut second);
        assert_eq!(window.earliest(secs(5.2), 2), When::At(secs(15.1)));
        // So close to an edge it may have arrived beyond it.
        let mut third = window.take(secs(14.0), 1);
        window.answered(secs(14.95), &mut third);
        assert_eq!(window.earliest(secs(15.1), 2), When::At(secs(25.1)));
    }

    #[test]
    fn midnight_is_where_the_zone_has_it() {
        // In 2026 Los Angeles put its clocks forward on March 8, at 02:00.
        for (now, hours) in [
            ("2026-03-07T12:00:00-08:00", 12.0),
            ("2026-03-08T00:00:00-08:00", 23.0),
            ("2026-11-01T00:00:00-07:00", 25.0),
        ] {
            let zone = TimeZone::get("America/Los_Angeles").unwrap();
            let fixed = Fixed::new(Edges::Midnight(zone), now.parse().unwrap(), Duration::ZERO);
            assert_eq!(fixed.end(Time::ZERO), secs(hours * 3_600.0), "{now}");
        }
    }
}
