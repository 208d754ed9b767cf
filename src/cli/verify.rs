//! `throng verify`: verifies a limit from a results file.

use std::path::Path;

use crate::limit::{Limit, Measure};
use crate::verify::{Check, Verified, can_check, limits_of, verify};
use crate::{Error, source};
use clap::Args;
use jiff::Timestamp;

use super::exit::Exit;
use super::say;

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// A results file whose job had a limit
    results: String,
    /// The limit to check: 22/5s, 100/1m@clock, bucket:10/1s, 5000/run (repeat) [default: those of the run]
    #[arg(short, long, value_name = "N/PERIOD")]
    rate: Vec<Limit>,
    /// Each value of this template has limits of its own: '{{ tenant }}'
    #[arg(long, value_name = "T")]
    per: Option<String>,
    /// The format of the file [default: by its name]
    #[arg(long)]
    format: Option<crate::format::Format>,
}

const EXAMPLES: &str = "\
Examples:
  throng verify quotes.jsonl                             the limits that the run had
  throng verify quotes.csv -r 22/5s -r 300/1m
  throng verify calls.jsonl -r 10/1s --per '{{ tenant }}'  each tenant for itself

Each record's _arrived says from when to when its requests can have reached the
server. The most that can have fallen into one window follows from these times
alone. Rows without a record (a run that was cut off) are not in it.

Exit codes:
  0  kept, whatever happened on the way     1  not proven     2  the file can't tell";

pub fn main(arguments: &VerifyArgs) -> Result<Exit, Error> {
    let limits = if arguments.rate.is_empty() {
        of_the_run(Path::new(&arguments.results))?
    } else {
        arguments.rate.clone()
    };
    let file = source::Settings {
        file: Some(arguments.results.clone()),
        format: arguments.format,
        ..source::Settings::default()
    };
    let verified = verify(&file, &limits, arguments.per.as_deref())?;
    for check in &verified.checks {
        say::result(&crate::report::escape(&line(check, &verified)));
    }
    if verified.checks.iter().all(Check::is_kept) { Ok(Exit::Ok) } else { Ok(Exit::SomeFailed) }
}

/// The limits of the run that can be checked; notes name the others.
fn of_the_run(results: &Path) -> Result<Vec<Limit>, Error> {
    let mut limits = limits_of(results)?;
    let mut last = None;
    limits.retain(|limit| match can_check(limit) {
        Ok(()) => true,
        Err(why) => {
            let why = format!("\"{limit}\": {why}");
            say::note(&format!("throng: not checked: {why}"));
            last = Some(why);
            false
        }
    });
    match (limits.is_empty(), last) {
        (true, Some(why)) => Err(Error::plan(why)),
        _ => Ok(limits),
    }
}

fn line(check: &Check, verified: &Verified) -> String {
    let (limit, most, allowed) = (&check.limit, check.peak, check.allowed);
    let period = humantime::format_duration(limit.amount.period);
    let where_to = match limit.measure() {
        Some(Measure::Total) => "in all".to_owned(),
        Some(Measure::Bucket { .. }) => {
            format!("at once, at {} in {period}", limit.amount.units)
        }
        Some(Measure::ClockWindow) => format!("in any {period} by the clock"),
        Some(Measure::AnyWindow) | None => format!("in any {period}"),
    };
    let requests = verified.requests;
    let of_key = match (verified.keys, check.key.as_str()) {
        (keys, key) if keys > 1 => format!(" for {key:?}, the most of {keys} keys"),
        _ => String::new(),
    };
    if check.is_kept() {
        return format!(
            "{limit}: at most {most} of {allowed} {where_to}{of_key}, whatever happened on the way ({requests} requests)"
        );
    }
    let when = Timestamp::from_microsecond(check.start).map(|when| when.to_string());
    let when = when.ok().filter(|_| check.start > 0).map(|when| format!(", at {when}"));
    format!(
        "{limit}: NOT PROVEN: up to {most} can have come {where_to}{of_key}, where {allowed} are allowed{} ({requests} requests)",
        when.unwrap_or_default()
    )
}
