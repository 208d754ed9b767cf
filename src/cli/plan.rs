//! `throng plan`: checks a job without sending requests.

use std::time::Duration;

use crate::{Error, limit};
use clap::Args;

use super::exit::Exit;
use super::run::RunArgs;
use super::say;

#[derive(Args)]
#[group(skip)]
pub struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The latency of answers, for the comparison of guards
    #[arg(long, value_name = "DUR", default_value = "250ms", value_parser = humantime::parse_duration)]
    latency: Duration,
}

pub fn main(arguments: &PlanArgs) -> Result<Exit, Error> {
    let mut plan = arguments.run.job.plan()?;
    plan.count_requests()?;
    let limits = plan.check_sharing().and_then(|()| plan.shared_limits());
    if !arguments.run.show.quiet {
        say::result(&plan.preview(arguments.latency, limit::now(), limits.as_deref()));
    }
    // A run would not begin without them.
    limits.map(|_| Exit::Ok)
}
