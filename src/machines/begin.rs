//! Begins a run whose rows are done by workers of other processes: its job is in the store
//! afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{shared_limits, stored};
use crate::engine::remote::RemoteWorkers;
use crate::error::Error;
use crate::plan::{Job, Plan};
use crate::queue::{
    JobFields, JobState, QueueError, QueueTerms, RedisStore, SHARED_INPUT, ServerSync,
};
use crate::sink::fingerprint;
use crate::source::RowPlaces;

/// How a run uses a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueueSettings {
    /// The name of the job; by default one that all runs of an output share.
    pub name: Option<String>,
    /// The time without a heartbeat after which the rows of a worker go to another one.
    pub lease: Option<Duration>,
    /// Number of rows of a chunk.
    pub chunk_rows: Option<usize>,
    /// Whether the store may forget all when it ends.
    pub is_volatile: bool,
    /// Whether workers reach the input, and read its rows there.
    pub shares_input: bool,
}

/// Minimum lease: a worker's heartbeat must come in time.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// Number of chunks that the rows of a job are divided into, so that all workers have some.
const CHUNKS: u64 = 64;

/// Maximum number of rows of a chunk, unless the user wants more.
const MAX_CHUNK_ROWS: u64 = 1_000;

/// Number of rows of a chunk of an input that is not counted.
const UNCOUNTED_CHUNK_ROWS: u64 = 100;

/// Puts the job of a plan into the store, or goes on with it if an earlier run has.
///
/// # Errors
/// The store is not fit, or workers of other processes can't do the job.
pub(crate) fn begin(
    store: &RedisStore,
    job: &Job,
    plan: &mut Plan,
    settings: &QueueSettings,
) -> Result<RemoteWorkers, Error> {
    let lease = check(store, job, plan, settings)?;
    let name = match &settings.name {
        Some(name) => checked_name(name)?.to_owned(),
        None => default_name(plan),
    };
    let mut fields = fields(job, plan, lease)?;
    let terms = fields.terms();
    let chunk_rows = chunk_rows(settings, plan);
    let places = share_input(job, plan, settings, &mut fields)?;
    let mut remote =
        RemoteWorkers::new(store.clone(), name.clone(), collector(), terms, chunk_rows);
    if !store.create(&name, &fields)? {
        remote.continues = Some(go_on(store, &name, &fields)?);
    }
    remote.input = fields.shared_input()?;
    remote.places = places;
    plan.workers.count = 1;
    Ok(remote)
}

/// Checks that the store is fit and that workers of other processes can do the job; gives the
/// lease.
///
/// # Errors
/// What they can't do, and what to set.
pub(super) fn check(
    store: &RedisStore,
    job: &Job,
    plan: &mut Plan,
    settings: &QueueSettings,
) -> Result<Duration, Error> {
    stored::check(job)?;
    shared_limits::check_plan(plan)?;
    if job.output.key.is_some() && plan.rows().is_none() {
        return Err(Error::plan(format!(
            "workers on other machines know rows by their number, and those of {} have other ones each time where a field identifies them (output.key, --key): give them in a file, or leave the key out",
            plan.source.name()
        )));
    }
    let lease = settings.lease.unwrap_or(QueueTerms::default().lease);
    if lease < MIN_LEASE {
        return Err(Error::plan("a lease is 1s at least"));
    }
    let sync = store.check(settings.is_volatile)?;
    if plan.announces() && sync != ServerSync::Always {
        plan.notes.push(format!(
            "requests that must not be sent twice may be after a power cut of {store}, which loses up to a second: set it by `CONFIG SET appendfsync always`"
        ));
    }
    Ok(lease)
}

/// Notes in the fields of a job which input its workers reach, if they do; gives the places of its
/// rows, which are noted as they are read.
///
/// # Errors
/// Its rows have no places.
pub(super) fn share_input(
    job: &Job,
    plan: &mut Plan,
    settings: &QueueSettings,
    fields: &mut JobFields,
) -> Result<Option<Arc<RowPlaces>>, Error> {
    if !settings.shares_input {
        return Ok(None);
    }
    let every = chunk_rows(settings, plan) as u64;
    let (input, places) = plan.source.share(&job.input, every)?;
    let text = serde_json::to_string(&input);
    let text = text.map_err(|error| Error::plan(format!("the job can't be stored: {error}")))?;
    fields.0.insert(SHARED_INPUT.to_owned(), text);
    Ok(Some(places))
}

/// A name for a collector that no other one has.
pub(super) fn collector() -> String {
    format!("{}-{:08x}", std::process::id(), rand::random::<u32>())
}

/// The fields of a job that is in the store.
///
/// # Errors
/// It is not the job with these fields.
pub(super) fn there(
    store: &RedisStore,
    name: &str,
    fields: &JobFields,
) -> Result<JobFields, Error> {
    let there = store.fields(name).map_err(QueueError::into_error)?.unwrap_or_default();
    if there.get("identity") != fields.get("identity") {
        return Err(Error::plan(format!(
            "the job {name} in {store} has another input or asks for something else: end it first by `throng cancel {store} {name}`"
        )));
    }
    let input = fields.get(SHARED_INPUT);
    if !input.is_empty() {
        // Chunks of an earlier run may name places in it, too.
        store.set_field(name, SHARED_INPUT, input).map_err(QueueError::into_error)?;
    }
    Ok(there)
}

/// Goes on with a job that is in the store; gives the number of its last chunk.
fn go_on(store: &RedisStore, name: &str, fields: &JobFields) -> Result<u64, Error> {
    let there = there(store, name, fields)?;
    if there.is_detached() {
        return Err(Error::plan(format!(
            "the job {name} in {store} was submitted by `throng submit`: `throng collect {store} {name}` writes its records"
        )));
    }
    store.set_state(name, &JobState::Running, &[]).map_err(QueueError::into_error)?;
    Ok(there.number("last").unwrap_or(0))
}

/// The fields of a new job.
pub(super) fn fields(job: &Job, plan: &Plan, lease: Duration) -> Result<JobFields, Error> {
    let identity = serde_json::json!([plan.identity.input, plan.identity.parts, plan.rows()]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fields = [
        ("state", JobState::Running.name().to_owned()),
        ("job", stored::text(job)?),
        ("run", plan.output.run().to_owned()),
        ("identity", fingerprint(&identity.to_string())),
        ("lease", lease.as_millis().to_string()),
        ("rows", plan.rows().map(|rows| rows.to_string()).unwrap_or_default()),
        ("done", plan.output.done().len().to_string()),
        ("output", plan.output.name()),
        ("created", now.as_secs().to_string()),
        ("throng", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ok(JobFields(named.collect()))
}

/// The name of the job of an output, which is the same in all runs that go on with it.
fn default_name(plan: &Plan) -> String {
    let output = plan.output.name();
    let stem = Path::new(&output).file_stem().unwrap_or_default().to_string_lossy();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
    let stem: String = stem.chars().filter(is_plain).take(40).collect();
    let run: String = plan.output.run().chars().take(8).collect();
    format!("{stem}-{run}")
}

pub(super) fn checked_name(name: &str) -> Result<&str, Error> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !name.is_empty() && name.len() <= 100 && name.chars().all(is_plain) {
        Ok(name)
    } else {
        Err(Error::plan("the name of a job has letters, digits, points, _ and - alone"))
    }
}

/// Number of rows of a chunk.
pub(super) fn chunk_rows(settings: &QueueSettings, plan: &Plan) -> usize {
    settings.chunk_rows.unwrap_or_else(|| usual_chunk_rows(plan.rows())).max(1)
}

/// Number of rows of a chunk, so that each worker has some of these rows and none has many at the
/// end.
fn usual_chunk_rows(rows: Option<u64>) -> usize {
    let rows = rows.map_or(UNCOUNTED_CHUNK_ROWS, |rows| rows.div_ceil(CHUNKS));
    rows.clamp(1, MAX_CHUNK_ROWS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_some_of_few_rows_and_chunks_of_many_rows_are_large() {
        assert_eq!(usual_chunk_rows(Some(0)), 1);
        assert_eq!(usual_chunk_rows(Some(500)), 8);
        assert_eq!(usual_chunk_rows(Some(20_000)), 313);
        assert_eq!(usual_chunk_rows(Some(1 << 40)), 1_000);
        assert_eq!(usual_chunk_rows(None), 100);
    }

    #[test]
    fn a_name_stays_within_its_keys() {
        assert!(checked_name("quotes-2026_11.a").is_ok());
        for name in ["", "a}b", "a b", "ä"] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }
}
