//! One worker: a thread with its own event loop and its own connections.
//! [door: threads]

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};

use super::inbox::{Chunk, Inbox};
use super::outbox::{Batch, Outbox};
use crate::attempt::{Shared, Walk};
use crate::sink::Intents;
use crate::stop::Reason;

/// Starts the thread. It ends with the rows, or when the run is to stop; gives
/// how long that took.
pub fn start(
    index: usize,
    shared: Arc<Shared>,
    rows: Receiver<Chunk>,
    to_writer: Sender<Batch>,
    intents: Option<Intents>,
) -> JoinHandle<Duration> {
    std::thread::spawn(move || {
        let started = Instant::now();
        let walk = Walk::new(index, shared.clone(), intents);
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, work(walk, shared, rows, to_writer)),
            Err(error) => shared.stop.ask(Reason::Trouble(format!(
                "a worker could not start: {error}; are too many files open (ulimit -n)?"
            ))),
        }
        started.elapsed()
    })
}

async fn work(walk: Walk, shared: Arc<Shared>, rows: Receiver<Chunk>, to_writer: Sender<Batch>) {
    let inbox = Rc::new(Inbox::new(rows));
    let outbox = Outbox::new(to_writer);
    let walk = Rc::new(walk);
    let mut walks: JoinSet<()> = (0..shared.plan.workers.in_flight)
        .map(|_| serve(walk.clone(), inbox.clone(), outbox.clone()))
        .fold(JoinSet::new(), |mut walks, walk| {
            walks.spawn_local(walk);
            walks
        });
    tokio::select! {
        () = all(&mut walks) => {}
        () = grace_over(&shared) => {
            // Each walk hears it, and says what became of its row.
            shared.stop.cut();
            all(&mut walks).await;
        }
    }
    outbox.close().await;
}

/// Takes one row after the other to its record.
async fn serve(walk: Rc<Walk>, inbox: Rc<Inbox>, outbox: Rc<Outbox>) {
    let put = async |record| outbox.put(record).await;
    if let Some(batch) = walk.batch() {
        while let Ok(Some(rows)) = walk.unless_stopped(inbox.chunk()).await {
            if walk.rows(batch, rows, &put).await.is_err() {
                return;
            }
        }
        return;
    }
    while let Ok(Some(row)) = walk.unless_stopped(inbox.next()).await {
        if walk.row(row, &put).await.is_err() {
            return;
        }
    }
}

async fn all(walks: &mut JoinSet<()>) {
    while let Some(ended) = walks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// How long answers in flight are waited for when the run is to end early.
async fn grace_over(shared: &Shared) {
    shared.stop.asked().await;
    tokio::time::sleep(shared.plan.workers.grace).await;
}
