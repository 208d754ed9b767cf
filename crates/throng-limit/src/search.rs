//! The search for the pace that a server takes, while it is asked. Pure.

use std::time::Duration;

use crate::limiter::{FoundPace, OtherSearches, SearchReport};
use crate::time::Time;

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
///
/// Some servers want requests to be a gap apart. There a refused request was answered sooner after
/// the one before than any accepted one; see [`Gaps`]. Such a server is ready again at once, so a
/// pause teaches nothing, and a refused pace is only lowered a little.
///
/// Several runs of an account search for its pace together. Each knows what the server has taken
/// in from the others, and a refusal of one is a refusal of all. The pace that is tried is the
/// mean of all searches, of which each run has an equal part. A run that doesn't use its part
/// is left out.
#[derive(Debug)]
pub struct PaceSearch {
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
    /// Units that the server has taken in, and those of them that are this run's.
    accepted: u64,
    own: u64,
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
    gaps: Gaps,
    /// Number of times that this run was refused what nothing explains.
    refusals: u64,
    /// When a request last had to wait for the pace.
    waited_at: Option<Time>,
    /// The searches of the other runs of the account, since they are known.
    others: Option<OtherSearches>,
}

/// The times between answers, which are those between arrivals, as far as the way back is even.
#[derive(Debug, Default)]
struct Gaps {
    last: Option<Time>,
    /// The shortest time between an answer and a request that the server took in.
    shortest: Option<Duration>,
    /// Whether the last refusal is one of a server that wants requests to be a gap apart.
    are_bounded: bool,
}

/// A time, and the units that the server had taken in by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    time: Time,
    accepted: u64,
    /// The pace that was tried.
    tried: f64,
}

/// By how much more is tried while none was refused.
const LARGE_STEP: f64 = 1.25;
/// By how much more is tried at first after a refusal, and how near the paces come.
const SMALL_STEP: f64 = 1.05;
/// The part of a refused pace that is tried next.
const BACK: f64 = 0.97;
/// What is lost beside that if no pace has lasted since the refusal before.
const BACK_AGAIN: f64 = 0.9;
/// Paces that are nearer than this are one pace.
const NEARLY: f64 = 0.99;
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
/// Longest pause after which a server that wants gaps is ready, unless they are longer.
const SOON: Duration = Duration::from_secs(3);
/// Time for which a run wants more after a request had to wait, at least.
const WANTS: Duration = Duration::from_secs(1);
/// Fewest units before a pause that tell a window; by how much more is tried where fewer do.
const TELLING: u64 = 3;
const LARGEST_STEP: f64 = 1.5;

impl PaceSearch {
    pub fn new(units: u64, period: Duration) -> PaceSearch {
        let ceiling = units as f64 / period.as_secs_f64();
        PaceSearch {
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
            own: 0,
            busy_since: None,
            refused_at: None,
            first_refusal: None,
            last_refusal: None,
            last_pause: None,
            proven: None,
            gaps: Gaps::default(),
            refusals: 0,
            waited_at: None,
            others: None,
        }
    }

    /// What the other runs of the account are to know.
    pub fn report(&self, now: Time) -> SearchReport {
        // After a refusal it will try less, once the pause is over.
        let pace = match self.refused_at {
            Some(_) => self.right.unwrap_or(self.pace).min(self.pace * BACK),
            None => self.pace,
        };
        let wants_until = self.per_unit().saturating_mul(2).max(WANTS);
        SearchReport {
            pace: (pace * 1e6).round() as u64,
            wants: self.waited_at.is_some_and(|waited| now.since(waited) <= wants_until),
            accepted: self.own,
            refused: self.refusals,
        }
    }

    /// What the other runs of the account do.
    pub fn heed(&mut self, now: Time, others: OtherSearches) {
        let before = self.others.replace(others);
        if others.runs > 0 && self.right.is_none() && self.was_never_refused() {
            self.pace = (others.pace as f64 / 1e6 / others.runs as f64).min(self.ceiling);
            self.right = Some(self.pace);
        }
        let Some(before) = before else { return };
        self.accepted += others.accepted.saturating_sub(before.accepted);
        if others.refused > before.refused && self.refused_at.is_none() {
            self.conclude(self.mark(now), now);
        }
    }

    /// Whether the refusal of a request that was taken then is known by an earlier one.
    pub fn explains(&self, taken: Option<Time>) -> bool {
        let last = self.last_refusal.map(|last| last.time);
        taken.zip(last).is_some_and(|(taken, last)| taken <= last)
    }

    /// The pace that all runs of the account try together.
    fn tried(&self) -> f64 {
        let others = self.others.unwrap_or_default();
        (self.pace + others.pace as f64 / 1e6) / (1 + others.runs) as f64
    }

    /// Whether the server wants requests to be a gap apart, as far as its refusals tell.
    pub fn wants_gaps(&self) -> bool {
        self.gaps.are_bounded
    }

    /// The pace that is tried, in units per second.
    #[cfg(test)]
    pub fn pace(&self) -> f64 {
        self.pace
    }

    /// Number of units that the server has taken in.
    #[cfg(test)]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The time between two units of this run.
    pub fn per_unit(&self) -> Duration {
        let runs = 1 + self.others.map_or(0, |others| others.runs);
        Duration::try_from_secs_f64(runs as f64 / self.tried()).unwrap_or(Duration::MAX)
    }

    pub fn found(&self) -> FoundPace {
        let pace = self.found.or(self.right).unwrap_or(self.pace);
        let pace = self.proven.map_or(pace, |proven| pace.min(proven));
        FoundPace {
            per_unit: Duration::try_from_secs_f64(1.0 / pace).unwrap_or(Duration::MAX),
            was_refused: !self.was_never_refused(),
            is_settled: self.found.is_some(),
            named: None,
            wants_gaps: self.wants_gaps(),
        }
    }

    pub fn was_never_refused(&self) -> bool {
        self.first_refusal.is_none() && self.refused_at.is_none()
    }

    fn mark(&self, time: Time) -> Mark {
        Mark { time, accepted: self.accepted, tried: self.tried() }
    }

    pub fn set_ceiling(&mut self, units: u64) {
        self.ceiling = units.max(1) as f64 / self.period.as_secs_f64();
        self.pace = self.pace.min(self.ceiling);
    }

    pub fn used_up(&mut self, now: Time) {
        self.is_used_up = true;
        self.waited_at = Some(now);
    }

    /// A request leaves.
    pub fn taken(&mut self, now: Time) {
        if let Some(refused_at) = self.refused_at.take() {
            self.conclude(refused_at, now);
        } else if self.busy_since.is_none() {
            self.busy_since = Some(self.mark(now));
            self.begin_trial(now);
        }
        self.in_flight += 1;
    }

    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub fn answered(&mut self, now: Time, units: u64) {
        self.ended();
        self.accepted += units;
        self.own += units;
        self.gaps.accepted(now);
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

    /// The pace that is proven, if that is less than the one that was refused.
    fn proven_below(&self, tried: f64) -> f64 {
        self.proven.filter(|proven| *proven < tried * NEARLY).unwrap_or_default()
    }

    fn prove_between(&mut self, from: Mark, to: Mark, windows: u32) {
        if to.time.since(from.time) >= self.window * windows {
            let pace = from.pace_until(to);
            self.proven = Some(self.proven.map_or(pace, |proven| proven.max(pace)));
        }
    }

    pub fn settled(&mut self, before: u64, after: u64) {
        self.accepted = self.accepted.saturating_sub(before) + after;
        self.own = self.own.saturating_sub(before) + after;
    }

    pub fn refused(&mut self, now: Time, explained: bool) {
        self.ended();
        self.gaps.refused(now, explained);
        if !explained {
            self.refusals += 1;
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
        let tried = self.tried();
        self.right = Some(tried);
        self.pace = tried;
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
        let more = tried * self.step;
        match self.refused {
            Some(refused) if refused <= tried * SMALL_STEP => {
                self.rest = Some(self.belief);
                self.found = Some(tried);
            }
            Some(refused) => self.pace = more.min((tried * refused).sqrt()),
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
        let tried = refused.tried;
        let was_right = self.right.is_some_and(|right| right >= tried * NEARLY);
        let back = tried * BACK;
        self.refused = Some(tried);
        self.found = self.found.map(|found| if tried > found { found } else { back.min(found) });
        let came_back = self.last_refusal.map(|last| last.pace_until(refused));
        if let Some(last) = self.last_refusal {
            self.prove_between(last, refused, SHORT_PROOF);
        }
        let is_vague = pause > busy && taken < TELLING;
        // A server that wants gaps is ready again at once; it names a second at most.
        let wants_gaps = self.gaps.are_bounded && pause <= SOON.max(self.per_unit() * 2);
        let pace = match self.right {
            Some(right) if wants_gaps && !was_right => right,
            Some(_) if wants_gaps => {
                self.right = None;
                back
            }
            None if wants_gaps && self.first_refusal.is_some() => back * BACK_AGAIN,
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
                    // It takes no less than it took for long.
                    _ => taken_in_for(shorter).max(self.proven_below(tried)),
                }
            }
        };
        self.pace = if self.right.is_some() { pace } else { pace.min(back) };
        self.step = if is_vague { LARGEST_STEP } else { SMALL_STEP };
        self.rest = None;
        // The pause after the refusal of another run is not known.
        self.last_pause = if pause.is_zero() { self.last_pause } else { Some(pause) };
        self.first_refusal = self.first_refusal.or(Some(refused));
        self.last_refusal = Some(refused);
        self.busy_since = Some(self.mark(now));
        self.begin_trial(now);
    }
}

impl Gaps {
    fn accepted(&mut self, now: Time) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.since(last);
            self.shortest = Some(self.shortest.map_or(gap, |shortest| shortest.min(gap)));
        }
    }

    fn refused(&mut self, now: Time, explained: bool) {
        let gap = self.last.replace(now).map(|last| now.since(last));
        if !explained {
            let both = gap.zip(self.shortest);
            self.are_bounded = both.is_some_and(|(gap, shortest)| gap < shortest);
        }
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
mod tests;
