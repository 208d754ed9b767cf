//! `throng plan`: check everything, send nothing.

use std::time::Duration;

use crate::Error;
use clap::Args;

use super::{Exit, job, say};

#[derive(Args)]
#[group(skip)]
pub struct PlanArgs {
    #[command(flatten)]
    job: job::JobArgs,
    /// How long an answer takes, to compare the guards by
    #[arg(long, value_name = "DUR", default_value = "250ms", value_parser = humantime::parse_duration)]
    latency: Duration,
}

pub fn main(arguments: &PlanArgs) -> Result<Exit, Error> {
    let plan = arguments.job.plan()?;
    say::result(&plan.preview(arguments.latency));
    // A run would not begin without them.
    plan.quotas()?;
    Ok(Exit::Ok)
}
