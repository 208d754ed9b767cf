//! `throng extract`: values anew from the answers that a results file keeps.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;

use crate::extract::{self, AnswerKind};
use crate::format::{Format, endings};
use crate::fs::placed;
use crate::plan::{Job, Layers, check_apart};
use crate::renew::{Renewal, RenewalCounts};
use crate::report::Report;
use crate::row::Row;
use crate::sink::{self, Revision};
use crate::source::Rows;
use crate::tally::{Aggregate, Tally};
use crate::{Error, convert};

use super::exit::Exit;
use super::flags::{DisplayFlags, ValueFlags};
use super::{run, say};

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct ExtractArgs {
    /// A results file of any format, finished or not, or a directory of --parts
    results: String,
    /// A job file, whose programs are taken where no --extract is given
    job: Option<String>,
    #[arg(short, long, value_name = "FILE", help = format!("Write the records there, and leave RESULTS as it is: {}", endings(Format::outputs())))]
    output: Option<String>,
    #[command(flatten)]
    values: ValueFlags,
    #[command(flatten)]
    show: DisplayFlags,
}

const EXAMPLES: &str = "\
Rows that failed as missing NAME keep their answer (--keep-body failed), and with
--keep-body all rows do. No request is sent, and nothing is lost: values that are
not named stay, and so do rows that keep no answer.

  throng extract quotes.jsonl -e price=.quote.price      the values anew, in the same file
  throng extract quotes.db quotes.toml                   those of the job as it is now
  throng run quotes.toml --resume                        then the rows that are left";

pub fn main(arguments: &ExtractArgs) -> Result<Exit, Error> {
    let ExtractArgs { results, output, show, .. } = arguments;
    run::check_summary(show, None, Some(results))?;
    check_apart("RESULTS", Some(results), "the output (--output)", output.as_deref())?;
    let (settings, kind) = arguments.settings()?;
    let summary = serde_json::from_value(arguments.values.summary_tree());
    let summary = summary.map_err(|error| Error::plan(error.to_string()))?;
    let aggregates = Aggregate::parse_all(&summary).map_err(Error::plan)?;
    let revision = Revision::open(Path::new(results))?;
    if revision.joins_pages() {
        return Err(Error::plan(format!(
            "{results} has the values of several pages in a record, and no record keeps all of its answers: run the job again"
        )));
    }
    let mut renewal = Renewal::new(&settings, kind, revision.values())?;
    let mut first = None;
    for row in revision.rows()? {
        let row = row?;
        renewal.note(&row.fields);
        first.get_or_insert(row.fields);
    }
    let (names, is_whole) = renewal.names(first.as_ref())?;
    let renewing = Arc::new(Mutex::new(Renewing { renewal, tally: Tally::new(&aggregates, &[]) }));
    let renew = |rows: Rows| {
        // Each pass counts anew.
        let mut pass = lock(&renewing);
        pass.renewal.counts = RenewalCounts::default();
        pass.tally = Tally::new(&aggregates, &[]);
        drop(pass);
        renewed(rows, renewing.clone())
    };
    match output {
        None => {
            let extract = is_whole.then_some(&settings);
            revision.replace(&renew, names, extract)?;
        }
        Some(output) => {
            let (to, rows) = (Path::new(output), || Ok(renew(revision.rows()?)));
            let format = convert::new_file(to, false)?;
            placed(to, |new| convert::write_rows(&rows, format, new))?;
        }
    }
    let pass = lock(&renewing);
    if !show.quiet {
        pass.renewal.counts.lines().iter().for_each(|line| say::note(line));
    }
    let mut report = Report::of(&pass.tally);
    report.ending.output = Some(output.as_ref().unwrap_or(results).clone());
    run::show(&report, show)?;
    Ok(Exit::of_run(None, report.rows.failed))
}

impl ExtractArgs {
    /// The programs of the flags, or else those of the job, which are its last step's, and the
    /// kind of the answers' bodies.
    fn settings(&self) -> Result<(extract::Settings, Option<AnswerKind>), Error> {
        let (mut settings, mut kind) = match &self.job {
            None => (extract::Settings::new(), None),
            Some(job) => of_last_step(Layers::read(job)?.job()?),
        };
        if let Some(named) = self.values.extract_tree().as_object().filter(|it| !it.is_empty()) {
            settings.clone_from(named);
        }
        kind = self.values.answer_format().or(kind);
        Ok((settings, kind))
    }
}

/// The programs of the last step of a job, and the kind of its answers' bodies.
fn of_last_step(job: Job) -> (extract::Settings, Option<AnswerKind>) {
    match job.step.last() {
        Some(step) => (step.extract.clone(), step.answer_format),
        None => (job.extract, job.answer_format),
    }
}

struct Renewing {
    renewal: Renewal,
    tally: Tally,
}

fn lock(renewing: &Mutex<Renewing>) -> MutexGuard<'_, Renewing> {
    renewing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records with their values anew, each of them counted.
fn renewed(rows: Rows, renewing: Arc<Mutex<Renewing>>) -> Rows {
    Box::new(rows.map(move |row| {
        let row = row?;
        let mut pass = lock(&renewing);
        let fields = pass.renewal.renew(row.fields);
        let record = sink::record(fields.clone()).map_err(|why| {
            Error::plan(format!("row {} is not a record of throng: {why}", row.number))
        })?;
        pass.tally.add(&record);
        Ok(Row { fields, ..row })
    }))
}
