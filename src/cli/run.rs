//! `throng run`: do the job.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use throng::plan::check_apart;
use throng::report::{Color, Report};
use throng::run::Run;
use throng::stop::Reason;
use throng::{Error, Plan};

use super::flags::Show;
use super::progress::Watch;
use super::{Exit, job, say, signals};

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    job: job::Arguments,
    #[command(flatten)]
    show: Show,
}

pub fn main(arguments: Arguments) -> Result<Exit, Error> {
    let plan = arguments.job.plan()?;
    check_summary(&plan, &arguments.show)?;
    let (exit, _) = carry_out(plan, &arguments.show)?;
    Ok(exit)
}

/// Carries a plan out while people look on.
pub fn carry_out(plan: Plan, show: &Show) -> Result<(Exit, Report), Error> {
    let run = Run::new(plan);
    signals::listen(run.stop())?;
    if !show.quiet {
        let notes = run.plan().notes().iter();
        notes.for_each(|note| say::note(&format!("throng: {}", throng::report::escape(note))));
    }
    let watch = Watch::start(&run, show);
    let report = run.go();
    watch.end();
    let report = report?;
    let reason = run.stop().reason();
    match &reason {
        // A run that could not begin has nothing else to tell.
        Some(Reason::Trouble(why)) if show.quiet || report.rows.rows == 0 => say::error(why),
        _ if show.quiet => {}
        _ => tell(&report, show),
    }
    write_summary(&report, show)?;
    Ok((Exit::of_run(reason.as_ref(), report.rows.failed), report))
}

/// Tells people and programs.
pub fn show(report: &Report, show: &Show) -> Result<(), Error> {
    if !show.quiet {
        tell(report, show);
    }
    write_summary(report, show)
}

/// A summary that can't be written is found before anything is sent.
fn check_summary(plan: &Plan, show: &Show) -> Result<(), Error> {
    let Some(path) = &show.summary_json else {
        return Ok(());
    };
    check_apart(
        ("the summary", Some(path)),
        ("the output", plan.output_file().as_deref()),
    )?;
    let directory = Path::new(path)
        .parent()
        .filter(|parent| *parent != Path::new(""));
    match directory.is_none_or(Path::is_dir) {
        true => Ok(()),
        false => Err(Error::plan(format!(
            "the summary can't be written to {path} (--summary-json): there is no such directory"
        ))),
    }
}

fn write_summary(report: &Report, show: &Show) -> Result<(), Error> {
    let Some(path) = &show.summary_json else {
        return Ok(());
    };
    std::fs::write(path, report.json()?).map_err(|error| {
        Error::stopped(format!(
            "the summary can't be written to {path} (--summary-json): {error}"
        ))
    })
}

fn tell(report: &Report, show: &Show) {
    let color = match std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Color::Always,
        false => Color::Never,
    };
    if show.verbose {
        report
            .worker_lines()
            .iter()
            .for_each(|line| say::note(line));
    }
    say::note(report.text(color).trim_end());
}
