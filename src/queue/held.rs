//! The chunks that a worker holds: which of their rows it has begun, and which records it has yet
//! to hand over. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::begun_row::{BegunRow, RowRecords};
use super::row_bits::RowBits;
use super::{Claim, Commit, Lease, Outcome, wire};
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;

/// Number of records that are handed over at once.
const MAX_RECORDS: usize = 100;

/// Size of the records that are handed over at once, in bytes, unless one of them is larger.
const MAX_BYTES: usize = 256 * 1024;

/// Maximum time for which a record waits.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// That for the first records of a chunk: the store then knows that the chunk does not end its
/// workers, and does not give it up if they end soon for another reason.
const FIRST_MAX_WAIT: Duration = Duration::from_millis(100);

/// The chunks that a worker holds. Times are since any moment, the same for all calls.
#[derive(Debug, Default)]
pub(crate) struct HeldChunks {
    chunks: BTreeMap<u64, HeldChunk>,
    /// The chunk of each row without a record, and its place there.
    places: HashMap<u64, (u64, usize)>,
    /// The rows that are not begun, in their order.
    rows: VecDeque<Row>,
    /// The rows that were begun and have not ended, with their records so far.
    begun: HashMap<u64, BegunRow>,
    /// Size of the records that are not handed over.
    waiting: usize,
    /// Number of records that came too late: their chunk is another worker's.
    refused: u64,
}

#[derive(Debug)]
struct HeldChunk {
    token: u64,
    /// Number of its rows.
    rows: usize,
    /// The rows that are out, or will be when the records that wait are handed over.
    done: RowBits,
    sent: RowBits,
    lines: Vec<u8>,
    records: usize,
    /// Number of rows of which all of them are ok.
    ok: usize,
    /// Number of the other rows.
    failed: usize,
    /// When the first record began to wait.
    since: Duration,
    /// Whether records were handed over.
    has_handed_over: bool,
    /// The commit that is on its way.
    on_its_way: Option<CommitSize>,
}

#[derive(Debug, Clone, Copy)]
struct CommitSize {
    bytes: usize,
    is_last: bool,
}

impl HeldChunks {
    /// Takes a chunk of these rows. Rows that may have been done by a worker that is gone have
    /// their record at once, unless they may be sent again (`resends`).
    pub fn add(&mut self, claim: Claim, rows: Vec<Row>, resends: bool, now: Duration) {
        let Lease { chunk, token } = claim.lease;
        if let Some(held) = self.chunks.get_mut(&chunk) {
            // Its lease had lapsed, and no other worker took it.
            held.token = token;
            return;
        }
        let (done, sent) = (RowBits::of_bytes(claim.done), RowBits::of_bytes(claim.sent));
        let held = HeldChunk {
            token,
            rows: rows.len(),
            done: done.clone(),
            sent: sent.clone(),
            lines: Vec::new(),
            records: 0,
            ok: 0,
            failed: 0,
            since: now,
            has_handed_over: false,
            on_its_way: None,
        };
        self.chunks.insert(chunk, held);
        let mut in_doubt = Vec::new();
        for (place, row) in rows.into_iter().enumerate() {
            if done.has(place) {
                continue;
            }
            self.places.insert(row.number, (chunk, place));
            if self.begun.contains_key(&row.number) {
                // It is asked for here, under a lease that lapsed.
                continue;
            }
            if sent.has(place) && !resends {
                in_doubt.push(row);
            } else {
                self.rows.push_back(row);
            }
        }
        for row in in_doubt {
            let number = row.number;
            if let Some(records) = BegunRow::default().take(&unknown(row)) {
                self.put(number, records, now);
            }
        }
    }

    /// The next row to begin.
    pub fn next_row(&mut self) -> Option<Row> {
        let row = self.rows.pop_front()?;
        self.begun.insert(row.number, BegunRow::default());
        Some(row)
    }

    /// Number of rows that were begun and have not ended.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Whether it holds no chunk.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Takes a record of a row that was begun. They wait until the row's last one is there: then
    /// all of them are handed over at once.
    pub fn record(&mut self, record: &Record, now: Duration) {
        let number = record.row.number;
        let ended = self.begun.entry(number).or_default().take(record);
        if let Some(records) = ended {
            self.begun.remove(&number);
            self.put(number, records, now);
        }
    }

    fn put(&mut self, row: u64, records: RowRecords, now: Duration) {
        let place = self.places.remove(&row);
        let held = place.and_then(|(chunk, place)| Some((self.chunks.get_mut(&chunk)?, place)));
        let Some((held, place)) = held else {
            self.refused += records.count as u64;
            return;
        };
        if !held.done.insert(place) {
            return;
        }
        if held.records == 0 {
            held.since = now;
        }
        held.lines.extend_from_slice(&records.lines);
        held.records += records.count;
        let rows = if records.is_ok { &mut held.ok } else { &mut held.failed };
        *rows += 1;
        self.waiting += records.lines.len();
    }

    /// Size of the records that are not handed over, in bytes.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Number of records that were dropped since their chunk is another worker's.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Records that are to be handed over at this time; `all` if none is to wait any longer. Each
    /// commit is followed by its [outcome](HeldChunks::committed).
    pub fn due(&mut self, now: Duration, all: bool) -> Option<Commit> {
        let (chunk, held) = self.chunks.iter_mut().find(|(_, held)| held.is_due(now, all))?;
        let is_last = held.is_whole();
        let lines = std::mem::take(&mut held.lines);
        held.records = 0;
        let ok = std::mem::take(&mut held.ok) as u64;
        let failed = std::mem::take(&mut held.failed) as u64;
        held.has_handed_over = true;
        held.on_its_way = Some(CommitSize { bytes: lines.len(), is_last });
        Some(Commit {
            lease: Lease { chunk: *chunk, token: held.token },
            done: held.done.bytes().to_vec(),
            is_last,
            records: wire::packed(lines),
            about: String::new(),
            ok,
            failed,
        })
    }

    /// The time at which the next records are to be handed over; none if no record waits.
    pub fn next_due(&self) -> Option<Duration> {
        let waiting = self.chunks.values().filter(|held| held.records > 0);
        waiting.map(HeldChunk::due_at).min()
    }

    /// Takes the outcome of a commit.
    pub fn committed(&mut self, chunk: u64, outcome: &Outcome) {
        let Some(held) = self.chunks.get_mut(&chunk) else { return };
        let Some(size) = held.on_its_way.take() else { return };
        self.waiting = self.waiting.saturating_sub(size.bytes);
        match outcome {
            Outcome::Done if size.is_last => self.forget(chunk),
            Outcome::Done => {}
            Outcome::Full | Outcome::Lost | Outcome::State(_) => self.lost(chunk),
        }
    }

    /// Forgets a chunk that another worker has: rows of it are not begun any more, and records
    /// of it are dropped.
    pub fn lost(&mut self, chunk: u64) {
        if let Some(held) = self.chunks.get(&chunk) {
            self.refused += held.records as u64;
            self.waiting = self.waiting.saturating_sub(held.lines.len());
            let on_its_way = held.on_its_way.map_or(0, |size| size.bytes);
            self.waiting = self.waiting.saturating_sub(on_its_way);
            self.forget(chunk);
        }
    }

    fn forget(&mut self, chunk: u64) {
        self.chunks.remove(&chunk);
        self.places.retain(|_, (of, _)| *of != chunk);
        let places = &self.places;
        self.rows.retain(|row| places.contains_key(&row.number));
    }

    /// The leases of the chunks.
    pub fn leases(&self) -> Vec<Lease> {
        let lease = |(chunk, held): (&u64, &HeldChunk)| Lease { chunk: *chunk, token: held.token };
        self.chunks.iter().map(lease).collect()
    }

    /// Notes that rows are about to be sent, or were not sent after all. Gives the leases of their
    /// chunks, each with all rows of it that are about to be sent, as bits; none if one of the
    /// rows is in no chunk that is held.
    pub fn announce(&mut self, rows: &[(u64, bool)]) -> Option<Vec<(Lease, Vec<u8>)>> {
        let mut changed = BTreeMap::new();
        let mut are_held = true;
        for (row, is_sent) in rows {
            let Some((chunk, place)) = self.places.get(row) else {
                are_held &= !is_sent;
                continue;
            };
            let Some(held) = self.chunks.get_mut(chunk) else { continue };
            if *is_sent {
                held.sent.insert(*place);
            } else {
                held.sent.remove(*place);
            }
            let lease = Lease { chunk: *chunk, token: held.token };
            changed.insert(*chunk, (lease, held.sent.bytes().to_vec()));
        }
        are_held.then(|| changed.into_values().collect())
    }
}

impl HeldChunk {
    fn is_whole(&self) -> bool {
        self.done.len() >= self.rows
    }

    fn is_due(&self, now: Duration, all: bool) -> bool {
        let waits = self.records > 0 || self.is_whole();
        let is_enough = self.records >= MAX_RECORDS
            || self.lines.len() >= MAX_BYTES
            || self.is_whole()
            || now >= self.due_at();
        self.on_its_way.is_none() && waits && (all || is_enough)
    }

    /// When the first record has waited for long enough.
    fn due_at(&self) -> Duration {
        self.since + if self.has_handed_over { MAX_WAIT } else { FIRST_MAX_WAIT }
    }
}

/// The record of a row that a worker which is gone may have done.
pub(super) fn unknown(row: Row) -> Record {
    failed(
        row,
        FailureKind::OutcomeUnknown,
        "its worker ended after it was sent, and the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)".to_owned(),
    )
}

/// The record of a row that has failed without an answer.
pub(super) fn failed(row: Row, kind: FailureKind, detail: String) -> Record {
    Record {
        row,
        outcome: Err(Failure::new(kind, detail)),
        kept: Vec::new(),
        body: None,
        status: None,
        attempts: 0,
        latency: None,
        arrived: Vec::new(),
        warning: None,
        saved: None,
        origin: None,
        target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Item;

    fn claim(chunk: u64, token: u64, numbers: std::ops::Range<u64>) -> Claim {
        let mut rows = Vec::new();
        numbers.for_each(|number| wire::put_row(&row(number), &mut rows));
        Claim {
            lease: Lease { chunk, token },
            rows,
            done: Vec::new(),
            sent: Vec::new(),
            sent_for: Duration::ZERO,
        }
    }

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn record(number: u64) -> Record {
        Record { outcome: Ok(Vec::new()), ..unknown(row(number)) }
    }

    fn item(row: u64, number: u64, last: bool) -> Record {
        let mut record = record(row);
        record.row.item = Some(Item { number: Some(number), last });
        record
    }

    fn add(held: &mut HeldChunks, claim: Claim, resends: bool) {
        let rows = wire::rows(&claim.rows).unwrap();
        held.add(claim, rows, resends, NOW);
    }

    const NOW: Duration = Duration::from_secs(9);

    fn begin(held: &mut HeldChunks) -> Vec<u64> {
        std::iter::from_fn(|| held.next_row()).map(|row| row.number).collect()
    }

    #[test]
    fn records_are_handed_over_when_enough_wait_or_the_first_has_waited_for_long() {
        let mut held = HeldChunks::default();
        add(&mut held, claim(3, 1, 0..250), true);
        assert_eq!(begin(&mut held).len(), 250);
        (0..99).for_each(|number| held.record(&record(number), NOW));
        assert_eq!(held.due(NOW, false), None);
        assert!(held.due(NOW + FIRST_MAX_WAIT, false).is_some_and(|it| !it.is_last));
        assert_eq!(held.due(NOW + FIRST_MAX_WAIT, true), None, "one at a time");
        held.committed(3, &Outcome::Done);
        held.record(&record(99), NOW);
        assert_eq!(held.due(NOW + FIRST_MAX_WAIT, false), None, "the chunk is known to go on");
        assert_eq!(held.next_due(), Some(NOW + MAX_WAIT));
        (100..199).for_each(|number| held.record(&record(number), NOW));
        let commit = held.due(NOW, false).unwrap();
        assert_eq!(wire::records(&commit.records).unwrap().len(), 100);
        held.committed(3, &Outcome::Done);
        assert_eq!((held.waiting(), held.begun()), (0, 51));
        (199..250).for_each(|number| held.record(&record(number), NOW));
        assert!(held.due(NOW, false).is_some_and(|it| it.is_last));
        held.committed(3, &Outcome::Done);
        assert!(held.is_empty() && held.due(NOW, true).is_none());
    }

    #[test]
    fn rows_that_are_out_are_not_begun_again_and_those_that_were_sent_are_in_doubt() {
        let bits = |places: &[usize]| {
            let mut bits = RowBits::default();
            places.iter().for_each(|place| assert!(bits.insert(*place)));
            bits.bytes().to_vec()
        };
        let again = Claim { done: bits(&[0, 2]), sent: bits(&[0, 1]), ..claim(1, 2, 10..14) };
        let mut held = HeldChunks::default();
        add(&mut held, again.clone(), false);
        assert_eq!(begin(&mut held), [13]);
        let commit = held.due(NOW, true).unwrap();
        let unknown = wire::records(&commit.records).unwrap();
        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].row.number, 11);
        assert_eq!(unknown[0].outcome.as_ref().unwrap_err().kind, FailureKind::OutcomeUnknown);
        let mut held = HeldChunks::default();
        add(&mut held, again, true);
        assert_eq!(begin(&mut held), [11, 13]);
    }

    #[test]
    fn a_chunk_that_another_worker_has_is_forgotten_with_its_records() {
        let mut held = HeldChunks::default();
        add(&mut held, claim(1, 1, 0..3), true);
        add(&mut held, claim(2, 1, 3..6), true);
        assert_eq!(held.next_row().unwrap().number, 0);
        held.record(&record(0), NOW);
        held.lost(1);
        assert_eq!(begin(&mut held), [3, 4, 5]);
        held.record(&record(1), NOW);
        assert_eq!((held.refused(), held.waiting()), (2, 0));
        assert_eq!(held.leases(), [Lease { chunk: 2, token: 1 }]);
        held.record(&record(3), NOW);
        assert!(held.due(NOW, true).is_some());
        held.committed(2, &Outcome::Lost);
        assert!(held.is_empty() && held.waiting() == 0);
    }

    #[test]
    fn the_records_of_a_row_are_handed_over_together() {
        let mut held = HeldChunks::default();
        add(&mut held, claim(1, 1, 0..2), true);
        begin(&mut held);
        held.record(&item(0, 0, false), NOW);
        held.record(&item(1, 0, false), NOW);
        held.record(&item(0, 1, false), NOW);
        assert_eq!((held.due(NOW, true), held.waiting(), held.begun()), (None, 0, 2));
        held.record(&item(0, 2, true), NOW);
        let commit = held.due(NOW, true).unwrap();
        let items = |commit: &Commit| -> Vec<(u64, Option<u64>)> {
            let records = wire::records(&commit.records).unwrap();
            records.iter().map(|it| (it.row.number, it.row.item.unwrap().number)).collect()
        };
        assert_eq!(items(&commit), [0, 1, 2].map(|item| (0, Some(item))));
        assert_eq!((commit.is_last, commit.ok, commit.done), (false, 1, vec![1]));
        held.committed(1, &Outcome::Done);
        held.record(&Record { outcome: unknown(row(1)).outcome, ..item(1, 1, true) }, NOW);
        let commit = held.due(NOW, true).unwrap();
        assert_eq!(items(&commit), [0, 1].map(|item| (1, Some(item))));
        assert_eq!((commit.is_last, commit.ok, commit.failed), (true, 0, 1));
    }

    #[test]
    fn a_row_that_comes_back_while_it_is_asked_for_is_not_begun_twice() {
        let mut held = HeldChunks::default();
        add(&mut held, claim(1, 1, 0..3), true);
        assert_eq!(held.next_row().unwrap().number, 0);
        held.record(&item(0, 0, false), NOW);
        held.lost(1);
        add(&mut held, claim(1, 2, 0..3), true);
        assert_eq!(begin(&mut held), [1, 2]);
        held.record(&item(0, 1, true), NOW);
        let commit = held.due(NOW, true).unwrap();
        assert_eq!(wire::records(&commit.records).unwrap().len(), 2);
        assert_eq!((commit.lease, held.refused()), (Lease { chunk: 1, token: 2 }, 0));
    }

    #[test]
    fn a_row_is_announced_with_the_rows_of_its_chunk_that_were_before() {
        let mut held = HeldChunks::default();
        add(&mut held, claim(1, 4, 0..9), false);
        let lease = Lease { chunk: 1, token: 4 };
        assert_eq!(held.announce(&[(0, true)]), Some(vec![(lease, vec![1])]));
        assert_eq!(held.announce(&[(2, true), (0, false)]), Some(vec![(lease, vec![4])]));
        assert_eq!(held.announce(&[(77, true)]), None);
    }
}
