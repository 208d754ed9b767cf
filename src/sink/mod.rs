//! (8) Records to bytes.
//!
//! [`Settings`] say where records go; [`Output`] is that place, checked before
//! anything is sent; its [`Writer`] takes the records, whole ones only. A file
//! is its own journal: what an earlier run has [`CompletedRows`] is read back from it.
//!
//! - `check`, `past`, `resume`, `cut`: what is there already, and how far it can be trusted
//! - `identity`, `compare`, `keyed`: whether it belongs to this job and this input, and
//!   where its rows stand there
//! - `target`, `rewrite`, `opened`, `disk`: the file from its opening to its bytes
//! - `finish`, `mirror`, `order`: what becomes of a journal whose output is packed,
//!   a database or a Parquet file, or is to be in the order of the input
//! - `parts`, `glance`: a directory of Parquet files, to which the journal is added again
//!   and again
//! - `intents`: what was sent and may have been done, for requests that must not
//!   be sent twice
//! - `sidecar`, `spent`: the small file beside it, which one run has at a
//!   time, and what it has used of its limits
//!
//! To add a format: one file beside `jsonl.rs`, and one line in `format.rs`.

mod take;
pub use take::{Sink, SinkError};

mod columns;
pub use columns::{Columns, RESERVED};

mod codec;

mod cut;

mod jsonl;

mod csv;

mod format;
pub use format::OutputFormat;

mod settings;
pub use settings::{Existing, Order, Settings, Sync};

mod identity;
pub use identity::{Identity, print};

mod sidecar;
pub(crate) use sidecar::limits_of;

mod spent;
pub use spent::{PriorUsage, Usage};

mod done;
pub use done::{CompletedRows, KeyCheck};

mod items;

mod intents;
pub use intents::{Intent, IntentLog, IntentWriter, LogClosed};

mod resume;

mod disk;

mod opened;

mod rewrite;

mod finish;

mod glance;

mod parts;
pub use parts::unfinished;

mod mirror;

mod order;

mod compare;

mod keyed;
pub use compare::Differences;

mod target;

mod past;

mod check;

mod output;
pub use output::Output;

mod read;
pub use read::record;

mod text;

mod writer;
pub use writer::Writer;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod samples;
