//! Rows that go to the first of several targets that is free, and on to the next one where they
//! fail for reasons that another server could mend.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
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
use crate::record::{Arrived, Failure, FailureKind, Record, TARGET};
use crate::row::Row;
use crate::send::Origin;
use crate::store::RequestKey;

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
        let store = self.requests.context.store.get();
        let question = store.and_then(|store| self.question(store, &row));
        let mut routed = RoutedRow { row, question, ..RoutedRow::default() };
        if let Some(record) = self.find_routed(&mut routed).await {
            emit(routed.end(record)).await;
            return Ok(());
        }
        loop {
            let mut changes = self.requests.context.outages.changes();
            let mut waits: Vec<(&Arc<str>, NotFree)> = Vec::new();
            for executor in self.targets() {
                if routed.has_failed_at(executor) {
                    continue;
                }
                let mut trace = routed.trace(executor);
                match executor.try_target(&mut routed, &mut trace).await {
                    Ok(Some(record)) => {
                        emit(routed.end(record)).await;
                        return Ok(());
                    }
                    Ok(None) => {}
                    Err(Cancelled) => {
                        let why = trace.turned_away.take().ok_or(Cancelled)?;
                        waits.push((&executor.requests.target().name, *why));
                    }
                }
            }
            let is_over = !waits.iter().any(|(_, it)| it.is_worth_waiting());
            if let Some((_, last)) = routed.failed.pop_if(|_| is_over) {
                emit(routed.end(with_not_free(last, &waits))).await;
                return Ok(());
            }
            if !routed.failed.is_empty() {
                waits.retain(|(_, it)| it.is_worth_waiting());
            }
            self.wait_for_target(waits, &mut changes).await?;
        }
    }

    /// The record of a row by an answer that is kept, of whichever target.
    async fn find_routed(&self, routed: &mut RoutedRow) -> Option<Record> {
        routed.question?;
        for executor in self.targets() {
            let mut trace = AttemptTrace { finds_only: true, ..routed.trace(executor) };
            let found = executor.try_target(routed, &mut trace).await.ok().flatten();
            // Without an answer, the record says why the row makes no request there.
            if let Some(record) = found
                && (record.status.is_some() || record.origin.is_some())
            {
                return Some(record);
            }
        }
        None
    }

    /// Asks this target; gives the record of the row if it ends with its answer.
    async fn try_target(
        &self,
        routed: &mut RoutedRow,
        trace: &mut AttemptTrace,
    ) -> Result<Option<Record>, Cancelled> {
        let name = &self.requests.target().name;
        let asked = self.target_record(routed.row.clone(), trace).await;
        let mut record =
            asked.inspect_err(|_| routed.add(name, trace.attempts, &mut trace.arrived))?;
        routed.add(name, record.attempts, &mut record.arrived);
        record.target = Some(name.clone());
        if !self.moves_on(&record, trace) {
            return Ok(Some(record));
        }
        routed.failed.push((self.requests.stage_index, record));
        Ok(None)
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
        let was_sent = record.attempts > 0;
        let failure = match &record.outcome {
            Err(failure) if !record.is_missing() => failure,
            _ => {
                if was_sent {
                    targets.key_accepted(requests.stage_index);
                }
                return false;
            }
        };
        if was_sent
            && matches!(failure.kind, FailureKind::Status(401 | 402 | 403 | 407))
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
        outcome: Result<Vec<Value>, Failure>,
    ) -> Record {
        let decision = trace.decision;
        let record = self.record_of(row, std::mem::take(trace), outcome);
        trace.decision = decision;
        record
    }
}

/// A row on its way over the targets.
#[derive(Default)]
struct RoutedRow {
    row: Row,
    /// What it asks of the first target, if answers are kept.
    question: Option<RequestKey>,
    /// The targets that have failed it, by the index of their stage, and their records.
    failed: Vec<(usize, Record)>,
    /// Number of requests for it at all targets, and when they can have arrived.
    attempts: u32,
    arrived: Vec<Option<Arrived>>,
}

impl RoutedRow {
    /// The trace of its requests at this target.
    fn trace(&self, executor: &RowExecutor) -> AttemptTrace {
        let question = self.question.filter(|_| executor.requests.stage_index > 0);
        AttemptTrace { question, ..AttemptTrace::default() }
    }

    fn has_failed_at(&self, executor: &RowExecutor) -> bool {
        self.failed.iter().any(|(target, _)| *target == executor.requests.stage_index)
    }

    /// Adds the requests of this target.
    fn add(&mut self, target: &Arc<str>, attempts: u32, arrived: &mut Vec<Option<Arrived>>) {
        self.attempts += attempts;
        for one in arrived.iter_mut().flatten() {
            one.counted.insert(TARGET.to_owned(), Value::from(&**target));
        }
        self.arrived.append(arrived);
    }

    /// The record that ends it, with the requests at all targets. Its failure names those of the
    /// targets before, and its requests their target where it is another one than the record's.
    fn end(self, mut record: Record) -> Record {
        record.attempts = self.attempts;
        record.arrived = self.arrived;
        let own = record.target.as_deref();
        for one in record.arrived.iter_mut().flatten() {
            if one.counted.get(TARGET).and_then(Value::as_str) == own {
                one.counted.shift_remove(TARGET);
            }
        }
        if let Err(failure) = &mut record.outcome {
            for before in self.failed.iter().map(|(_, record)| record) {
                if let (Some(name), Err(earlier)) = (&before.target, &before.outcome) {
                    failure.detail += &format!("; before that, {name}: {}", earlier.kind);
                }
            }
        }
        record
    }
}

/// The record of a row that fails, while these targets are not free.
fn with_not_free(mut record: Record, waits: &[(&Arc<str>, NotFree)]) -> Record {
    if let Err(failure) = &mut record.outcome {
        failure.detail.extend(waits.iter().map(|(name, _)| format!("; {name} was not free")));
    }
    record
}
