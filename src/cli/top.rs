//! `throng top`: the full view of a run of another process.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use serde_json::json;

use crate::Error;
use crate::limit::duration;
use crate::report::{count, escape};

use super::exit::Exit;
use super::progress::RunView;
use super::watch::{self, RunningRun};
use super::{full, say};

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// The run: its process, or its socket; not needed where only one goes on
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// List the runs that go on
    #[arg(long)]
    list: bool,
    /// One snapshot as JSON on standard output
    #[arg(long, conflicts_with = "list")]
    json: bool,
}

const EXAMPLES: &str = "\
Keys: p pauses and resumes, - and + lower and raise the rate (never over the limit), s stops the
run in good order, q closes the view and leaves the run alone.

A run in a container has its socket in the container's state directory: mount that and name the
socket, or use `docker exec -it NAME throng top`.";

pub fn main(arguments: &TopArgs) -> Result<Exit, Error> {
    if arguments.list {
        let runs = runs()?;
        runs.iter().for_each(|run| say::result(&line(run)));
        return Ok(Exit::Ok);
    }
    let run = match &arguments.run {
        Some(name) => connect(&path(name)?)?,
        None => only(runs()?)?,
    };
    if arguments.json {
        let RunView { started, elapsed, now, failures, .. } = &run.view;
        let json = json!({
            "started": started,
            "elapsed_seconds": elapsed.as_secs_f64(),
            "snapshot": now,
            "failures": failures,
        });
        say::result(&json.to_string());
        return Ok(Exit::Ok);
    }
    full::check()?;
    full::of_process(run)?;
    Ok(Exit::Ok)
}

/// The socket of a run that is named by its process or by its socket.
fn path(name: &str) -> Result<PathBuf, Error> {
    if name.contains('/') {
        return Ok(name.into());
    }
    Ok(directory()?.join(format!("{}.sock", name.trim_end_matches(".sock"))))
}

fn directory() -> Result<PathBuf, Error> {
    watch::directory().ok_or_else(|| {
        Error::plan("runs have their sockets in the state directory, but neither HOME nor XDG_STATE_HOME is set")
    })
}

fn connect(path: &Path) -> Result<RunningRun, Error> {
    RunningRun::connect(path).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such run; throng top --list shows those that go on".into()
            }
            io::ErrorKind::ConnectionRefused => "the run has ended".into(),
            io::ErrorKind::PermissionDenied => "it is another user's".into(),
            _ => error.to_string(),
        };
        Error::plan(format!("{}: {why}", path.display()))
    })
}

/// All runs of this user that go on.
fn runs() -> Result<Vec<RunningRun>, Error> {
    let directory = directory()?;
    if let Err(error) = fs::read_dir(&directory)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(Error::plan(format!("{}: {error}", directory.display())));
    }
    // A run can end between the look at its socket and this.
    Ok(watch::sockets(&directory)
        .iter()
        .filter_map(|path| RunningRun::connect(path).ok())
        .collect())
}

/// The run, if it is the only one.
fn only(mut runs: Vec<RunningRun>) -> Result<RunningRun, Error> {
    match (runs.pop(), runs.is_empty()) {
        (Some(run), true) => Ok(run),
        (Some(last), false) => {
            runs.push(last);
            let list: Vec<String> = runs.iter().map(|run| format!("  {}", line(run))).collect();
            Err(Error::plan(format!(
                "{} runs go on: name one, as in `throng top {}`\n{}",
                runs.len(),
                runs[0].view.started.pid,
                list.join("\n")
            )))
        }
        (None, _) => Err(Error::plan(
            "no run of this user goes on here (a run in a container has its socket there: docker exec -it NAME throng top)",
        )),
    }
}

/// A run in one line: `4711  quotes.jsonl  22 of 500 rows, 12 s`.
fn line(run: &RunningRun) -> String {
    let (started, facts) = (&run.view.started, run.view.facts());
    let rows = match facts.total {
        Some(total) => format!("{} of {} rows", count(facts.done), count(total)),
        None => format!("{} records", count(facts.done)),
    };
    let elapsed = duration::rounded(std::time::Duration::from_secs(facts.elapsed.as_secs()));
    format!("{}  {}  {rows}, {elapsed}", started.pid, escape(run.view.name()))
}
