//! A run as tasks of one event loop, whose clock may be virtual.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::row::RunContext;
use super::{outbox, panics, reader, stage, worker};
use crate::record::Record;
use crate::source::Rows;

/// Takes every row to its record, with all workers in the event loop that polls this.
/// The records go to `take`, and nowhere else.
pub async fn run(context: &Arc<RunContext>, rows: Rows, mut take: impl FnMut(&Record)) {
    let plan = &context.plan;
    let (to_workers, rows_read) = async_channel::bounded(stage::CHUNKS_AHEAD * plan.first().chunk);
    let (to_writer, records) = async_channel::bounded(outbox::BATCHES);
    let stages = stage::channels(plan, rows_read);
    let mut tasks = JoinSet::new();
    for index in 0..plan.workers.count {
        let run = context.clone();
        let work = worker::work(index, run, stages.clone(), to_writer.clone(), None);
        let run = context.clone();
        tasks.spawn_local(async move {
            work.await;
            run.metrics.end(index);
        });
    }
    tasks.spawn_local(reader::read_as_task(rows, to_workers, context.clone()));
    drop((stages, to_writer));
    while let Ok(batch) = records.recv().await {
        batch.iter().for_each(&mut take);
    }
    panics::all(&mut tasks, &context.shutdown).await;
}
