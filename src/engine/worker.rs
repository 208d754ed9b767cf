//! One worker: a thread with its own event loop and its own connections.
//! [door: threads]

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::Sender;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, LocalSet};

use super::chain::{ChainExit, ChainStage};
use super::inbox::Inbox;
use super::outbox::{Outbox, OutboxBatch};
use super::panics::{all, caught};
use crate::engine::row::{RowExecutor, RunContext};
use crate::metrics::wait_time::WaitReason;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink::IntentLog;
use crate::threads;

/// Starts the thread. It ends with the rows, or when the run is to stop; gives
/// how long that took. If it can't be started, the run is asked to stop.
pub fn start(
    index: usize,
    shared: Arc<RunContext>,
    stages: Vec<ChainStage>,
    to_writer: Sender<OutboxBatch>,
    intents: Option<IntentLog>,
) -> Option<JoinHandle<Duration>> {
    let of_run = shared.clone();
    let started = threads::spawn(move || {
        let started = Instant::now();
        // The writer must not see the end of the records before the reason for it.
        let stays = to_writer.clone();
        caught(&shared.stop, "a worker", || {
            run(index, &shared, stages, to_writer, intents)
        });
        shared.live.end(index);
        drop(stays);
        started.elapsed()
    });
    if let Err(error) = &started {
        of_run.live.end(index);
        of_run.stop.request(ShutdownReason::Error(format!(
            "of {} workers (workers.count or --workers) {index} could start: {error}",
            of_run.plan.workers.count
        )));
    }
    started.ok()
}

fn run(
    index: usize,
    shared: &Arc<RunContext>,
    stages: Vec<ChainStage>,
    to_writer: Sender<OutboxBatch>,
    intents: Option<IntentLog>,
) {
    match runtime(index, shared) {
        Ok(runtime) => {
            let work = work(index, shared.clone(), stages, to_writer, intents);
            LocalSet::new().block_on(&runtime, work);
        }
        Err(error) => shared.stop.request(ShutdownReason::Error(format!(
            "a worker could not start: {error}; are too many files open (ulimit -n)?"
        ))),
    }
}

/// An event loop that notes when its thread goes to rest, and when it goes on.
fn runtime(index: usize, shared: &Arc<RunContext>) -> std::io::Result<Runtime> {
    let (rests, wakes) = (shared.clone(), shared.clone());
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || rests.live.idle(index))
        .on_thread_unpark(move || wakes.live.wake(index))
        .build()
}

async fn work(
    index: usize,
    shared: Arc<RunContext>,
    stages: Vec<ChainStage>,
    to_writer: Sender<OutboxBatch>,
    intents: Option<IntentLog>,
) {
    let outbox = Outbox::new(to_writer);
    let mut steps = JoinSet::new();
    for (stage_index, stage) in stages.into_iter().enumerate() {
        let walk = RowExecutor::new(index, stage_index, shared.clone(), intents.clone());
        let exit = ChainExit::new(
            &shared.plan,
            stage_index,
            stage.next.clone(),
            outbox.clone(),
        );
        let planned = &shared.plan.stages[stage_index];
        let inbox = Inbox::new(stage, planned.chunk);
        let stop = shared.stop.clone();
        steps.spawn_local(step(walk, inbox, exit, (planned.in_flight, stop)));
    }
    tokio::select! {
        () = all(&mut steps, &shared.stop) => {}
        () = cut_after_grace(&shared) => {}
    }
    outbox.close().await;
}

/// Takes the rows of one step to their records; so many at a time.
async fn step(
    walk: RowExecutor,
    inbox: Inbox,
    exit: ChainExit,
    (in_flight, stop): (usize, Shutdown),
) {
    let (walk, inbox, exit) = (Rc::new(walk), Rc::new(inbox), Rc::new(exit));
    let mut walks = JoinSet::new();
    for _ in 0..in_flight {
        walks.spawn_local(serve(walk.clone(), inbox.clone(), exit.clone()));
    }
    all(&mut walks, &stop).await;
}

/// Takes one row after the other to its record.
async fn serve(walk: Rc<RowExecutor>, inbox: Rc<Inbox>, exit: Rc<ChainExit>) {
    let put = async |record| {
        let record = exit.shown(record);
        if let Some(record) = exit.try_put(record) {
            let _waits = walk.waits(WaitReason::Output);
            exit.put(record).await;
        }
    };
    if let Some(batch) = walk.batch() {
        while let Ok(Some(rows)) = walk.unless_stopped(inbox.batch()).await {
            if walk.rows(batch, rows, &put).await.is_err() {
                return;
            }
        }
        return;
    }
    loop {
        let row = match inbox.take() {
            _ if walk.is_stopping() => return,
            Some(row) => row,
            None => match walk.unless_stopped(inbox.next()).await {
                Ok(Some(row)) => row,
                _ => return,
            },
        };
        // Where it is polled: to move it there would cost more than most of its work.
        if pin!(walk.row(row, &put)).await.is_err() {
            return;
        }
    }
}

/// Answers in flight are waited for so long when the run is to end early. Then each
/// walk hears that it is over, and says what became of its row.
async fn cut_after_grace(shared: &RunContext) {
    shared.stop.requested().await;
    tokio::time::sleep(shared.plan.workers.shutdown_grace).await;
    shared.stop.abort();
    std::future::pending().await
}
