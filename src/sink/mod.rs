//! Records to bytes.
//!
//! [`Settings`] say where records go; [`Output`] is that place, checked before
//! anything is sent; its [`Writer`] takes the records, whole ones only. A file
//! is its own journal: what an earlier run has [`CompletedRows`] is read back from it.
//!
//! - `output`: the place, checked (`check`) and opened (`open_mode`)
//! - `writer`: records into bytes, synced as the settings say
//! - `journal`: the file that grows: its open end, its disk, its records one by one
//! - `resume`: the records that are there already, and whether they belong to this input
//! - `product`: the files that are made of a journal: compressed texts, tables; `parts`: a
//!   directory of Parquet files
//! - `program`: records that the program takes itself
//! - `intents`: requests that were sent and may have been done, for those that must not
//!   be sent twice
//! - `durable_log`: lines that are on the disk before work goes on
//! - `page_log`: the pages at which unfinished lists can go on; `later_rows`: the rows that
//!   failed in a later stage
//! - `poll_log`: the jobs that were submitted, which no later run submits again
//! - `spending_log`: what the runs of one results file spend
//! - `batch_log`: the batches at a provider, whose rows no later run submits again
//! - `sidecar`: the small file beside the results: their identity, their lock, and the
//!   use of the limits

mod batch_log;
mod durable_log;
mod intents;
mod journal;
mod later_rows;
mod output;
mod page_log;
mod parts;
mod poll_log;
mod product;
mod program;
mod record;
mod resume;
mod revision;
mod settings;
mod sidecar;
mod spending_log;
mod writer;

#[cfg(test)]
mod crashes;
#[cfg(test)]
pub(crate) mod samples;

pub use crate::format::{Columns, KeepBody, RESERVED};
pub use batch_log::{BatchLog, BatchLogWriter, SubmittedBatch};
pub use durable_log::LogClosed;
pub(crate) use intents::QueueIntent;
pub use intents::{Intent, IntentLog, IntentWriter};
pub use journal::SinkError;
pub use later_rows::{LaterRow, LaterRows};
pub use output::{DiskRoom, Output};
pub use page_log::{PageLog, PageStart};
pub use poll_log::{PollLog, PollLogWriter, SubmittedJob};
pub use product::unfinished;
pub use program::Sink;
pub(crate) use program::SinkClosed;
pub use record::record;
pub use resume::compare::Differences;
pub use resume::completed::{CompletedRows, ItemProgress, KeyCheck};
pub(crate) use resume::counted;
pub(crate) use revision::Revision;
pub use settings::{Existing, Order, RetryFailed, Settings, Sync};
pub use sidecar::{Identity, RunFacts, RunLimit, ShardFacts, facts_of, fingerprint};
pub use spending_log::{SpendingLog, SpendingNotes, spent};
pub use writer::Writer;
