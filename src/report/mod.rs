//! (10) The report of a run, for people and programs.
//!
//! A [`Report`] is data: [`json`](Report::json) is `--summary-json`, and
//! [`text`](Report::text) is for people. All text of a server goes through
//! [`escape()`] before it reaches a terminal.

mod escape;
mod listing;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod words;

pub use escape::{escape, short, visible};
pub use listing::FailureListing;
pub use summary::{
    BillReport, BilledUnits, BrakeReport, EstimateReport, FailureReport, FoundLimit, LatencyReport,
    LimitReport, RateReport, Report, RowReport, RunEnding, RunFigures, SendReport, SharingReport,
    SpentReport, WorkerReport,
};
pub(crate) use tables::table;
pub use text::Color;
pub(crate) use words::{count, number};
