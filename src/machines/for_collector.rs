//! What a store keeps of a job for the command that collects its records, wherever that runs. Pure.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::judge::MaxFailures;
use crate::plan::{Job, Plan};
use crate::price::PriceList;
use crate::queue::JobFields;
use crate::sink::{self, Columns, Existing, Identity, RetryFailed};
use crate::tally;

/// The name of the field of the job.
pub(super) const FIELD: &str = "collect";

/// What a collector needs to know of a job that it did not submit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ForCollector {
    pub identity: Identity,
    pub columns: Columns,
    /// Number of rows, if it was known before they were submitted.
    pub rows: Option<u64>,
    pub output: sink::Settings,
    pub summary: tally::Settings,
    pub max_failures: Option<MaxFailures>,
    #[serde(default)]
    pub price: PriceList,
}

impl ForCollector {
    /// What a collector needs to know of this job, as it was planned.
    pub fn of(job: &Job, plan: &Plan) -> ForCollector {
        ForCollector {
            identity: plan.identity.clone(),
            columns: plan.columns.clone(),
            rows: plan.rows(),
            output: sink::Settings {
                existing: Existing::default(),
                retry_failed: RetryFailed::default(),
                ..job.output.clone()
            },
            summary: job.summary.clone(),
            max_failures: job.retry.max_failures,
            price: job.price.clone(),
        }
    }

    /// The text of the field.
    ///
    /// # Errors
    /// It has no text.
    pub fn text(&self) -> Result<String, Error> {
        let text = serde_json::to_string(self);
        text.map_err(|error| Error::plan(format!("the job can't be stored: {error}")))
    }

    /// What the store has of a job.
    ///
    /// # Errors
    /// It is of another version.
    pub fn read(fields: &JobFields) -> Result<ForCollector, Error> {
        serde_json::from_str(fields.get(FIELD)).map_err(|error| {
            Error::plan(format!("the job is of another version of throng: {error}"))
        })
    }
}
