//! A queue in memory that does what the functions of the store do, under a virtual clock: calls
//! fail before or after they are carried out, and the store loses its last second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::queue::chunks::NewChunk;
use crate::queue::{
    Batch, BatchContent, Claim, Claimed, Collecting, Commit, JobState, Lease, Outcome, Queue,
    QueueError, WaitingChunk, numbers,
};

/// Time without a heartbeat after which another worker may claim a chunk, in milliseconds.
pub const LEASE: u64 = 1_000;

/// Number of leases of a chunk that may lapse without a record.
const TRIES: u64 = 5;

/// Number of batches that may wait.
const BATCHES: usize = 20;

/// Number of chunks that may wait.
const CHUNKS: usize = 8;

/// The consumer of chunks that were handed back.
const NONE: &str = "-";

/// What is in the store.
#[derive(Debug, Clone, Default)]
struct Content {
    work: BTreeMap<u64, NewChunk>,
    delivered: u64,
    pending: BTreeMap<u64, Pending>,
    done: BTreeMap<u64, Vec<u8>>,
    sent: BTreeMap<u64, Vec<u8>>,
    tries: BTreeMap<u64, u64>,
    out: BTreeMap<u64, Batch>,
    last: u64,
    collector: Option<(String, u64)>,
}

#[derive(Debug, Clone)]
struct Pending {
    consumer: String,
    at: u64,
    deliveries: u64,
}

/// The store and the time.
pub struct World {
    content: Content,
    /// What a restart finds: the content of up to a second ago.
    saved: (u64, Content),
    /// Number of restarts, by which connections break.
    restarts: u64,
    batches: u64,
    pub now: u64,
    pub random: StdRng,
    /// Share of the calls whose answer is lost, and of those that are not carried out.
    failing: f64,
}

/// A way to the store, of one consumer.
#[derive(Clone)]
pub struct ModelQueue {
    pub world: Arc<Mutex<World>>,
    pub consumer: String,
    restarts: u64,
}

impl World {
    pub fn new(random: StdRng, failing: f64) -> World {
        World {
            content: Content::default(),
            saved: (0, Content::default()),
            restarts: 0,
            batches: 0,
            now: 0,
            random,
            failing,
        }
    }

    /// Goes on to this time. What is in the store is saved each second.
    pub fn advance(&mut self, now: u64) {
        self.now = now;
        if now >= self.saved.0 + 1_000 {
            self.saved = (now, self.content.clone());
        }
    }

    /// Kills the store, which begins anew with what was saved.
    pub fn restart(&mut self) {
        self.content = self.saved.1.clone();
        self.restarts += 1;
    }

    /// The number of the last chunk.
    pub fn last(&self) -> u64 {
        self.content.last
    }
}

impl Content {
    fn owns(&self, consumer: &str, lease: Lease) -> bool {
        let pending = self.pending.get(&lease.chunk);
        pending.is_some_and(|it| it.consumer == consumer && it.deliveries == lease.token)
    }

    fn forget(&mut self, chunk: u64) {
        self.work.remove(&chunk);
        self.pending.remove(&chunk);
        self.done.remove(&chunk);
        self.sent.remove(&chunk);
        self.tries.remove(&chunk);
    }

    fn handed(&self, chunk: u64, token: u64) -> Claimed {
        Claimed::Chunk(Box::new(Claim {
            lease: Lease { chunk, token },
            rows: self.work[&chunk].rows.clone(),
            done: self.done.get(&chunk).cloned().unwrap_or_default(),
            sent: self.sent.get(&chunk).cloned().unwrap_or_default(),
            sent_for: Duration::ZERO,
        }))
    }

    fn claim(&mut self, consumer: &str, held: &[u64], now: u64, batches: &mut u64) -> Claimed {
        if self.out.len() >= BATCHES {
            return Claimed::Full;
        }
        let unheard = |(chunk, it): &(&u64, &Pending)| {
            it.consumer == consumer && !held.contains(chunk) && self.work.contains_key(chunk)
        };
        if let Some((chunk, it)) = self.pending.iter().find(unheard) {
            return self.handed(*chunk, it.deliveries);
        }
        let lapsed: Vec<u64> =
            self.pending.iter().filter(|(_, it)| now >= it.at + LEASE).map(|it| *it.0).collect();
        for chunk in lapsed {
            let Some(it) = self.pending.get_mut(&chunk) else { continue };
            let before = std::mem::replace(&mut it.consumer, consumer.to_owned());
            (it.at, it.deliveries) = (now, it.deliveries + 1);
            let token = it.deliveries;
            if before != NONE {
                *self.tries.entry(chunk).or_default() += 1;
            }
            if before == NONE || self.tries[&chunk] < TRIES {
                return self.handed(chunk, token);
            }
            let content = BatchContent::Dead {
                rows: self.work[&chunk].rows.clone(),
                done: self.done.get(&chunk).cloned().unwrap_or_default(),
                sent: self.sent.get(&chunk).cloned().unwrap_or_default(),
            };
            self.put(chunk, content, before, batches);
            self.forget(chunk);
        }
        let new = self.work.range(self.delivered + 1..).next().map(|it| *it.0);
        let Some(chunk) = new else { return Claimed::None };
        self.delivered = chunk;
        let pending = Pending { consumer: consumer.to_owned(), at: now, deliveries: 1 };
        self.pending.insert(chunk, pending);
        self.handed(chunk, 1)
    }

    fn put(&mut self, chunk: u64, content: BatchContent, about: String, batches: &mut u64) {
        *batches += 1;
        let id = format!("{batches:012}");
        self.out.insert(*batches, Batch { id, chunk, about, content });
    }
}

impl ModelQueue {
    pub fn new(world: &Arc<Mutex<World>>, consumer: &str) -> ModelQueue {
        let restarts = lock(world).restarts;
        ModelQueue { world: world.clone(), consumer: consumer.to_owned(), restarts }
    }

    fn call<T>(
        &mut self,
        carry_out: impl FnOnce(&mut Content, &mut u64, u64, &str) -> T,
    ) -> Result<T, QueueError> {
        let world = &mut *lock(&self.world);
        let lost = || QueueError { may_pass: true, text: "the store is gone".to_owned() };
        if std::mem::replace(&mut self.restarts, world.restarts) != world.restarts {
            return Err(lost());
        }
        if world.random.random_bool(world.failing) {
            return Err(lost());
        }
        let answer = carry_out(&mut world.content, &mut world.batches, world.now, &self.consumer);
        if world.random.random_bool(world.failing) { Err(lost()) } else { Ok(answer) }
    }
}

pub fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue for ModelQueue {
    fn submit(&mut self, chunk: u64, new: &NewChunk) -> Result<Outcome, QueueError> {
        self.call(|store, _, _, _| {
            if chunk <= store.last {
                return Outcome::Done;
            }
            if store.work.len() >= CHUNKS {
                return Outcome::Full;
            }
            store.work.insert(chunk, new.clone());
            store.last = chunk;
            Outcome::Done
        })
    }

    fn claim(&mut self, held: &[u64]) -> Result<Claimed, QueueError> {
        self.call(|store, batches, now, consumer| store.claim(consumer, held, now, batches))
    }

    fn beat(&mut self, _: &str, held: &[Lease]) -> Result<(JobState, Vec<u64>), QueueError> {
        self.call(|store, _, now, consumer| {
            let mut lost = Vec::new();
            for lease in held {
                match store.pending.get_mut(&lease.chunk) {
                    Some(it) if it.consumer == consumer && it.deliveries == lease.token => {
                        it.at = now;
                    }
                    _ => lost.push(lease.chunk),
                }
            }
            (JobState::Running, lost)
        })
    }

    fn finish(&mut self, commit: &Commit) -> Result<Outcome, QueueError> {
        self.call(|store, batches, now, consumer| {
            let chunk = commit.lease.chunk;
            if !store.owns(consumer, commit.lease) {
                return Outcome::Lost;
            }
            if store.done.get(&chunk) != Some(&commit.done) {
                let records = BatchContent::Records(commit.records.clone());
                store.put(chunk, records, String::new(), batches);
                store.done.insert(chunk, commit.done.clone());
                store.tries.remove(&chunk);
            }
            if commit.is_last {
                store.forget(chunk);
            } else if let Some(it) = store.pending.get_mut(&chunk) {
                it.at = now;
            }
            Outcome::Done
        })
    }

    fn announce(&mut self, lease: Lease, sent: &[u8]) -> Result<Outcome, QueueError> {
        self.call(|store, _, _, consumer| {
            if !store.owns(consumer, lease) {
                return Outcome::Lost;
            }
            store.sent.insert(lease.chunk, sent.to_vec());
            Outcome::Done
        })
    }

    fn release(&mut self, held: &[Lease]) -> Result<(), QueueError> {
        self.call(|store, _, _, consumer| {
            for lease in held {
                if store.owns(consumer, *lease) {
                    let deliveries = lease.token.saturating_sub(1);
                    let back = Pending { consumer: NONE.to_owned(), at: 0, deliveries };
                    store.pending.insert(lease.chunk, back);
                }
            }
        })
    }

    fn batches(&mut self, after: &str, _: Duration) -> Result<Vec<Batch>, QueueError> {
        let after: u64 = after.parse().unwrap_or(0);
        self.call(|store, _, _, _| {
            store.out.range(after + 1..).take(3).map(|it| it.1.clone()).collect()
        })
    }

    fn collected(&mut self, batches: &[String]) -> Result<Collecting, QueueError> {
        let batches: BTreeSet<u64> = batches.iter().filter_map(|it| it.parse().ok()).collect();
        self.call(|store, _, now, consumer| {
            if let Some((other, until)) = &store.collector
                && other != consumer
                && *until > now
            {
                return Collecting::Other(other.clone());
            }
            store.collector = Some((consumer.to_owned(), now + 2 * LEASE));
            store.out.retain(|id, _| !batches.contains(id));
            Collecting::Holds { state: JobState::Running, workers: 0 }
        })
    }

    fn waiting(&mut self, _: bool) -> Result<Vec<WaitingChunk>, QueueError> {
        let waiting = |(chunk, it): (&u64, &NewChunk)| WaitingChunk {
            chunk: *chunk,
            numbers: numbers::to_text(&it.numbers),
            rows: it.rows.clone(),
        };
        self.call(|store, _, _, _| store.work.iter().map(waiting).collect())
    }
}
