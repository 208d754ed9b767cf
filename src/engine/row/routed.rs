//! Rows that go to the first of several targets that is free, and on to the next one where they
//! fail for reasons that another server could mend.

use std::sync::Arc;

use http::Method;
use tokio::sync::watch;

use super::RowExecutor;
use super::attempt::{AttemptTrace, Cancelled, RequestExecutor};
use super::outage::sleep_until;
use crate::engine::ending;
use crate::engine::targets::{LEFT_ALONE, NotFree, Targets};
use crate::error::Error;
use crate::judge::{Meaning, Tries};
use crate::limit::{AcquireError, MaxWait, Time};
use crate::metrics::WaitReason;
use crate::plan::Target;
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::send::Origin;

impl RequestExecutor {
    /// The targets of the run, if rows may go from this one to another.
    pub(super) fn targets(&self) -> Option<&Targets> {
        self.context.targets.as_ref().filter(|_| self.is_routed)
    }

    fn target(&self) -> &Target {
        &self.context.plan.targets[self.stage_index]
    }

    /// Turns a row away while its target is left alone.
    pub(super) fn check_target(&self, trace: &mut AttemptTrace) -> Result<(), Cancelled> {
        let now = self.now();
        let Some(closed) = self.targets().and_then(|it| it.closed(self.stage_index, now)) else {
            return Ok(());
        };
        let until = closed.until.filter(|until| {
            self.stage().judge.max_wait().server.is_none_or(|most| until.since(now) <= most)
        });
        Err(trace.turn_away(NotFree { until, ..closed }))
    }

    /// Leaves the target alone, for this long if that is known.
    pub(super) fn leave_alone(
        &self,
        targets: &Targets,
        pause: Option<std::time::Duration>,
        why: Error,
    ) {
        let until = pause.map(|pause| self.now().after(pause));
        targets.close(self.stage_index, until, why);
    }

    /// Turns a row away whose target was never reached, and will not be reached by waiting.
    pub(super) fn turn_away_unreached(&self, why: Error, trace: &mut AttemptTrace) -> Cancelled {
        let Some(targets) = self.targets() else {
            return self.end_run(why);
        };
        let until = self.now().after(LEFT_ALONE);
        targets.close_unreached(self.stage_index, until, why.clone());
        trace.turn_away(NotFree { until: Some(until), may_change: false, is_wrong: true, why })
    }

    /// Turns a row away that would have to wait too long for its permit; else ends the run.
    pub(super) fn no_permit(&self, error: &AcquireError, trace: &mut AttemptTrace) -> Cancelled {
        let why = ending::no_permit(&self.context, self.stage_index, error);
        if self.targets().is_none() {
            return self.end_run(why);
        }
        let until = match error {
            AcquireError::WaitTooLong { limit, free_in } => {
                let MaxWait { limit: of_limit, server } = self.stage().judge.max_wait();
                let most = if limit.is_some() { of_limit } else { server };
                let is_short = most.is_none_or(|most| *free_in <= most);
                is_short.then(|| self.now().after(*free_in))
            }
            AcquireError::BudgetExhausted { .. } => None,
            _ => return self.end_run(why),
        };
        trace.turn_away(NotFree { until, may_change: false, is_wrong: false, why })
    }

    /// Why an origin that is out, or is coming back, takes no request before this time.
    pub(super) fn out(&self, origin: &Origin, until: Option<Time>) -> NotFree {
        let found = self.context.outages.now().into_iter().find(|(it, _)| it == origin);
        let Some((_, outage)) = found else {
            let why = format!("{} is coming back", origin.authority());
            return NotFree { until, may_change: true, is_wrong: false, why: Error::stopped(why) };
        };
        let most = self.stage().judge.max_wait().server;
        let may_change = most.is_none_or(|most| outage.since.after(most) > self.now());
        let is_reached = self.stage().transport.has_reached(origin);
        let why = ending::outage(&self.context, origin, &outage, most, is_reached);
        NotFree { until: until.filter(|_| may_change), may_change, is_wrong: false, why }
    }
}

impl RowExecutor {
    /// The executor with those of the other targets, if the job has any.
    pub fn with_fallbacks(mut self) -> RowExecutor {
        let RequestExecutor { worker, stage_index, .. } = self.requests;
        let context = self.requests.context.clone();
        if stage_index > 0 || context.targets.is_none() {
            return self;
        }
        let logs = &self.requests.logs;
        let others = (1..context.plan.targets.len())
            .map(|index| RowExecutor::new(worker, index, context.clone(), logs.clone()));
        self.fallbacks = others.collect();
        self.requests.is_routed = true;
        self.fallbacks.iter_mut().for_each(|it| it.requests.is_routed = true);
        for executor in self.targets() {
            executor.limit_waits();
        }
        self
    }

    /// Has rows not wait for longer at the limits of this target than rows wait for it.
    fn limit_waits(&self) {
        let (requests, stage) = (&self.requests, self.stage());
        let owner =
            self.requests.context.plan.all_stages().position(|it| it.limiter == stage.limiter);
        if stage.shared_limiter.is_some() || owner != Some(requests.stage_index) {
            return;
        }
        let patience = requests.target().patience;
        let most =
            |wait: Option<std::time::Duration>| Some(wait.map_or(patience, |it| it.min(patience)));
        let MaxWait { limit, server } = stage.judge.max_wait();
        let limiter = requests.context.limiter(requests.stage_index);
        limiter.set_max_wait(MaxWait { limit: most(limit), server: most(server) });
    }

    /// The executors of all targets, in their order.
    fn targets(&self) -> impl Iterator<Item = &RowExecutor> {
        std::iter::once(self).chain(&self.fallbacks)
    }

    /// Takes a row to its record: by the first target that is free and answers it. A row that some
    /// of them fail waits for those that it has not asked.
    pub(super) async fn run_routed<E: AsyncFn(Record)>(
        &self,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let mut failed: Vec<(usize, Record)> = Vec::new();
        let mut attempts = 0;
        loop {
            let mut changes = self.requests.context.outages.changes();
            let mut waits: Vec<(&Arc<str>, NotFree)> = Vec::new();
            for (target, executor) in self.targets().enumerate() {
                if failed.iter().any(|(it, _)| *it == target) {
                    continue;
                }
                let mut trace = AttemptTrace::default();
                match executor.target_record(row.clone(), &mut trace).await {
                    Ok(mut record) => {
                        attempts += record.attempts;
                        record.attempts = attempts;
                        record.target = Some(executor.requests.target().name.clone());
                        if !executor.moves_on(&record, &trace) {
                            emit(after(&failed, record)).await;
                            return Ok(());
                        }
                        failed.push((target, record));
                    }
                    Err(Cancelled) => {
                        attempts += trace.attempts;
                        let why = trace.turned_away.take().ok_or(Cancelled)?;
                        waits.push((&executor.requests.target().name, *why));
                    }
                }
            }
            let is_over = !waits.iter().any(|(_, it)| it.is_worth_waiting());
            if let Some((_, last)) = failed.pop_if(|_| is_over) {
                let last = Record { attempts, ..last };
                emit(failed_everywhere(&failed, last, &waits)).await;
                return Ok(());
            }
            if !failed.is_empty() {
                waits.retain(|(_, it)| it.is_worth_waiting());
            }
            self.wait_for_target(waits, &mut changes).await?;
        }
    }

    /// The record of a row by the answer of this target.
    async fn target_record(&self, row: Row, trace: &mut AttemptTrace) -> Result<Record, Cancelled> {
        if let Some(check) = &self.stage().check {
            return self.checked_record(check, row, trace).await;
        }
        let (request, cost) = match self.request(&row) {
            Ok(request) => request,
            Err(failure) => return Ok(self.finish_row(row, trace, Err(failure))),
        };
        let rows = std::slice::from_ref(&row);
        match self.requests.exchange_with_intent(&request, &cost, rows, trace).await? {
            Ok(answer) => {
                let context = self.stage().read_context(&answer, request.uri(), None);
                Ok(self.record(row, std::mem::take(trace), &answer.body, context))
            }
            Err(failure) => Ok(self.finish_row(row, trace, Err(failure))),
        }
    }

    /// Whether a row with this record goes on to the next target; notes what the record says of
    /// this one.
    fn moves_on(&self, record: &Record, trace: &AttemptTrace) -> bool {
        let requests = &self.requests;
        let Some(targets) = requests.targets() else { return false };
        let failure = match &record.outcome {
            Err(failure) if !record.is_missing() => failure,
            _ => {
                targets.key_accepted(requests.stage_index);
                return false;
            }
        };
        if matches!(failure.kind, FailureKind::Status(401 | 402 | 403 | 407))
            && let Some(why) = targets.key_refused(requests.stage_index, requests.now())
        {
            let name = || requests.target().name.to_string();
            requests.context.metrics.warn("targets that were left alone for 10 minutes", 1, || {
                format!("{}: {why}", name())
            });
        }
        let by_job = trace.decision.filter(|decision| decision.is_of_job());
        let is_named = record.status.is_some_and(|status| {
            let status = http::StatusCode::from_u16(status);
            status.is_ok_and(|status| requests.target().on.has(status))
        });
        is_named
            || (by_job.is_none_or(|rule| rule.then != Meaning::Fail)
                && self.may_be_mended(failure, by_job.is_some()))
    }

    /// Whether another server could answer a row that has failed in this way, and nothing would be
    /// done twice.
    fn may_be_mended(&self, failure: &Failure, is_rejected: bool) -> bool {
        let stage = self.stage();
        let method = stage.renderer.method().unwrap_or(&Method::POST);
        match &failure.kind {
            FailureKind::Status(401 | 402 | 403 | 407 | 408) => true,
            FailureKind::Status(500..) => is_rejected || stage.judge.resends(Tries::of(method)),
            // A request whose outcome is unknown has failed as such, unless it may be repeated.
            FailureKind::Connect
            | FailureKind::Tls
            | FailureKind::ConnectionLost
            | FailureKind::Timeout => true,
            FailureKind::Status(_) | FailureKind::Rule(_) => false,
            kind => stage.check.is_some() && kind.is_of_answer(),
        }
    }

    /// Waits until a target may be free; ends the run if none is worth waiting for.
    async fn wait_for_target(
        &self,
        waits: Vec<(&Arc<str>, NotFree)>,
        changes: &mut watch::Receiver<()>,
    ) -> Result<(), Cancelled> {
        let now = self.requests.now();
        let until = waits.iter().filter_map(|(_, it)| it.until).min();
        let may_change = waits.iter().any(|(_, it)| it.may_change);
        if until.is_none() && !may_change {
            let why = waits
                .into_iter()
                .next()
                .map(|(name, it)| it.why.map(|why| format!("no target is free: {name}: {why}")));
            let why = why.unwrap_or_else(|| Error::stopped("no target is free"));
            return Err(self.requests.end_run(why));
        }
        let reason = if may_change { WaitReason::Outage } else { WaitReason::Limit };
        let _waits = self.requests.waits(reason);
        let changed = async {
            tokio::select! {
                _ = changes.changed(), if may_change => {}
                () = sleep_until(now, until) => {}
            }
        };
        self.requests.unless_stopped(changed).await
    }

    /// The record of a row that ends here; the trace keeps the last decision.
    pub(super) fn finish_row(
        &self,
        row: Row,
        trace: &mut AttemptTrace,
        outcome: Result<Vec<serde_json::Value>, Failure>,
    ) -> Record {
        let decision = trace.decision;
        let record = self.record_of(row, std::mem::take(trace), outcome);
        trace.decision = decision;
        record
    }
}

/// The last record of a row that these targets have failed before, and for which these others
/// are not free.
fn failed_everywhere(
    before: &[(usize, Record)],
    last: Record,
    not_free: &[(&Arc<str>, NotFree)],
) -> Record {
    let mut record = after(before, last);
    if let Err(failure) = &mut record.outcome {
        failure.detail.extend(not_free.iter().map(|(name, _)| format!("; {name} was not free")));
    }
    record
}

/// A record whose failure names those of the targets before.
fn after(failed: &[(usize, Record)], mut record: Record) -> Record {
    if let Err(failure) = &mut record.outcome {
        for before in failed.iter().map(|(_, record)| record) {
            if let (Some(name), Err(earlier)) = (&before.target, &before.outcome) {
                failure.detail += &format!("; before that, {name}: {}", earlier.kind);
            }
        }
    }
    record
}
