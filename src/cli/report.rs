//! `throng report`: shows the report of a results file without sending requests.

use std::path::Path;

use crate::format::Format;
use crate::html_report::{PageContext, run_page};
use crate::plan::check_apart;
use crate::record::Record;
use crate::report::{FailureListing, Report};
use crate::row::Row;
use crate::source::{self, Source};
use crate::tally::{Aggregate, Tally};
use crate::{Error, convert, sink};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::exit::Exit;
use super::flags::{DisplayFlags, SummaryFlags};
use super::{own_file, page, run, say};

#[derive(Args)]
#[group(skip)]
pub struct ReportArgs {
    /// A results file of any format, or a directory of --parts
    results: String,
    /// The format of the results file [default: by its name]
    #[arg(long, value_parser = PossibleValuesParser::new(Format::all().map(Format::name)))]
    format: Option<String>,
    /// List all failed rows, equal messages together
    #[arg(long)]
    failed: bool,
    /// Write the list there, or, if the name is that of a table (.csv, .jsonl, .parquet),
    /// the failed rows' records
    #[arg(short, long, value_name = "FILE", requires = "failed")]
    output: Option<String>,
    /// Write a page with plots: one HTML file that needs no network
    #[arg(long, value_name = "FILE.html", conflicts_with = "failed")]
    html: Option<String>,
    #[command(flatten)]
    summary: SummaryFlags,
    #[command(flatten)]
    show: DisplayFlags,
}

pub fn main(arguments: &ReportArgs) -> Result<Exit, Error> {
    run::check_summary(&arguments.show, None, Some(&arguments.results))?;
    own_file::check(
        "the page",
        "--html",
        arguments.html.as_deref(),
        None,
        Some(&arguments.results),
    )?;
    let wrong = |why: String| Error::plan(format!("{}: {why}", arguments.results));
    let summary = serde_json::from_value(arguments.summary.tree());
    let summary = summary.map_err(|error| wrong(error.to_string()))?;
    let aggregates = Aggregate::parse_all(&summary).map_err(Error::plan)?;
    let source = Source::new(&source::Settings {
        file: Some(arguments.results.clone()),
        format: arguments.format.as_deref().map(str::parse).transpose()?,
        ..source::Settings::default()
    })?;
    if let Some(note) = sink::unfinished(Path::new(&arguments.results)) {
        say::note(&format!("throng: {note}"));
    }
    let record = |row: Row| {
        let record = sink::record(row.fields);
        record.map_err(|why| wrong(format!("row {} is not a record of throng: {why}", row.number)))
    };
    if arguments.failed {
        return arguments.list(&source, &record);
    }
    let mut tally = Tally::new(&aggregates, &[]);
    let mut fold = arguments.html.as_ref().map(|_| page::fold_of(&arguments.results));
    for row in source.rows()? {
        let record = record(row?)?;
        tally.add(&record);
        if let Some(fold) = &mut fold {
            fold.add(&record);
        }
    }
    let mut report = Report::of(&tally);
    report.ending.output = Some(arguments.results.clone());
    run::show(&report, &arguments.show)?;
    if let (Some(path), Some(fold)) = (&arguments.html, fold) {
        let context = PageContext { title: arguments.results.clone(), plan: None };
        page::write(path, "--html", &run_page(context, &report, fold)?)?;
    }
    Ok(Exit::of_run(None, report.rows.failed))
}

impl ReportArgs {
    /// Lists all failures, or writes the records of the rows that failed.
    fn list(
        &self,
        source: &Source,
        record: &dyn Fn(Row) -> Result<Record, Error>,
    ) -> Result<Exit, Error> {
        let output = self.output.as_deref();
        check_apart("RESULTS", Some(&self.results), "the output (--output)", output)?;
        let table = output.map(Path::new).filter(|output| Format::of_output(output).is_some());
        if let Some(table) = table {
            let from = source::Settings { file: Some(self.results.clone()), ..Default::default() };
            let count = convert::convert_failed(&from, table)?;
            let noun = if count == 1 { "row" } else { "rows" };
            say::note(&format!("{count} failed {noun}: {}", table.display()));
            return Ok(if count > 0 { Exit::SomeFailed } else { Exit::Ok });
        }
        let mut listing = FailureListing::default();
        for row in source.rows()? {
            listing.add(&record(row?)?);
        }
        match output {
            None => say::result(listing.text().trim_end()),
            Some(output) => std::fs::write(output, listing.text()).map_err(|error| {
                Error::stopped(format!("the list can't be written to {output} (--output): {error}"))
            })?,
        }
        Ok(Exit::of_run(None, listing.failed()))
    }
}
