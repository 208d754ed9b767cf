//! The page in HTML about a run (`--report`), or about a results file (`--html`).
//!
//! Where the time went is from the run's events. All else is from its records, as they are
//! written: events have no values of rows, and a results file has no events.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::{own_file, say};
use crate::engine::{ObservedRecord, Run};
use crate::events::{EventKind, Subscription};
use crate::html_report::{CauseLine, PageContext, RecordFold, run_page};
use crate::metrics::describe;
use crate::report::{Report, escape, short};
use crate::verify::{KnownLimits, limits_of};
use crate::{Error, Plan, limit, sink, threads};

/// The latency for which the plan says the shortest time, as `throng plan` does.
const LATENCY: Duration = Duration::from_millis(250);

/// The page about a run.
#[derive(Args, Default)]
#[command(next_help_heading = "Show")]
pub struct ReportFlags {
    /// Write a page about the run: plots, failures, values, the plan; one HTML file that needs no network
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<String>,
}

impl ReportFlags {
    /// Checks before the run that the page can be written and replaces no other file.
    pub fn check(&self, input: Option<&str>, records: Option<&str>) -> Result<(), Error> {
        own_file::check("the page", "--report", self.report.as_deref(), input, records)
    }
}

/// A page that comes to be while its run goes on.
pub struct RunPage {
    path: String,
    context: PageContext,
    fold: Arc<Mutex<RecordFold>>,
    /// Gives where the time went, once the run has ended.
    causes: Option<JoinHandle<CauseLine>>,
}

impl RunPage {
    /// Has the records of the run that is about to begin seen for the page, if one is wanted.
    pub fn start(run: &Run, flags: &ReportFlags) -> Option<RunPage> {
        let path = flags.report.clone()?;
        let plan = run.plan();
        let mut fold =
            RecordFold::new(&KnownLimits::of_run(&plan.identity.rates), Some(&plan.columns.values));
        if plan.identity.has_steps {
            fold.note(OF_LAST_STEP);
        }
        let fold = Arc::new(Mutex::new(fold));
        let seen = fold.clone();
        run.observe(move |record| {
            let mut fold = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match record {
                ObservedRecord::Earlier(record) => fold.add(record),
                ObservedRecord::Written(record) => {
                    fold.add_written(record, Timestamp::now().as_microsecond());
                }
            }
        });
        let causes = CauseLine::default();
        let context = PageContext { title: title(plan), plan: Some(preview(plan)), causes };
        // Without a thread for them, the page lacks one plot.
        let events = run.subscribe().ok();
        let causes = events.and_then(|events| threads::spawn(move || causes_of(events)).ok());
        Some(RunPage { path, context, fold, causes })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(self, report: &Report) -> Result<(), Error> {
        let empty = RecordFold::new(&KnownLimits::of_run(&[]), Some(&[]));
        let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
        let fold = std::mem::replace(&mut *fold, empty);
        let causes = self.causes.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let context = PageContext { causes, ..self.context };
        write(&self.path, "--report", &run_page(context, report, fold)?)
    }
}

/// Where the time goes, until the run ends.
fn causes_of(events: Subscription) -> CauseLine {
    let mut line = CauseLine::default();
    for event in events {
        if let EventKind::Snapshot(snapshot) = &event.kind {
            let spent = snapshot.causes.iter();
            let spent = spent.map(|it| {
                (short(&describe(&it.cause, it.name.as_deref())), it.seconds.as_secs_f64())
            });
            line.add(event.elapsed.as_secs_f64(), spent);
        }
    }
    line
}

const OF_LAST_STEP: &str = "The job has several steps or polls: the plots show the requests of its last step alone, which are those that records tell of.";

fn title(plan: &Plan) -> String {
    plan.output_file().unwrap_or_else(|| plan.output.name())
}

fn preview(plan: &Plan) -> String {
    let limits = plan.shared_limits();
    plan.preview(LATENCY, limit::now(), limits.as_deref())
}

/// A fold for the records of this results file, as far as the file beside it tells their limits.
pub fn fold_of(results: &str) -> RecordFold {
    let facts = sink::facts_of(Path::new(results));
    let (limits, unknown) = match limits_of(&[Path::new(results)]) {
        Ok(limits) => (limits, None),
        Err(error) => (KnownLimits::of_run(&[]), Some(error.to_string())),
    };
    let values = facts.as_ref().map(|facts| &*facts.values);
    let mut fold = RecordFold::new(&limits, values);
    if facts.as_ref().is_some_and(|facts| facts.has_steps) {
        fold.note(OF_LAST_STEP);
    }
    match unknown {
        Some(_) if facts.is_none() => fold.note(format!(
            "Nothing beside {} says what the limits were, or which fields are values: {}.throng is not there. All fields are shown.",
            escape(results),
            escape(results)
        )),
        Some(why) => fold.note(why),
        None => {}
    }
    fold
}

/// The names of the values in these results, as far as the file beside them tells.
pub fn values_of(results: &str) -> Option<Vec<String>> {
    sink::facts_of(Path::new(results)).map(|facts| facts.values)
}

/// Writes a page and says so.
///
/// # Errors
/// The file can't be written.
pub fn write(path: &str, flag: &str, page: &str) -> Result<(), Error> {
    std::fs::write(path, page).map_err(|error| {
        Error::stopped(format!("the page can't be written to {path} ({flag}): {error}"))
    })?;
    say::note(&format!("page: {}", escape(path)));
    Ok(())
}
