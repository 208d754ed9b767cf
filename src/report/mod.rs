//! (10) A tally and what the run knows of itself, told to people and programs.
//!
//! A [`Report`] is data: [`json`](Report::json) is `--summary-json`,
//! [`text`](Report::text) what people read. Whatever a server wrote has gone
//! through [`escape()`] before a terminal sees it.

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
