//! `throng report`: shows the report of a results file without sending requests.

use std::path::Path;

use crate::format::Format;
use crate::html_report::{CauseLine, ComparedRun, Comparison, PageContext, RowValues, run_page};
use crate::plan::check_apart;
use crate::record::Record;
use crate::report::{FailureListing, Report, SpentReport};
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
    /// The results of another run: compare both
    #[arg(value_name = "OTHER", conflicts_with_all = ["failed", "summary_json"])]
    other: Option<String>,
    /// The field by which the rows of both are matched [default: the first one that is no value]
    #[arg(long, value_name = "FIELD", requires = "other")]
    key: Option<String>,
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
    for results in [Some(&arguments.results), arguments.other.as_ref()].into_iter().flatten() {
        own_file::check("the page", "--html", arguments.html.as_deref(), None, Some(results))?;
    }
    if let Some(other) = &arguments.other {
        return arguments.compare(other);
    }
    if arguments.failed {
        return arguments.list(&arguments.open(&arguments.results)?);
    }
    let mut fold = arguments.html.as_ref().map(|_| page::fold_of(&arguments.results));
    let report = arguments.read(&arguments.results, &mut |record| {
        if let Some(fold) = &mut fold {
            fold.add(record);
        }
        Ok(())
    })?;
    run::show(&report, &arguments.show)?;
    if let (Some(path), Some(fold)) = (&arguments.html, fold) {
        let context = PageContext {
            title: arguments.results.clone(),
            plan: None,
            causes: CauseLine::default(),
        };
        page::write(path, "--html", &run_page(context, &report, fold)?)?;
    }
    Ok(Exit::of_run(None, report.rows.failed))
}

/// The record of a row of this file.
fn record_of(results: &str, row: Row) -> Result<Record, Error> {
    sink::record(row.fields).map_err(|why| {
        Error::plan(format!("{results}: row {} is not a record of throng: {why}", row.number))
    })
}

/// What the runs of these results have cost, as far as a file beside them tells.
fn spent(results: &str) -> Result<Option<SpentReport>, Error> {
    let spent = sink::spent(Path::new(results));
    let spent =
        spent.map_err(|error| Error::plan(format!("{results}.spent cannot be read: {error}")))?;
    Ok(spent.map(|spent| SpentReport { usd: spent.usd, at_most: spent.is_bound }))
}

impl ReportArgs {
    fn open(&self, results: &str) -> Result<Source, Error> {
        let source = Source::new(&source::Settings {
            file: Some(results.to_owned()),
            format: self.format.as_deref().map(str::parse).transpose()?,
            ..source::Settings::default()
        })?;
        if let Some(note) = sink::unfinished(Path::new(results)) {
            say::note(&format!("throng: {note}"));
        }
        Ok(source)
    }

    /// The report of a results file, each record of which is handed to `see`.
    fn read(
        &self,
        results: &str,
        see: &mut dyn FnMut(&Record) -> Result<(), Error>,
    ) -> Result<Report, Error> {
        let wrong = |error: serde_json::Error| Error::plan(format!("{results}: {error}"));
        let summary = serde_json::from_value(self.summary.tree()).map_err(wrong)?;
        let mut tally = Tally::new(&Aggregate::parse_all(&summary).map_err(Error::plan)?, &[]);
        for row in self.open(results)?.rows()? {
            let record = record_of(results, row?)?;
            tally.add(&record);
            see(&record)?;
        }
        let mut report = Report::of(&tally);
        report.ending.output = Some(results.to_owned());
        report.spent = spent(results)?;
        Ok(report)
    }

    /// Compares two results files.
    fn compare(&self, other: &str) -> Result<Exit, Error> {
        let key = self.key_of(other)?;
        let (a, b) = (self.compared(&self.results, &key)?, self.compared(other, &key)?);
        let comparison = Comparison::new(&key, a, b).map_err(unsorted)?;
        if !self.show.quiet {
            say::result(comparison.text().trim_end());
        }
        if let Some(path) = &self.html {
            page::write(path, "--html", &comparison.page()?)?;
        }
        Ok(Exit::Ok)
    }

    /// The field by which rows of both files are matched: that of `--key`, or the first field
    /// that both files have and that is no value, or the number of the row.
    fn key_of(&self, other: &str) -> Result<String, Error> {
        let fields = |results: &str| -> Result<Vec<String>, Error> {
            let first = self.open(results)?.rows()?.next().transpose()?;
            let record = first.map(|row| record_of(results, row)).transpose()?;
            Ok(record.map_or_else(Vec::new, |it| it.row.fields.keys().cloned().collect()))
        };
        let (a, b) = (fields(&self.results)?, fields(other)?);
        let in_both = |name: &&String| b.contains(name);
        if let Some(key) = &self.key {
            let shared: Vec<&str> = a.iter().filter(in_both).map(String::as_str).collect();
            if !shared.contains(&&**key) {
                return Err(Error::plan(format!(
                    "--key {key}: both files need this field; they share {}",
                    shared.join(", ")
                )));
            }
            return Ok(key.clone());
        }
        let values = page::values_of(&self.results).unwrap_or_default();
        let field = a.iter().filter(in_both).find(|name| !values.contains(name));
        Ok(field.cloned().unwrap_or_else(|| "_row".to_owned()))
    }

    fn compared(&self, results: &str, key: &str) -> Result<ComparedRun, Error> {
        let mut fold = page::fold_of(results);
        let mut values = RowValues::new(key, page::values_of(results), std::env::temp_dir());
        let report = self.read(results, &mut |record| {
            fold.add(record);
            values.add(record).map_err(unsorted)
        })?;
        Ok(ComparedRun { name: results.to_owned(), report, fold, values })
    }

    /// Lists all failures, or writes the records of the rows that failed.
    fn list(&self, source: &Source) -> Result<Exit, Error> {
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
            listing.add(&record_of(&self.results, row?)?);
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

fn unsorted(error: std::io::Error) -> Error {
    Error::stopped(format!(
        "the rows can't be sorted in {}: {error} (another directory: TMPDIR)",
        std::env::temp_dir().display()
    ))
}
