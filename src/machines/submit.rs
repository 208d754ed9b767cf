//! Puts the rows of a job into a store, and leaves: workers do them, and another command collects
//! their records.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::for_collector::{FIELD, ForCollector};
use super::{QueueSettings, begin};
use crate::error::Error;
use crate::plan::{Job, Plan};
use crate::queue::chunks::{ChunkBuilder, NewChunk};
use crate::queue::{JobFields, JobState, Outcome, Queue, QueueError, RedisStore, numbers};
use crate::shutdown::Shutdown;
use crate::sink;
use crate::source::RowPlaces;

/// The field with the numbers of all rows, once they are submitted.
pub(super) const NUMBERS: &str = "numbers";

/// Pause before a full store is tried again, or one that could not be reached.
const RETRY: Duration = Duration::from_millis(200);

/// The outcome of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submission {
    /// The name of the job in the store.
    pub job: String,
    /// Number of its rows; none if the submission was ended before the last one.
    pub rows: Option<u64>,
}

/// Puts a job and its rows into the store, or goes on with that. `tell` hears what goes on.
///
/// # Errors
/// The job is wrong, workers of other processes can't do it, or the store is not fit.
pub(crate) fn submit(
    store: &RedisStore,
    job: &Job,
    environment: &dyn Fn(&str) -> Option<String>,
    settings: &QueueSettings,
    shutdown: &Shutdown,
    tell: &dyn Fn(&str),
) -> Result<Submission, Error> {
    if job.workers.deadline.is_some() {
        return Err(Error::plan(
            "a deadline (workers.deadline, --deadline) ends a run, and none waits for the rows that are submitted: leave it out, and end the job by `throng cancel`",
        ));
    }
    let mut plan = Plan::new(&without_file(job), environment)?;
    let lease = begin::check(store, job, &mut plan, settings)?;
    plan.notes().iter().for_each(|note| tell(note));
    let name = match &settings.name {
        Some(name) => begin::checked_name(name)?.to_owned(),
        None => new_name(job),
    };
    let mut fields = begin::fields(job, &plan, lease)?;
    fields.0.insert(FIELD.to_owned(), ForCollector::of(job, &plan).text()?);
    fields.0.insert("output".to_owned(), job.output.file.clone().unwrap_or_default());
    let places = begin::share_input(job, &mut plan, settings, &mut fields)?;
    let mut submitter =
        Submitter { store, name: &name, plan: &plan, places, settings, shutdown, tell };
    if store.create(&name, &fields)? {
        tell(&format!("the job is {name} in {store}"));
    } else {
        submitter.go_on(&fields)?;
    }
    let rows = submitter.submit()?;
    Ok(Submission { job: name, rows })
}

/// The job without the file of its records, which the collector has.
fn without_file(job: &Job) -> Job {
    let sink::Settings { keep_body, replace_fields, ref key, .. } = job.output;
    let key = key.clone();
    let output = sink::Settings { keep_body, replace_fields, key, ..sink::Settings::default() };
    Job { output, ..job.clone() }
}

/// A name that no other job has: that of the output or the input, and chance.
fn new_name(job: &Job) -> String {
    let file = job.output.file.as_ref().or(job.input.file.as_ref());
    let stem = file.and_then(|file| Path::new(file).file_stem());
    let stem = stem.map(|it| it.to_string_lossy()).unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
    let stem: String = stem.chars().filter(is_plain).take(40).collect();
    let stem = if stem.is_empty() || stem == "-" { "job".to_owned() } else { stem };
    format!("{stem}-{:08x}", rand::random::<u32>())
}

/// Puts the rows of a job that is in the store into its queue.
struct Submitter<'a> {
    store: &'a RedisStore,
    name: &'a str,
    plan: &'a Plan,
    /// The places of the rows, if chunks name them.
    places: Option<Arc<RowPlaces>>,
    settings: &'a QueueSettings,
    shutdown: &'a Shutdown,
    tell: &'a dyn Fn(&str),
}

impl Submitter<'_> {
    /// Goes on with a job of this name that is in the store.
    fn go_on(&self, fields: &JobFields) -> Result<(), Error> {
        let (name, store) = (self.name, self.store);
        let there = begin::there(store, name, fields)?;
        if !there.is_detached() {
            return Err(Error::plan(format!(
                "the job {name} in {store} is that of a run: the same `throng run` with --resume goes on with it"
            )));
        }
        if !there.get(NUMBERS).is_empty() {
            return Err(Error::plan(format!(
                "all rows of the job {name} are in {store} already: `throng collect {store} {name}` writes its records; give another name for another job"
            )));
        }
        if !self.plan.source.lasts() {
            return Err(Error::plan(format!(
                "the rows of {} can't be read a second time: `throng cancel {store} {name}`, and submit them again",
                self.plan.source.name()
            )));
        }
        (self.tell)(&format!(
            "goes on with the rows of {name} after the {}th",
            there.number("end").unwrap_or(0)
        ));
        Ok(())
    }

    /// Submits all rows that the store does not have; gives their number, or none if it is to end.
    fn submit(&mut self) -> Result<Option<u64>, Error> {
        loop {
            let there = self.store.fields(self.name).map_err(QueueError::into_error)?;
            let there = there.unwrap_or_default();
            match self.submit_from(&there) {
                Ok(Some(numbers)) => {
                    let text = numbers::to_text(&numbers);
                    match self.store.set_field(self.name, NUMBERS, &text) {
                        Ok(()) => return Ok(Some(numbers.len())),
                        Err(error) => self.wait_for_store(error)?,
                    }
                }
                Ok(None) => return Ok(None),
                Err(Interrupted::Store(error)) => self.wait_for_store(error)?,
                Err(Interrupted::Rows(error)) => return Err(error),
            }
            if self.shutdown.is_requested() {
                return Ok(None);
            }
        }
    }

    /// Waits until the store answers. It may have been restarted without its last chunks: rows
    /// are read again from those on that it has.
    fn wait_for_store(&self, error: QueueError) -> Result<(), Error> {
        if !error.may_pass || !self.plan.source.lasts() {
            return Err(error.into_error());
        }
        (self.tell)(&format!("{error}; trying again"));
        while !self.shutdown.is_requested() {
            match self.store.fields(self.name) {
                Ok(_) => return Ok(()),
                Err(error) if error.may_pass => sleep(RETRY),
                Err(error) => return Err(error.into_error()),
            }
        }
        Ok(())
    }

    /// Submits the rows after those that the store has; gives the numbers of all.
    fn submit_from(&self, there: &JobFields) -> Result<Option<RoaringTreemap>, Interrupted> {
        let queue = self.store.queue(self.name, "submitter", there.terms());
        let end = there.number("end").unwrap_or(0);
        let mut to_store = ToStore { queue, chunk: there.number("last").unwrap_or(0), of: self };
        let chunk_rows = begin::chunk_rows(self.settings, self.plan);
        let mut rows = ChunkBuilder::new(chunk_rows, self.places.clone());
        let mut numbers = RoaringTreemap::new();
        for row in self.plan.source.rows().map_err(Interrupted::Rows)? {
            let row = row.map_err(Interrupted::Rows)?;
            numbers.insert(row.number);
            if row.number < end {
                continue;
            }
            if let Some(chunk) = rows.add(&row)
                && !to_store.put(&chunk)?
            {
                return Ok(None);
            }
        }
        let is_all = match rows.take() {
            Some(chunk) => to_store.put(&chunk)?,
            None => true,
        };
        Ok(is_all.then_some(numbers))
    }
}

/// Why a pass over the rows has ended.
enum Interrupted {
    /// The store.
    Store(QueueError),
    /// The input, or the state of the job.
    Rows(Error),
}

/// The way of chunks into the store.
struct ToStore<'a> {
    queue: Box<dyn Queue>,
    /// The number of the last chunk.
    chunk: u64,
    of: &'a Submitter<'a>,
}

impl ToStore<'_> {
    /// Puts a chunk into the store as soon as there is room; false if the command is to end.
    fn put(&mut self, chunk: &NewChunk) -> Result<bool, Interrupted> {
        self.chunk += 1;
        let mut has_told = false;
        while !self.of.shutdown.is_requested() {
            match self.queue.submit(self.chunk, chunk).map_err(Interrupted::Store)? {
                Outcome::Done => return Ok(true),
                Outcome::Full | Outcome::Lost => {}
                Outcome::State(state) => return Err(Interrupted::Rows(self.gone(&state))),
            }
            if !std::mem::replace(&mut has_told, true) {
                let (name, store) = (self.of.name, self.of.store);
                (self.of.tell)(&format!(
                    "{store} has as many rows of {name} as it may: the rest follows as workers take them; Ctrl-C leaves it here, and the same command with this name goes on"
                ));
            }
            sleep(RETRY);
        }
        Ok(false)
    }

    fn gone(&self, state: &JobState) -> Error {
        Error::stopped(format!(
            "the job {} in {} is {}: its rows are not submitted any more",
            self.of.name,
            self.of.store,
            state.name()
        ))
    }
}
