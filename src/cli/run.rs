//! `throng run`: runs a job.

use crate::engine::Run;
use crate::engine::remote::RemoteWorkers;
use crate::machines;
use crate::report::Report;
use crate::shutdown::ShutdownReason;
use crate::{Error, Plan};
use clap::Args;

use super::exit::Exit;
use super::flags::DisplayFlags;
use super::machines::queue_of;
use super::observe::{Observers, WatchFlags};
use super::page::{ReportFlags, RunPage};
use super::progress::ProgressDisplay;
use super::watch::Socket;
use super::{color, job, own_file, say, signals};

#[derive(Args)]
#[group(skip)]
pub struct RunArgs {
    #[command(flatten)]
    pub job: job::JobArgs,
    #[command(flatten)]
    pub show: DisplayFlags,
    #[command(flatten)]
    pub page: ReportFlags,
    #[command(flatten)]
    pub watch: WatchFlags,
}

/// The help below the flags of `run`.
pub const EXAMPLES: &str = "\
Examples:
  throng run quotes.toml                                  a job file
  throng run quotes.toml --take 10 -o - --progress none   ten of its rows, to the terminal
  throng run -u 'https://api.example/v1/items/{{ id }}' -H 'authorization: Bearer {{ env.TOKEN }}' \\
      -i ids.csv -r 300/1m -e price=.item.price -s 'mean(price)' -o prices.csv
  throng run -u https://api.example/v1/items --next link --each '.items[]' -e id=.id -o all.parquet
  throng run --curl \"curl 'https://api.example/v1/items/{{ id }}' -A me\" -i ids.csv";

/// The help below the flags of the limit.
pub const LIMITS: &str = "\
Examples of limits (all that are given hold at once):
  -r 22/5s -r 1000/1h                                  in any 5 seconds, in any hour
  -r bucket:10/1s --burst 40                           a bucket of 40 that fills by 10 a second
  -r counter:300/1m                                    an estimate from two windows, as gateways make it
  -r 100/1m@clock    -r 25/1d@America/Los_Angeles      whole minutes; days of that zone
  -r 60/1m -r '90000 tokens/1m' --cost tokens='prompt | length / 4 + 200' --settle tokens=.usage.total_tokens
  -r 10/1s --per '{{ tenant }}'                        each tenant for itself
  -r 10/1s --keys '{{ env.KEY_A }}' --keys '{{ env.KEY_B }}' -H 'x-api-key: {{ key }}'
  -r 100/1m --use 80% --spacing 100ms --in-flight 5    our share, evenly, five at a time
  -r 5000/run                                          no more than that in one run";

pub fn main(arguments: RunArgs) -> Result<Exit, Error> {
    arguments.watch.begin_log();
    let mut plan = arguments.job.plan()?;
    check_files(&plan, &arguments.show, &arguments.page, &arguments.watch)?;
    let remote = match queue_of(&arguments.job.machines)? {
        Some((store, settings)) if !plan.has_nothing_to_do() => {
            let job = arguments.job.job()?;
            Some(machines::begin(&store, &job, &mut plan, &settings)?)
        }
        _ => None,
    };
    let run = Run::new(plan);
    if let Some(remote) = remote {
        say_where(&remote, &arguments.show);
        run.use_workers(remote);
    }
    let (exit, _) = carry_out_run(&run, &arguments.show, &arguments.page, &arguments.watch)?;
    Ok(exit)
}

/// Checks before the run that the files which tell of it can be written and replace no other.
pub fn check_files(
    plan: &Plan,
    show: &DisplayFlags,
    page: &ReportFlags,
    watch: &WatchFlags,
) -> Result<(), Error> {
    let (input, output) = (plan.input_file(), plan.output_file());
    check_summary(show, input.as_deref(), output.as_deref())?;
    page.check(input.as_deref(), output.as_deref())?;
    let others = [show.summary_json.as_deref(), page.report.as_deref()];
    watch.check(others, input.as_deref(), output.as_deref())
}

/// Says where the rows are done, and by which command.
pub fn say_where(remote: &RemoteWorkers, show: &DisplayFlags) {
    if !show.quiet {
        say::note(&format!(
            "throng: the job {job} is in {store}; on each machine that is to do rows: throng worker {store}",
            job = remote.job,
            store = remote.store
        ));
    }
}

/// Runs a plan with its progress display.
pub fn carry_out(
    plan: Plan,
    show: &DisplayFlags,
    page: &ReportFlags,
    watch: &WatchFlags,
) -> Result<(Exit, Report), Error> {
    carry_out_run(&Run::new(plan), show, page, watch)
}

/// What the first signal to a run is answered with.
fn answer_to_signals(run: &Run) -> &'static str {
    match run.remote_workers() {
        None => signals::AWAITING,
        Some(remote) if remote.is_detached => signals::LEAVING,
        Some(_) => signals::OF_WORKERS,
    }
}

/// Carries out a run with its progress display.
pub fn carry_out_run(
    run: &Run,
    show: &DisplayFlags,
    page: &ReportFlags,
    watch: &WatchFlags,
) -> Result<(Exit, Report), Error> {
    signals::listen(run.shutdown(), answer_to_signals(run))?;
    if !show.quiet {
        let plan = run.plan();
        // What can't be read stops the run when it begins.
        let used = if run.remote_workers().is_some() {
            Vec::new()
        } else {
            plan.used_limits(&plan.shared_limits().unwrap_or_default())
        };
        let notes = plan.notes().iter().chain(&used);
        notes.for_each(|note| say::note(&format!("throng: {}", crate::report::escape(note))));
    }
    run.share_limits()?;
    let known = run.warnings();
    known.iter().for_each(|warning| warn(warning));
    let page = RunPage::start(run, page);
    let observers = Observers::start(run, watch, show)?;
    let display = ProgressDisplay::start(run, show)?;
    let socket = Socket::open(run);
    let report = run.run();
    display.end();
    socket.end();
    observers.end();
    let report = report?;
    let reason = run.shutdown().reason();
    match &reason {
        // A run that could not begin has no report.
        Some(ShutdownReason::Error(error)) if show.quiet || report.rows_of_this_run() == 0 => {
            say::error(error)
        }
        None if show.quiet && report.rows.failed > 0 => say::error(&report.failures_in_short()),
        _ if show.quiet => {}
        _ => tell(&report, show),
    }
    run.warnings().iter().filter(|it| !known.contains(it)).for_each(|it| warn(it));
    write_summary(&report, show)?;
    if let Some(page) = page {
        page.write(&report)?;
    }
    Ok((Exit::of_run(reason.as_ref(), report.rows.failed), report))
}

fn warn(warning: &str) {
    say::note(&format!("throng: WARNING: {}", crate::report::escape(warning)));
}

/// Shows the report and writes the summary.
pub fn show(report: &Report, show: &DisplayFlags) -> Result<(), Error> {
    if !show.quiet {
        tell(report, show);
    }
    write_summary(report, show)
}

/// The name of standard output.
const STDOUT: &str = "-";

/// Checks before the run that the summary can be written and replaces no other file.
pub fn check_summary(
    show: &DisplayFlags,
    input: Option<&str>,
    records: Option<&str>,
) -> Result<(), Error> {
    let Some(path) = &show.summary_json else {
        return Ok(());
    };
    if path == STDOUT {
        return match records {
            Some(_) => Ok(()),
            None => Err(Error::plan(
                "the records and the summary (--summary-json) would both go to standard output: give one of them a file",
            )),
        };
    }
    own_file::check("the summary", "--summary-json", Some(path), input, records)
}

fn write_summary(report: &Report, show: &DisplayFlags) -> Result<(), Error> {
    let Some(path) = &show.summary_json else {
        return Ok(());
    };
    let json = report.json()?;
    if path == STDOUT {
        say::result(json.trim_end());
        return Ok(());
    }
    std::fs::write(path, json).map_err(|error| {
        Error::stopped(format!("the summary can't be written to {path} (--summary-json): {error}"))
    })
}

fn tell(report: &Report, show: &DisplayFlags) {
    // The log has the summary with the end of the run.
    if say::is_json() {
        return;
    }
    if show.verbose {
        report.worker_lines().iter().for_each(|line| say::note(line));
    }
    say::painted(report.text(color::of_stderr()).trim_end());
}
