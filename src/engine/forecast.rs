//! The pace of a run, and the time that is left of it, as its snapshots have them.

use std::time::Duration;

use super::context::RunContext;
use super::outlook::{Outlook, Rest};
use super::sent_log::SentLog;
use super::summary;
use crate::events::{PaceSnapshot, Snapshot};
use crate::limit::{Estimate, RatePattern};

/// Follows a run from one snapshot to the next.
pub struct Forecast {
    sent: SentLog,
    outlook: Outlook,
}

impl Forecast {
    /// Of a run that is about to begin.
    pub fn new(context: &RunContext) -> Forecast {
        Forecast { sent: SentLog::new(context.started), outlook: Outlook::default() }
    }

    /// Adds the pace and the time that is left to a snapshot that has all the rest.
    pub fn complete(&mut self, context: &RunContext, snapshot: &mut Snapshot) {
        self.sent.note(context.limiter(0).now(), snapshot.requests.sent);
        let is_held = snapshot.paused || snapshot.pause.is_some() || !snapshot.outages.is_empty();
        let done = snapshot.rows.ok + snapshot.rows.failed;
        self.outlook.note(context.metrics.elapsed(), done, !is_held);
        snapshot.pace = self.pace(context);
        snapshot.left = self.left(context, snapshot, done);
    }

    /// The requests of late, in the unit and period of the tightest limit.
    fn pace(&self, context: &RunContext) -> PaceSnapshot {
        let (plan, policy) = (&context.plan, context.plan.policy());
        // Requests of steps with limits of their own are no part of this one's.
        let rule = policy.slowest_rule().filter(|_| plan.limits().count() == 1);
        match rule.and_then(|rule| rule.rate_pattern()) {
            Some(
                RatePattern::Windows { amount, period }
                | RatePattern::TwoWindows { amount, period },
            ) => PaceSnapshot {
                requests: self.sent.in_period(period),
                in_window: self.sent.in_last(period),
                allowed: Some(amount.saturating_mul(policy.keys().len().max(1) as u64)),
                period,
            },
            // A burst, or two windows that meet, may be more than one period's.
            _ => PaceSnapshot {
                requests: self.sent.per_second(),
                in_window: self.sent.in_last(Duration::from_secs(1)),
                allowed: None,
                period: Duration::from_secs(1),
            },
        }
    }

    fn left(&mut self, context: &RunContext, now: &Snapshot, done: u64) -> Option<Duration> {
        let rows = now.rows.to_do?.checked_sub(done)?;
        let is_ending = now.makes.is_some() || now.stopping || now.paused;
        // When an outage is over is up to the server.
        if is_ending || (now.pause.is_none() && !now.outages.is_empty()) {
            return None;
        }
        let latency = now.latency.mean().unwrap_or_default();
        let bound = summary::bound_of_rest(context, rows, latency, &self.sent.sent());
        let share = now.rate_share.unwrap_or(1.0);
        let bound = bound.map(|bound| Estimate { time: bound.time.div_f64(share), ..bound });
        let by_limit = now.waits_for.as_ref().filter(|it| it.cause == "limit");
        let name = by_limit.and_then(|it| it.name.as_deref());
        let is_ours = name.filter(|name| context.other_runs(name) == 0);
        let rules = context.plan.policy().rules();
        let rule = is_ours.and_then(|name| rules.iter().find(|rule| rule.name == name));
        let cycle = rule.map(|rule| {
            let period = rule.rate_pattern().and_then(RatePattern::period);
            period.unwrap_or_default() + latency
        });
        let pause = now.pause.unwrap_or_default();
        self.outlook.left(done, &Rest { rows, bound, bound_by: cycle, pause })
    }
}
