//! (8) Records to bytes.
//!
//! [`Settings`] say where records go; [`Output`] is that place, checked before
//! anything is sent; its [`Writer`] takes the records, whole ones only. A file
//! is its own journal: the [`RowSet`] of an earlier run is read back from it.
//!
//! To add a format: one file beside `jsonl.rs`, and one line in `format.rs`.

mod take;
pub use take::{Sink, SinkError};

mod columns;
pub use columns::{Columns, RESERVED};

mod codec;

mod jsonl;

mod csv;

mod format;
pub use format::Format;

mod settings;
pub use settings::{Existing, Settings};

mod resume;
pub use resume::RowSet;

mod opened;

mod target;

mod past;

mod check;

mod output;
pub use output::Output;

mod writer;
pub use writer::Writer;

#[cfg(test)]
mod samples;
