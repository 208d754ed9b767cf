//! The experiment: the time of each request, and the conclusions from the answers. Pure.
//!
//! Requests are sent one after the other, so that a limit that is reached costs one refusal; or
//! several together where the limit is filled, if that is wanted:
//!
//! 1. As fast as answers come, until one is refused: the number that the limit allows at once.
//! 2. When all are free again, one alone; half a period later all others. A bucket
//!    refuses some of these: the number accepted since the last refusal gives its rate.
//! 3. When the lone one no longer counts, and the others still do, until one is refused:
//!    a sliding window accepts one, a fixed window all, a bucket some.
//! 4. The rest: the rate of a bucket, or whether refusals count.
//!
//! Where only one is allowed at once, the gaps between two are halved until one is refused, and
//! the least gap is looked for from there.

use std::time::Duration;

use super::result::{FoundKind, ProbeResult, usual_period};

/// The outcome of a request. Times are since the experiment began.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// The estimated time of its arrival.
    pub at: Duration,
    /// Whether the server refused it.
    pub refused: bool,
    /// The time from its sending to its answer.
    pub latency: Duration,
    /// The pause that the refusal asks for.
    pub wait: Option<Duration>,
    /// Maximum amount by which the pause is rounded up.
    pub rounding: Duration,
}

/// The next step of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeStep {
    /// A request, not before this time.
    Send(Duration),
    /// The end.
    Found(ProbeResult),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Requests until the first refusal.
    Fill,
    /// Requests at growing intervals, as the refusal named no pause.
    Poll(u32),
    /// One request alone.
    Lone,
    /// This number of requests is left to send.
    Others(u64),
    /// Requests after the end of the lone one's period.
    Edge,
    /// The number that a bucket accepts from one refusal to the next.
    Refill,
    /// Whether the middle of a window accepts any.
    Middle,
    /// Whether refused requests count.
    Recount,
    /// Requests at gaps of which the least is looked for.
    Gaps,
    Over,
}

/// An experiment under way.
#[derive(Debug)]
pub struct Experiment {
    allowed: u32,
    phase: Phase,
    next: Duration,
    /// Number accepted since the last refusal, or since the phase began.
    accepted: u64,
    began: Option<Duration>,
    /// Number that the first phase had accepted, and its duration.
    units: u64,
    spent: Duration,
    /// The earliest arrival of the first request that was accepted, and the latest one of the
    /// last, in the first phase.
    filling: Option<(Duration, Duration)>,
    /// The last refusal.
    refusal: Option<Observation>,
    /// Tokens of a bucket that come back in a second at most.
    most_per_second: f64,
    /// Whether the rate of a bucket was measured twice, after unequal waits.
    is_confirmed: bool,
    /// The bounds of the period.
    period: (Duration, Duration),
    lone: Duration,
    others: (Duration, Duration),
    edge: Duration,
    at_edge: u64,
    /// The last request that was accepted while gaps are tried, if none was refused since.
    gap_from: Option<Observation>,
    /// The end of the first window, if its refusal named it.
    first_edge: Option<Duration>,
    /// The least time in which a bucket gets back one token: the first refusal's pause, without
    /// what it is rounded up by.
    time_of_one: Duration,
    found: ProbeResult,
}

/// The first interval of polling.
const FIRST_POLL: Duration = Duration::from_secs(1);

/// The reason for which nothing is proposed where a bucket and a window look alike.
const TOO_SLOW: &str =
    "units may have come back while it was sending: send several requests together (--concurrency)";

impl Observation {
    fn sent(&self) -> Duration {
        self.at.saturating_sub(self.latency / 2)
    }

    fn answered(&self) -> Duration {
        self.at + self.latency / 2
    }
}

impl Experiment {
    /// An experiment with at most this number of refusals.
    #[must_use]
    pub fn new(refusals: u32) -> Experiment {
        Experiment {
            allowed: refusals,
            phase: Phase::Fill,
            next: Duration::ZERO,
            accepted: 0,
            began: None,
            units: 0,
            spent: Duration::ZERO,
            filling: None,
            refusal: None,
            most_per_second: 0.0,
            is_confirmed: false,
            period: (Duration::ZERO, Duration::ZERO),
            lone: Duration::ZERO,
            others: (Duration::ZERO, Duration::ZERO),
            edge: Duration::ZERO,
            at_edge: 0,
            gap_from: None,
            first_edge: None,
            time_of_one: Duration::ZERO,
            found: ProbeResult::default(),
        }
    }

    /// The next step.
    #[must_use]
    pub fn step(&self) -> ProbeStep {
        match self.phase {
            Phase::Over => ProbeStep::Found(self.found.clone()),
            _ => ProbeStep::Send(self.next),
        }
    }

    /// Ends the experiment for this reason.
    pub fn stop(&mut self, why: &'static str) {
        self.found.stopped = Some(why);
        self.conclude();
    }

    /// Maximum number of requests that may be sent together in the next step.
    #[must_use]
    pub fn together(&self) -> u64 {
        match self.phase {
            Phase::Fill | Phase::Edge | Phase::Refill | Phase::Middle | Phase::Recount => u64::MAX,
            Phase::Others(left) => left,
            Phase::Poll(_) | Phase::Lone | Phase::Gaps | Phase::Over => 1,
        }
    }

    /// This many requests were refused together with one that is observed.
    pub fn observe_more_refused(&mut self, requests: usize) {
        self.found.requests += requests as u64;
        self.found.refused_together += requests as u64;
    }

    /// Adds the outcome of the latest request.
    pub fn observe(&mut self, seen: Observation) {
        self.found.requests += 1;
        self.next = seen.at;
        if seen.refused {
            self.found.refusals += 1;
            self.add_refused(seen);
            self.refusal = Some(seen);
            self.accepted = 0;
            if self.found.refusals >= self.allowed && self.phase != Phase::Over {
                self.stop("it was refused as often as it may be (--refusals)");
            }
        } else {
            self.add_accepted(seen);
        }
    }

    fn add_accepted(&mut self, seen: Observation) {
        let at = seen.at;
        self.accepted += 1;
        match self.phase {
            Phase::Fill => {
                self.began.get_or_insert(at);
                let (first, last) = self.filling.unwrap_or((seen.sent(), seen.answered()));
                self.filling = Some((first.min(seen.sent()), last.max(seen.answered())));
            }
            Phase::Poll(_) => {
                self.period.1 = at.saturating_sub(self.began.unwrap_or_default());
                self.enter(Phase::Lone, at + self.beyond_period());
            }
            Phase::Lone => self.after_lone(seen),
            Phase::Gaps => self.accepted_after_gap(seen),
            Phase::Others(left) => {
                if left + 1 == self.units {
                    self.others.0 = at;
                }
                self.others.1 = at;
                match left {
                    0 | 1 => self.enter(Phase::Edge, self.lone + self.beyond_period()),
                    left => self.phase = Phase::Others(left - 1),
                }
            }
            Phase::Edge => {
                if self.accepted == 1 {
                    self.edge = at;
                }
                if self.accepted > 3 * self.units {
                    self.stop("it takes more than it did at first, as fast as it is sent");
                }
            }
            Phase::Refill | Phase::Middle | Phase::Recount | Phase::Over => {}
        }
    }

    fn add_refused(&mut self, seen: Observation) {
        let at = seen.at;
        match self.phase {
            // Other requests were sent before.
            Phase::Fill if self.accepted == 0 => {
                self.next = at + seen.wait.unwrap_or(FIRST_POLL * 10);
            }
            Phase::Fill => self.filled(seen),
            Phase::Poll(times) => {
                self.period.0 = at.saturating_sub(self.began.unwrap_or_default());
                self.enter(Phase::Poll(times + 1), at + FIRST_POLL * 4_u32.pow(times.min(9) + 1));
            }
            Phase::Lone => self.next = at + seen.wait.unwrap_or(self.beyond_period()),
            Phase::Others(_) => self.refused_others(seen),
            Phase::Edge => self.refused_at_edge(seen),
            // A bucket would not have been full again by then.
            Phase::Refill if 20 * self.accepted >= 19 * self.units => {
                self.found.kind = FoundKind::Unknown;
                self.stop("it takes more at once than it should have by then");
            }
            Phase::Refill => {
                let before = self.found.per_second;
                let rate = self.measure(seen);
                self.is_confirmed =
                    before.is_some_and(|before| (0.8..=1.25).contains(&(rate / before)));
                self.conclude();
            }
            Phase::Middle if 4 * self.accepted >= 3 * self.units => {
                self.found.kind = FoundKind::Unknown;
                self.stop("a window may have ended, or a bucket have filled, while it looked");
            }
            Phase::Middle => {
                if self.accepted > 0 {
                    self.found.kind = FoundKind::Bucket;
                    self.measure(seen);
                }
                self.conclude();
            }
            Phase::Recount => {
                let free = self.units.saturating_sub(self.at_edge);
                self.found.refusals_count = Some(self.accepted < free);
                self.conclude();
            }
            Phase::Gaps => self.refused_after_gap(seen),
            Phase::Over => {}
        }
    }

    /// The first refusal.
    fn filled(&mut self, seen: Observation) {
        self.units = self.accepted;
        self.found.amount = Some(self.units);
        self.spent = seen.at.saturating_sub(self.began.unwrap_or_default());
        match seen.wait {
            Some(wait) => {
                self.period = period_bounds(self.spent, wait, seen.rounding);
                self.first_edge = Some(seen.at + wait);
                self.time_of_one = wait.saturating_sub(seen.rounding);
                self.enter(Phase::Lone, seen.at + wait + self.spent + margin(wait));
            }
            None => {
                self.period.0 = self.spent;
                self.enter(Phase::Poll(0), seen.at + FIRST_POLL);
            }
        }
    }

    fn after_lone(&mut self, seen: Observation) {
        let at = seen.at;
        self.lone = at;
        if self.units == 1 && self.period.0 * 2 < self.period.1 {
            self.gap_from = Some(seen);
            return self.enter(Phase::Gaps, at + self.period.1 / 2);
        }
        let period = usual_period(self.period.0, self.period.1);
        // The others must be sent before the period of the lone one ends.
        let room = period.saturating_sub(self.spent + self.spent / 4);
        let half = (period / 2).min(room);
        match self.units {
            1 => self.enter(Phase::Edge, at + self.beyond_period()),
            units => self.enter(Phase::Others(units - 1), at + half),
        }
    }

    /// The server accepts two requests of which the second is answered this long after the
    /// first was sent: its gap is no longer.
    fn accepted_after_gap(&mut self, seen: Observation) {
        if let Some(before) = self.gap_from {
            let gap = seen.answered().saturating_sub(before.sent());
            self.period.1 = self.period.1.min(gap);
            self.found.kind = FoundKind::Bucket;
            let per_second = 1.0 / self.period.1.as_secs_f64().max(1e-3);
            self.found.per_second = Some(per_second);
            self.found.least_per_second = Some(per_second);
        }
        self.gap_from = Some(seen);
        let (least, most) = self.period;
        let next = least + most.saturating_sub(least) / 2;
        if next < seen.latency || most.saturating_sub(least) < least / 10 {
            self.conclude();
        } else {
            self.next = seen.answered() + next;
        }
    }

    /// The gap is longer than from the answer of the one to the sending of the other.
    fn refused_after_gap(&mut self, seen: Observation) {
        if let Some(before) = self.gap_from.take() {
            let gap = seen.sent().saturating_sub(before.answered());
            self.period.0 = self.period.0.max(gap).min(self.period.1);
        }
        self.next = seen.at + self.beyond_period() * 2;
    }

    /// A bucket accepts no more than came back since the refusal before.
    fn refused_others(&mut self, seen: Observation) {
        let rate = self.measure(seen);
        let least = self.found.least_per_second.unwrap_or_default();
        let one = Duration::try_from_secs_f64(1.0 / least).unwrap_or(Duration::MAX);
        let next = one.saturating_add(seen.rounding);
        if seen.wait.is_some_and(|wait| wait > next) {
            // The first phase went over the edge of a window.
            self.found.per_second = None;
            self.found.amount = Some(self.accepted);
            self.found.kind = FoundKind::Fixed;
            self.since_lone(seen);
            return self.conclude();
        }
        self.found.kind = FoundKind::Bucket;
        // The bucket may have been full in between: more would have come back.
        let most = if 10 * self.accepted >= 9 * self.units || self.is_slowly_filled() {
            3.0 * rate
        } else {
            // One more may have come back than was seen, and another have begun to.
            rate * (self.accepted + 2) as f64 / self.accepted.max(1) as f64
        };
        self.refill(seen.at, rate, most);
    }

    fn refused_at_edge(&mut self, seen: Observation) {
        let (at, accepted) = (seen.at, self.accepted);
        self.at_edge = accepted;
        if accepted == 0 {
            // The lone one still counts: the window that was filled had begun before.
            self.found.kind = FoundKind::Fixed;
            self.since_lone(seen);
            return self.conclude();
        }
        if self.units == 1 {
            return self.conclude();
        }
        if accepted == 1 || 4 * accepted <= self.units {
            self.found.kind = FoundKind::Sliding;
            self.narrow(at.saturating_sub(self.others.0), seen);
            return self.recount();
        }
        if 4 * accepted >= 3 * self.units {
            self.found.kind = FoundKind::Fixed;
            self.between_edges(seen);
            let quarter = usual_period(self.period.0, self.period.1) / 4;
            return self.enter(Phase::Middle, at + quarter);
        }
        self.found.kind = FoundKind::Bucket;
        let since = at.saturating_sub(self.others.1).as_secs_f64();
        let rate = accepted as f64 / since.max(1e-3);
        self.refill(at, rate, rate * 1.5);
    }

    /// Asks whether refusals count, at a time when the others count no more, and those accepted
    /// at the edge still do.
    fn recount(&mut self) {
        let free = self.others.1 + self.beyond_period();
        if free < self.edge + self.period.0 {
            self.enter(Phase::Recount, free)
        } else {
            self.conclude()
        }
    }

    /// The longest time that can have passed between the first arrival and the last one that
    /// was accepted in the first phase.
    fn time_to_fill(&self) -> Duration {
        self.filling.map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first))
    }

    /// Whether more than a quarter of what was accepted first may have come back to a bucket
    /// meanwhile: then it looks like a window that takes more.
    fn is_slowly_filled(&self) -> bool {
        let time = self.time_to_fill();
        let (seconds, one) = (time.as_secs_f64(), self.time_of_one.as_secs_f64());
        let by_pause = seconds / one.max(1e-6);
        let back = match self.found.kind {
            // It may have been full for a part of the time in which this was measured.
            FoundKind::Bucket => by_pause.min(2.0 * self.most_per_second * seconds),
            _ => by_pause,
        };
        self.units > 1 && 4.0 * back > self.units as f64 && time * 3 > self.period.1
    }

    /// Waits for 40 tokens of a bucket, but not until it is full at its highest rate: the tokens
    /// that came back while it was emptied show that it holds fewer.
    fn refill(&mut self, at: Duration, rate: f64, most: f64) {
        let units = self.units as f64;
        let holds = (units - most * self.time_to_fill().as_secs_f64()).max(units / 4.0);
        let wait = (40.0 / rate).min(holds.min(0.8 * units) / most);
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        self.enter(Phase::Refill, at.saturating_add(wait));
    }

    /// A bucket's rate: the number accepted since the refusal before, by the longest time that may
    /// have passed between the two arrivals. The part of a token that may have been there at
    /// either gives its bounds.
    fn measure(&mut self, seen: Observation) -> f64 {
        let before = self.refusal.map(|before| (before.sent(), before.answered()));
        let (sent, answered) = before.unwrap_or_default();
        let seconds = |from, to: Duration| to.saturating_sub(from).as_secs_f64().max(1e-3);
        let longest = seconds(sent, seen.answered());
        let rate = self.accepted.max(1) as f64 / longest;
        self.found.per_second = Some(rate);
        self.found.least_per_second = Some(self.accepted.saturating_sub(1) as f64 / longest);
        self.most_per_second = (self.accepted + 1) as f64 / seconds(answered, seen.sent());
        rate
    }

    /// Narrows the period by a refusal's pause, for a window that began so long before it.
    fn narrow(&mut self, since: Duration, seen: Observation) {
        if let Some(wait) = seen.wait {
            let (from, to) = period_bounds(since, wait, seen.rounding);
            let narrower = (self.period.0.max(from), self.period.1.min(to));
            if narrower.0 <= narrower.1 {
                self.period = narrower;
            }
        }
    }

    /// The period of a window that is over after this refusal's pause, and that had begun with
    /// the lone request, or at the end of the first window.
    fn since_lone(&mut self, seen: Observation) {
        if let Some(wait) = seen.wait {
            let (from, to) = period_bounds(seen.at.saturating_sub(self.lone), wait, seen.rounding);
            let since_edge = self.first_edge.map(|edge| (seen.at + wait).saturating_sub(edge));
            self.period = (from, since_edge.map_or(to, |longer| longer.max(to)));
        }
    }

    /// The longest period of windows that may have begun before the first request: two of them
    /// lie between the end of the first window and that of this one.
    fn between_edges(&mut self, seen: Observation) {
        if let (Some(first), Some(wait)) = (self.first_edge, seen.wait) {
            let apart = (seen.at + wait).saturating_sub(first);
            self.period.1 = self.period.1.max((apart + seen.rounding) / 2);
        }
    }

    /// A time that is longer than the period.
    fn beyond_period(&self) -> Duration {
        self.period.1 + margin(self.period.1)
    }

    fn enter(&mut self, phase: Phase, at: Duration) {
        (self.phase, self.next) = (phase, self.next.max(at));
        self.accepted = match phase {
            // A bucket's rate is counted from its refusal on.
            Phase::Others(_) => self.accepted,
            _ => 0,
        };
    }

    fn conclude(&mut self) {
        self.phase = Phase::Over;
        if self.is_slowly_filled() && !self.is_confirmed {
            self.found.kind = FoundKind::Unknown;
            self.found.stopped.get_or_insert(TOO_SLOW);
        }
        match self.found.kind {
            FoundKind::Bucket => {
                // The tokens that may have come back meanwhile were not there at first.
                let back = self.most_per_second * self.time_to_fill().as_secs_f64();
                let back = back.ceil() as u64;
                self.found.amount = Some(self.units.saturating_sub(back).max(1));
            }
            _ if self.found.amount.is_some() && !self.period.1.is_zero() => {
                self.found.per_second = None;
                self.found.period = Some(usual_period(self.period.0, self.period.1));
                self.found.between = Some(self.period);
            }
            _ => self.found.per_second = None,
        }
    }
}

/// The bounds of a period that began so long ago and ends after this wait.
fn period_bounds(since: Duration, wait: Duration, rounding: Duration) -> (Duration, Duration) {
    let end = since + wait;
    (end.saturating_sub(rounding).max(since), end)
}

/// Allowance for clocks and latencies that differ.
fn margin(time: Duration) -> Duration {
    time / 50 + Duration::from_millis(50)
}
