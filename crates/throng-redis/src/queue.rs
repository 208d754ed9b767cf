//! The chunks of a job's rows in streams.

use std::collections::HashMap;
use std::time::Duration;

use redis::Value;

use crate::address::Address;
use crate::connection::Connection;
use crate::error::StoreError;
use crate::functions::Library;

static LIBRARY: Library = Library::new(include_str!("jobs.lua"));

/// Number of waiting chunks that are asked for at once, as the server reads it.
const WAITING_AT_ONCE: &[u8] = b"200";

/// The set of the names of all jobs.
const JOBS: &str = "throng:jobs";

/// The keys of a job, which all hash to one slot of a cluster.
#[derive(Debug, Clone)]
pub struct JobKeys([String; 8]);

impl JobKeys {
    /// The keys of the job of this name.
    #[must_use]
    pub fn of(job: &str) -> JobKeys {
        let parts = ["plan", "work", "out", "done", "sent", "tries", "dead", "workers"];
        JobKeys(parts.map(|part| format!("throng:{{{job}}}:{part}")))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&str; 8] {
        self.0.each_ref().map(String::as_str)
    }

    fn plan(&self) -> &str {
        &self.0[0]
    }

    fn out(&self) -> &str {
        &self.0[2]
    }
}

/// The queue of one job, over a connection of its own.
pub struct JobQueue {
    connection: Connection,
    keys: JobKeys,
    name: String,
}

/// A chunk that a consumer has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The number of the chunk.
    pub chunk: u64,
    /// The number of its deliveries, by which the lease is known.
    pub token: u64,
    /// The rows, as they were submitted.
    pub rows: Vec<u8>,
    /// The rows that are out already, as bits.
    pub done: Vec<u8>,
    /// The rows that were about to be sent, as bits.
    pub sent: Vec<u8>,
    /// Time since the first of them was, by the server's clock.
    pub sent_for: Duration,
}

/// Records of a chunk that are handed over.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The chunk, and the token of its lease.
    pub lease: (u64, u64),
    /// The rows of the chunk that are out afterwards, as bits.
    pub done: &'a [u8],
    /// Whether that is all of the chunk.
    pub is_last: bool,
    /// The records.
    pub records: &'a [u8],
    /// A text about them, for the collector.
    pub about: &'a str,
    /// Number of records that are ok.
    pub ok: u64,
    /// Number of records that are failures.
    pub failed: u64,
}

/// A chunk that is submitted.
#[derive(Debug, Clone, Copy)]
pub struct NewChunk<'a> {
    /// Its number.
    pub chunk: u64,
    /// The numbers of its rows.
    pub numbers: &'a str,
    /// The rows.
    pub rows: &'a [u8],
    /// The number after that of its last row.
    pub end: u64,
}

/// The room for chunks that wait.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Number of chunks for each worker.
    pub each: u64,
    /// Number of chunks in any case.
    pub least: u64,
    /// Size of their rows, in bytes.
    pub bytes: u64,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// A chunk.
    Chunk(Box<Claim>),
    /// No chunk waits.
    None,
    /// Too much waits for the collector.
    Full,
    /// The job is in this state, and not running.
    State(String),
}

/// The outcome of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Done,
    /// There is no room for it now.
    Full,
    /// The lease is another one's.
    Lost,
    /// The job is in this state, which does not allow it.
    State(String),
}

/// A batch that waits for the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its place in the stream.
    pub id: String,
    /// What it is.
    pub kind: BatchKind,
    /// A text about it.
    pub about: String,
    /// The number of its chunk.
    pub chunk: u64,
    /// The records, or the rows of a chunk that is given up.
    pub rows: Vec<u8>,
    /// The rows of a chunk that is given up that are out, and that were about to be sent.
    pub done: Vec<u8>,
    /// The rows of a chunk that is given up that were about to be sent, as bits.
    pub sent: Vec<u8>,
}

/// The kind of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    /// Records.
    Records,
    /// A chunk whose workers have all ended.
    Dead,
}

/// The answer to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectorAnswer {
    /// It is the only one; the job is in this state for this reason, and has this number of
    /// workers.
    Holds {
        /// The state of the job.
        state: String,
        /// The reason of the state, if it has one.
        reason: String,
        /// Number of workers.
        workers: u64,
    },
    /// Another one collects.
    Other(String),
}

/// A chunk that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingChunk {
    /// Its number.
    pub chunk: u64,
    /// The numbers of its rows.
    pub numbers: String,
    /// The rows.
    pub rows: Vec<u8>,
}

/// Facts of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFacts {
    /// The fields of its plan.
    pub plan: HashMap<String, String>,
    /// Number of chunks that are not finished.
    pub chunks: u64,
    /// Number of batches that wait for the collector.
    pub batches: u64,
    /// Number of chunks that were given up.
    pub dead: u64,
    /// The workers, and what each says of itself, with the seconds since 1970 before it.
    pub workers: Vec<(String, String)>,
}

impl JobQueue {
    /// The queue of the job of this name.
    #[must_use]
    pub fn new(address: &Address, job: &str) -> JobQueue {
        JobQueue {
            connection: Connection::new(address),
            keys: JobKeys::of(job),
            name: job.to_owned(),
        }
    }

    fn call(&mut self, function: &str, arguments: &[&[u8]]) -> Result<Value, StoreError> {
        LIBRARY.call(&mut self.connection, function, &self.keys.all(), arguments)
    }

    /// Creates the job with these fields, unless it is there and not over; whether it was created.
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(&mut self, fields: &[(&str, &str)]) -> Result<bool, StoreError> {
        let fields: Vec<&[u8]> =
            fields.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
        let is_new = self.call("create", &fields)? == Value::Int(1);
        let mut command = redis::cmd("SADD");
        command.arg(JOBS).arg(&self.name);
        self.connection.call(&command, Duration::ZERO)?;
        Ok(is_new)
    }

    /// The fields of the job's plan; none if there is no such job.
    ///
    /// # Errors
    /// Those of the store.
    pub fn plan(&mut self) -> Result<HashMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys.plan());
        let answer = self.connection.call(&command, Duration::ZERO)?;
        Ok(pairs(answer).into_iter().collect())
    }

    /// Submits a chunk if there is room for it, unless one of its number or a higher one was.
    ///
    /// # Errors
    /// Those of the store.
    pub fn submit(&mut self, new: NewChunk<'_>, room: Room) -> Result<Outcome, StoreError> {
        let (chunk, end) = (new.chunk.to_string(), new.end.to_string());
        let room = [room.each, room.least, room.bytes].map(|it| it.to_string());
        let chunk: [&[u8]; 4] =
            [chunk.as_bytes(), new.numbers.as_bytes(), new.rows, end.as_bytes()];
        let arguments: Vec<&[u8]> =
            chunk.into_iter().chain(room.iter().map(|it| it.as_bytes())).collect();
        self.call("submit", &arguments).map(outcome)
    }

    /// Claims a chunk for a consumer that holds these. A lease lapses after `lease`; a chunk is
    /// given up after `tries` leases that lapsed without a record; nothing is claimed while `most`
    /// bytes of records wait.
    ///
    /// # Errors
    /// Those of the store.
    pub fn claim(
        &mut self,
        consumer: &str,
        lease: Duration,
        most: u64,
        tries: u64,
        held: &[u64],
    ) -> Result<Claimed, StoreError> {
        let mut arguments = vec![
            consumer.to_owned(),
            lease.as_millis().to_string(),
            most.to_string(),
            tries.to_string(),
        ];
        arguments.extend(held.iter().map(|chunk| id(*chunk)));
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let mut answer = list(self.call("claim", &arguments)?).into_iter();
        let state = answer.next().map(text).unwrap_or_default();
        Ok(match state.as_str() {
            "chunk" => {
                let mut next = || answer.next().unwrap_or_default();
                Claimed::Chunk(Box::new(Claim {
                    chunk: number_of(&text(next())),
                    token: number(next()),
                    rows: bytes(next()),
                    done: bytes(next()),
                    sent: bytes(next()),
                    sent_for: Duration::from_secs(number(next())),
                }))
            }
            "none" => Claimed::None,
            "full" => Claimed::Full,
            _ => Claimed::State(state),
        })
    }

    /// Keeps the leases of a consumer, which says this of itself. Gives the state of the job, and
    /// the chunks that it has lost.
    ///
    /// # Errors
    /// Those of the store.
    pub fn beat(
        &mut self,
        consumer: &str,
        about: &str,
        held: &[(u64, u64)],
    ) -> Result<(String, Vec<u64>), StoreError> {
        let mut arguments = vec![consumer.to_owned(), about.to_owned()];
        arguments.extend(held.iter().flat_map(|(chunk, token)| [id(*chunk), token.to_string()]));
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let mut answer = list(self.call("beat", &arguments)?).into_iter().map(text);
        let state = answer.next().unwrap_or_default();
        Ok((state, answer.map(|id| number_of(&id)).collect()))
    }

    /// Hands over records of a chunk; with the last ones the chunk is finished. Both are one step.
    ///
    /// # Errors
    /// Those of the store.
    pub fn finish(&mut self, consumer: &str, commit: &Commit<'_>) -> Result<Outcome, StoreError> {
        let (chunk, token) = (id(commit.lease.0), commit.lease.1.to_string());
        let is_last = if commit.is_last { "1" } else { "0" };
        let (ok, failed) = (commit.ok.to_string(), commit.failed.to_string());
        let arguments: [&[u8]; 9] = [
            consumer.as_bytes(),
            chunk.as_bytes(),
            token.as_bytes(),
            commit.done,
            is_last.as_bytes(),
            commit.records,
            commit.about.as_bytes(),
            ok.as_bytes(),
            failed.as_bytes(),
        ];
        self.call("finish", &arguments).map(outcome)
    }

    /// Notes the rows of a chunk that are about to be sent.
    ///
    /// # Errors
    /// Those of the store.
    pub fn announce(
        &mut self,
        consumer: &str,
        lease: (u64, u64),
        sent: &[u8],
    ) -> Result<Outcome, StoreError> {
        let (chunk, token) = (id(lease.0), lease.1.to_string());
        let arguments: [&[u8]; 4] = [consumer.as_bytes(), chunk.as_bytes(), token.as_bytes(), sent];
        self.call("announce", &arguments).map(outcome)
    }

    /// Hands chunks back, of which others may claim each at once; the consumer leaves.
    ///
    /// # Errors
    /// Those of the store.
    pub fn release(&mut self, consumer: &str, held: &[(u64, u64)]) -> Result<(), StoreError> {
        let mut arguments = vec![consumer.to_owned()];
        arguments.extend(held.iter().flat_map(|(chunk, token)| [id(*chunk), token.to_string()]));
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        self.call("release", &arguments).map(drop)
    }

    /// The batches after this place, at most `count`; waits for the first one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn batches(
        &mut self,
        after: &str,
        count: u64,
        wait: Duration,
    ) -> Result<Vec<Batch>, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(count).arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        command.arg("STREAMS").arg(self.keys.out()).arg(after);
        let answer = self.connection.call(&command, wait)?;
        let entries = match answer {
            Value::Map(streams) => streams.into_iter().next().map(|(_, entries)| entries),
            Value::Array(streams) => streams.into_iter().next().and_then(|it| list(it).pop()),
            _ => None,
        };
        Ok(list(entries.unwrap_or_default()).into_iter().map(batch).collect())
    }

    /// Removes batches whose records are safe, and keeps the lease of the collector.
    ///
    /// # Errors
    /// Those of the store.
    pub fn collected(
        &mut self,
        collector: &str,
        lease: Duration,
        batches: &[String],
    ) -> Result<CollectorAnswer, StoreError> {
        let mut arguments = vec![collector.to_owned(), lease.as_millis().to_string()];
        arguments.extend(batches.iter().cloned());
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let mut answer = list(self.call("collected", &arguments)?).into_iter().map(text);
        let state = answer.next().unwrap_or_default();
        let second = answer.next().unwrap_or_default();
        Ok(match state.as_str() {
            "other" => CollectorAnswer::Other(second),
            _ => CollectorAnswer::Holds {
                state,
                reason: second,
                workers: answer.next().and_then(|it| it.parse().ok()).unwrap_or(0),
            },
        })
    }

    /// The chunks that are not finished, with their rows or without.
    ///
    /// # Errors
    /// Those of the store.
    pub fn waiting(&mut self, with_rows: bool) -> Result<Vec<WaitingChunk>, StoreError> {
        let rows: &[u8] = if with_rows { b"1" } else { b"0" };
        let mut chunks: Vec<WaitingChunk> = Vec::new();
        loop {
            let after = id(chunks.last().map_or(0, |it| it.chunk));
            let arguments = [after.as_bytes(), WAITING_AT_ONCE, rows];
            let mut all = list(self.call("waiting", &arguments)?).into_iter();
            let before = chunks.len();
            while let (Some(id), Some(numbers), Some(rows)) = (all.next(), all.next(), all.next()) {
                chunks.push(WaitingChunk {
                    chunk: number_of(&text(id)),
                    numbers: text(numbers),
                    rows: bytes(rows),
                });
            }
            if chunks.len() == before {
                return Ok(chunks);
            }
        }
    }

    /// Sets the state of the job, if it is in one of these now; none is any.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_state(
        &mut self,
        state: &str,
        reason: &str,
        from: &[&str],
    ) -> Result<Outcome, StoreError> {
        let mut arguments = vec![state.as_bytes(), reason.as_bytes()];
        arguments.extend(from.iter().map(|it| it.as_bytes()));
        self.call("set_state", &arguments).map(outcome)
    }

    /// Sets a field of the plan.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_field(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HSET");
        command.arg(self.keys.plan()).arg(name).arg(value);
        self.connection.call(&command, Duration::ZERO).map(drop)
    }

    /// Ends the job in this state, of which only the facts stay for a time.
    ///
    /// # Errors
    /// Those of the store.
    pub fn close(&mut self, state: &str, stays: Duration) -> Result<(), StoreError> {
        let stays = stays.as_secs().to_string();
        self.call("close", &[state.as_bytes(), stays.as_bytes()]).map(drop)
    }

    /// The facts of the job; none if there is no such job.
    ///
    /// # Errors
    /// Those of the store.
    pub fn facts(&mut self) -> Result<Option<JobFacts>, StoreError> {
        let plan = self.plan()?;
        if plan.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.clone();
        let [_, work, out, .., dead, workers] = keys.all();
        let mut length = |key: &str| {
            let mut command = redis::cmd("XLEN");
            command.arg(key);
            self.connection.call(&command, Duration::ZERO).map(number)
        };
        let (chunks, batches, dead) = (length(work)?, length(out)?, length(dead)?);
        let mut command = redis::cmd("HGETALL");
        command.arg(workers);
        let workers = pairs(self.connection.call(&command, Duration::ZERO)?);
        Ok(Some(JobFacts { plan, chunks, batches, dead, workers }))
    }
}

/// The names of all jobs.
///
/// # Errors
/// Those of the store.
pub fn jobs(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(JOBS);
    let mut names: Vec<String> =
        list(connection.call(&command, Duration::ZERO)?).into_iter().map(text).collect();
    names.sort_unstable();
    let mut known = Vec::new();
    for name in names {
        let mut command = redis::cmd("EXISTS");
        command.arg(JobKeys::of(&name).plan());
        if number(connection.call(&command, Duration::ZERO)?) == 1 {
            known.push(name);
        } else {
            let mut command = redis::cmd("SREM");
            command.arg(JOBS).arg(&name);
            connection.call(&command, Duration::ZERO)?;
        }
    }
    Ok(known)
}

/// The id of a chunk in the stream.
fn id(chunk: u64) -> String {
    format!("{chunk}-0")
}

fn number_of(id: &str) -> u64 {
    id.split('-').next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn outcome(value: Value) -> Outcome {
    match text(value).as_str() {
        "ok" => Outcome::Done,
        "full" => Outcome::Full,
        "lost" => Outcome::Lost,
        state => Outcome::State(state.to_owned()),
    }
}

fn batch(entry: Value) -> Batch {
    let mut entry = list(entry).into_iter();
    let id = entry.next().map(text).unwrap_or_default();
    let mut fields: HashMap<String, Vec<u8>> = HashMap::new();
    let mut values = list(entry.next().unwrap_or_default()).into_iter();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        fields.insert(text(name), bytes(value));
    }
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let told = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Batch {
        id,
        kind: if take("kind") == b"dead" { BatchKind::Dead } else { BatchKind::Records },
        about: told(take("about")),
        chunk: number_of(&told(take("chunk"))),
        rows: take("rows"),
        done: take("done"),
        sent: take("sent"),
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => Vec::new(),
    }
}

fn pairs(value: Value) -> Vec<(String, String)> {
    match value {
        Value::Map(pairs) => pairs.into_iter().map(|(a, b)| (text(a), text(b))).collect(),
        value => {
            let all: Vec<String> = list(value).into_iter().map(text).collect();
            all.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
        }
    }
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        Value::Okay => b"OK".to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

fn text(value: Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

fn number(value: Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(number).unwrap_or(0),
        value => text(value).parse().unwrap_or(0),
    }
}
