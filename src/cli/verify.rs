//! `throng verify`: verifies limits from results files.

use std::path::Path;

use crate::format::Format;
use crate::fs::file_lock;
use crate::limit::{self, Limit, Measure};
use crate::verify::{
    Check, FileRows, KnownLimits, Scope, ScopedLimit, Verified, limits_of, verify,
};
use crate::{Error, source};
use clap::Args;
use jiff::Timestamp;

use super::exit::Exit;
use super::say;

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// Results files of runs whose jobs had a limit; several are proven together
    #[arg(required = true)]
    results: Vec<String>,
    /// The limit to check: 22/5s, counter:300/1m, '90000 tokens/1m', 5000/run (repeat) [default: those of the runs]
    #[arg(short, long, value_name = "N/PERIOD")]
    rate: Vec<Limit>,
    /// Each value of this template has the limits of --rate for itself: '{{ tenant }}'
    #[arg(long, value_name = "T", requires = "rate")]
    per: Option<String>,
    /// The format of the files [default: by their names]
    #[arg(long)]
    format: Option<Format>,
}

const EXAMPLES: &str = "\
Examples:
  throng verify quotes.jsonl                               the limits that the run had
  throng verify trial.jsonl quotes.jsonl                   two runs of an account together
  throng verify quotes.csv -r 22/5s -r 300/1m
  throng verify calls.jsonl -r 10/1s --per '{{ tenant }}'  each tenant for itself

Each record's _arrived says from when to when its requests can have reached the
server. The most that can have fallen into one window follows from these times
alone. Requests of rows without a record (a run that was cut off), of steps
before a job's last one, and of runs that are not given, are not in it.

Exit codes:
  0  kept, whatever happened on the way     1  not proven     2  the files can't tell";

pub fn main(arguments: &VerifyArgs) -> Result<Exit, Error> {
    check_once(&arguments.results)?;
    let limits = limits(arguments)?;
    show(&arguments.results, arguments.format, &limits)
}

/// Verifies these limits over all of these results files together, and prints the verdicts.
pub(super) fn show(
    results: &[String],
    format: Option<Format>,
    limits: &[ScopedLimit],
) -> Result<Exit, Error> {
    let settings = |file: &String| source::Settings {
        file: Some(file.clone()),
        format,
        ..source::Settings::default()
    };
    let files: Vec<_> = results.iter().map(settings).collect();
    let verified = verify(&files, limits)?;
    for check in &verified.checks {
        say::result(&crate::report::escape(&line(check, &verified)));
    }
    for line in verified.rows.iter().filter_map(missing) {
        say::result(&crate::report::escape(&line));
    }
    if verified.checks.iter().all(Check::is_kept) { Ok(Exit::Ok) } else { Ok(Exit::SomeFailed) }
}

/// Refuses a file that is given twice: its requests would count twice.
pub(super) fn check_once(results: &[String]) -> Result<(), Error> {
    for (index, file) in results.iter().enumerate() {
        let is_it = |other: &&String| file_lock::is_one_file(Path::new(other), Path::new(file));
        if results[..index].contains(file) || results[..index].iter().any(|it| is_it(&it)) {
            return Err(Error::plan(format!("{file} is given twice")));
        }
    }
    Ok(())
}

/// The limits to check: those that are given, or those of the runs; notes name the runs'
/// limits that can't be checked.
fn limits(arguments: &VerifyArgs) -> Result<Vec<ScopedLimit>, Error> {
    let scope = arguments.per.clone().map_or(Scope::All, Scope::Per);
    if !arguments.rate.is_empty() {
        let limits = arguments.rate.iter().cloned();
        let files = arguments.results.len();
        return Ok(limits.map(|limit| ScopedLimit::new(limit, scope.clone(), files)).collect());
    }
    known_limits(&arguments.results)
}

/// The limits of the runs of these results files; notes name those that can't be checked.
pub(super) fn known_limits(results: &[String]) -> Result<Vec<ScopedLimit>, Error> {
    let results: Vec<&Path> = results.iter().map(Path::new).collect();
    let KnownLimits { limits, unproven } = limits_of(&results)?;
    for why in unproven {
        say::note(&format!("throng: not checked: {why}"));
    }
    Ok(limits)
}

fn line(check: &Check, verified: &Verified) -> String {
    let most = check.peak;
    let of_targets = match &*check.targets {
        [] => String::new(),
        targets => format!(" of {}", targets.join(" and ")),
    };
    let limit = &check.limit;
    let allowed = match &limit.unit {
        Some(unit) => format!("{} {unit}", check.allowed),
        None => check.allowed.to_string(),
    };
    let period = limit::duration::exact(limit.amount.period);
    let place = match limit.measure() {
        Some(Measure::Total) => "in all".to_owned(),
        Some(Measure::Bucket { .. }) => {
            format!("at once, at {} in {period}", limit.amount.units)
        }
        Some(Measure::ClockWindow) => format!("in any {period} by the clock"),
        Some(Measure::Day) => "from midnight to midnight".to_owned(),
        Some(Measure::Counter) => {
            format!("by a counter over {period}, wherever its windows begin")
        }
        Some(Measure::AnyWindow) | None => format!("in any {period}"),
    };
    let of_key = match (check.keys, check.key.as_str()) {
        (keys, key) if keys > 1 => format!(" for {key:?}, the most of {keys} keys"),
        _ => String::new(),
    };
    let requests = requests(check.requests, verified);
    let name = format!("{limit}{of_targets}");
    if check.is_kept() {
        return format!(
            "{name}: at most {most} of {allowed} {place}{of_key}, whatever happened on the way ({requests})"
        );
    }
    let when = Timestamp::from_microsecond(check.start).map(|when| when.to_string());
    let when = when.ok().filter(|_| check.start > 0).map(|when| format!(", at {when}"));
    format!(
        "{name}: NOT PROVEN: up to {most} can have come {place}{of_key}, where {allowed} are allowed{} ({requests})",
        when.unwrap_or_default()
    )
}

/// The requests that are verified, and the runs that they are of.
fn requests(counted: u64, verified: &Verified) -> String {
    let requests = match counted {
        1 => "1 request".to_owned(),
        requests => format!("{requests} requests"),
    };
    let has_steps = verified.rows.iter().any(|file| file.has_steps);
    let counted = match (verified.rows.len(), has_steps) {
        (1, false) => format!("{requests} of this run"),
        (runs, false) => format!("{requests} of {runs} runs together"),
        (1, true) => format!(
            "{requests} of the last step of this run; those of the steps before it are not in the file"
        ),
        (runs, true) => format!(
            "{requests} of {runs} runs together; those of steps before a job's last one are not in the files"
        ),
    };
    format!("{counted}{}", apart(&verified.rows))
}

/// That other runs of the account may have sent requests that the limit doesn't cover.
fn apart(files: &[FileRows]) -> &'static str {
    match files.iter().filter(|file| file.is_alone).count() {
        0 => "",
        1 if files.len() == 1 => {
            "; it did not share its limits, so what other runs of the account sent is not covered"
        }
        _ => "; not all shared their limits, so what other runs of the account sent is not covered",
    }
}

/// The rows of a file whose requests are not counted, as far as that is known.
fn missing(file: &FileRows) -> Option<String> {
    let FileRows { name, all, .. } = file;
    match (all, file.without_record()) {
        (Some(_), Some(0)) => None,
        (Some(all), Some(without)) => Some(format!(
            "{name}: {without} of {all} rows have no record; what was sent for them is not counted"
        )),
        _ => Some(format!(
            "{name}: nothing says how many rows its run had; what was sent for rows without a record is not counted"
        )),
    }
}
