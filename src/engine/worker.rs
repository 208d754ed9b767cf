//! A worker: a thread with its own event loop and its own connections.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::Sender;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};

use super::brake::UniformFailure;
use super::channels::{Inbox, Outbox, OutboxBatch, StageChannels, StageExit};
use super::context::RunContext;
use super::ending;
use super::panics::{all, caught};
use super::poll_queue::NextTask;
use super::row::{Cancelled, PolledJob, RowExecutor, RowLogs, StandIn};
use crate::error::Error;
use crate::metrics::WaitReason;
use crate::plan::Stage;
use crate::record::Record;
use crate::row::Row;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::threads;

/// A worker that is about to begin.
pub struct Worker {
    pub index: usize,
    pub context: Arc<RunContext>,
    pub stages: Vec<StageChannels>,
    pub to_writer: Sender<OutboxBatch>,
    pub logs: RowLogs,
}

/// Maximum number of sockets of which a worker hears at a time. An answer that has come holds a
/// buffer until its row's turn, while the connection has another one; and of more answers the
/// first ones have left the processor's cache by then.
const SOCKETS_AT_A_TIME: usize = 16;

/// What a task does next.
enum Work {
    /// Takes the rows of one request to their records.
    Rows(Vec<Row>),
    /// Polls a job.
    Poll(Box<PolledJob>),
}

impl Worker {
    /// Starts the thread of a worker. It ends with the rows or with the run, and gives the
    /// time that it took. If it can't be started, the run is asked to stop.
    pub fn start(self) -> Option<JoinHandle<Duration>> {
        let (index, context, of_run) = (self.index, self.context.clone(), self.context.clone());
        let started = threads::spawn(move || {
            let started = Instant::now();
            // The writer must not see the end of the records before the reason for it.
            let stays = self.to_writer.clone();
            caught(&context.shutdown, "a worker", || self.run());
            context.metrics.end(index);
            drop(stays);
            started.elapsed()
        });
        if let Err(error) = &started {
            of_run.metrics.end(index);
            let why = format!(
                "of {} workers (workers.count or --workers) {index} could start: {error}",
                of_run.plan.workers.count
            );
            of_run.shutdown.request(ShutdownReason::Error(Error::stopped(why)));
        }
        started.ok()
    }

    fn run(self) {
        match self.runtime() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, self.work()),
            Err(error) => self.context.shutdown.request(ShutdownReason::Error(Error::stopped(
                format!("a worker could not start: {error}; are too many files open (ulimit -n)?"),
            ))),
        }
    }

    /// An event loop that notes when its thread parks, and when it wakes.
    fn runtime(&self) -> std::io::Result<Runtime> {
        let (rests, wakes, index) = (self.context.clone(), self.context.clone(), self.index);
        Builder::new_current_thread()
            .enable_all()
            .max_io_events_per_tick(SOCKETS_AT_A_TIME)
            .on_thread_park(move || rests.metrics.idle(index))
            .on_thread_unpark(move || wakes.metrics.wake(index))
            .build()
    }

    /// Takes the rows of all stages to their records.
    pub async fn work(self) {
        let Worker { index, context, stages, to_writer, logs } = self;
        let outbox = Outbox::new(&context.plan, to_writer);
        let mut tasks = JoinSet::new();
        for (stage_index, stage) in stages.into_iter().enumerate() {
            let executor = RowExecutor::new(index, stage_index, context.clone(), logs.clone());
            let executor = executor.with_fallbacks();
            let next = stage.next.clone();
            let exit = StageExit::new(&context.plan, stage_index, next, outbox.clone());
            let Stage { chunk, in_flight, .. } = context.plan.stages[stage_index];
            let gated = (stage_index == 0 && context.room.is_some()).then(|| context.clone());
            let inbox = Inbox::new(stage, chunk, gated);
            let shutdown = context.shutdown.clone();
            tasks.spawn_local(run_stage(executor, inbox, exit, in_flight, shutdown));
        }
        tokio::select! {
            () = all(&mut tasks, &context.shutdown) => {}
            () = end_at_deadline(&context) => {}
            () = abort_after_grace(&context) => {}
        }
        outbox.close().await;
    }
}

/// Takes the rows of one stage to their records, this number at a time.
async fn run_stage(
    executor: RowExecutor,
    inbox: Inbox,
    exit: StageExit,
    in_flight: usize,
    shutdown: Shutdown,
) {
    let (executor, inbox, exit) = (Rc::new(executor), Rc::new(inbox), Rc::new(exit));
    let (others, of_inbox, of_exit) = (Rc::downgrade(&executor), inbox.clone(), exit.clone());
    executor.set_stand_in(move || {
        let (executor, inbox, exit) = (others.upgrade(), of_inbox.clone(), of_exit.clone());
        StandIn::start(async move |stop| {
            if let Some(executor) = executor {
                run_stand_in(&executor, &inbox, &exit, &stop).await;
            }
        })
    });
    if executor.sends_batches() {
        let (of_record, exit) = (executor.clone(), exit.clone());
        let put = async move |record| put(&of_record, &exit, record).await;
        executor.run_batches(&inbox, &Rc::new(put)).await;
        return;
    }
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        tasks.spawn_local(run_rows(executor.clone(), inbox.clone(), exit.clone()));
    }
    all(&mut tasks, &shutdown).await;
    executor.leave_jobs(&async |record| put(&executor, &exit, record).await).await;
}

/// Takes one row after the other to its record, on trial as long as the stage is.
async fn run_rows(executor: Rc<RowExecutor>, inbox: Rc<Inbox>, exit: Rc<StageExit>) {
    if Box::pin(run_trial(&executor, &inbox, &exit)).await.is_err() {
        return;
    }
    let put = async |record| put(&executor, &exit, record).await;
    // What only some jobs need is boxed, so that the task has no room for it in all others.
    if executor.submits() {
        while let Ok(task) = Box::pin(executor.next_task(&inbox)).await {
            let done = match task {
                NextTask::Submit(row) => Box::pin(executor.row(row, &put)).await,
                NextTask::Poll(job) => Box::pin(executor.poll(job, &put)).await,
            };
            if done.is_err() {
                return;
            }
        }
        return;
    }
    if let Some(batch) = executor.batch() {
        while let Ok(Some(rows)) = executor.requests.unless_stopped(inbox.batch()).await {
            if Box::pin(executor.rows(batch, rows, &put)).await.is_err() {
                return;
            }
        }
        return;
    }
    if executor.asks_once() {
        while let Ok(row) = next_row(&executor, &inbox).await {
            if Box::pin(executor.row_once(row, &put)).await.is_err() {
                return;
            }
        }
        return;
    }
    while let Ok(row) = next_row(&executor, &inbox).await {
        // The future is polled where it is: to move it would cost more than most of its work.
        if pin!(executor.row(row, &put)).await.is_err() {
            return;
        }
    }
}

/// Takes rows to their records until the stage's trial is over.
async fn run_trial(
    executor: &Rc<RowExecutor>,
    inbox: &Inbox,
    exit: &StageExit,
) -> Result<(), Cancelled> {
    let (context, stage_index) = executor.place();
    while !context.brake.is_open(stage_index) {
        let work = next_work(executor, inbox).await?;
        run_on_trial(executor, exit, work).await?;
    }
    Ok(())
}

/// The next request to be made, unless there is none or the run is to end.
async fn next_work(executor: &RowExecutor, inbox: &Inbox) -> Result<Work, Cancelled> {
    if executor.submits() {
        return Ok(match executor.next_task(inbox).await? {
            NextTask::Submit(row) => Work::Rows(vec![row]),
            NextTask::Poll(job) => Work::Poll(job),
        });
    }
    Ok(Work::Rows(match executor.batch() {
        Some(_) => {
            let rows = executor.requests.unless_stopped(inbox.batch()).await?;
            rows.ok_or(Cancelled)?
        }
        None => vec![next_row(executor, inbox).await?],
    }))
}

/// Makes a request and takes its rows to their records, as soon as the stage's trial allows it.
async fn run_on_trial(
    executor: &Rc<RowExecutor>,
    exit: &StageExit,
    work: Work,
) -> Result<(), Cancelled> {
    let (context, stage_index) = executor.place();
    // The rows of jobs that are polled have begun before.
    let new_rows = match &work {
        Work::Rows(rows) => rows.len(),
        Work::Poll(_) => 0,
    };
    let stop = |uniform: &UniformFailure| {
        let error = ending::uniform_failure(context, uniform);
        context.shutdown.request(ShutdownReason::Error(error));
    };
    let begin = context.brake.begin(stage_index, new_rows, &stop);
    let trial = match executor.requests.unless_stopped(begin).await {
        Ok(trial) => trial,
        Err(cancelled) => {
            if let Work::Poll(job) = work {
                executor.put_back(job);
            }
            return Err(cancelled);
        }
    };
    let put = async |mut record| {
        exit.hide_secrets(&mut record);
        if let Some(trial) = &trial {
            trial.note(&record, exit.goes_on(&record));
        }
        hand_over(executor, exit, record).await;
    };
    match work {
        Work::Rows(rows) => executor.any_rows(rows, &put).await,
        Work::Poll(job) => Box::pin(executor.poll(job, &put)).await,
    }
}

/// Maximum time for which a stand-in waits for a row.
const STAND_IN_PATIENCE: Duration = Duration::from_secs(1);

/// Takes rows to their records until it is stopped, or no row comes.
async fn run_stand_in(executor: &Rc<RowExecutor>, inbox: &Inbox, exit: &StageExit, stop: &Notify) {
    loop {
        let row = tokio::select! {
            biased;
            () = stop.notified() => return,
            row = next_row(executor, inbox) => row,
            () = tokio::time::sleep(STAND_IN_PATIENCE) => return,
        };
        let Ok(row) = row else {
            return;
        };
        if run_on_trial(executor, exit, Work::Rows(vec![row])).await.is_err() {
            return;
        }
    }
}

/// The next row, unless there is none or the run is to end.
async fn next_row(executor: &RowExecutor, inbox: &Inbox) -> Result<Row, Cancelled> {
    match inbox.take() {
        _ if executor.requests.is_stopping() => Err(Cancelled),
        Some(row) => Ok(row),
        None => {
            let _waits = inbox.is_shut().then(|| executor.requests.waits(WaitReason::Output));
            executor.requests.unless_stopped(inbox.next()).await?.ok_or(Cancelled)
        }
    }
}

/// Hands a record over without its secrets; the future waits if there is no room for it.
fn put(executor: &RowExecutor, exit: &StageExit, mut record: Record) -> impl Future<Output = ()> {
    exit.hide_secrets(&mut record);
    hand_over(executor, exit, record)
}

/// Hands a record over; the future waits if there is no room for it.
fn hand_over(executor: &RowExecutor, exit: &StageExit, record: Record) -> impl Future<Output = ()> {
    // A row in flight has no room for a record of its own.
    let waiting = exit.try_put(record).map(|record| {
        Box::pin(async move {
            let _waits = executor.requests.waits(WaitReason::Output);
            exit.put(record).await;
        })
    });
    async move {
        if let Some(waiting) = waiting {
            waiting.await;
        }
    }
}

/// Maximum time between two looks at the clock: a timer stands still while the machine sleeps.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// Requests the end of the run at its deadline, if it has one.
async fn end_at_deadline(context: &RunContext) {
    if let Some(deadline) = context.plan.workers.deadline {
        while let Some(left) = context.time_left().filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(CLOCK_CHECK)).await;
        }
        let error = ending::deadline(context, deadline);
        context.shutdown.request(ShutdownReason::Error(error));
    }
    std::future::pending().await
}

/// Aborts the run once it was asked to end and the time for answers in flight is over. Each
/// row then ends, with a record if it may have been done.
async fn abort_after_grace(context: &RunContext) {
    context.shutdown.requested().await;
    tokio::time::sleep(context.plan.workers.shutdown_grace).await;
    context.shutdown.abort();
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F>(_: impl FnOnce(Rc<RowExecutor>, Rc<Inbox>, Rc<StageExit>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_task_has_room_for_no_more_than_a_row() {
        let size = size(run_rows);
        assert!(size < 5_500, "{size} bytes");
    }
}
