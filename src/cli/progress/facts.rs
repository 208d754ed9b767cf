//! What the lines show of a run, read from it a few times a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::engine::Run;
use crate::limit::{Estimate, RatePattern, duration};
use crate::metrics::{TimeBreakdown, TimeShare, largest};
use crate::price::Usd;

use super::news::News;
use super::outlook::{Outlook, Rest};
use super::sent_log::SentLog;

/// The time over which the largest share of the time is looked for.
const LATELY: Duration = Duration::from_secs(10);
/// Number of kinds of failure that are told.
const KINDS: usize = 20;
/// Time in which a run may begin.
const A_MOMENT: Duration = Duration::from_secs(1);
/// Shortest wait whose end is shown.
const WORTH_IT: Duration = Duration::from_secs(2);

/// Facts of a run at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Rows with a record.
    pub done: u64,
    /// Number of records that there will be, if it is known.
    pub total: Option<u64>,
    /// The time since the start.
    pub elapsed: Duration,
    /// The time that is left, if it is known.
    pub left: Option<Duration>,
    /// Rows that failed.
    pub failed: u64,
    /// The commonest kinds of failure with their numbers of rows.
    pub failures: Vec<(String, u64)>,
    /// Attempts after a failure.
    pub retried: u64,
    /// Answers that refused a request because of a limit.
    pub refused: u64,
    /// Requests that wait for their answer.
    pub in_flight: u64,
    /// Rows that wait for a limit.
    pub waiting: u64,
    /// What the run has cost in money so far, and the budget; none if nothing has a price.
    pub bill: Option<(Usd, Option<Usd>)>,
    /// The requests of late.
    pub pace: Pace,
    /// The time to the deadline, if there is one.
    pub deadline: Option<Duration>,
    /// What the run does or waits for.
    pub state: State,
}

/// The requests of late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The number of them in the period of the limit, or in a second: a mean of some seconds.
    pub requests: f64,
    /// The number of them in the last period, or in the last second.
    pub in_window: u64,
    /// The limit's amount and period.
    pub limit: Option<(u64, String)>,
}

/// What a run does or waits for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nothing was sent yet.
    #[default]
    Begins,
    /// The largest share of the last seconds has this cause.
    BoundBy {
        /// The cause in words.
        cause: String,
        /// Its share, 0 to 1.
        share: f64,
    },
    /// A limit lets the next request go at this time.
    Limited {
        /// The limit, as the job writes it.
        limit: String,
        /// The time until then.
        wait: Duration,
        /// The time of day.
        at: String,
    },
    /// The server asks for a pause until this time.
    Pause {
        /// The time until then.
        wait: Duration,
        /// The time of day.
        at: String,
    },
    /// A server is out, in words.
    Outage(String),
    /// A person has paused the run.
    Held,
    /// The end of the run is requested.
    Stopping,
    /// This file is made of the records.
    Making(String),
}

/// Reads the facts of a run again and again.
pub struct Sampler {
    lately: VecDeque<(Instant, TimeBreakdown)>,
    sent: SentLog,
    outlook: Outlook,
    pub(super) news: News,
}

impl Sampler {
    /// A sampler of a run that is about to begin.
    pub fn new(run: &Run) -> Sampler {
        Sampler {
            lately: VecDeque::new(),
            sent: SentLog::new(run.limiter().now()),
            outlook: Outlook::default(),
            news: News::default(),
        }
    }

    /// A sampler that also takes the events of the run.
    pub fn following(run: &Run) -> Sampler {
        let mut sampler = Sampler::new(run);
        sampler.follow(run);
        sampler
    }

    /// Takes the events of the run from now on.
    pub fn follow(&mut self, run: &Run) {
        self.news.subscribe(run);
    }

    /// The facts now.
    pub fn sample(&mut self, run: &Run) -> Facts {
        let (metrics, sending) = (run.metrics(), run.metrics().sending());
        let (failed, done) = (metrics.failed(), metrics.ok() + metrics.failed());
        self.sent.note(run.limiter().now(), sending.sent);
        let shares = self.shares(run);
        self.news.update();
        let state = state(run, &shares, sending.sent);
        let mut facts = Facts {
            done,
            total: run.rows_to_do(),
            elapsed: metrics.elapsed(),
            failed,
            failures: self.kinds(),
            retried: sending.retried,
            refused: sending.refused,
            in_flight: sending.in_flight,
            waiting: sending.waiting,
            bill: run.bill().map(|bill| (bill.total(), bill.budget)),
            pace: self.pace(run),
            deadline: run.time_to_deadline(),
            ..Facts::default()
        };
        let is_at_work = !matches!(state, State::Pause { .. } | State::Outage(_) | State::Held);
        self.outlook.note(facts.elapsed, done, is_at_work);
        let latency = self.news.snapshot.latency.mean().unwrap_or_default();
        facts.left = self.left(run, &facts, &shares, &state, latency);
        Facts { state, ..facts }
    }

    /// The commonest kinds of failure with their numbers of rows.
    fn kinds(&self) -> Vec<(String, u64)> {
        let kinds = self.news.snapshot.rows.failures.iter().take(KINDS);
        kinds.map(|failed| (failed.kind.clone(), failed.count)).collect()
    }

    /// The shares of the last seconds, the largest first.
    fn shares(&mut self, run: &Run) -> Vec<TimeShare> {
        let (now, breakdown) = (Instant::now(), run.time_breakdown());
        let before = self.lately.front().map_or_else(TimeBreakdown::default, |(_, it)| it.clone());
        let shares = breakdown.since(&before).shares();
        self.lately.push_back((now, breakdown));
        while self.lately.len() > 2 && now - self.lately[0].0 > LATELY {
            self.lately.pop_front();
        }
        shares
    }

    /// The requests of late, in the unit and period of the tightest limit.
    fn pace(&self, run: &Run) -> Pace {
        let (plan, policy) = (run.plan(), run.plan().policy());
        // Requests of steps with limits of their own are no part of this one's.
        let rule = policy.slowest_rule().filter(|_| plan.limits().count() == 1);
        match rule.and_then(|rule| rule.rate_pattern()) {
            Some(
                RatePattern::Windows { amount, period }
                | RatePattern::TwoWindows { amount, period },
            ) => {
                let requests = self.sent.in_period(period);
                let allowed = amount.saturating_mul(policy.keys().len().max(1) as u64);
                let in_window = self.sent.in_last(period);
                Pace { requests, in_window, limit: Some((allowed, duration::exact(period))) }
            }
            // A burst, or two windows that meet, may be more than one period's.
            _ => {
                let in_window = self.sent.in_last(Duration::from_secs(1));
                Pace { requests: self.sent.per_second(), in_window, limit: None }
            }
        }
    }

    fn left(
        &mut self,
        run: &Run,
        facts: &Facts,
        shares: &[TimeShare],
        state: &State,
        latency: Duration,
    ) -> Option<Duration> {
        let rows = facts.total?.checked_sub(facts.done)?;
        let pause = match state {
            // When it is over is up to the server.
            State::Outage(_) | State::Making(_) | State::Stopping | State::Held => return None,
            State::Pause { wait, .. } => *wait,
            _ => Duration::ZERO,
        };
        let bound = run.bound_of_rest(rows, latency, &self.sent.sent());
        let share = run.rate_share();
        let bound = bound.map(|bound| Estimate { time: bound.time.div_f64(share), ..bound });
        let by_limit = largest(shares).filter(|first| first.cause == "limit");
        let name = by_limit.and_then(|first| first.name.as_deref());
        let is_ours = name.filter(|name| run.other_runs(name) == 0);
        let rules = run.plan().policy().rules();
        let rule = is_ours.and_then(|name| rules.iter().find(|rule| rule.name == name));
        let cycle = rule.map(|rule| {
            let period = rule.rate_pattern().and_then(RatePattern::period);
            period.unwrap_or_default() + latency
        });
        self.outlook.left(facts.done, &Rest { rows, bound, bound_by: cycle, pause })
    }
}

/// What the run does or waits for, the rarest first.
fn state(run: &Run, shares: &[TimeShare], sent: u64) -> State {
    if let Some(file) = run.makes() {
        return State::Making(file);
    }
    if run.shutdown().is_requested() {
        return State::Stopping;
    }
    if run.is_paused() {
        return State::Held;
    }
    if let Some(wait) = run.limiter().paused() {
        return State::Pause { wait, at: time_of_day(wait) };
    }
    if let Some(outage) = run.outage() {
        return State::Outage(outage);
    }
    let wait = run.limiter().free_in().filter(|wait| *wait >= WORTH_IT);
    if let (Some(limit), Some(wait)) = (run.limiter().blocked_by(), wait) {
        return State::Limited { limit, wait, at: time_of_day(wait) };
    }
    match largest(shares).filter(|_| sent > 0 || run.metrics().elapsed() > A_MOMENT) {
        Some(_) if run.rate_share() < 1.0 => State::BoundBy {
            cause: format!("{:.0} % of the rate, as asked for", run.rate_share() * 100.0),
            share: largest(shares).map_or(0.0, |first| first.share),
        },
        Some(first) => State::BoundBy { cause: first.describe(), share: first.share },
        None => State::Begins,
    }
}

/// The local time after this wait, with its date if that is another one.
fn time_of_day(wait: Duration) -> String {
    let now = Zoned::now();
    let Ok(then) = now.checked_add(wait) else {
        return "a time beyond the calendar".into();
    };
    let format = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    then.strftime(format).to_string()
}
