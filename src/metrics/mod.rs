//! Counts and times of a run in progress, for progress displays and reports.

mod counters;
mod latency;
mod time_share;
mod worker_report;

pub use counters::{BatchProgress, Counters, Metrics, Sending, WaitReason, WaitingRow, Warning};
pub use latency::upper_bound;
pub use time_share::{RunSetup, TimeBreakdown, TimeShare, advice, describe, free_at, largest};
pub(crate) use worker_report::{ReportedTime, WorkerReport};
