//! The experiment: what to send when, and what the answers show. Pure.
//!
//! One request after the other, so that a limit that is reached costs one refusal:
//!
//! 1. As fast as answers come, until one is refused: so many at once.
//! 2. When all is free again, one alone; half a period later all others. A bucket
//!    refuses some of these: what it took since the last refusal is its rate.
//! 3. When the lone one no longer counts, and the others still do, as many as are
//!    taken: one by a sliding window, all by a fixed one, some by a bucket.
//! 4. What remains: the rate of a bucket, or whether refusals count.

use std::time::Duration;

use super::found::{FoundKind, ProbeResult, chosen};

/// What came of a request, in times since the experiment began.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// When it arrived, about.
    pub at: Duration,
    /// Whether it was refused.
    pub refused: bool,
    /// How long to wait, if the refusal says so.
    pub wait: Option<Duration>,
    /// How much less may be meant: times are told in whole seconds.
    pub rounding: Duration,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeStep {
    /// Send one, not before this time.
    Send(Duration),
    /// There is nothing more to find.
    Found(ProbeResult),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Fill,
    /// The server does not say when to come back.
    Poll(u32),
    Lone,
    /// Number of requests that are left to send.
    Others(u64),
    Edge,
    /// What a bucket takes from one refusal to the next.
    Refill,
    /// Whether anything is taken in the middle of a window.
    Middle,
    /// Whether a refusal has taken a place.
    Recount,
    Over,
}

/// An experiment under way.
#[derive(Debug)]
pub struct Experiment {
    allowed: u32,
    phase: Phase,
    next: Duration,
    /// Taken in since the last refusal, or since the phase began.
    taken: u64,
    began: Option<Duration>,
    /// What the first phase took, and from when to when.
    units: u64,
    spent: Duration,
    /// When it was last refused, and what was taken since that one of them.
    refused_at: Duration,
    /// Between these the period lies.
    period: (Duration, Duration),
    lone: Duration,
    others: (Duration, Duration),
    edge: Duration,
    at_edge: u64,
    /// When the first window ended, as it was told.
    first_edge: Option<Duration>,
    found: ProbeResult,
}

/// How long it polls first, where it is not told.
const FIRST_POLL: Duration = Duration::from_secs(1);

impl Experiment {
    /// One that may be refused so often.
    #[must_use]
    pub fn new(refusals: u32) -> Experiment {
        Experiment {
            allowed: refusals,
            phase: Phase::Fill,
            next: Duration::ZERO,
            taken: 0,
            began: None,
            units: 0,
            spent: Duration::ZERO,
            refused_at: Duration::ZERO,
            period: (Duration::ZERO, Duration::ZERO),
            lone: Duration::ZERO,
            others: (Duration::ZERO, Duration::ZERO),
            edge: Duration::ZERO,
            at_edge: 0,
            first_edge: None,
            found: ProbeResult {
                kind: FoundKind::Unknown,
                amount: None,
                period: None,
                between: None,
                per_second: None,
                refusals_count: None,
                requests: 0,
                refusals: 0,
                stopped: None,
            },
        }
    }

    /// What to do next.
    #[must_use]
    pub fn step(&self) -> ProbeStep {
        match self.phase {
            Phase::Over => ProbeStep::Found(self.found.clone()),
            _ => ProbeStep::Send(self.next),
        }
    }

    /// It has to end now.
    pub fn stop(&mut self, why: &'static str) {
        self.found.stopped = Some(why);
        self.conclude();
    }

    /// What came of the request that was sent last.
    pub fn heard(&mut self, seen: Observation) {
        self.found.requests += 1;
        self.next = seen.at;
        if seen.refused {
            self.found.refusals += 1;
            self.refused(seen);
            self.refused_at = seen.at;
            self.taken = 0;
            if self.found.refusals >= self.allowed && self.phase != Phase::Over {
                self.stop("it was refused as often as it may be (--refusals)");
            }
        } else {
            self.taken_in(seen.at)
        }
    }

    fn taken_in(&mut self, at: Duration) {
        self.taken += 1;
        match self.phase {
            Phase::Fill => {
                self.began.get_or_insert(at);
            }
            Phase::Poll(_) => {
                self.period.1 = at.saturating_sub(self.began.unwrap_or_default());
                self.later(Phase::Lone, at + self.surely());
            }
            Phase::Lone => self.after_lone(at),
            Phase::Others(left) => {
                if left + 1 == self.units {
                    self.others.0 = at;
                }
                self.others.1 = at;
                match left {
                    0 | 1 => self.later(Phase::Edge, self.lone + self.surely()),
                    left => self.phase = Phase::Others(left - 1),
                }
            }
            Phase::Edge => {
                if self.taken == 1 {
                    self.edge = at;
                }
                if self.taken > 3 * self.units {
                    self.stop("it takes more than it did at first, as fast as it is sent");
                }
            }
            Phase::Refill | Phase::Middle | Phase::Recount | Phase::Over => {}
        }
    }

    fn refused(&mut self, seen: Observation) {
        let at = seen.at;
        match self.phase {
            // Something was used before.
            Phase::Fill if self.taken == 0 => {
                self.next = at + seen.wait.unwrap_or(FIRST_POLL * 10);
            }
            Phase::Fill => self.filled(seen),
            Phase::Poll(times) => {
                self.period.0 = at.saturating_sub(self.began.unwrap_or_default());
                self.later(Phase::Poll(times + 1), at + FIRST_POLL * 4_u32.pow(times.min(9) + 1));
            }
            Phase::Lone => self.next = at + seen.wait.unwrap_or(self.surely()),
            Phase::Others(_) => self.refused_others(seen),
            Phase::Edge => self.refused_at_edge(seen),
            // It was not to be full again: then it is no bucket.
            Phase::Refill if 20 * self.taken >= 19 * self.units => {
                self.found.kind = FoundKind::Unknown;
                self.stop("it takes more at once than it should have by then");
            }
            Phase::Refill => {
                self.measure(at);
                self.conclude();
            }
            Phase::Middle if 4 * self.taken >= 3 * self.units => {
                self.found.kind = FoundKind::Unknown;
                self.stop("a window may have ended, or a bucket have filled, while it looked");
            }
            Phase::Middle => {
                if self.taken > 0 {
                    self.found.kind = FoundKind::Bucket;
                    self.measure(at);
                }
                self.conclude();
            }
            Phase::Recount => {
                let free = self.units.saturating_sub(self.at_edge);
                self.found.refusals_count = Some(self.taken < free);
                self.conclude();
            }
            Phase::Over => {}
        }
    }

    /// The first refusal.
    fn filled(&mut self, seen: Observation) {
        self.units = self.taken;
        self.found.amount = Some(self.units);
        self.spent = seen.at.saturating_sub(self.began.unwrap_or_default());
        match seen.wait {
            Some(wait) => {
                self.period = told(self.spent, wait, seen.rounding);
                self.first_edge = Some(seen.at + wait);
                self.later(Phase::Lone, seen.at + wait + self.spent + margin(wait));
            }
            None => {
                self.period.0 = self.spent;
                self.later(Phase::Poll(0), seen.at + FIRST_POLL);
            }
        }
    }

    fn after_lone(&mut self, at: Duration) {
        self.lone = at;
        let period = chosen(self.period.0, self.period.1);
        // All of them must have been sent before the lone one is forgotten.
        let room = period.saturating_sub(self.spent + self.spent / 4);
        let half = (period / 2).min(room);
        match self.units {
            1 => self.later(Phase::Edge, at + self.surely()),
            units => self.later(Phase::Others(units - 1), at + half),
        }
    }

    /// What it took since the refusal before is all that came back since then.
    fn refused_others(&mut self, seen: Observation) {
        let rate = self.measure(seen.at);
        let one = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let next = one.saturating_add(seen.rounding);
        if seen.wait.is_some_and(|wait| wait > next) {
            // Two windows were taken for one at first.
            self.found.per_second = None;
            self.found.amount = Some(self.taken);
            self.found.kind = FoundKind::Fixed;
            let wait = seen.wait.unwrap_or_default();
            self.period = told(seen.at.saturating_sub(self.lone), wait, seen.rounding);
            return self.conclude();
        }
        self.found.kind = FoundKind::Bucket;
        // One more may have come back than was seen, and another have begun to.
        let most = rate * (self.taken + 2) as f64 / self.taken.max(1) as f64;
        self.refill(seen.at, (rate, most));
    }

    fn refused_at_edge(&mut self, seen: Observation) {
        let (at, taken) = (seen.at, self.taken);
        self.at_edge = taken;
        if taken == 0 {
            // The lone one still counts: the window that was filled had begun before.
            self.found.kind = FoundKind::Fixed;
            if let Some(wait) = seen.wait {
                self.period = told(at.saturating_sub(self.lone), wait, seen.rounding);
            }
            return self.conclude();
        }
        if self.units == 1 {
            return self.conclude();
        }
        if taken == 1 || 4 * taken <= self.units {
            self.found.kind = FoundKind::Sliding;
            self.narrow(at.saturating_sub(self.others.0), seen);
            return self.recount();
        }
        if 4 * taken >= 3 * self.units {
            self.found.kind = FoundKind::Fixed;
            self.between_edges(seen);
            let quarter = chosen(self.period.0, self.period.1) / 4;
            return self.later(Phase::Middle, at + quarter);
        }
        self.found.kind = FoundKind::Bucket;
        let since = at.saturating_sub(self.others.1).as_secs_f64();
        let rate = taken as f64 / since.max(1e-3);
        self.refill(at, (rate, rate * 1.5));
    }

    /// The others are forgotten, and what was taken at the edge is not.
    fn recount(&mut self) {
        let free = self.others.1 + self.surely();
        if free < self.edge + self.period.0 {
            self.later(Phase::Recount, free)
        } else {
            self.conclude()
        }
    }

    /// Waits for some of a bucket's tokens, but not until it is full.
    fn refill(&mut self, at: Duration, (rate, most): (f64, f64)) {
        let units = self.units as f64;
        let wait = (20.0 / rate).min(0.8 * units / most);
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        self.later(Phase::Refill, at.saturating_add(wait));
    }

    /// A bucket's rate: what it took from one refusal to the next.
    fn measure(&mut self, at: Duration) -> f64 {
        let since = at.saturating_sub(self.refused_at).as_secs_f64();
        let rate = self.taken.max(1) as f64 / since.max(1e-3);
        self.found.per_second = Some(rate);
        rate
    }

    /// It ends a while after it began, as a refusal tells.
    fn narrow(&mut self, since: Duration, seen: Observation) {
        if let Some(wait) = seen.wait {
            let (from, to) = told(since, wait, seen.rounding);
            let narrower = (self.period.0.max(from), self.period.1.min(to));
            if narrower.0 <= narrower.1 {
                self.period = narrower;
            }
        }
    }

    /// Windows may have begun before anything was sent: from the end of the first to
    /// that of this one there are some whole periods.
    fn between_edges(&mut self, seen: Observation) {
        let (Some(first), Some(wait)) = (self.first_edge, seen.wait) else {
            return;
        };
        let apart = (seen.at + wait).saturating_sub(first);
        let period = chosen(self.period.0, self.period.1);
        let times = (apart.as_secs_f64() / period.as_secs_f64()).round().max(1.0) as u32;
        let from = apart.saturating_sub(seen.rounding) / times;
        self.period = (from.max(self.period.0), (apart + seen.rounding) / times);
    }

    /// The longest that the period can be, and a little more.
    fn surely(&self) -> Duration {
        self.period.1 + margin(self.period.1)
    }

    fn later(&mut self, phase: Phase, at: Duration) {
        (self.phase, self.next) = (phase, self.next.max(at));
        self.taken = match phase {
            // A bucket's rate is counted from its refusal on.
            Phase::Others(_) => self.taken,
            _ => 0,
        };
    }

    fn conclude(&mut self) {
        self.phase = Phase::Over;
        match self.found.kind {
            FoundKind::Bucket => {
                // What came back while it was filled was not there at first.
                let back = self.found.per_second.unwrap_or_default() * self.spent.as_secs_f64();
                self.found.amount = Some(self.units.saturating_sub(back as u64).max(1));
            }
            _ if self.found.amount.is_some() && !self.period.1.is_zero() => {
                self.found.per_second = None;
                self.found.period = Some(chosen(self.period.0, self.period.1));
                self.found.between = Some(self.period);
            }
            _ => self.found.per_second = None,
        }
    }
}

/// The period of what began so long ago and is over after this wait.
fn told(since: Duration, wait: Duration, rounding: Duration) -> (Duration, Duration) {
    let end = since + wait;
    (end.saturating_sub(rounding).max(since), end)
}

/// Clocks and ways differ.
fn margin(time: Duration) -> Duration {
    time / 50 + Duration::from_millis(50)
}
