//! `throng report`: shows the report of a results file without sending requests.

use std::path::Path;

use crate::report::Report;
use crate::source::{self, Source};
use crate::tally::{Aggregate, Tally};
use crate::{Error, sink};
use clap::Args;

use super::exit::Exit;
use super::flags::{DisplayFlags, SummaryFlags};
use super::{run, say};

#[derive(Args)]
#[group(skip)]
pub struct ReportArgs {
    /// A results file of any format, or a directory of --parts
    results: String,
    #[command(flatten)]
    summary: SummaryFlags,
    #[command(flatten)]
    show: DisplayFlags,
}

pub fn main(arguments: &ReportArgs) -> Result<Exit, Error> {
    run::check_summary(&arguments.show, None, Some(&arguments.results))?;
    let wrong = |why: String| Error::plan(format!("{}: {why}", arguments.results));
    let summary = serde_json::from_value(arguments.summary.tree());
    let summary = summary.map_err(|error| wrong(error.to_string()))?;
    let aggregates = Aggregate::parse_all(&summary).map_err(Error::plan)?;
    let source = Source::new(&source::Settings {
        file: Some(arguments.results.clone()),
        ..source::Settings::default()
    })?;
    if let Some(note) = sink::unfinished(Path::new(&arguments.results)) {
        say::note(&format!("throng: {note}"));
    }
    let mut tally = Tally::new(&aggregates, &[]);
    for row in source.rows()? {
        let row = row?;
        let record = sink::record(row.fields)
            .map_err(|why| wrong(format!("row {} is not a record of throng: {why}", row.number)))?;
        tally.add(&record);
    }
    let mut report = Report::of(&tally);
    report.ending.output = Some(arguments.results.clone());
    run::show(&report, &arguments.show)?;
    Ok(Exit::of_run(None, report.rows.failed))
}
