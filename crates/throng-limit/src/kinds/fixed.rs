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
//!
//! If the machine's calendar is set during a run, an attempt counts until the
//! later of the edges that the old and the new one have for it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{self, Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;
use crate::time::{Time, nanos};
use crate::window::calendar::Calendar;
use crate::window::{WindowFigures, WindowKind};

/// Where windows begin and end.
#[derive(Debug, Clone)]
pub struct Fixed {
    edges: WindowEdges,
    calendar: Calendar,
    skew: Duration,
}

/// Where the windows of one limit touch.
#[derive(Debug, Clone)]
pub enum WindowEdges {
    /// At multiples of this, counted from 1970-01-01 00:00 UTC.
    Clock(Duration),
    /// At midnight there.
    Midnight(TimeZone),
}

impl WindowEdges {
    /// The first edge after a moment, if the calendar doesn't end before.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            WindowEdges::Clock(period) => {
                let period = i128::try_from(period.as_nanos()).ok()?.max(1);
                let next = (now.as_nanosecond().div_euclid(period) + 1) * period;
                Timestamp::from_nanosecond(next).ok()
            }
            WindowEdges::Midnight(zone) => {
                let tomorrow = now.to_zoned(zone.clone()).tomorrow().ok()?;
                Some(tomorrow.start_of_day().ok()?.timestamp())
            }
        }
    }
}

impl Fixed {
    /// Windows with these edges.
    #[must_use]
    pub fn new(edges: WindowEdges, calendar: Calendar, skew: Duration) -> Fixed {
        Fixed { edges, calendar, skew }
    }

    /// The windows of a limit that begin at multiples of its period.
    fn by_clock(terms: &Terms) -> Fixed {
        let edges = WindowEdges::Clock(terms.period);
        Fixed::new(edges, terms.calendar.clone(), terms.skew)
    }

    /// The windows of a limit that begin at midnight in its zone, which was found when the
    /// limit was read.
    fn by_zone(terms: &Terms) -> Fixed {
        let zone = terms.zone.clone().unwrap_or(TimeZone::UTC);
        let edges = WindowEdges::Midnight(zone);
        Fixed::new(edges, terms.calendar.clone(), terms.skew)
    }

    /// The first edge after a time, wherever the calendar may have it.
    fn edge_after(&self, time: Time) -> Time {
        self.calendar.latest(time, |now| self.edges.next(now))
    }
}

impl WindowKind for Fixed {
    fn figures(&self) -> Option<WindowFigures> {
        let skew = nanos(self.skew);
        match &self.edges {
            WindowEdges::Clock(period) => {
                Some(WindowFigures::Clock { period: nanos(*period), skew })
            }
            WindowEdges::Midnight(zone) => {
                Some(WindowFigures::Midnight { zone: zone.iana_name()?.to_owned(), skew })
            }
        }
    }

    fn coincides(&self) -> bool {
        true
    }

    fn end(&self, arrived: Time) -> Time {
        self.edge_after(arrived.after(self.skew)).after(self.skew)
    }

    fn end_on(&self, zero: Timestamp, arrived: Time) -> Time {
        Fixed::new(self.edges.clone(), Calendar::new(zero), self.skew).end(arrived)
    }

    fn follows_calendar(&self) -> bool {
        true
    }

    fn heed_calendar(&mut self, zero: Timestamp) -> bool {
        self.calendar.heed(zero, spec::calendar_tolerance(self.skew))
    }

    /// It had arrived before the edge at which it was to end.
    fn recount(&self, end: Time) -> Time {
        let arrived = end.before(self.skew + Duration::from_nanos(1));
        self.edge_after(arrived).after(self.skew)
    }
}

/// `100/1m@clock`.
pub(crate) const CLOCK: Spec = Spec {
    rate_pattern: Some(edge_to_edge),
    shared: Some(|terms| SharedTerms::window(terms, Fixed::by_clock(terms))),
    measure: Some(|_, _| Measure::ClockWindow),
    model: Some("clock"),
    skew: spec::clock_skew,
    is_window: true,
    follows_calendar: true,
    ..Spec::new(Form::Edge("clock"), |terms| Box::new(terms.window(Fixed::by_clock(terms))))
};

/// `25/1d@America/Los_Angeles`.
pub(crate) const MIDNIGHT: Spec = Spec {
    form: Form::Zone,
    build: |terms| Box::new(terms.window(Fixed::by_zone(terms))),
    shared: Some(|terms| SharedTerms::window(terms, Fixed::by_zone(terms))),
    measure: Some(|_, _| Measure::Day),
    period_error: |period| {
        (period != DAY).then_some("windows that begin at midnight in a zone last 1d")
    },
    ..CLOCK
};

const DAY: Duration = Duration::from_secs(86_400);

fn edge_to_edge(terms: &Terms) -> RatePattern {
    RatePattern::Edges { amount: terms.units, period: terms.period }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Guard;
    use crate::limiter::{Availability, Event, Limiter};
    use crate::window::Window;

    const SECOND: Duration = Duration::from_secs(1);

    fn secs(seconds: f64) -> Time {
        Time::ZERO.after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn all_is_free_at_each_edge_but_what_is_in_flight() {
        let zero = Timestamp::from_second(1_000_005).unwrap();
        let span = Fixed::new(WindowEdges::Clock(10 * SECOND), Calendar::new(zero), SECOND / 10);
        let mut window = Window::new(2, 10 * SECOND, span, Guard::Strict, 30 * SECOND);
        let mut first = window.take(secs(0.0), 1);
        let mut second = window.take(secs(0.0), 1);
        window.on(secs(1.0), &mut first, Event::Answered);
        assert_eq!(window.earliest(secs(1.0), 1), Availability::At(secs(5.1)));
        assert_eq!(window.earliest(secs(5.1), 2), Availability::AfterAnAnswer);
        // It may have arrived in the window that ends at 15.
        window.on(secs(5.2), &mut second, Event::Answered);
        assert_eq!(window.earliest(secs(5.2), 2), Availability::At(secs(15.1)));
        // So close to an edge it may have arrived beyond it.
        let mut third = window.take(secs(14.0), 1);
        window.on(secs(14.95), &mut third, Event::Answered);
        assert_eq!(window.earliest(secs(15.1), 2), Availability::At(secs(25.1)));
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
            let calendar = Calendar::new(now.parse().unwrap());
            let fixed = Fixed::new(WindowEdges::Midnight(zone), calendar, Duration::ZERO);
            assert_eq!(fixed.end(Time::ZERO), secs(hours * 3_600.0), "{now}");
        }
    }
    #[test]
    fn a_calendar_that_is_set_releases_nothing_early() {
        let zero = |seconds| Timestamp::from_second(seconds).unwrap();
        let edges = || WindowEdges::Clock(10 * SECOND);
        for (step, ends) in [(4, 11.1), (-4, 9.1), (3_600, 5.1), (-3_597, 12.1), (3_597, 8.1)] {
            let span = Fixed::new(edges(), Calendar::new(zero(1_000_005)), SECOND / 10);
            let mut window = Window::new(1, 10 * SECOND, span, Guard::Strict, 30 * SECOND);
            let mut first = window.take(secs(0.0), 1);
            window.on(secs(0.5), &mut first, Event::Answered);
            assert_eq!(window.earliest(secs(0.5), 1), Availability::At(secs(5.1)));
            window.heed_calendar(zero(1_000_005 + step));
            assert_eq!(window.earliest(secs(1.0), 1), Availability::At(secs(ends)), "{step}");
            assert_eq!(window.earliest(secs(ends), 1), Availability::Now, "{step}");
        }
    }
}
