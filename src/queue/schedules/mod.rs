//! Seeded schedules of workers, a store and a collector that crash, stall and are cut off at any
//! step, with the chunks of workers ([`HeldChunks`]) and the rows of the collector
//! ([`Outstanding`]) as they are. Judged by the journal: each row has one record, or each of its
//! items one, whatever happens; and by the requests: none is sent twice that must not be. And the test of the test:
//! a bug that it must find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::store::{LEASE, ModelQueue, World, lock};
use super::chunks::ChunkBuilder;
use super::held::{HeldChunks, unknown};
use super::outstanding::Outstanding;
use super::{Claimed, Collecting, Commit, Lease, Outcome, Queue, QueueError, WaitingChunk, wire};
use crate::record::{FailureKind, Record};
use crate::row::{Item, Row};
use crate::sink::ItemProgress;

mod store;

/// What may happen, and how the rows are asked for.
struct Case {
    rows: u64,
    /// Number of records of a row.
    items: u64,
    workers: usize,
    /// Chance of each step to be a worker's, the collector's or the store's last one.
    crashes: f64,
    failing: f64,
    /// Whether requests may be sent twice; else each is announced.
    resends: bool,
    /// Whether the store loses what it was given last when it is restarted.
    restarts: bool,
    /// Whether batches leave the store before their records are safe: a bug that must be found.
    forgets_early: bool,
}

/// A run of a case that goes on until each row has its record.
struct Schedule {
    case: Case,
    world: Arc<Mutex<World>>,
    collector: Collector,
    workers: Vec<Worker>,
    /// The journal of records.
    journal: Vec<Entry>,
    /// Number of records that a crash leaves there.
    synced: usize,
    /// Number of requests for each row.
    requests: BTreeMap<u64, u64>,
    names: u64,
}

/// A record in the journal.
#[derive(Clone)]
struct Entry {
    row: u64,
    item: Option<Item>,
    failure: Option<FailureKind>,
}

struct Worker {
    queue: ModelQueue,
    /// Number of records of a row.
    items: u64,
    held: HeldChunks,
    wakes: u64,
    beat: u64,
    /// The requests in flight, each for the next item of its row, and when they are answered.
    in_flight: Vec<(u64, Row)>,
    commit: Option<Commit>,
    announcing: Option<Announcement>,
}

/// A row that is announced before it is sent.
struct Announcement {
    row: Row,
    /// The chunks to tell the store of, each by its lease and the rows of it that are sent.
    chunks: Vec<(Lease, Vec<u8>)>,
}

struct Collector {
    queue: ModelQueue,
    outstanding: Outstanding,
    wakes: u64,
    has_begun: bool,
    has_taken_over: bool,
    /// Number of records that were in the journal when it began.
    before: usize,
    /// The next row of the input.
    next: u64,
    rows: ChunkBuilder,
    after: String,
    safe: Vec<String>,
    must_list: bool,
    listing: Option<(Vec<WaitingChunk>, u64)>,
    heard: u64,
}

/// Number of rows that a worker has in flight.
const IN_FLIGHT: usize = 4;

/// The time in which any schedule ends, in milliseconds.
const LONGEST: u64 = 20 * 60_000;

impl Worker {
    fn new(queue: ModelQueue, items: u64, wakes: u64) -> Worker {
        Worker {
            queue,
            items,
            held: HeldChunks::default(),
            wakes,
            beat: 0,
            in_flight: Vec::new(),
            commit: None,
            announcing: None,
        }
    }

    /// Does what is due; false if it leaves.
    fn step(
        &mut self,
        now: u64,
        latency: u64,
        resends: bool,
        requests: &mut BTreeMap<u64, u64>,
    ) -> bool {
        let at = Duration::from_millis(now);
        let (answered, rest) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition::<Vec<_>, _>(|(answered, _)| *answered <= now);
        self.in_flight = rest;
        for (_, row) in answered {
            let next = row.item.filter(|it| !it.last).and_then(|it| it.number);
            let record = Record { outcome: Ok(Vec::new()), ..unknown(row.clone()) };
            self.held.record(&record, at);
            if let Some(before) = next {
                self.in_flight.push((now + latency, self.with_item(row, before + 1)));
            }
        }
        if now >= self.beat
            && let Ok((_, lost)) = self.queue.beat("", &self.held.leases())
        {
            self.beat = now + LEASE / 3;
            lost.into_iter().for_each(|chunk| self.held.lost(chunk));
        }
        if self.commit.is_none() {
            self.commit = self.held.due(at, false);
        }
        if let Some(commit) = &self.commit
            && let Ok(outcome) = self.queue.finish(commit)
        {
            self.held.committed(commit.lease.chunk, &outcome);
            self.commit = None;
        }
        if let Some(announcement) = &self.announcing {
            for (lease, sent) in announcement.chunks.clone() {
                match self.queue.announce(lease, &sent) {
                    Ok(Outcome::Done) => {}
                    Ok(_) => return false,
                    Err(_) => return true,
                }
            }
        }
        if let Some(announcement) = self.announcing.take() {
            self.send(announcement.row, now + latency, requests);
        }
        self.begin(at, latency, resends, requests)
    }

    fn send(&mut self, row: Row, answered: u64, requests: &mut BTreeMap<u64, u64>) {
        *requests.entry(row.number).or_default() += 1;
        self.in_flight.push((answered, self.with_item(row, 0)));
    }

    /// A row with the item that is asked for next, if it has items.
    fn with_item(&self, row: Row, number: u64) -> Row {
        let item = Item { number: Some(number), last: number + 1 == self.items };
        Row { item: Some(item).filter(|_| self.items > 1), ..row }
    }

    fn begin(
        &mut self,
        now: Duration,
        latency: u64,
        resends: bool,
        requests: &mut BTreeMap<u64, u64>,
    ) -> bool {
        while self.in_flight.len() < IN_FLIGHT {
            let Some(row) = self.held.next_row() else {
                let held: Vec<u64> = self.held.leases().iter().map(|it| it.chunk).collect();
                if let Ok(Claimed::Chunk(claim)) = self.queue.claim(&held) {
                    let rows = wire::rows(&claim.rows).unwrap();
                    self.held.add(*claim, rows, resends, now);
                }
                return true;
            };
            if resends {
                self.send(row, now.as_millis() as u64 + latency, requests);
                continue;
            }
            let Some(chunks) = self.held.announce(&[(row.number, true)]) else { return false };
            self.announcing = Some(Announcement { row, chunks });
            return true;
        }
        true
    }
}

impl Collector {
    fn new(queue: ModelQueue, wakes: u64, before: usize) -> Collector {
        Collector {
            queue,
            outstanding: Outstanding::default(),
            wakes,
            has_begun: false,
            has_taken_over: false,
            before,
            next: 0,
            rows: ChunkBuilder::new(5, None),
            after: "0".to_owned(),
            safe: Vec::new(),
            must_list: false,
            listing: None,
            heard: wakes,
        }
    }

    /// Takes records from the store; gives those of which the journal has none.
    fn read(&mut self, before: &Before) -> Result<(usize, Vec<Record>), QueueError> {
        let batches = self.queue.batches(&self.after, Duration::ZERO)?;
        let mut records = Vec::new();
        for batch in &batches {
            self.after.clone_from(&batch.id);
            if self.listing.is_some() && self.outstanding.has_accepted(&batch.id) {
                continue;
            }
            let accepted = self.outstanding.accept(batch, |records| before.rest(records));
            records.extend(accepted.unwrap());
        }
        Ok((batches.len(), records))
    }

    /// One step, as the engine's collector and submitter make it; gives new records.
    fn step(
        &mut self,
        now: u64,
        rows: u64,
        safe: u64,
        before: &Before,
    ) -> Result<Vec<Record>, QueueError> {
        self.safe.extend(self.outstanding.safe(safe));
        match self.queue.collected(&self.safe)? {
            Collecting::Other(_) => return Ok(Vec::new()),
            Collecting::Holds { .. } => self.safe.clear(),
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            let last = lock(&self.queue.world).last();
            let waiting = self.queue.waiting(true);
            // The run that begins again reads anew.
            let waiting = waiting.inspect_err(|_| self.has_begun = false)?;
            self.outstanding.take_over(last, waiting).unwrap();
        }
        if self.must_list {
            let upto = self.outstanding.submitted();
            self.listing = Some((self.queue.waiting(false)?, upto));
            (self.must_list, self.after) = (false, "0".to_owned());
        }
        let (batches, records) = self.read(before)?;
        if batches > 0 {
            self.heard = now;
        } else if !std::mem::replace(&mut self.has_taken_over, true) {
            return Ok(records);
        } else if let Some((waiting, upto)) = self.listing.take() {
            self.outstanding.find_lost(&waiting, upto);
        } else if now >= self.heard + 10_000 {
            (self.heard, self.must_list) = (now, true);
        }
        if self.has_taken_over {
            // What was read is written even if the store is gone now.
            let _ = self.submit(rows, before);
        }
        Ok(records)
    }

    fn submit(&mut self, rows: u64, before: &Before) -> Result<(), QueueError> {
        while let Some(chunk) = self.outstanding.next_to_submit() {
            let Some(new) = self.outstanding.chunk(chunk).cloned() else { return Ok(()) };
            if self.queue.submit(chunk, &new)? != Outcome::Done {
                return Ok(());
            }
            self.outstanding.set_submitted(chunk);
        }
        for _ in 0..7 {
            if self.next == rows {
                if let Some(chunk) = self.rows.take() {
                    self.outstanding.add(chunk);
                }
                return Ok(());
            }
            let row = Row { number: self.next, ..Row::default() };
            self.next += 1;
            if !before.whole.contains(&row.number)
                && !self.outstanding.knows(row.number)
                && let Some(chunk) = self.rows.add(&row)
            {
                self.outstanding.add(chunk);
            }
        }
        Ok(())
    }

    fn unreachable(&mut self) {
        (self.must_list, self.listing) = (true, None);
    }
}

/// What the journal had when a collector began.
struct Before {
    /// The rows with all of their records.
    whole: BTreeSet<u64>,
    /// The items of the others.
    items: BTreeMap<u64, ItemProgress>,
}

impl Before {
    fn of(journal: &[Entry]) -> Before {
        let whole = whole(journal);
        let mut items: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for entry in journal.iter().filter(|it| !whole.contains(&it.row)) {
            items.entry(entry.row).or_default().extend(entry.item.and_then(|it| it.number));
        }
        let items = items.into_iter().map(|(row, items)| (row, ItemProgress::of(&items, None)));
        Before { whole, items: items.collect() }
    }

    fn rest(&self, records: Vec<Record>) -> Vec<Record> {
        let row = records[0].row.number;
        match self.items.get(&row) {
            _ if self.whole.contains(&row) => Vec::new(),
            Some(items) => items.rest(records),
            None => records,
        }
    }
}

/// The rows whose last record is in a journal.
fn whole(journal: &[Entry]) -> BTreeSet<u64> {
    let last = journal.iter().filter(|it| it.item.is_none_or(|item| item.last));
    last.map(|it| it.row).collect()
}

impl Schedule {
    fn new(seed: u64, forgets_early: bool) -> Schedule {
        let mut random = StdRng::seed_from_u64(seed);
        let resends = random.random_bool(0.6);
        let case = Case {
            rows: random.random_range(1..80),
            items: [1, 1, 3][random.random_range(0..3)],
            workers: random.random_range(1..4),
            crashes: [0.0, 0.005, 0.03][random.random_range(0..3)],
            failing: [0.0, 0.02, 0.15][random.random_range(0..3)],
            resends,
            // A store that loses announcements can't keep requests from being sent twice.
            restarts: resends && random.random_bool(0.5),
            forgets_early,
        };
        let world = Arc::new(Mutex::new(World::new(random, case.failing)));
        let queue = |name: &str| ModelQueue::new(&world, name);
        let workers =
            (0..case.workers).map(|it| Worker::new(queue(&format!("w{it}")), case.items, 0));
        let workers = workers.collect();
        let collector = Collector::new(queue("c0"), 0, 0);
        Schedule {
            case,
            collector,
            workers,
            world,
            journal: Vec::new(),
            synced: 0,
            requests: BTreeMap::new(),
            names: 0,
        }
    }

    fn happens(&self, chance: f64) -> bool {
        lock(&self.world).random.random_bool(chance)
    }

    fn between(&self, least: u64, most: u64) -> u64 {
        lock(&self.world).random.random_range(least..most)
    }

    fn name(&mut self, kind: &str) -> ModelQueue {
        self.names += 1;
        ModelQueue::new(&self.world, &format!("{kind}-{}", self.names))
    }

    /// Runs to the end, and judges it.
    ///
    /// # Errors
    /// What is wrong.
    fn run(mut self) -> Result<(), String> {
        while (self.journal.len() as u64) < self.case.rows
            || (whole(&self.journal).len() as u64) < self.case.rows
            || self.synced < self.journal.len()
        {
            let next = self.workers.iter().map(|it| it.wakes).min().unwrap_or(u64::MAX);
            let now = next.min(self.collector.wakes);
            if now > LONGEST {
                return Err(format!("only {:?} of {} rows", whole(&self.journal), self.case.rows));
            }
            lock(&self.world).advance(now);
            if self.case.restarts && self.happens(0.002) {
                lock(&self.world).restart();
            }
            if now == self.collector.wakes {
                self.collect(now)?;
            } else {
                self.work(now);
            }
        }
        let twice = self.requests.values().any(|requests| *requests > 1);
        if twice && !self.case.resends {
            return Err("a request was sent twice that must not be".to_owned());
        }
        let is_odd = |it: &&Entry| it.failure.is_none() && !self.requests.contains_key(&it.row);
        if let Some(Entry { row, .. }) = self.journal.iter().find(is_odd) {
            return Err(format!("row {row} has a result and was not asked for"));
        }
        let results = self.journal.iter().filter(|it| it.failure.is_none());
        let failed = self.journal.iter().filter(|it| it.failure.is_some());
        let failed: BTreeSet<u64> = failed.map(|it| it.row).collect();
        let of_whole = results.filter(|it| !failed.contains(&it.row)).count() as u64;
        match (self.case.rows - failed.len() as u64) * self.case.items {
            expected if of_whole == expected => Ok(()),
            expected => Err(format!("{of_whole} results of {expected}")),
        }
    }

    fn work(&mut self, now: u64) {
        let index = self.workers.iter().position(|it| it.wakes == now).unwrap_or(0);
        let latency = self.between(1, 300);
        let resends = self.case.resends;
        let stays = {
            let Schedule { workers, requests, .. } = self;
            workers[index].step(now, latency, resends, requests)
        };
        if !stays || self.happens(self.case.crashes) {
            let wakes = now + self.between(1, 500);
            let queue = self.name("w");
            self.workers[index] = Worker::new(queue, self.case.items, wakes);
        } else if self.happens(self.case.crashes) {
            // It ends as it is asked to, once nothing is in flight.
            let leases = self.workers[index].held.leases();
            if self.workers[index].in_flight.is_empty() && self.workers[index].commit.is_none() {
                let _ = self.workers[index].queue.release(&leases);
                let queue = self.name("w");
                self.workers[index] = Worker::new(queue, self.case.items, now + 1);
            }
        } else if self.happens(0.01) {
            self.workers[index].wakes = now + self.between(LEASE, 4 * LEASE);
        } else {
            self.workers[index].wakes = now + self.between(1, 60);
        }
    }

    fn collect(&mut self, now: u64) -> Result<(), String> {
        let before = Before::of(&self.journal[..self.collector.before]);
        let safe = self.synced.saturating_sub(self.collector.before) as u64;
        let safe = if self.case.forgets_early { u64::MAX } else { safe };
        let rows = self.case.rows;
        let records = self.collector.step(now, rows, safe, &before);
        for record in records.unwrap_or_else(|_| {
            self.collector.unreachable();
            Vec::new()
        }) {
            let Row { number: row, item, .. } = record.row;
            let is_twice = |it: &Entry| {
                let is_item = |it: Option<Item>| it.and_then(|it| it.number);
                it.row == row
                    && (is_item(it.item) == is_item(item) || it.item.is_some_and(|it| it.last))
            };
            if self.journal.iter().any(is_twice) {
                return Err(format!("row {row} has two records of {item:?}"));
            }
            let failure = record.outcome.as_ref().err().map(|it| it.kind.clone());
            self.journal.push(Entry { row, item, failure });
        }
        if self.happens(0.3) {
            self.synced = self.journal.len();
        }
        if self.happens(self.case.crashes) {
            // A power cut: what was not synced may be gone.
            let left = self.between(self.synced as u64, self.journal.len() as u64 + 1) as usize;
            self.journal.truncate(left);
            self.synced = left;
            let wakes = now + self.between(1, 2_000);
            let queue = self.name("c");
            self.collector = Collector::new(queue, wakes, left);
        } else {
            self.collector.wakes = now + self.between(1, 120);
        }
        Ok(())
    }
}

/// Number of schedules of each test run, and of `./test --long`.
const FEW: u64 = 150;
const MANY: u64 = 10_000;

#[test]
fn each_row_has_one_record_whatever_crashes_stalls_or_is_cut_off() {
    let count = if std::env::var_os("THRONG_LONG").is_some() { MANY } else { FEW };
    for seed in 0..count {
        if let Err(why) = Schedule::new(seed, false).run() {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn batches_that_leave_the_store_too_early_would_be_found() {
    let found = (0..400).any(|seed| Schedule::new(seed, true).run().is_err());
    assert!(found);
}
