//! (10) The report of a run, for people and programs.
//!
//! A [`Report`] is data: [`json`](Report::json) is `--summary-json`, and
//! [`text`](Report::text) is for people. All text of a server goes through
//! [`escape()`] before it reaches a terminal.

mod escape;
pub use escape::{escape, short, visible};

mod words;

mod facts;
pub use facts::{
    FailureReport, LatencyReport, LimitReport, RateReport, RowReport, RunEnding, SendReport,
    WorkerReport,
};

mod summary;
pub use summary::Report;

mod table;

mod answers;

mod failures;

mod text;
pub use text::Color;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
