//! `throng try`: one row, with everything shown.

use crate::Error;
use crate::plan::Plan;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink;
use crate::try_row::{RowEnd, try_row};
use bytesize::ByteSize;
use clap::Args;

use super::exit::Exit;
use super::run::RunArgs;
use super::{job, say, signals};

const EXAMPLES: &str = "\
Examples:
  throng try quotes.toml                       the first row
  throng try quotes.toml --row 7 -e 'price=.quote.price'

The request is sent once: it takes a permit of the account like any other, and a POST is done,
so that a run does it again; a job that it submits is polled until it is done. Nothing is written. Of a list of pages the first one is shown, and
a batch has one row.

Exit codes:
  0  the row is ok, or missing     1  it fails, is refused, or a run would try it again
  2  the job is wrong              3  a run would stop, or no request could be sent";

/// Maximum size of an answer that a run would save as it comes, and that is held in memory here.
const MAX_FILE: ByteSize = ByteSize::mib(256);

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct TryArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The row to try, counted from 0 like _row
    #[arg(long, value_name = "N", default_value_t = 0)]
    row: u64,
}

pub fn main(arguments: &TryArgs) -> Result<Exit, Error> {
    let mut job = arguments.run.job.job()?;
    // Nothing is written, so results of earlier runs don't matter.
    job.output = sink::Settings { keep_body: job.output.keep_body, ..Default::default() };
    if job.save.is_some() {
        job.send.max_body.get_or_insert(MAX_FILE);
    }
    let plan = Plan::new(&job, &job::environment)?;
    let shutdown = Shutdown::default();
    signals::listen(&shutdown, signals::AWAITING)?;
    let mut on_wait = || say::note("throng: waiting for the limit or the server; Ctrl-C ends it");
    let tried = try_row(plan, arguments.row, &shutdown, &mut on_wait)?;
    let Some(tried) = tried else {
        return Ok(match shutdown.reason() {
            Some(ShutdownReason::Interrupted(signal)) => Exit::of_signal(signal),
            _ => Exit::Stopped,
        });
    };
    if !arguments.run.show.quiet {
        say::result(tried.text(arguments.run.show.verbose).trim_end());
    }
    Ok(match tried.steps.last().map(|step| &step.end) {
        Some(RowEnd::Ok(_) | RowEnd::Nothing(_)) => Exit::Ok,
        Some(RowEnd::Stops(_)) => Exit::Stopped,
        _ => Exit::SomeFailed,
    })
}
