//! Collects the records of a job that was submitted, and writes them, as a run does.

use std::thread::sleep;
use std::time::Duration;

use roaring::treemap::IntoIter;

use super::begin;
use super::for_collector::ForCollector;
use super::submit::NUMBERS;
use crate::engine::remote::RemoteWorkers;
use crate::error::Error;
use crate::plan::{Job, JobParts, Plan};
use crate::queue::{JobState, QueueError, RedisStore, numbers};
use crate::row::Row;
use crate::sink::{self, Existing};
use crate::source::ProgramRows;
use crate::{render, tally};

/// Pause before another look at whether all rows are submitted.
const LOOK: Duration = Duration::from_millis(500);

/// How records are collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct CollectTerms {
    /// The file of the records, in place of the job's.
    pub output: Option<String>,
    /// Whether records of the file are dropped.
    pub overwrites: bool,
}

/// The plan of a run that collects the records of this job, and its queue.
///
/// # Errors
/// There is no such job, or the file can't be written.
pub(crate) fn collect(
    store: &RedisStore,
    name: &str,
    terms: &CollectTerms,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Plan, RemoteWorkers), Error> {
    let fields = store.fields(name).map_err(QueueError::into_error)?.unwrap_or_default();
    match fields.state() {
        JobState::Gone => {
            return Err(Error::plan(format!(
                "there is no job {name} in {store}: `throng jobs {store}` lists those that there are"
            )));
        }
        state @ (JobState::Done | JobState::Cancelled) => {
            return Err(Error::plan(format!(
                "the job {name} in {store} is {}, and its records are not there any more",
                state.name()
            )));
        }
        _ => {}
    }
    if !fields.is_detached() {
        return Err(Error::plan(format!(
            "the job {name} in {store} is that of a run, which collects its records itself: the same `throng run` with --resume goes on"
        )));
    }
    let told = ForCollector::read(&fields)?;
    let plan = plan(store, name, terms, told, fields.get("run"), environment)?;
    let queue_terms = fields.terms();
    let mut remote =
        RemoteWorkers::new(store.clone(), name.to_owned(), begin::collector(), queue_terms, 1);
    remote.is_detached = true;
    remote.input = fields.shared_input()?;
    Ok((plan, remote))
}

/// A plan that asks for nothing: its rows are known by their numbers, and their records come from
/// the store.
fn plan(
    store: &RedisStore,
    name: &str,
    terms: &CollectTerms,
    told: ForCollector,
    run: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Plan, Error> {
    let Some(file) = terms.output.clone().or(told.output.file.clone()).filter(|it| it != "-")
    else {
        return Err(Error::plan(
            "records leave the store once they are safe in a file: name one with -o FILE",
        ));
    };
    let existing = if terms.overwrites { Existing::Overwrite } else { Existing::ResumeOrNew };
    let job = Job {
        request: render::Settings {
            url: Some("https://collected.invalid/".to_owned()),
            ..render::Settings::default()
        },
        // Rows are known by their numbers here: their fields are not.
        output: sink::Settings { file: Some(file), existing, key: None, ..told.output },
        summary: tally::Settings::default(),
        ..Job::default()
    };
    let rows = SubmittedRows { store: store.clone(), name: name.to_owned(), numbers: None };
    let parts = JobParts {
        rows: Some(ProgramRows::numbered(Box::new(rows))),
        identity: Some(told.identity),
        ..JobParts::default()
    };
    let mut plan = Plan::with_parts(&job, environment, &parts)?;
    plan.set_found(told.columns, told.rows, &told.summary)?;
    plan.max_failures = told.max_failures;
    plan.prices = told.price;
    plan.output.go_on_with(run)?;
    plan.workers.count = 1;
    Ok(plan)
}

/// The rows of a job that was submitted, known by their numbers alone, once all of them are.
struct SubmittedRows {
    store: RedisStore,
    name: String,
    numbers: Option<IntoIter>,
}

impl Iterator for SubmittedRows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(numbers) = &mut self.numbers {
                let number = numbers.next()?;
                return Some(Ok(Row { number, ..Row::default() }));
            }
            match self.look() {
                Ok(true) => {}
                Ok(false) => sleep(LOOK),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl SubmittedRows {
    /// Looks whether all rows are submitted, and which they are.
    fn look(&mut self) -> Result<bool, Error> {
        let fields = match self.store.fields(&self.name) {
            Ok(fields) => fields.unwrap_or_default(),
            Err(error) if error.may_pass => return Ok(false),
            Err(error) => return Err(error.into_error()),
        };
        let text = fields.get(NUMBERS);
        if text.is_empty() && fields.state() != JobState::Gone {
            return Ok(false);
        }
        let numbers = numbers::of_text(text)
            .ok_or_else(|| Error::plan("the job is of another version of throng"))?;
        self.numbers = Some(numbers.into_iter());
        Ok(true)
    }
}
