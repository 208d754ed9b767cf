//! The queue in Redis or Valkey.

use std::fmt;
use std::time::Duration;

use throng_redis::{Address, CollectorAnswer, Connection, JobQueue, StoreError};

use super::{
    Batch, BatchContent, Claim, Claimed, Collecting, Commit, JobFacts, JobFields, JobState, Lease,
    NewChunk, Outcome, Queue, QueueError, QueueTerms, WaitingChunk, numbers,
};
use crate::error::Error;
use crate::limit_store::{RedisLimits, StoreAddress};

/// Time for which the facts of a job that has ended can still be seen: a day.
const STAYS: Duration = Duration::from_secs(86_400);

/// Number of batches that are read at a time.
const BATCHES: u64 = 32;

/// A server.
#[derive(Clone)]
pub(crate) struct RedisStore {
    address: Address,
}

impl RedisStore {
    /// The server at this URL, with this password unless the URL has one. No connection is made.
    ///
    /// # Errors
    /// The URL is none of a server.
    pub fn open(url: &str, password: Option<&str>) -> Result<RedisStore, Error> {
        Ok(RedisStore {
            address: Address::parse(url, password)
                .map_err(|error| queue_error(error).into_error())?,
        })
    }

    /// Checks that the server keeps what it is given, or that it need not. Gives the warning that
    /// a power cut may lose the last second, where it may.
    ///
    /// # Errors
    /// The server can't be reached or is not fit, and what to set.
    pub fn check(&self, is_volatile: bool) -> Result<ServerSync, Error> {
        let facts = throng_redis::check(&mut Connection::new(&self.address), is_volatile);
        let facts = facts.map_err(|error| queue_error(error).into_error())?;
        Ok(match facts.sync.as_deref() {
            None => ServerSync::Never,
            Some("always") => ServerSync::Always,
            Some(_) => ServerSync::Later,
        })
    }

    /// The names of all jobs.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn jobs(&self) -> Result<Vec<String>, Error> {
        let jobs = throng_redis::jobs(&mut Connection::new(&self.address));
        jobs.map_err(|error| queue_error(error).into_error())
    }

    /// The limits that the server keeps for the workers of its jobs.
    pub fn limits(&self) -> StoreAddress {
        StoreAddress::Redis(RedisLimits::of_queue(&self.address))
    }

    fn job(&self, job: &str) -> JobQueue {
        JobQueue::new(&self.address, job)
    }

    /// Creates a job, unless it is there and not over; whether it was created.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn create(&self, job: &str, fields: &JobFields) -> Result<bool, Error> {
        let fields: Vec<(&str, &str)> =
            fields.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.job(job).create(&fields).map_err(|error| queue_error(error).into_error())
    }

    /// The fields of a job; none if there is no such job.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn fields(&self, job: &str) -> Result<Option<JobFields>, QueueError> {
        let plan = self.job(job).plan().map_err(queue_error)?;
        Ok((!plan.is_empty()).then_some(JobFields(plan)))
    }

    /// The facts of a job; none if there is no such job.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn facts(&self, job: &str) -> Result<Option<JobFacts>, Error> {
        let facts = self.job(job).facts().map_err(|error| queue_error(error).into_error())?;
        Ok(facts.map(|facts| JobFacts {
            fields: JobFields(facts.plan),
            chunks: facts.chunks,
            batches: facts.batches,
            dead: facts.dead,
            workers: facts.workers,
        }))
    }

    /// Sets the state of a job, if it is in one of these now; none is any. Gives the state that
    /// does not allow it.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn set_state(
        &self,
        job: &str,
        to: &JobState,
        from: &[&str],
    ) -> Result<Option<JobState>, QueueError> {
        let reason = if let JobState::Stopped(reason) = to { reason.as_str() } else { "" };
        let set = self.job(job).set_state(to.name(), reason, from).map_err(queue_error)?;
        Ok(match outcome(set) {
            Outcome::State(state) => Some(state),
            _ => None,
        })
    }

    /// Sets a field of a job.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn set_field(&self, job: &str, name: &str, value: &str) -> Result<(), QueueError> {
        self.job(job).set_field(name, value).map_err(queue_error)
    }

    /// Ends a job: its rows and records go, and only its facts stay for a day.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn close(&self, job: &str, state: &JobState) -> Result<(), QueueError> {
        self.job(job).close(state.name(), STAYS).map_err(queue_error)
    }

    /// The chunks and records of a job, for a worker or collector of this name.
    pub fn queue(&self, job: &str, consumer: &str, terms: QueueTerms) -> Box<dyn Queue> {
        Box::new(RedisQueue { jobs: self.job(job), consumer: consumer.to_owned(), terms })
    }
}

/// When a server's records are on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerSync {
    /// Before it answers.
    Always,
    /// Within about a second.
    Later,
    /// Not at all.
    Never,
}

impl fmt::Display for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The queue of one job over a connection of its own.
struct RedisQueue {
    jobs: JobQueue,
    consumer: String,
    terms: QueueTerms,
}

impl Queue for RedisQueue {
    fn submit(&mut self, chunk: u64, new: &NewChunk) -> Result<Outcome, QueueError> {
        let QueueTerms { each, least, row_bytes, .. } = self.terms;
        let (numbers, end) = (numbers::to_text(&new.numbers), new.end());
        let new = throng_redis::NewChunk { chunk, numbers: &numbers, rows: &new.rows, end };
        let room = throng_redis::Room { each, least, bytes: row_bytes };
        self.jobs.submit(new, room).map(outcome).map_err(queue_error)
    }

    fn claim(&mut self, held: &[u64]) -> Result<Claimed, QueueError> {
        let QueueTerms { lease, record_bytes, tries, .. } = self.terms;
        let claimed = self.jobs.claim(&self.consumer, lease, record_bytes, tries, held);
        Ok(match claimed.map_err(queue_error)? {
            throng_redis::Claimed::None => Claimed::None,
            throng_redis::Claimed::Full => Claimed::Full,
            throng_redis::Claimed::State(state) => Claimed::State(JobState::parse(&state, "")),
            throng_redis::Claimed::Chunk(claim) => Claimed::Chunk(Box::new(Claim {
                lease: Lease { chunk: claim.chunk, token: claim.token },
                rows: claim.rows,
                done: claim.done,
                sent: claim.sent,
                sent_for: claim.sent_for,
            })),
        })
    }

    fn beat(&mut self, about: &str, held: &[Lease]) -> Result<(JobState, Vec<u64>), QueueError> {
        let beat = self.jobs.beat(&self.consumer, about, &pairs(held));
        let (state, lost) = beat.map_err(queue_error)?;
        Ok((JobState::parse(&state, ""), lost))
    }

    fn finish(&mut self, commit: &Commit) -> Result<Outcome, QueueError> {
        let commit = throng_redis::Commit {
            lease: (commit.lease.chunk, commit.lease.token),
            done: &commit.done,
            is_last: commit.is_last,
            records: &commit.records,
            about: &commit.about,
            ok: commit.ok,
            failed: commit.failed,
        };
        let finished = self.jobs.finish(&self.consumer, &commit);
        finished.map(outcome).map_err(queue_error)
    }

    fn announce(&mut self, lease: Lease, sent: &[u8]) -> Result<Outcome, QueueError> {
        let announced = self.jobs.announce(&self.consumer, (lease.chunk, lease.token), sent);
        announced.map(outcome).map_err(queue_error)
    }

    fn release(&mut self, held: &[Lease]) -> Result<(), QueueError> {
        self.jobs.release(&self.consumer, &pairs(held)).map_err(queue_error)
    }

    fn batches(&mut self, after: &str, wait: Duration) -> Result<Vec<Batch>, QueueError> {
        let batches = self.jobs.batches(after, BATCHES, wait).map_err(queue_error)?;
        Ok(batches.into_iter().map(batch).collect())
    }

    fn collected(&mut self, batches: &[String]) -> Result<Collecting, QueueError> {
        let collected = self.jobs.collected(&self.consumer, self.terms.lease, batches);
        Ok(match collected.map_err(queue_error)? {
            CollectorAnswer::Other(other) => Collecting::Other(other),
            CollectorAnswer::Holds { state, reason, workers } => {
                Collecting::Holds { state: JobState::parse(&state, &reason), workers }
            }
        })
    }

    fn waiting(&mut self, with_rows: bool) -> Result<Vec<WaitingChunk>, QueueError> {
        let waiting = self.jobs.waiting(with_rows).map_err(queue_error)?;
        let chunk = |it: throng_redis::WaitingChunk| WaitingChunk {
            chunk: it.chunk,
            numbers: it.numbers,
            rows: it.rows,
        };
        Ok(waiting.into_iter().map(chunk).collect())
    }
}

fn pairs(held: &[Lease]) -> Vec<(u64, u64)> {
    held.iter().map(|lease| (lease.chunk, lease.token)).collect()
}

fn outcome(outcome: throng_redis::Outcome) -> Outcome {
    match outcome {
        throng_redis::Outcome::Done => Outcome::Done,
        throng_redis::Outcome::Full => Outcome::Full,
        throng_redis::Outcome::Lost => Outcome::Lost,
        throng_redis::Outcome::State(state) => Outcome::State(JobState::parse(&state, "")),
    }
}

fn batch(batch: throng_redis::Batch) -> Batch {
    let content = match batch.kind {
        throng_redis::BatchKind::Records => BatchContent::Records(batch.rows),
        throng_redis::BatchKind::Dead => {
            BatchContent::Dead { rows: batch.rows, done: batch.done, sent: batch.sent }
        }
    };
    Batch { id: batch.id, chunk: batch.chunk, about: batch.about, content }
}

fn queue_error(error: StoreError) -> QueueError {
    QueueError { may_pass: error.may_pass(), text: error.to_string() }
}
