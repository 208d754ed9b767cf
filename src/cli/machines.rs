//! Jobs on several machines: `throng worker`, and the commands that show and steer jobs in a store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::exit::Exit;
use super::flags::MachineFlags;
use super::{job, say, signals};
use crate::error::Error;
use crate::machines::{self, QueueSettings, WorkerTerms};
use crate::queue::{JobFacts, JobState, QueueError, RedisStore};
use crate::report::escape;
use crate::shutdown::Shutdown;

/// The variable with the password of the store.
const PASSWORD: &str = "THRONG_REDIS_PASSWORD";

/// The help below the flags of `worker`.
pub const EXAMPLES: &str = "\
Examples:
  throng run quotes.toml --on redis://queue.lab          on one machine: submits, collects, writes
  throng worker redis://queue.lab                        on any other, as many as you like
  throng worker redis://queue.lab --job quotes-1a2b3c4d --concurrency 20 --once
  THRONG_REDIS_PASSWORD=... throng worker rediss://me@queue.lab:6380

A worker has the secrets of its jobs in its own environment, or in its own files. SIGTERM or Ctrl-C
ends it: it finishes what is in flight, and hands back what it has not begun.";

/// The help below the flags of `jobs`.
pub const JOBS_EXAMPLES: &str = "\
Examples:
  throng jobs redis://queue.lab
  throng status redis://queue.lab quotes-1a2b3c4d
  throng pause redis://queue.lab quotes-1a2b3c4d         workers send nothing more
  throng resume redis://queue.lab quotes-1a2b3c4d
  throng cancel redis://queue.lab quotes-1a2b3c4d        its rows go; records that are written stay";

#[derive(Args)]
pub struct WorkerArgs {
    /// The store: redis://HOST[:PORT], rediss://USER@HOST for TLS
    url: String,
    /// Take the rows of this job alone
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Number of threads [default: as the job says]
    #[arg(short, long, value_name = "N", alias = "num-workers")]
    workers: Option<usize>,
    /// Maximum number of requests in flight of each thread [default: as the job says]
    #[arg(short, long, value_name = "N")]
    concurrency: Option<usize>,
    /// End when no job has rows, in place of waiting for one
    #[arg(long)]
    once: bool,
    /// Show nothing but errors
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
pub struct StoreArgs {
    /// The store: redis://HOST[:PORT], rediss://USER@HOST for TLS
    url: String,
}

#[derive(Args)]
pub struct StoredJobArgs {
    /// The store: redis://HOST[:PORT], rediss://USER@HOST for TLS
    url: String,
    /// The name of the job
    job: String,
}

/// The store at this URL.
pub fn open(url: &str) -> Result<RedisStore, Error> {
    RedisStore::open(url, job::environment(PASSWORD).as_deref())
}

/// The store that these flags name, and how it is used; none if they name none.
pub fn queue_of(flags: &MachineFlags) -> Result<Option<(RedisStore, QueueSettings)>, Error> {
    let Some(url) = &flags.on else { return Ok(None) };
    let lease = flags.lease.as_deref().map(humantime::parse_duration).transpose();
    let settings = QueueSettings {
        name: flags.name.clone(),
        lease: lease.map_err(|error| Error::plan(format!("--lease: {error}")))?,
        chunk_rows: flags.chunk,
        is_volatile: flags.volatile,
        shares_input: flags.shared_input,
    };
    Ok(Some((open(url)?, settings)))
}

pub fn worker(arguments: &WorkerArgs) -> Result<Exit, Error> {
    let store = open(&arguments.url)?;
    let shutdown = Shutdown::default();
    signals::listen(&shutdown, signals::OF_WORKER)?;
    let terms = WorkerTerms {
        job: arguments.job.clone(),
        workers: arguments.workers,
        concurrency: arguments.concurrency,
        once: arguments.once,
    };
    let tell = |text: &str| {
        if !arguments.quiet {
            say::note(&format!("throng: {}", escape(text)));
        }
    };
    machines::work(&store, &terms, &job::environment, &shutdown, &tell)?;
    Ok(Exit::Ok)
}

pub fn jobs(arguments: &StoreArgs) -> Result<Exit, Error> {
    let store = open(&arguments.url)?;
    let names = store.jobs()?;
    if names.is_empty() {
        say::note(&format!("throng: there is no job in {store}"));
    }
    for name in names {
        if let Some(facts) = store.facts(&name)? {
            say::result(&in_short(&name, &facts));
        }
    }
    Ok(Exit::Ok)
}

pub fn status(arguments: &StoredJobArgs) -> Result<Exit, Error> {
    let store = open(&arguments.url)?;
    let Some(facts) = store.facts(&arguments.job)? else {
        return Err(none_of_this_name(&store, &arguments.job));
    };
    say::result(&in_short(&arguments.job, &facts));
    if let JobState::Stopped(reason) = facts.fields.state() {
        say::result(&format!("  stopped: {}", escape(&reason)));
    }
    say::result(&format!(
        "  {} chunks of rows wait or are with workers; {} batches of records wait for the collector; {} chunks were given up",
        facts.chunks, facts.batches, facts.dead
    ));
    if facts.fields.is_detached() {
        let store = &store;
        let next = if facts.fields.get("numbers").is_empty() {
            "not all rows are submitted: the same `throng submit` with its --name goes on"
                .to_owned()
        } else {
            format!("its records: throng collect {store} {} -o FILE", escape(&arguments.job))
        };
        say::result(&format!("  {next}"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for (worker, about) in &facts.workers {
        say::result(&format!("  {}: {}", escape(worker), escape(&worker_line(about, now))));
    }
    Ok(Exit::Ok)
}

/// What a worker said of itself last, and when.
fn worker_line(about: &str, now: Duration) -> String {
    let (seconds, about) = about.split_once(' ').unwrap_or_default();
    let heard = Duration::from_secs(seconds.parse().unwrap_or(0));
    let about: serde_json::Value = serde_json::from_str(about).unwrap_or_default();
    let number = |name: &str| about[name].as_u64().unwrap_or(0);
    format!(
        "{} rows done, {} requests in flight, {} wait for a limit; heard of {} s ago",
        number("rows"),
        number("in_flight"),
        number("waiting"),
        now.saturating_sub(heard).as_secs()
    )
}

/// A job in one line.
fn in_short(name: &str, facts: &JobFacts) -> String {
    let fields = &facts.fields;
    let number = |name: &str| fields.number(name).unwrap_or(0);
    let done = number("done") + number("ok") + number("failed");
    let of = match fields.number("rows") {
        Some(rows) => format!("{done} of {rows} rows"),
        None => format!("{done} rows"),
    };
    let workers = match (fields.state(), facts.workers.len()) {
        // Those of a job that is over are not counted any more.
        (JobState::Done | JobState::Cancelled, _) => String::new(),
        (_, 1) => ", 1 worker".to_owned(),
        (_, workers) => format!(", {workers} workers"),
    };
    let output = match (fields.get("output"), fields.is_detached()) {
        ("", _) => "to be collected".to_owned(),
        (output, true) => format!("to be collected into {}", escape(output)),
        (output, false) => format!("for {}", escape(output)),
    };
    format!(
        "{name}: {}, {of} done, {} failed{workers}, {output}",
        fields.state().name(),
        number("failed"),
    )
}

fn none_of_this_name(store: &RedisStore, job: &str) -> Error {
    Error::plan(format!(
        "there is no job {} in {store}: `throng jobs {store}` lists those that there are",
        escape(job)
    ))
}

pub fn pause(arguments: &StoredJobArgs) -> Result<Exit, Error> {
    change(arguments, &JobState::Paused, &["running", "paused"])
}

pub fn resume(arguments: &StoredJobArgs) -> Result<Exit, Error> {
    let fields = open(&arguments.url)?.fields(&arguments.job).map_err(QueueError::into_error)?;
    let is_detached = fields.is_some_and(|fields| fields.is_detached());
    // The run of another job has ended with it, and begins it again itself.
    let from: &[&str] =
        if is_detached { &["running", "paused", "stopped"] } else { &["running", "paused"] };
    change(arguments, &JobState::Running, from)
}

pub fn cancel(arguments: &StoredJobArgs) -> Result<Exit, Error> {
    let exit =
        change(arguments, &JobState::Cancelled, &["running", "paused", "stopped", "cancelled"])?;
    open(&arguments.url)?
        .close(&arguments.job, &JobState::Cancelled)
        .map_err(QueueError::into_error)?;
    Ok(exit)
}

fn change(arguments: &StoredJobArgs, to: &JobState, from: &[&str]) -> Result<Exit, Error> {
    let store = open(&arguments.url)?;
    match store.set_state(&arguments.job, to, from).map_err(QueueError::into_error)? {
        None => {
            say::note(&format!("throng: {} is {}", escape(&arguments.job), to.name()));
            Ok(Exit::Ok)
        }
        Some(JobState::Gone) => Err(none_of_this_name(&store, &arguments.job)),
        Some(JobState::Stopped(_)) => Err(Error::plan(format!(
            "the job {} is stopped: the same `throng run` with --resume goes on",
            escape(&arguments.job)
        ))),
        Some(state) => {
            Err(Error::plan(format!("the job {} is {}", escape(&arguments.job), state.name())))
        }
    }
}
