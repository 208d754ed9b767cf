//! `throng merge`: the results files of shards, as one.

use std::path::Path;

use clap::Args;

use crate::merge::{Shards, Union};
use crate::{Error, convert};

use super::exit::Exit;
use super::{say, verify};

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    /// The results files of all shards of a job
    #[arg(required = true)]
    results: Vec<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: String,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

const EXAMPLES: &str = "\
Examples:
  throng run job.toml --shard 1/2 -o 1.jsonl        on one machine
  throng run job.toml --shard 2/2 -o 2.jsonl        on another one
  throng merge 1.jsonl 2.jsonl -o all.jsonl

Each results file needs the .throng file that its run has left beside it.
Nothing is written unless every row of every shard has its record.

Exit codes:
  0  complete, and the limits were kept     1  not complete, or a limit is not proven
  2  the files are not shards of one job";

pub fn main(arguments: &MergeArgs) -> Result<Exit, Error> {
    verify::check_once(&arguments.results)?;
    for file in &arguments.results {
        crate::plan::check_apart("a shard", Some(file), "--output", Some(&arguments.output))?;
    }
    let to = Path::new(&arguments.output);
    let format = convert::new_file(to, arguments.overwrite)?;
    let shards = Shards::open(&arguments.results)?;
    let union = shards.union()?;
    if !union.gaps.is_empty() {
        for gap in &union.gaps {
            say::note(&format!("throng: {}", crate::report::escape(gap)));
        }
        say::note(&format!("nothing is written to {}", arguments.output));
        return Ok(Exit::SomeFailed);
    }
    shards.write(to, format)?;
    say::result(&complete(&shards, &union, &arguments.output));
    if shards.is_unlimited() {
        return Ok(Exit::Ok);
    }
    let names = shards.names();
    let limits = verify::known_limits(&names)?;
    verify::show(&names, None, &limits)
}

fn complete(shards: &Shards, union: &Union, output: &str) -> String {
    let Union { rows, records, failed, .. } = union;
    let records = if records == rows { String::new() } else { format!(", {records} records") };
    let failed = if *failed == 0 { String::new() } else { format!(", {failed} failed") };
    crate::report::escape(&format!(
        "{output}: complete, each of {rows} rows from one of {} shards{records}{failed}",
        shards.count()
    ))
}
