//! `throng plan`: checks a job without sending requests.

use std::time::Duration;

use crate::Error;
use clap::Args;

use super::exit::Exit;
use super::{job, say};

#[derive(Args)]
#[group(skip)]
pub struct PlanArgs {
    #[command(flatten)]
    job: job::JobArgs,
    /// The latency of answers, for the comparison of guards
    #[arg(long, value_name = "DUR", default_value = "250ms", value_parser = humantime::parse_duration)]
    latency: Duration,
}

pub fn main(arguments: &PlanArgs) -> Result<Exit, Error> {
    let plan = arguments.job.plan()?;
    say::result(&plan.preview(arguments.latency));
    // A run would not begin without them.
    plan.shared_limits()?;
    Ok(Exit::Ok)
}
