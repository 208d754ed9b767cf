//! Rows whose requests go through the batch endpoint of a provider.
//!
//! Rows are packed into batches, each of which is uploaded, submitted, polled and collected by a
//! task of its own. Rows that another batch may answer are packed again. All requests to the
//! provider take permits, and a batch is written down before it is submitted, so that it is
//! found again if the answer to its submission is lost.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::task::{JoinError, JoinSet};

use super::RowExecutor;
use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, Purpose};
use super::batch_bill::BatchBill;
use crate::batch_api::{
    self, BatchApi, BatchState, Call, Match, NewBatch, Pack, PackKey, PackedRow, Packer,
    RowOutcome, RowResult, SoughtBatch,
};
use crate::engine::channels::Inbox;
use crate::error::Error;
use crate::judge::{Meaning, Tries, Verdict, signals};
use crate::limit::Cost;
use crate::metrics::WaitReason;
use crate::record::{Failure, FailureKind, Record, excerpt};
use crate::row::Row;
use crate::send::{Answer, Delivery, SendError};

/// Maximum number of rows in batches in progress: they are held in memory.
const MAX_ROWS: usize = 200_000;
/// Maximum number of batches in progress.
const MAX_BATCHES: usize = 100;
/// Pause before the first look at a batch, where the job names none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Factor by which that pause grows with each look.
const GROWTH: f64 = 1.5;
/// Maximum of that pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of pages of the list in which a batch is sought.
const MAX_PAGES: usize = 50;
/// Number of rows after which other tasks have their turn.
const TURN: u32 = 64;
/// Maximum number of characters that a failure quotes.
const MAX_SAID: usize = 200;

/// The warning of batches that go on after the run.
const LEFT: &str =
    "batches go on at the provider, which --resume collects without submitting them again";
/// The warning of looks at batches that failed.
const UNSEEN: &str = "looks at batches failed and were repeated";
/// The warning of results without a row.
const UNMATCHED: &str = "results of batches that no row took";

/// The rows of a stage between its inbox and their batches.
struct BatchQueue {
    packer: Packer,
    /// Batches that wait until others have ended.
    packs: VecDeque<Pack>,
    /// Rows of batches that earlier runs have submitted, by the name of the batch.
    resumed: HashMap<String, Vec<PackedRow>>,
    tasks: JoinSet<CarriedBatch>,
    rows_in_progress: usize,
    tokens_in_progress: u64,
    has_all_rows: bool,
}

/// A batch whose task has ended.
struct CarriedBatch {
    rows: usize,
    tokens: u64,
    /// The rows that another batch may answer; or the run ended before.
    again: Result<Vec<PackedRow>, Cancelled>,
}

/// A batch at the provider.
struct LiveBatch<'a> {
    key: PackKey,
    name: String,
    id: String,
    rows: Vec<PackedRow>,
    /// Whether an earlier run has submitted it.
    is_resumed: bool,
    bill: BatchBill<'a>,
}

/// How a submission ended.
enum Submission {
    /// The provider's id of the batch.
    Taken(String),
    /// The provider never had it.
    NotTaken,
    Failed(Failure),
}

/// How the result of a row ends.
enum RowEnd {
    Record(Box<Record>),
    /// Another batch may answer it.
    Again(PackedRow),
}

impl RowExecutor {
    /// Whether its rows go through a provider's batches.
    pub fn sends_batches(&self) -> bool {
        self.stage().batch_api.is_some()
    }

    /// Takes all rows of the stage to their records.
    pub async fn run_batches<E: AsyncFn(Record) + 'static>(
        self: &Rc<Self>,
        inbox: &Inbox,
        emit: &Rc<E>,
    ) {
        let Some(api) = &self.stage().batch_api else {
            return;
        };
        let mut queue = BatchQueue::new(api);
        let worked = Box::pin(self.fill_batches(api, &mut queue, inbox, emit)).await;
        let mut left = 0;
        if worked.is_err() {
            while let Some(done) = queue.tasks.join_next().await {
                left += u64::from(done.is_ok_and(|batch| batch.again.is_err()));
            }
        }
        if left > 0 && self.requests.logs.batches.is_some() {
            self.requests.context.leave_jobs();
            self.warn(LEFT, left, || format!("of {}", api.dialect.name()));
        }
    }

    async fn fill_batches<E: AsyncFn(Record) + 'static>(
        self: &Rc<Self>,
        api: &BatchApi,
        queue: &mut BatchQueue,
        inbox: &Inbox,
        emit: &Rc<E>,
    ) -> Result<(), Cancelled> {
        let mut turn = 0;
        loop {
            self.start_batches(api, queue, emit);
            if queue.is_done() {
                return Ok(());
            }
            let takes_rows = queue.takes_rows();
            let next = async {
                tokio::select! {
                    row = inbox.next(), if takes_rows => Ok(row),
                    Some(done) = queue.tasks.join_next() => Err(done),
                }
            };
            match self.requests.unless_stopped(next).await? {
                Ok(Some(row)) => {
                    self.take_row(api, queue, row, &**emit).await;
                    turn += 1;
                    if turn % TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(None) => queue.has_all_rows = true,
                Err(done) => {
                    self.end_batch(api, queue, done, &**emit).await?;
                    while let Some(done) = queue.tasks.try_join_next() {
                        self.end_batch(api, queue, done, &**emit).await?;
                    }
                }
            }
        }
    }

    /// Starts the batches that there is room for.
    fn start_batches<E: AsyncFn(Record) + 'static>(
        self: &Rc<Self>,
        api: &BatchApi,
        queue: &mut BatchQueue,
        emit: &Rc<E>,
    ) {
        for (name, rows) in queue.gathered(|id| self.rows_of_batch(id)) {
            queue.rows_in_progress += rows.len();
            let (executor, emit) = (self.clone(), emit.clone());
            queue.tasks.spawn_local(async move {
                let count = rows.len();
                let again = executor.carry_resumed(name, rows, &*emit).await;
                CarriedBatch { rows: count, tokens: 0, again }
            });
        }
        while let Some(pack) = queue.next_pack(api) {
            queue.rows_in_progress += pack.rows.len();
            queue.tokens_in_progress += pack.tokens;
            let (executor, emit) = (self.clone(), emit.clone());
            queue.tasks.spawn_local(async move {
                let (rows, tokens) = (pack.rows.len(), pack.tokens);
                let again = executor.carry(pack, &*emit).await;
                CarriedBatch { rows, tokens, again }
            });
        }
    }

    /// Number of rows that a batch of an earlier run was submitted with, by the id of one of
    /// them.
    fn rows_of_batch(&self, id: &str) -> usize {
        let (batch, _) = self.requests.context.plan.output.submitted_batch(id);
        batch.map_or(0, |batch| batch.rows)
    }

    /// Packs the rows of a batch that has ended and that another may answer.
    async fn end_batch<E: AsyncFn(Record)>(
        &self,
        api: &BatchApi,
        queue: &mut BatchQueue,
        done: Result<CarriedBatch, JoinError>,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let done = done.map_err(|error| {
            self.requests.end_run(Error::stopped(format!("a batch was given up: {error}")))
        })?;
        queue.rows_in_progress -= done.rows;
        queue.tokens_in_progress -= done.tokens;
        for row in done.again? {
            self.pack_row(api, queue, row, emit).await;
        }
        Ok(())
    }

    /// Gathers a row for the batch that has it already, or packs it.
    async fn take_row<E: AsyncFn(Record)>(
        &self,
        api: &BatchApi,
        queue: &mut BatchQueue,
        row: Row,
        emit: &E,
    ) {
        let output = &self.requests.context.plan.output;
        let id = output.batch_row_id(&row);
        let (batch, tries) = output.submitted_batch(&id);
        let row = PackedRow { row, id, tries, units: Vec::new() };
        match batch {
            Some(batch) => queue.resumed.entry(batch.name.clone()).or_default().push(row),
            None => self.pack_row(api, queue, row, emit).await,
        }
    }

    async fn pack_row<E: AsyncFn(Record)>(
        &self,
        api: &BatchApi,
        queue: &mut BatchQueue,
        mut row: PackedRow,
        emit: &E,
    ) {
        let has_prices = self.stage().prices.is_some();
        let packed = self.stage().render(&row.row).and_then(|request| {
            let wrong = |why| Failure::new(FailureKind::Input, why);
            let (key, entry) = api.pack(&row.id, &request).map_err(wrong)?;
            let tokens = batch_api::tokens(&request);
            let (bytes, bounds) = (entry.len() as u64, &api.bounds);
            if bytes > bounds.bytes || tokens > bounds.tokens {
                return Err(wrong(format!(
                    "its request has {bytes} bytes and about {tokens} tokens, which is more than a batch has room for (batch.bytes, batch.tokens)"
                )));
            }
            let mut units = Vec::new();
            if has_prices {
                let cost = self.stage().cost(&row.row, &request)?;
                units.extend((0..self.stage().policy.units().len()).map(|it| cost.units_of(it)));
            }
            Ok((key, entry, tokens, units))
        });
        match packed {
            Ok((key, entry, tokens, units)) => {
                row.units = units;
                queue.packs.extend(queue.packer.add(key, row, &entry, tokens));
            }
            Err(failure) => {
                emit(self.record_of(row.row, AttemptTrace::default(), Err(failure))).await;
            }
        }
    }

    /// Submits a batch, waits for it, and ends its rows. Gives those that another may answer.
    async fn carry<E: AsyncFn(Record)>(
        &self,
        mut pack: Pack,
        emit: &E,
    ) -> Result<Vec<PackedRow>, Cancelled> {
        let Some(api) = &self.stage().batch_api else {
            return Ok(Vec::new());
        };
        let name = format!("throng-{:032x}", rand::random::<u128>());
        let mut bill = self.requests.bill_batch(&pack.rows).await?;
        let submitted = self.submit_batch(api, &pack, &name, &mut bill).await?;
        pack.requests = String::new();
        match submitted {
            Submission::Taken(id) => {
                self.note_submitted(&name, &id).await?;
                let Pack { key, rows, .. } = pack;
                let batch = LiveBatch { key, name, id, rows, is_resumed: false, bill };
                self.collect(api, batch, emit).await
            }
            Submission::NotTaken => {
                bill.cancel();
                Ok(self.tried(pack.rows, emit).await)
            }
            Submission::Failed(failure) => {
                bill.cancel();
                self.fail_rows(pack.rows, &failure, emit).await;
                Ok(Vec::new())
            }
        }
    }

    /// Waits for a batch that an earlier run has submitted, if the provider has it.
    async fn carry_resumed<E: AsyncFn(Record)>(
        &self,
        name: String,
        rows: Vec<PackedRow>,
        emit: &E,
    ) -> Result<Vec<PackedRow>, Cancelled> {
        let (Some(api), Some(first)) = (&self.stage().batch_api, rows.first()) else {
            return Ok(rows);
        };
        let (Some(batch), _) = self.requests.context.plan.output.submitted_batch(&first.id) else {
            return Ok(rows);
        };
        let rendered = self.stage().render(&first.row).map_err(|failure| failure.detail);
        let key = match rendered.and_then(|request| api.pack(&first.id, &request)) {
            Ok((key, _)) => key,
            Err(why) => {
                self.fail_rows(rows, &Failure::new(FailureKind::Input, why), emit).await;
                return Ok(Vec::new());
            }
        };
        let id = match &batch.id {
            Some(id) => Some(id.clone()),
            None => {
                let sought = SoughtBatch { name: &name, rows: batch.rows, at: batch.at };
                self.seek(api, &key, &sought, &rows).await?
            }
        };
        let Some(id) = id else {
            self.note_gone(&name).await?;
            return Ok(rows);
        };
        if batch.id.is_none() {
            self.note_submitted(&name, &id).await?;
        } else {
            self.requests.context.metrics.batch_begins();
        }
        let batch = LiveBatch { key, name, id, rows, is_resumed: true, bill: BatchBill::none() };
        self.collect(api, batch, emit).await
    }

    async fn submit_batch(
        &self,
        api: &BatchApi,
        pack: &Pack,
        name: &str,
        bill: &mut BatchBill<'_>,
    ) -> Result<Submission, Cancelled> {
        let Pack { key, rows, requests, .. } = pack;
        let model = key.model.as_deref();
        let batch = NewBatch { name, endpoint: &key.endpoint, model, requests };
        let mut file = String::new();
        if let Some(upload) = api.dialect.upload(&batch) {
            match self.call(key, &upload, Tries::repeatable()).await? {
                Ok(answer) => file = described(&answer)["id"].as_str().unwrap_or_default().into(),
                Err(failure) => return Ok(Submission::Failed(failure)),
            }
        }
        let call = api.dialect.submit(&batch, &file);
        let at = self.now();
        if let Some(log) = &self.requests.logs.batches {
            let ids = rows.iter().map(|row| row.id.clone()).collect();
            log.begin(name, at, ids).await.map_err(|_| Cancelled)?;
        }
        bill.submitted();
        let failure = match self.call(key, &call, Tries::of(&Method::POST)).await? {
            Ok(answer) => match api.dialect.id(&described(&answer)) {
                Some(id) => return Ok(Submission::Taken(id)),
                None => answer.failure(),
            },
            Err(failure) => failure,
        };
        if was_not_taken(&failure.kind) {
            self.note_gone(name).await?;
            return Ok(Submission::Failed(failure));
        }
        let sought = SoughtBatch { name, rows: rows.len(), at };
        if let Some(id) = self.seek(api, key, &sought, rows).await? {
            return Ok(Submission::Taken(id));
        }
        self.note_gone(name).await?;
        Ok(Submission::NotTaken)
    }

    /// The id of a batch whose submission had no answer; none if it has not arrived, and can't
    /// arrive any more.
    async fn seek(
        &self,
        api: &BatchApi,
        key: &PackKey,
        batch: &SoughtBatch<'_>,
        rows: &[PackedRow],
    ) -> Result<Option<String>, Cancelled> {
        let linger = self.stage().policy.linger.as_secs_f64().ceil() as i64;
        let mut looks = 0;
        // It may have been sent until just now, after refusals.
        let end = self.now() + linger;
        loop {
            let is_last = self.now() > end;
            if let Some(id) = self.look_for(api, key, batch, rows).await? {
                return Ok(Some(id));
            }
            if is_last {
                return Ok(None);
            }
            self.pause(api, looks, None).await?;
            looks += 1;
        }
    }

    /// Looks for a batch in the provider's list.
    async fn look_for(
        &self,
        api: &BatchApi,
        key: &PackKey,
        batch: &SoughtBatch<'_>,
        rows: &[PackedRow],
    ) -> Result<Option<String>, Cancelled> {
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let call = api.dialect.list(after.as_deref());
            let page = match self.call(key, &call, Tries::repeatable()).await? {
                Ok(answer) => described(&answer),
                Err(Failure { kind, detail }) => {
                    return Err(self.requests.end_run(Error::stopped(format!(
                        "the answer to the submission of a batch was lost, and the provider's list of batches cannot be read ({kind}: {detail}); --resume looks for it again"
                    ))));
                }
            };
            let (found, next) = api.dialect.listed(&page);
            for described in found {
                let Some(id) = api.dialect.id(&described) else {
                    continue;
                };
                let is_it = match api.dialect.is_batch(&described, batch) {
                    Match::Yes => true,
                    Match::No => false,
                    Match::ByResults => self.has_results_of(api, key, &id, rows).await?,
                };
                if is_it {
                    return Ok(Some(id));
                }
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        Ok(None)
    }

    /// Whether the results of a batch are those of these rows. Waits until it has ended.
    async fn has_results_of(
        &self,
        api: &BatchApi,
        key: &PackKey,
        id: &str,
        rows: &[PackedRow],
    ) -> Result<bool, Cancelled> {
        let is_known = self.batch_ids.borrow().contains(id);
        if is_known || self.requests.context.plan.output.knows_batch(id) {
            return Ok(false);
        }
        let Some(BatchState::Ended { results, .. }) = self.wait_for(api, key, id, true).await?
        else {
            return Ok(false);
        };
        for call in results {
            if let Ok(answer) = self.call(key, &call, Tries::repeatable()).await? {
                let all = api.dialect.results(&answer.body);
                return Ok(all.first().is_some_and(|it| rows.iter().any(|row| row.id == it.id)));
            }
        }
        Ok(false)
    }

    /// The state of a batch once it runs no more; none if the provider does not know it.
    async fn wait_for(
        &self,
        api: &BatchApi,
        key: &PackKey,
        id: &str,
        at_once: bool,
    ) -> Result<Option<BatchState>, Cancelled> {
        let (mut looks, mut asked) = (0, None);
        loop {
            if looks > 0 || !at_once {
                self.pause(api, looks, asked).await?;
            }
            looks += 1;
            let call = api.dialect.status(id);
            match self.call(key, &call, Tries::repeatable()).await? {
                Ok(answer) => match api.dialect.state(&described(&answer)) {
                    BatchState::Running => asked = self.asked_pause(&answer),
                    state => return Ok(Some(state)),
                },
                Err(failure) if is_gone(&failure.kind) => return Ok(None),
                Err(failure) => self.check_look(id, failure)?,
            }
        }
    }

    /// Lets a failed look at a batch be repeated, unless that is no use.
    fn check_look(&self, id: &str, failure: Failure) -> Result<(), Cancelled> {
        let Failure { kind, detail } = failure;
        if matches!(kind, FailureKind::Status(401 | 403)) {
            return Err(self.requests.end_run(Error::stopped(format!(
                "the batch {id} cannot be looked at: {kind}: {detail}; --resume collects it"
            ))));
        }
        self.warn(UNSEEN, 1, || format!("{id}: {kind}: {detail}"));
        Ok(())
    }

    /// Waits for a batch and ends its rows. Gives those that another batch may answer.
    async fn collect<E: AsyncFn(Record)>(
        &self,
        api: &BatchApi,
        mut batch: LiveBatch<'_>,
        emit: &E,
    ) -> Result<Vec<PackedRow>, Cancelled> {
        let collected = self.collect_results(api, &mut batch, emit).await;
        if collected.is_err() && self.requests.logs.batches.is_none() {
            let why = format!(
                "the run ended before its batch did, and without an output file no later run can collect it: {}",
                batch.id
            );
            let failure = Failure::new(FailureKind::Interrupted, why);
            self.fail_rows(batch.rows, &failure, emit).await;
        }
        let again = collected?;
        self.requests.settle_batch(batch.bill);
        if let Some(log) = &self.requests.logs.batches {
            log.collected(&batch.name);
        }
        self.requests.context.metrics.batch_ends();
        Ok(again)
    }

    async fn collect_results<E: AsyncFn(Record)>(
        &self,
        api: &BatchApi,
        batch: &mut LiveBatch<'_>,
        emit: &E,
    ) -> Result<Vec<PackedRow>, Cancelled> {
        let state = self.wait_for(api, &batch.key, &batch.id, batch.is_resumed).await?;
        let (calls, rest) = match state {
            Some(BatchState::Ended { results, rest }) => (results, rest),
            Some(BatchState::Refused { is_queue_full: true, .. }) => {
                self.note_gone(&batch.name).await?;
                self.pause(api, u32::MAX, None).await?;
                return Ok(std::mem::take(&mut batch.rows));
            }
            state => {
                let why = match state {
                    Some(BatchState::Refused { why, .. }) => why,
                    _ => format!("the provider does not know the batch {} any more", batch.id),
                };
                let failure = Failure::new(FailureKind::JobFailed, excerpt(&why, MAX_SAID));
                self.fail_rows(std::mem::take(&mut batch.rows), &failure, emit).await;
                return Ok(Vec::new());
            }
        };
        let mut again = Vec::new();
        for call in calls {
            let results = self.results(api, batch, &call).await?;
            self.end_rows(batch, results, &mut again, emit).await?;
        }
        for row in std::mem::take(&mut batch.rows) {
            let end = match &rest {
                Some(outcome) => self.end_row(row, &batch.key, outcome.clone(), &mut batch.bill)?,
                None => {
                    let why = "the batch ended without a result for its request";
                    self.end_failed(row, Failure::new(FailureKind::MissingItem, why))
                }
            };
            self.add_end(end, &mut again, emit).await;
        }
        Ok(again)
    }

    /// The results that a call gives, however long it takes.
    async fn results(
        &self,
        api: &BatchApi,
        batch: &LiveBatch<'_>,
        call: &Call,
    ) -> Result<Vec<RowResult>, Cancelled> {
        let mut looks = 0;
        loop {
            match self.call(&batch.key, call, Tries::repeatable()).await? {
                Ok(answer) => return Ok(api.dialect.results(&answer.body)),
                Err(failure) => self.check_look(&batch.id, failure)?,
            }
            self.pause(api, looks, None).await?;
            looks += 1;
        }
    }

    /// Ends the rows with these results.
    async fn end_rows<E: AsyncFn(Record)>(
        &self,
        batch: &mut LiveBatch<'_>,
        results: Vec<RowResult>,
        again: &mut Vec<PackedRow>,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let rows = std::mem::take(&mut batch.rows).into_iter();
        let mut rows: HashMap<String, PackedRow> = rows.map(|row| (row.id.clone(), row)).collect();
        let mut unmatched = 0;
        let mut stopped = Ok(());
        for RowResult { id, outcome } in results {
            let Some(row) = rows.remove(&id) else {
                unmatched += u64::from(!batch.is_resumed);
                continue;
            };
            match self.end_row(row, &batch.key, outcome, &mut batch.bill) {
                Ok(end) => self.add_end(end, again, emit).await,
                Err(cancelled) => {
                    stopped = Err(cancelled);
                    break;
                }
            }
        }
        if unmatched > 0 {
            self.warn(UNMATCHED, unmatched, || format!("of the batch {}", batch.id));
        }
        batch.rows = rows.into_values().collect();
        stopped
    }

    async fn add_end<E: AsyncFn(Record)>(&self, end: RowEnd, again: &mut Vec<PackedRow>, emit: &E) {
        match end {
            RowEnd::Again(row) => again.push(row),
            RowEnd::Record(record) => emit(*record).await,
        }
    }

    /// Ends a row as its answer says, or as a single request would have ended without one.
    fn end_row(
        &self,
        row: PackedRow,
        key: &PackKey,
        outcome: RowOutcome,
        bill: &mut BatchBill<'_>,
    ) -> Result<RowEnd, Cancelled> {
        Ok(match outcome {
            RowOutcome::Answer(status, headers, body) => {
                let latency = Duration::ZERO;
                let answer = Answer { status, headers, body, latency, unfollowed: None };
                self.end_answered(row, key, answer, bill)?
            }
            RowOutcome::Expired => {
                let why = "the batch expired before the turn of its request";
                self.end_unanswered(row, Failure::new(FailureKind::JobFailed, why))
            }
            RowOutcome::Cancelled => {
                let why = "the batch was cancelled before the turn of its request";
                self.end_failed(row, Failure::new(FailureKind::JobFailed, why))
            }
        })
    }

    fn end_answered(
        &self,
        row: PackedRow,
        key: &PackKey,
        answer: Answer,
        bill: &mut BatchBill<'_>,
    ) -> Result<RowEnd, Cancelled> {
        let stage = self.stage();
        let context = stage.judge_context(&answer, &key.uri, Some(&row.row));
        let now = || self.requests.context.calendar_now();
        let (status, headers) = (answer.status, &answer.headers);
        let decided = stage.answers.decide(&context, status, headers, &answer.body, now);
        let mut trace =
            AttemptTrace { attempts: row.tries + 1, status: Some(status), ..Default::default() };
        if status.is_success() {
            bill.add(&row, &self.told_costs(&row.row, key, &answer));
        }
        let decision = match decided {
            Ok(decision) => decision,
            Err(failure) => {
                let record = self.record_of(row.row, trace, Err(failure));
                return Ok(RowEnd::Record(Box::new(record)));
            }
        };
        if decision.then == Meaning::Refusal {
            return Ok(self.end_unanswered(row, answer.failure()));
        }
        let mut tries = Tries::after(row.tries);
        let draw = self.requests.context.world.draw();
        let failure = match stage.judge.verdict(&mut tries, Ok((&answer, decision)), draw) {
            Verdict::Done => {
                let context = stage.read_context(&answer, &key.uri, None);
                let record = self.record(row.row, trace, &answer.body, context);
                return Ok(RowEnd::Record(Box::new(record)));
            }
            Verdict::Retry(_) => {
                return Ok(RowEnd::Again(PackedRow { tries: row.tries + 1, ..row }));
            }
            Verdict::Stop => return Err(self.requests.stop(&answer, decision)),
            Verdict::GiveUp(failure) => failure,
        };
        if !status.is_success() {
            self.forget(vec![row.id]);
        }
        trace.decision = Some(decision);
        let failure = self.requests.given_up(failure, Ok(answer), &mut trace);
        Ok(RowEnd::Record(Box::new(self.record_of(row.row, trace, Err(failure)))))
    }

    /// The costs that a row's answer tells, which are added to those of the run.
    fn told_costs(&self, row: &Row, key: &PackKey, answer: &Answer) -> Vec<(usize, u64)> {
        let Some(costs) = &self.stage().true_costs else {
            return Vec::new();
        };
        let context = self.stage().read_context(answer, &key.uri, Some(row));
        let told = costs.costs(&answer.body, &context).unwrap_or_default();
        for (unit, cost) in &told {
            self.requests.context.metrics.settled(*unit, *cost, *cost);
        }
        told
    }

    /// Ends a row that another batch may answer, unless it had enough of them.
    fn end_unanswered(&self, row: PackedRow, failure: Failure) -> RowEnd {
        let Failure { kind, detail } = failure;
        let error = SendError { kind, detail, delivery: Delivery::Rejected };
        let draw = self.requests.context.world.draw();
        match self.stage().judge.verdict(&mut Tries::after(row.tries), Err(&error), draw) {
            Verdict::Retry(_) => RowEnd::Again(PackedRow { tries: row.tries + 1, ..row }),
            _ => self.end_failed(row, error.failure()),
        }
    }

    fn end_failed(&self, row: PackedRow, failure: Failure) -> RowEnd {
        self.forget(vec![row.id]);
        let status = match failure.kind {
            FailureKind::Status(code) => StatusCode::from_u16(code).ok(),
            _ => None,
        };
        let trace = AttemptTrace { attempts: row.tries + 1, status, ..Default::default() };
        RowEnd::Record(Box::new(self.record_of(row.row, trace, Err(failure))))
    }

    /// The rows of a submission that did not arrive, unless they had enough of them.
    async fn tried<E: AsyncFn(Record)>(&self, rows: Vec<PackedRow>, emit: &E) -> Vec<PackedRow> {
        let mut again = Vec::new();
        for row in rows {
            let failure = Failure::new(FailureKind::ConnectionLost, "its batch did not arrive");
            let end = self.end_unanswered(row, failure);
            self.add_end(end, &mut again, emit).await;
        }
        again
    }

    async fn fail_rows<E: AsyncFn(Record)>(
        &self,
        rows: Vec<PackedRow>,
        failure: &Failure,
        emit: &E,
    ) {
        for row in rows {
            let mut again = Vec::new();
            let end = self.end_failed(row, failure.clone());
            self.add_end(end, &mut again, emit).await;
        }
    }

    /// Sends a request to the provider; it costs one request of the limits.
    async fn call(
        &self,
        key: &PackKey,
        call: &Call,
        tries: Tries,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let request = match call.request(key) {
            Ok(request) => request,
            Err(error) => return Ok(Err(Failure::new(FailureKind::Input, error.to_string()))),
        };
        let units = self.stage().policy.units().len();
        let cost = Cost::new((0..units.max(1)).map(|unit| u64::from(unit == 0)), []);
        let terms =
            AttemptTerms { cost: &cost, purpose: Purpose::Own, row: None, is_billed: false };
        let mut trace = AttemptTrace::default();
        let sent = self.requests.send_with_retries(&request, terms, tries, &mut trace);
        Box::pin(sent).await
    }

    /// The pause that the server asks for.
    fn asked_pause(&self, answer: &Answer) -> Option<Duration> {
        let now = self.requests.context.calendar_now();
        signals::retry_after(self.stage().headers.heard(&answer.headers), now)
    }

    /// Waits before the next look, after this number of them.
    async fn pause(
        &self,
        api: &BatchApi,
        looks: u32,
        asked: Option<Duration>,
    ) -> Result<(), Cancelled> {
        let factor = GROWTH.powi(looks.min(20).cast_signed());
        let pause = asked.filter(|asked| !asked.is_zero()).or(api.every);
        let pause = pause.unwrap_or_else(|| FIRST_PAUSE.mul_f64(factor).min(MAX_PAUSE));
        let _waits = self.requests.waits(WaitReason::Jobs);
        self.requests.unless_stopped(tokio::time::sleep(pause)).await
    }

    async fn note_submitted(&self, name: &str, id: &str) -> Result<(), Cancelled> {
        self.batch_ids.borrow_mut().insert(id.to_owned());
        self.requests.context.metrics.batch_submitted();
        match &self.requests.logs.batches {
            Some(log) => log.submitted(name, id).await.map_err(|_| Cancelled),
            None => Ok(()),
        }
    }

    async fn note_gone(&self, name: &str) -> Result<(), Cancelled> {
        match &self.requests.logs.batches {
            Some(log) => log.gone(name).await.map_err(|_| Cancelled),
            None => Ok(()),
        }
    }

    fn forget(&self, rows: Vec<String>) {
        if let Some(log) = &self.requests.logs.batches {
            log.forget(rows);
        }
    }

    /// The time in seconds since 1970.
    fn now(&self) -> i64 {
        let since = self.requests.context.calendar_now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs().cast_signed())
    }
}

impl BatchQueue {
    fn new(api: &BatchApi) -> BatchQueue {
        BatchQueue {
            packer: Packer::new(api.bounds, api.dialect.separator()),
            packs: VecDeque::new(),
            resumed: HashMap::new(),
            tasks: JoinSet::new(),
            rows_in_progress: 0,
            tokens_in_progress: 0,
            has_all_rows: false,
        }
    }

    fn is_done(&self) -> bool {
        self.has_all_rows && self.tasks.is_empty()
    }

    /// Whether rows can be taken: none while a full batch waits.
    fn takes_rows(&self) -> bool {
        !self.has_all_rows && self.packs.is_empty()
    }

    /// The batches of earlier runs whose rows have all come, or that are not waited for any
    /// longer.
    fn gathered(&mut self, rows_of: impl Fn(&str) -> usize) -> Vec<(String, Vec<PackedRow>)> {
        if self.resumed.is_empty() {
            return Vec::new();
        }
        let is_over = !self.takes_rows();
        let is_whole =
            |rows: &Vec<PackedRow>| rows.first().is_some_and(|row| rows.len() >= rows_of(&row.id));
        self.resumed.extract_if(|_, rows| is_over || is_whole(rows)).collect()
    }

    /// The next batch, if there is room for it.
    fn next_pack(&mut self, api: &BatchApi) -> Option<Pack> {
        if self.packs.is_empty() && self.has_all_rows {
            self.packs.extend(self.packer.take_largest());
        }
        let next = self.packs.front()?;
        let has_room = self.tasks.len() < MAX_BATCHES
            && self.rows_in_progress + next.rows.len() <= MAX_ROWS
            && self.tokens_in_progress.saturating_add(next.tokens) <= api.bounds.tokens;
        if has_room || self.tasks.is_empty() { self.packs.pop_front() } else { None }
    }
}

/// The body of an answer as a value; null if it is none.
fn described(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Whether a submission that failed so has done nothing.
fn was_not_taken(kind: &FailureKind) -> bool {
    match kind {
        FailureKind::Status(status) => (400..500).contains(status),
        FailureKind::Connect | FailureKind::Tls | FailureKind::Input => true,
        _ => false,
    }
}

/// Whether the provider does not know a batch any more.
fn is_gone(kind: &FailureKind) -> bool {
    matches!(kind, FailureKind::Status(404 | 410))
}
