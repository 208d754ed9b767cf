//! `throng plan`: check everything, send nothing.

use clap::Args;
use throng::Error;

use super::{Exit, job, say};

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    job: job::Arguments,
}

pub fn main(arguments: &Arguments) -> Result<Exit, Error> {
    let plan = arguments.job.plan()?;
    say::result(&plan.preview());
    // A run would not begin without them.
    plan.quotas()?;
    Ok(Exit::Ok)
}
