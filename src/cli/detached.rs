//! `throng submit` and `throng collect`: a job on several machines without a run that stays.

use clap::Args;

use super::exit::Exit;
use super::flags::DisplayFlags;
use super::machines::{open, queue_of};
use super::observe::WatchFlags;
use super::page::ReportFlags;
use super::{job, run, say, signals};
use crate::engine::Run;
use crate::error::Error;
use crate::machines::{self, CollectTerms, Submission};
use crate::report::escape;
use crate::shutdown::{Shutdown, ShutdownReason};

/// The help below the flags of `submit`.
pub const EXAMPLES: &str = "\
Examples:
  throng submit quotes.toml --on redis://queue.lab --name quotes    checks the job, puts its rows there, and leaves
  throng worker redis://queue.lab                                   on each machine that is to do rows
  throng status redis://queue.lab quotes
  throng collect redis://queue.lab quotes -o quotes.jsonl           writes its records, on any machine, now or later";

#[derive(Args)]
#[group(skip)]
pub struct SubmitArgs {
    #[command(flatten)]
    job: job::JobArgs,
    /// Show nothing but errors
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
#[group(skip)]
pub struct CollectArgs {
    /// The store: redis://HOST[:PORT], rediss://USER@HOST for TLS
    url: String,
    /// The name of the job
    job: String,
    /// The file of the records [default: that of the job]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Lose the records that FILE has, in place of going on after them
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    show: DisplayFlags,
    #[command(flatten)]
    page: ReportFlags,
    #[command(flatten)]
    watch: WatchFlags,
}

pub fn submit(arguments: &SubmitArgs) -> Result<Exit, Error> {
    let Some((store, settings)) = queue_of(&arguments.job.machines)? else {
        return Err(Error::plan("submit puts rows into a store: name it with --on redis://HOST"));
    };
    let shutdown = Shutdown::default();
    signals::listen(&shutdown, signals::LEAVING)?;
    let tell = |text: &str| {
        if !arguments.quiet {
            say::note(&format!("throng: {}", escape(text)));
        }
    };
    let job = arguments.job.job()?;
    let submitted = machines::submit(&store, &job, &job::environment, &settings, &shutdown, &tell)?;
    let Submission { job: name, rows } = submitted;
    let Some(rows) = rows else {
        tell(&format!(
            "not all rows of {name} are in {store}: the same command with --name {name} goes on"
        ));
        return Ok(Exit::of_run(shutdown.reason().as_ref(), 0));
    };
    tell(&format!(
        "{rows} rows of {name} are in {store}; on each machine that is to do rows: throng worker {store}"
    ));
    tell(&format!("its records, now or later: throng collect {store} {name} -o FILE"));
    say::result(&name);
    Ok(Exit::Ok)
}

pub fn collect(arguments: CollectArgs) -> Result<Exit, Error> {
    arguments.watch.begin_log();
    let store = open(&arguments.url)?;
    let terms = CollectTerms { output: arguments.output.clone(), overwrites: arguments.overwrite };
    let (plan, remote) = machines::collect(&store, &arguments.job, &terms, &job::environment)?;
    run::check_files(&plan, &arguments.show, &arguments.page, &arguments.watch)?;
    let has_all = plan.has_nothing_to_do();
    let run = Run::new(plan);
    if !has_all {
        run::say_where(&remote, &arguments.show);
        run.use_workers(remote);
    }
    let (exit, _) = run::carry_out_run(&run, &arguments.show, &arguments.page, &arguments.watch)?;
    let is_interrupted = matches!(run.shutdown().reason(), Some(ShutdownReason::Interrupted(_)));
    if is_interrupted && !arguments.show.quiet {
        say::note("throng: workers go on; the same command collects the rest");
    }
    Ok(exit)
}
