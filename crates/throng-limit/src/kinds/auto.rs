//! A limit that is found out while working, below a ceiling. Pure.
//!
//! Requests leave one after the other, evenly: then a refusal costs one request and those in
//! flight, and windows, buckets and counters of a server look alike. Only the pace has to be
//! found, by a [`PaceSearch`].
//!
//! A limit whose window the server's headers name needs no search: it is kept as a sliding
//! window is ([`Named`]), below the pace.

use std::time::Duration;

use crate::kinds::sliding::Sliding;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::limiter::{
    Availability, Event, FoundPace, Limiter, LimiterStats, OtherSearches, RateLimitInfo,
    Reservation, SearchReport,
};
use crate::quota::SharedTerms;
use crate::search::PaceSearch;
use crate::time::Time;
use crate::window::{Window, WindowKind, WorstCase};

/// `auto:500/1m`.
pub(crate) const AUTO: Spec = Spec {
    rate_pattern: Some(Terms::in_windows),
    shared: Some(|terms| SharedTerms::window(terms, Sliding::of(terms))),
    measure: Some(|_, _| Measure::AnyWindow),
    model_differs: Some(|limit| {
        format!(
            "the model doesn't refuse what {limit} would find out: say with --server what it does"
        )
    }),
    is_found_out: true,
    ..Spec::new(Form::Prefix("auto"), |terms| Box::new(Auto::new(terms)))
};

/// Requests at a pace that is searched for, and a window that keeps the ceiling.
#[derive(Debug)]
struct Auto {
    ceiling: Window<Sliding>,
    /// Limits that the server's headers name, by their windows.
    named: Vec<Named>,
    /// Units that are in flight.
    in_flight: u64,
    linger: Duration,
    skew: Duration,
    search: PaceSearch,
    /// When the next request may leave.
    next: Time,
    way: Way,
}

/// How long requests are under way.
#[derive(Debug, Default)]
struct Way {
    /// On average; none before the first answer.
    mean: Option<f64>,
    /// When the last request was taken, if it is not answered yet.
    open: Option<Time>,
}

/// A limit that the server's headers name. Units count from when they are taken until a
/// period after their answer, so the proof is that of [`Sliding`].
#[derive(Debug)]
struct Named {
    units: u64,
    period: Duration,
    counted: WorstCase,
}

/// Maximum number of limits that headers name.
const MOST_NAMED: usize = 4;

/// Time by which requests that left late are caught up with: timers ring late by less.
const CATCH_UP: Duration = Duration::from_millis(2);

impl Auto {
    fn new(terms: &Terms) -> Auto {
        Auto {
            ceiling: terms.window(Sliding::of(terms)).certified(),
            named: Vec::new(),
            in_flight: 0,
            linger: terms.linger,
            skew: terms.skew,
            search: PaceSearch::new(terms.units, terms.period),
            next: Time::ZERO,
            way: Way::default(),
        }
    }

    /// The server names a limit. Gives whether its count is no news.
    fn heed_name(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let (Some(units @ 1..), Some(period)) = (info.limit, info.window) else {
            return false;
        };
        if let Some(named) = self.named.iter_mut().find(|named| named.period == period) {
            named.units = units;
            return named.agrees(now, info);
        }
        if self.named.len() < MOST_NAMED && !period.is_zero() {
            let counts_for = Sliding::new(period, self.skew).end(Time::ZERO).since(Time::ZERO);
            let mut counted = WorstCase::new(counts_for);
            // The server's count has those that were answered, and those of other clients.
            let gone = units.saturating_sub(info.remaining.unwrap_or(units)).min(units);
            counted.taken(now, self.in_flight + gone);
            counted.arrived(now, gone);
            self.named.push(Named { units, period, counted });
        }
        false
    }

    /// Counts an event of an attempt in the limits that headers name.
    fn count(&mut self, now: Time, hold: &Reservation, event: Event) {
        let is_in_flight = hold.is_in_flight();
        let ends = !matches!(event, Event::Sent | Event::Acked | Event::Finished);
        match event {
            Event::Settled(units) if is_in_flight => {
                self.in_flight = (self.in_flight + units).saturating_sub(hold.units);
            }
            _ if ends && is_in_flight => {
                self.in_flight = self.in_flight.saturating_sub(hold.units);
            }
            _ => {}
        }
        for Named { counted, .. } in &mut self.named {
            match event {
                Event::Answered | Event::Refused { .. } => counted.arrived(now, hold.units),
                Event::Lost => counted.lost(now.after(self.linger), self.linger, hold.units),
                Event::Returned if is_in_flight => counted.returned(hold.units),
                Event::Settled(units) if is_in_flight => {
                    counted.returned(hold.units);
                    counted.taken(now, units);
                }
                // Units that turn out not to be used count on.
                Event::Settled(units) => {
                    counted.taken(now, units.saturating_sub(hold.units));
                    counted.arrived(now, units.saturating_sub(hold.units));
                }
                _ => {}
            }
        }
    }

    /// The slowest limit that headers name, if the search allows no less.
    fn named_rate(&self) -> Option<(u64, Duration)> {
        let pace = self.search.found().per_unit;
        let rates = self.named.iter().map(|named| (named.units, named.period));
        let slowest = rates.max_by_key(|&(units, period)| time_per_unit(units, period))?;
        let (units, period) = slowest;
        (self.search.was_never_refused() || pace <= time_per_unit(units, period)).then_some(slowest)
    }

    /// Whether the next request waits for the answer of the one before, if that is late: the
    /// server wants them to be a gap apart, and most answers come within it.
    fn follows_answers(&self) -> bool {
        self.search.wants_gaps() && self.way.mean() < self.search.per_unit()
    }

    /// When the next request may leave by the pace.
    fn paced(&self) -> Time {
        match self.way.open {
            Some(taken) if self.follows_answers() => {
                self.next.max(taken.after(self.search.per_unit() * 2))
            }
            _ => self.next,
        }
    }

    /// A request was answered. If it was the last one, it has arrived later or earlier than on
    /// average by as much as its answer has.
    fn answered(&mut self, now: Time, hold: &Reservation) {
        let Some(taken) = hold.taken else { return };
        let (took, follows) = (now.since(taken), self.follows_answers());
        if self.way.answered(taken, took) && follows {
            let (mean, gap) = (self.way.mean(), self.search.per_unit());
            let later = took.saturating_sub(mean).min(gap);
            self.next = self.next.after(later).before(mean.saturating_sub(took));
        }
    }

    fn settle(&mut self, hold: &Reservation, units: u64) {
        if !hold.is_in_flight() {
            self.search.settled(hold.units, units);
        }
        let per_unit = self.search.per_unit();
        let times = |units: u64| u32::try_from(units).unwrap_or(u32::MAX);
        self.next = self
            .next
            .after(per_unit.saturating_mul(times(units.saturating_sub(hold.units))))
            .before(per_unit.saturating_mul(times(hold.units.saturating_sub(units))));
    }
}

impl Way {
    /// Part of the average that is the latest answer.
    const LATEST: f64 = 1.0 / 16.0;

    fn mean(&self) -> Duration {
        Duration::try_from_secs_f64(self.mean.unwrap_or_default()).unwrap_or_default()
    }

    /// A request that was taken then was answered. Gives whether it is the last one.
    fn answered(&mut self, taken: Time, took: Duration) -> bool {
        let took = took.as_secs_f64();
        self.mean = Some(self.mean.map_or(took, |mean| mean + (took - mean) * Way::LATEST));
        self.open.take_if(|last| *last == taken).is_some()
    }
}

impl Named {
    /// Whether the server's count is no news: no less is left of it than is free here.
    fn agrees(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let (Some(remaining), Some(reset)) = (info.remaining, info.reset) else {
            return false;
        };
        let free = self.units.saturating_sub(self.counted.units(now));
        // Resets are told in whole seconds.
        free <= remaining && reset <= self.period + self.period / 20 + Duration::from_secs(1)
    }
}

fn time_per_unit(units: u64, period: Duration) -> Duration {
    period / u32::try_from(units.max(1)).unwrap_or(u32::MAX)
}

impl Limiter for Auto {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        let ceiling = self.ceiling.earliest(now, units);
        let named = self.named.iter_mut().map(|it| it.counted.earliest(now, units, it.units));
        let when = named.fold(ceiling, Availability::max);
        let paced = self.paced();
        if paced <= now {
            return when;
        }
        self.search.used_up(now);
        when.max(Availability::At(paced))
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.search.taken(now);
        let units_now = u32::try_from(units).unwrap_or(u32::MAX);
        let gap = self.search.per_unit().saturating_mul(units_now);
        let catch_up = if self.search.wants_gaps() { Duration::ZERO } else { CATCH_UP };
        self.next = self.next.max(now.before(catch_up)).after(gap);
        self.in_flight += units;
        self.named.iter_mut().for_each(|named| named.counted.taken(now, units));
        self.way.open = Some(now);
        Reservation { taken: Some(now), ..self.ceiling.take(now, units) }
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        self.count(now, hold, event);
        if matches!(event, Event::Answered | Event::Refused { .. }) {
            self.answered(now, hold);
        }
        match event {
            Event::Answered => self.search.answered(now, hold.units),
            Event::Refused { explained } => {
                let is_explained = explained || self.search.explains(hold.taken);
                self.search.refused(now, is_explained);
            }
            Event::Lost | Event::Returned => self.search.ended(),
            Event::Settled(units) => self.settle(hold, units),
            Event::Sent | Event::Acked | Event::Finished => {}
        }
        // The ceiling is the job's: a refusal says nothing of it.
        self.ceiling.on(
            now,
            hold,
            match event {
                Event::Refused { .. } => Event::Refused { explained: true },
                event => event,
            },
        );
        // The pace may have changed.
        Availability::Now
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let is_known = self.heed_name(now, info);
        self.ceiling.inform(now, info) || is_known
    }

    fn allow(&mut self, amount: u64) {
        self.ceiling.allow(amount);
        self.search.set_ceiling(amount);
    }

    fn search(&self, now: Time) -> Option<SearchReport> {
        Some(self.search.report(now))
    }

    fn heed_searches(&mut self, now: Time, others: OtherSearches) {
        self.search.heed(now, others);
    }

    fn stats(&self) -> LimiterStats {
        let named = self.named_rate();
        let searched = self.search.found();
        let found = match named {
            Some((units, period)) => {
                let per_unit = searched.per_unit.max(time_per_unit(units, period));
                FoundPace { per_unit, is_settled: true, named, ..searched }
            }
            None => searched,
        };
        LimiterStats { found: Some(found), ..self.ceiling.stats() }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.ceiling.is_idle(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// At most 100 in a second.
    fn auto() -> Auto {
        Auto::new(&Terms::strict(100, Duration::from_secs(1)))
    }

    /// Takes a request each time that one may leave, until this time; each is answered at once.
    fn run(auto: &mut Auto, from: u64, until: u64) -> u64 {
        let mut now = at(from);
        for requests in 0.. {
            match auto.earliest(now, 1) {
                Availability::At(next) if next < at(until) => now = next,
                Availability::At(_) => return requests,
                _ => {}
            }
            let mut hold = auto.take(now, 1);
            auto.earliest(now, 1);
            auto.on(now, &mut hold, Event::Answered);
        }
        0
    }

    #[test]
    fn requests_leave_evenly_and_faster_while_none_is_refused() {
        let mut auto = auto();
        let counts: Vec<u64> = (0..5).map(|s| run(&mut auto, s * 1_000, s * 1_000 + 999)).collect();
        assert_eq!(counts.len(), 5);
        assert!(counts.windows(2).all(|pair| pair[0] < pair[1]), "{counts:?}");
        assert!((9..=11).contains(&counts[0]), "{counts:?}");
        run(&mut auto, 5_000, 60_000);
        assert!((auto.search.pace() - 100.0).abs() < 1e-9, "never more than the ceiling");
    }

    #[test]
    fn a_refused_pace_falls_back_to_the_last_right_one() {
        let mut auto = auto();
        run(&mut auto, 0, 3_500);
        let tried = auto.search.pace();
        let mut holds = [0; 3].map(|_| auto.take(at(3_600), 1));
        for (index, hold) in holds.iter_mut().enumerate() {
            auto.on(at(3_650), hold, Event::Refused { explained: index > 0 });
        }
        assert_eq!(auto.search.pace(), tried, "until the pause is over");
        auto.take(at(4_650), 1);
        assert!((auto.search.pace() - tried / 1.25).abs() < 1e-9, "{:?}", auto.search);
    }

    #[test]
    fn a_pause_longer_than_the_time_before_tells_the_window() {
        let mut auto = auto();
        let taken = run(&mut auto, 0, 2_000);
        let mut hold = auto.take(at(2_000), 1);
        auto.on(at(2_050), &mut hold, Event::Refused { explained: false });
        auto.take(at(60_000), 1);
        let per_minute = auto.search.pace() * 60.0;
        assert!((per_minute - taken as f64).abs() < 0.1, "{per_minute} for {taken}");
    }

    #[test]
    fn without_demand_the_pace_stays() {
        let mut auto = auto();
        for second in 0..50 {
            let now = at(second * 1_100);
            let mut hold = auto.take(now, 1);
            auto.on(now, &mut hold, Event::Answered);
        }
        assert!((auto.search.pace() - 10.0).abs() < 1e-9, "{:?}", auto.search);
    }

    #[test]
    fn a_cost_that_turns_out_smaller_lets_the_next_go_sooner() {
        let mut auto = auto();
        let mut hold = auto.take(at(0), 5);
        assert_eq!(auto.earliest(at(0), 1), Availability::At(at(500)));
        auto.on(at(10), &mut hold, Event::Answered);
        auto.on(at(10), &mut hold, Event::Settled(2));
        assert_eq!(auto.search.accepted(), 2);
        assert_eq!(auto.earliest(at(10), 1), Availability::At(at(200)));
    }
}
