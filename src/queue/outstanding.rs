//! The rows whose records the collector waits for, the chunks that they are in, and the batches
//! that stay in the store until their records are safe. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roaring::RoaringTreemap;

use super::chunks::NewChunk;
use super::held::{failed, unknown};
use super::row_bits::RowBits;
use super::{Batch, BatchContent, WaitingChunk, numbers, wire};
use crate::record::{FailureKind, Record};

/// The rows that were submitted, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// The rows that were submitted and have no record.
    rows: RoaringTreemap,
    /// The rows that have a record.
    accepted: RoaringTreemap,
    /// The chunks of these rows, with which they can be submitted again.
    chunks: BTreeMap<u64, NewChunk>,
    /// The number of the last chunk.
    last: u64,
    /// The chunks that are to be submitted, for the first time or again.
    to_submit: BTreeSet<u64>,
    /// The highest number of a chunk that was submitted.
    submitted: u64,
    /// The batches whose records are accepted, and the number of records that must be safe before
    /// they may go.
    batches: VecDeque<(String, u64)>,
    /// Number of records that are accepted.
    records: u64,
}

impl Outstanding {
    /// Goes on with a job of which these chunks wait, and whose last chunk had this number.
    ///
    /// # Errors
    /// A chunk can't be read.
    pub fn take_over(&mut self, last: u64, chunks: Vec<WaitingChunk>) -> Result<(), String> {
        (self.last, self.submitted) = (last, last);
        for WaitingChunk { chunk, numbers, rows } in chunks {
            let numbers = numbers::of_text(&numbers)
                .ok_or_else(|| format!("the chunk {chunk} has no numbers of rows"))?;
            self.last = self.last.max(chunk);
            self.submitted = self.last;
            self.rows |= &numbers;
            self.chunks.insert(chunk, NewChunk { numbers, rows });
        }
        Ok(())
    }

    /// Whether this row was submitted, or has a record.
    pub fn knows(&self, row: u64) -> bool {
        self.rows.contains(row) || self.accepted.contains(row)
    }

    /// Adds a chunk of new rows; gives its number.
    pub fn add(&mut self, chunk: NewChunk) -> u64 {
        self.last += 1;
        self.rows |= &chunk.numbers;
        self.chunks.insert(self.last, chunk);
        self.to_submit.insert(self.last);
        self.last
    }

    /// Expects the record of a row that another process has submitted.
    pub fn expect(&mut self, row: u64) {
        if !self.accepted.contains(row) {
            self.rows.insert(row);
        }
    }

    /// A chunk that has a row without a record.
    pub fn chunk(&self, chunk: u64) -> Option<&NewChunk> {
        self.chunks.get(&chunk)
    }

    /// Number of rows whose record is expected and that none of the waiting chunks has, where
    /// no batch waits for the collector either: the store has lost them.
    ///
    /// # Errors
    /// A chunk can't be read.
    pub fn count_lost(&self, waiting: &[WaitingChunk]) -> Result<u64, String> {
        let mut rows = self.rows.clone();
        for WaitingChunk { chunk, numbers, .. } in waiting {
            rows -= numbers::of_text(numbers)
                .ok_or_else(|| format!("the chunk {chunk} has no numbers of rows"))?;
        }
        Ok(rows.len())
    }

    /// Has chunks that the store has lost submitted again, under new numbers: those up to `upto`
    /// that it does not list as waiting, and of which no batch waits for the collector either.
    pub fn find_lost(&mut self, waiting: &[WaitingChunk], upto: u64) {
        let known: BTreeSet<u64> = waiting.iter().map(|it| it.chunk).collect();
        let is_lost = |it: &&u64| !known.contains(it) && !self.to_submit.contains(it);
        let lost: Vec<u64> =
            self.chunks.range(..=upto).map(|it| it.0).filter(is_lost).copied().collect();
        for chunk in lost {
            if let Some(it) = self.chunks.remove(&chunk) {
                self.last += 1;
                self.chunks.insert(self.last, it);
                self.to_submit.insert(self.last);
            }
        }
    }

    /// The next chunk that is to be submitted.
    pub fn next_to_submit(&self) -> Option<u64> {
        self.to_submit.first().copied()
    }

    /// A chunk was submitted.
    pub fn set_submitted(&mut self, chunk: u64) {
        self.to_submit.remove(&chunk);
        self.submitted = self.submitted.max(chunk);
    }

    /// The highest number of a chunk that was submitted.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Number of rows without a record.
    pub fn rows(&self) -> u64 {
        self.rows.len()
    }

    /// The records of a batch whose rows have none yet: all records of a row are in one batch.
    /// `rest` gives those of a row's records that an earlier run has not written.
    ///
    /// # Errors
    /// The batch can't be read.
    pub fn accept(
        &mut self,
        batch: &Batch,
        rest: impl Fn(Vec<Record>) -> Vec<Record>,
    ) -> Result<Vec<Record>, String> {
        let mut accepted = Vec::new();
        for records in by_row(records_of(batch)?) {
            let row = records[0].row.number;
            self.rows.remove(row);
            if self.accepted.contains(row) {
                continue;
            }
            let rest = rest(records);
            if !rest.is_empty() {
                self.accepted.insert(row);
            }
            accepted.extend(rest);
        }
        self.records += accepted.len() as u64;
        self.drop_chunks(batch.chunk);
        self.batches.push_back((batch.id.clone(), self.records));
        Ok(accepted)
    }

    /// Forgets the chunk that the rows of a batch belong to once all of its rows have a record.
    fn drop_chunks(&mut self, chunk: u64) {
        let rows = &self.rows;
        match self.chunks.get(&chunk) {
            Some(it) if it.numbers.is_disjoint(rows) => {
                self.chunks.remove(&chunk);
            }
            Some(_) => {}
            // It was submitted again under another number.
            None => self.chunks.retain(|_, it| !it.numbers.is_disjoint(rows)),
        }
        let chunks = &self.chunks;
        self.to_submit.retain(|chunk| chunks.contains_key(chunk));
    }

    /// Whether the records of this batch are accepted, and not safe yet.
    pub fn has_accepted(&self, batch: &str) -> bool {
        self.batches.iter().any(|(id, _)| id == batch)
    }

    /// The batches that may go, now that this number of records is safe.
    pub fn safe(&mut self, records: u64) -> Vec<String> {
        let mut safe = Vec::new();
        while self.batches.front().is_some_and(|(_, needs)| *needs <= records) {
            safe.extend(self.batches.pop_front().map(|(id, _)| id));
        }
        safe
    }

    /// Whether a batch waits for its records to be safe.
    #[cfg(test)]
    pub fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }
}

/// Records by their rows; those of a row follow one another.
fn by_row(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut rows: Vec<Vec<Record>> = Vec::new();
    for record in records {
        match rows.last_mut() {
            Some(row) if row[0].row.number == record.row.number => row.push(record),
            _ => rows.push(vec![record]),
        }
    }
    rows
}

/// The records of a batch; of a chunk that is given up, a failure for each row that is not out.
fn records_of(batch: &Batch) -> Result<Vec<Record>, String> {
    let (rows, done, sent) = match &batch.content {
        BatchContent::Records(records) => return wire::records(records),
        BatchContent::Dead { rows, done, sent } => (rows, done, sent),
    };
    let (done, sent) = (RowBits::of_bytes(done.clone()), RowBits::of_bytes(sent.clone()));
    let rows = wire::rows(rows)?.into_iter().enumerate().filter(|(place, _)| !done.has(*place));
    let record = |(place, row)| {
        if sent.has(place) {
            unknown(row)
        } else {
            let detail =
                format!("its workers ended one after the other, the last one {}", batch.about);
            failed(row, FailureKind::WorkerLost, detail)
        }
    };
    Ok(rows.map(record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Item, Row};

    fn new(numbers: std::ops::Range<u64>, rows: u8) -> NewChunk {
        NewChunk { numbers: numbers.collect(), rows: vec![rows] }
    }

    fn add(all: &mut Outstanding, numbers: std::ops::Range<u64>, rows: u8) -> u64 {
        all.add(new(numbers, rows))
    }

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn batch(id: &str, chunk: u64, rows: std::ops::Range<u64>) -> Batch {
        let mut records = Vec::new();
        for number in rows {
            let record = Record { outcome: Ok(Vec::new()), ..unknown(row(number)) };
            wire::put_record(&record, &mut records);
        }
        let content = BatchContent::Records(records);
        Batch { id: id.to_owned(), chunk, about: String::new(), content }
    }

    fn accepted(all: &mut Outstanding, batch: &Batch) -> Vec<u64> {
        let is_new = |records: &Vec<Record>| records[0].row.number != 0;
        let records = all.accept(batch, |it| Some(it).filter(is_new).unwrap_or_default()).unwrap();
        records.into_iter().map(|record| record.row.number).collect()
    }

    #[test]
    fn a_row_has_one_record_however_often_it_comes() {
        let mut all = Outstanding::default();
        let chunk = add(&mut all, 0..4, 1);
        assert!(all.knows(3) && !all.knows(4));
        assert_eq!(accepted(&mut all, &batch("a", chunk, 0..2)), [1]);
        assert_eq!(accepted(&mut all, &batch("b", chunk, 1..3)), [2]);
        assert_eq!((all.rows(), all.chunk(chunk).is_some()), (1, true));
        assert_eq!(accepted(&mut all, &batch("c", chunk, 3..4)), [3]);
        assert_eq!((all.rows(), all.chunk(chunk)), (0, None));
        assert!(all.knows(3));
    }

    #[test]
    fn a_row_has_all_of_its_records_once() {
        let mut all = Outstanding::default();
        let chunk = add(&mut all, 1..4, 1);
        let items = |id: &str, rows: std::ops::Range<u64>| {
            let mut records = Vec::new();
            for (number, item) in rows.flat_map(|row| (0..3).map(move |item| (row, item))) {
                let item = Some(Item { number: Some(item), last: item == 2 });
                wire::put_record(&unknown(Row { item, ..row(number) }), &mut records);
            }
            let content = BatchContent::Records(records);
            Batch { id: id.to_owned(), chunk, about: String::new(), content }
        };
        assert_eq!(accepted(&mut all, &items("a", 1..3)), [1, 1, 1, 2, 2, 2]);
        // A worker that had lost the chunk.
        assert_eq!(accepted(&mut all, &items("b", 2..4)), [3, 3, 3]);
        assert_eq!((all.rows(), all.safe(6)), (0, vec!["a".to_owned()]));
        assert_eq!(all.safe(9), ["b"]);
    }

    #[test]
    fn a_batch_stays_until_its_records_are_safe() {
        let mut all = Outstanding::default();
        let chunk = add(&mut all, 1..9, 0);
        for (id, rows) in [("a", 1..3), ("b", 1..2), ("c", 3..9)] {
            accepted(&mut all, &batch(id, chunk, rows));
        }
        assert!(all.safe(1).is_empty());
        assert_eq!(all.safe(2), ["a", "b"]);
        assert!(all.has_batches() && all.has_accepted("c") && !all.has_accepted("a"));
        assert_eq!(all.safe(8), ["c"]);
        assert!(!all.has_batches());
    }

    #[test]
    fn chunks_that_the_store_has_lost_are_submitted_again_under_new_numbers() {
        let mut all = Outstanding::default();
        let (one, two) = (add(&mut all, 0..2, 1), add(&mut all, 2..4, 2));
        let waiting = |chunk| WaitingChunk { chunk, numbers: String::new(), rows: Vec::new() };
        all.find_lost(&[], two);
        assert_eq!(all.next_to_submit(), Some(one), "nothing is lost that was not submitted");
        all.set_submitted(one);
        all.set_submitted(two);
        all.find_lost(&[waiting(one)], one);
        assert_eq!(all.next_to_submit(), None);
        all.find_lost(&[waiting(one)], all.submitted());
        assert_eq!(all.next_to_submit(), Some(3));
        all.find_lost(&[waiting(one)], all.submitted());
        assert_eq!((all.next_to_submit(), all.chunk(two)), (Some(3), None));
        assert_eq!(all.chunk(3), Some(&new(2..4, 2)));
        all.set_submitted(3);
        assert_eq!(all.next_to_submit(), None);
        // A worker that held it all the while.
        assert_eq!(accepted(&mut all, &batch("x", two, 2..4)), [2, 3]);
        assert_eq!((all.rows(), all.chunk(3)), (2, None));
    }

    #[test]
    fn rows_that_no_chunk_has_any_more_are_lost() {
        let mut all = Outstanding::default();
        accepted(&mut all, &batch("a", 1, 2..4));
        (1..9).for_each(|row| all.expect(row));
        assert_eq!(all.rows(), 6);
        let waiting = |numbers: &str| WaitingChunk {
            chunk: 2,
            numbers: numbers.to_owned(),
            rows: Vec::new(),
        };
        assert_eq!(all.count_lost(&[waiting("1"), waiting("4-8")]), Ok(0));
        assert_eq!(all.count_lost(&[waiting("4-7")]), Ok(2));
        assert!(all.count_lost(&[waiting("x")]).is_err());
    }

    #[test]
    fn the_rows_of_a_chunk_that_is_given_up_have_failed() {
        let mut all = Outstanding::default();
        let mut rows = Vec::new();
        (0..4).for_each(|number| wire::put_row(&row(number), &mut rows));
        let chunk = all.add(NewChunk { numbers: (0..4).collect(), rows: rows.clone() });
        let content = BatchContent::Dead { rows, done: vec![0b0010], sent: vec![0b0110] };
        let dead = Batch { id: "d".to_owned(), chunk, about: "w1 of h".to_owned(), content };
        let records = all.accept(&dead, |records| records).unwrap();
        let kinds = records.iter().map(|it| it.outcome.as_ref().unwrap_err().kind.text());
        let kinds: Vec<_> = kinds.collect();
        assert_eq!(kinds, ["worker lost", "outcome unknown", "worker lost"]);
        assert!(records[0].detail().unwrap().ends_with("the last one w1 of h"));
    }
}
