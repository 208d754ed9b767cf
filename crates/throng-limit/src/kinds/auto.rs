//! A limit that is found out while working, below a ceiling. Pure.
//!
//! Requests leave one after the other, evenly: then a refusal costs one request and those in
//! flight, and windows, buckets and counters of a server look alike. Only the pace has to be
//! found. See [`Search`] for how.
//!
//! A limit whose window the server's headers name needs no search: it is kept as a sliding
//! window is ([`Named`]), below the pace.

use std::time::Duration;

use crate::kinds::sliding::Sliding;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::limiter::{
    Availability, Event, FoundPace, Limiter, LimiterStats, RateLimitInfo, Reservation,
};
use crate::quota::SharedTerms;
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
    search: Search,
    /// When the next request may leave.
    next: Time,
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
            search: Search::new(terms.units, terms.period),
            next: Time::ZERO,
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
        if self.next <= now {
            return when;
        }
        self.search.used_up();
        when.max(Availability::At(self.next))
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.search.taken(now);
        let units_now = u32::try_from(units).unwrap_or(u32::MAX);
        let gap = self.search.per_unit().saturating_mul(units_now);
        self.next = self.next.max(now.before(CATCH_UP)).after(gap);
        self.in_flight += units;
        self.named.iter_mut().for_each(|named| named.counted.taken(now, units));
        self.ceiling.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        self.count(now, hold, event);
        match event {
            Event::Answered => self.search.answered(now, hold.units),
            Event::Refused { explained } => self.search.refused(now, explained),
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
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let is_known = self.heed_name(now, info);
        self.ceiling.inform(now, info) || is_known
    }

    fn allow(&mut self, amount: u64) {
        self.ceiling.allow(amount);
        self.search.set_ceiling(amount);
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

/// The search for the pace that a server takes.
///
/// It begins with a tenth of the ceiling. A pace is right once it has lasted for a *trial*,
/// at first the period, in which requests had to wait for it and none was refused. Then a
/// quarter more is tried, until one is refused. From then on it lies between the fastest pace
/// that was right and the slowest that was refused, and their middle is tried, until they are
/// a twentieth apart. After [`FIRST_BELIEF`] more trials, then after twice as many and so
/// on, a little more is tried again: the server may allow more by now.
///
/// A refused pace falls back to the last right one, or to what the server took in from one
/// pause to the end of the next. Where a pause is longer than the time until the refusal, the
/// server's window is longer than that time: then the window's amount and length are known,
/// and trials last as long. Where a pace is refused that was right before, trials become
/// twice as long.
///
/// A bucket is empty at each refusal. So it has got back whatever it took in since then: its
/// rate is no less than that, whatever came back in a pause. Where a pace is refused that had
/// lasted, the search falls back a quarter of the way to this rate; and the pace that it
/// gives as found was taken in from one refusal to another, or for [`PROOF`] windows since one.
#[derive(Debug)]
struct Search {
    period: Duration,
    /// Units in a second, for this and all paces.
    ceiling: f64,
    pace: f64,
    right: Option<f64>,
    refused: Option<f64>,
    /// By how much more is tried next.
    step: f64,
    /// The period, or the longer window that a pause has shown.
    window: Duration,
    trial: Duration,
    trial_ends: Time,
    /// Answers for which the trial lasts at least: it is no trial of what is in flight.
    trial_answers: u64,
    /// Whether requests had to wait in this trial.
    is_used_up: bool,
    /// Trials until more is tried, once the pace is found.
    rest: Option<u32>,
    /// The pace that was found last, or less where it was refused since.
    found: Option<f64>,
    belief: u32,
    in_flight: u64,
    /// Units that the server has taken in.
    accepted: u64,
    /// Since when requests leave without a pause.
    busy_since: Option<Mark>,
    /// The refusal after which none has left yet.
    refused_at: Option<Mark>,
    /// The first refusal, and the last one whose pause is over.
    first_refusal: Option<Mark>,
    last_refusal: Option<Mark>,
    last_pause: Option<Duration>,
    /// The fastest pace that the server has taken in since a refusal.
    proven: Option<f64>,
}

/// A time, and the units that the server had taken in by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    time: Time,
    accepted: u64,
}

/// By how much more is tried while none was refused.
const LARGE_STEP: f64 = 1.25;
/// By how much more is tried at first after a refusal, and how near the paces come.
const SMALL_STEP: f64 = 1.05;
/// The part of a refused pace that is tried next.
const BACK: f64 = 0.97;
/// Trials for which a found pace is kept at first.
const FIRST_BELIEF: u32 = 32;
/// Longest trial, in periods, unless a pause shows a longer one.
const LONGEST_TRIAL: u32 = 64;
/// Answers of a trial at least, and for each request in flight: a refusal then costs few of them.
const ANSWERS: u64 = 4;
const ANSWERS_IN_FLIGHT: u64 = 10;
/// Number of windows after which the pace since a refusal is one that the server takes, and
/// between two refusals.
const PROOF: u32 = 6;
const SHORT_PROOF: u32 = 2;
/// Fewest units before a pause that tell a window; by how much more is tried where fewer do.
const TELLING: u64 = 3;
const LARGEST_STEP: f64 = 1.5;

impl Search {
    fn new(units: u64, period: Duration) -> Search {
        let ceiling = units as f64 / period.as_secs_f64();
        Search {
            period,
            ceiling,
            pace: ceiling / 10.0,
            right: None,
            refused: None,
            step: LARGE_STEP,
            window: period,
            trial: period,
            trial_ends: Time::ZERO,
            trial_answers: 0,
            is_used_up: false,
            rest: None,
            found: None,
            belief: FIRST_BELIEF,
            in_flight: 0,
            accepted: 0,
            busy_since: None,
            refused_at: None,
            first_refusal: None,
            last_refusal: None,
            last_pause: None,
            proven: None,
        }
    }

    /// The time for one unit.
    fn per_unit(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.pace).unwrap_or(Duration::MAX)
    }

    fn found(&self) -> FoundPace {
        let pace = self.found.or(self.right).unwrap_or(self.pace);
        let pace = self.proven.map_or(pace, |proven| pace.min(proven));
        FoundPace {
            per_unit: Duration::try_from_secs_f64(1.0 / pace).unwrap_or(Duration::MAX),
            was_refused: !self.was_never_refused(),
            is_settled: self.found.is_some(),
            named: None,
        }
    }

    fn was_never_refused(&self) -> bool {
        self.last_pause.is_none() && self.refused_at.is_none()
    }

    fn mark(&self, time: Time) -> Mark {
        Mark { time, accepted: self.accepted }
    }

    fn set_ceiling(&mut self, units: u64) {
        self.ceiling = units.max(1) as f64 / self.period.as_secs_f64();
        self.pace = self.pace.min(self.ceiling);
    }

    fn used_up(&mut self) {
        self.is_used_up = true;
    }

    /// A request leaves.
    fn taken(&mut self, now: Time) {
        if let Some(refused_at) = self.refused_at.take() {
            self.conclude(refused_at, now);
        } else if self.busy_since.is_none() {
            self.busy_since = Some(self.mark(now));
            self.begin_trial(now);
        }
        self.in_flight += 1;
    }

    fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn answered(&mut self, now: Time, units: u64) {
        self.ended();
        self.accepted += units;
        self.prove(now);
        self.trial_answers = self.trial_answers.saturating_sub(1);
        let is_over = self.is_used_up && now >= self.trial_ends && self.trial_answers == 0;
        if is_over && self.refused_at.is_none() {
            self.held(now);
        }
    }

    /// What the server has taken in since a refusal is a pace that it takes, if that is long ago.
    fn prove(&mut self, now: Time) {
        for mark in [self.first_refusal, self.last_refusal].into_iter().flatten() {
            self.prove_between(mark, self.mark(now), PROOF);
        }
    }

    fn prove_between(&mut self, from: Mark, to: Mark, windows: u32) {
        if to.time.since(from.time) >= self.window * windows {
            let pace = from.pace_until(to);
            self.proven = Some(self.proven.map_or(pace, |proven| proven.max(pace)));
        }
    }

    fn settled(&mut self, before: u64, after: u64) {
        self.accepted = self.accepted.saturating_sub(before) + after;
    }

    fn refused(&mut self, now: Time, explained: bool) {
        self.ended();
        if !explained {
            self.refused_at = self.refused_at.or(Some(self.mark(now)));
        }
    }

    fn begin_trial(&mut self, now: Time) {
        self.trial_ends = now.after(self.trial);
        self.trial_answers = ANSWERS.max(ANSWERS_IN_FLIGHT * self.in_flight);
        self.is_used_up = false;
    }

    /// Nothing was refused in a trial.
    fn held(&mut self, now: Time) {
        self.right = Some(self.pace);
        self.begin_trial(now);
        match self.rest {
            Some(1) => {
                self.rest = None;
                self.refused = None;
                self.belief = self.belief.saturating_mul(2);
                self.step = SMALL_STEP;
            }
            Some(trials) => {
                self.rest = Some(trials - 1);
                return;
            }
            None => {}
        }
        let more = self.pace * self.step;
        match self.refused {
            Some(refused) if refused <= self.pace * SMALL_STEP => {
                self.rest = Some(self.belief);
                self.found = Some(self.pace);
            }
            Some(refused) => self.pace = more.min((self.pace * refused).sqrt()),
            None => self.pace = more.min(self.ceiling),
        }
        self.step = (self.step * self.step).min(LARGE_STEP.max(self.step));
    }

    /// The pause after a refusal is over.
    fn conclude(&mut self, refused: Mark, now: Time) {
        let began = self.busy_since.unwrap_or(refused);
        let busy = refused.time.since(began.time);
        let pause = now.since(refused.time);
        let taken = self.accepted.saturating_sub(began.accepted);
        let taken_in_for =
            |pause: Duration| (taken as f64).max(0.5) / (busy + pause).as_secs_f64().max(1e-6);
        let was_right = self.right.is_some_and(|right| right >= self.pace * BACK);
        let back = self.pace * BACK;
        self.refused = Some(self.pace);
        self.found =
            self.found.map(|found| if self.pace > found { found } else { back.min(found) });
        let came_back = self.last_refusal.map(|last| last.pace_until(refused));
        if let Some(last) = self.last_refusal {
            self.prove_between(last, refused, SHORT_PROOF);
        }
        let is_vague = pause > busy && taken < TELLING;
        let pace = match self.right {
            _ if is_vague => {
                self.right = None;
                (taken_in_for(pause) * back).sqrt()
            }
            _ if pause > busy => {
                self.right = None;
                self.window = self.window.max(busy + pause);
                self.trial = self.trial.max(self.window);
                taken_in_for(pause)
            }
            Some(right) if !was_right => right,
            _ => {
                if was_right {
                    self.trial = self.trial.max((self.trial * 2).min(self.period * LONGEST_TRIAL));
                }
                self.right = None;
                let held_for_long = was_right && busy >= self.trial;
                // Part of a pause is rounding.
                let shorter = self.last_pause.map_or(pause, |last| last.min(pause));
                match came_back {
                    Some(came_back) if held_for_long => {
                        (came_back * back * back * back).sqrt().sqrt()
                    }
                    None if held_for_long => back,
                    _ => taken_in_for(shorter),
                }
            }
        };
        self.pace = if self.right.is_some() { pace } else { pace.min(back) };
        self.step = if is_vague { LARGEST_STEP } else { SMALL_STEP };
        self.rest = None;
        self.last_pause = Some(pause);
        self.first_refusal = self.first_refusal.or(Some(refused));
        self.last_refusal = Some(refused);
        self.busy_since = Some(self.mark(now));
        self.begin_trial(now);
    }
}

impl Mark {
    /// Units that the server took in from here on, in a second.
    fn pace_until(self, later: Mark) -> f64 {
        let units = later.accepted.saturating_sub(self.accepted) as f64;
        units.max(0.5) / later.time.since(self.time).as_secs_f64().max(1e-6)
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
        assert!((auto.search.pace - 100.0).abs() < 1e-9, "never more than the ceiling");
    }

    #[test]
    fn a_refused_pace_falls_back_to_the_last_right_one() {
        let mut auto = auto();
        run(&mut auto, 0, 3_500);
        let tried = auto.search.pace;
        let mut holds = [0; 3].map(|_| auto.take(at(3_600), 1));
        for (index, hold) in holds.iter_mut().enumerate() {
            auto.on(at(3_650), hold, Event::Refused { explained: index > 0 });
        }
        assert_eq!(auto.search.pace, tried, "until the pause is over");
        auto.take(at(4_650), 1);
        assert!((auto.search.pace - tried / LARGE_STEP).abs() < 1e-9, "{:?}", auto.search);
    }

    #[test]
    fn a_pause_longer_than_the_time_before_tells_the_window() {
        let mut auto = auto();
        let taken = run(&mut auto, 0, 2_000);
        let mut hold = auto.take(at(2_000), 1);
        auto.on(at(2_050), &mut hold, Event::Refused { explained: false });
        auto.take(at(60_000), 1);
        let per_minute = auto.search.pace * 60.0;
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
        assert!((auto.search.pace - 10.0).abs() < 1e-9, "{:?}", auto.search);
    }

    #[test]
    fn a_cost_that_turns_out_smaller_lets_the_next_go_sooner() {
        let mut auto = auto();
        let mut hold = auto.take(at(0), 5);
        assert_eq!(auto.earliest(at(0), 1), Availability::At(at(500)));
        auto.on(at(10), &mut hold, Event::Answered);
        auto.on(at(10), &mut hold, Event::Settled(2));
        assert_eq!(auto.search.accepted, 2);
        assert_eq!(auto.earliest(at(10), 1), Availability::At(at(200)));
    }
}
