//! The records of a row that a worker has begun: they are handed over together, once the last one
//! is there. Pure.

use super::wire;
use crate::record::{Arrived, Failure, FailureKind, Record};
use crate::row::Item;

/// Maximum size of the records of a row, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A row that has not ended.
#[derive(Debug, Default)]
pub(super) struct BegunRow {
    lines: Vec<u8>,
    count: usize,
    has_failed: bool,
    /// The requests of the records that were dropped, if there are too many of them.
    dropped: Option<DroppedRequests>,
}

#[derive(Debug, Default)]
struct DroppedRequests {
    attempts: u32,
    arrived: Vec<Option<Arrived>>,
}

/// All records of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowRecords {
    pub lines: Vec<u8>,
    pub count: usize,
    /// Whether all of them are ok.
    pub is_ok: bool,
}

impl BegunRow {
    /// Takes the next record; gives all of them with the last one.
    pub fn take(&mut self, record: &Record) -> Option<RowRecords> {
        self.take_up_to(record, MAX_BYTES)
    }

    fn take_up_to(&mut self, record: &Record, most: usize) -> Option<RowRecords> {
        let is_last = record.row.item.is_none_or(|item| item.last);
        if let Some(dropped) = &mut self.dropped {
            dropped.add(record);
            return is_last.then(|| self.end_with(&self.too_large(record, most)));
        }
        wire::put_record(record, &mut self.lines);
        self.count += 1;
        self.has_failed |= !record.is_ok();
        if self.lines.len() > most && record.row.item.is_some() {
            self.drop_all();
            return is_last.then(|| self.end_with(&self.too_large(record, most)));
        }
        is_last.then(|| self.all())
    }

    /// Drops the records, of which one failure takes the place.
    fn drop_all(&mut self) {
        let mut dropped = DroppedRequests::default();
        // They were written a moment before.
        let records = wire::records(&std::mem::take(&mut self.lines)).unwrap_or_default();
        records.iter().for_each(|record| dropped.add(record));
        self.dropped = Some(dropped);
    }

    fn all(&mut self) -> RowRecords {
        RowRecords {
            lines: std::mem::take(&mut self.lines),
            count: self.count,
            is_ok: !self.has_failed,
        }
    }

    fn end_with(&self, record: &Record) -> RowRecords {
        let mut lines = Vec::new();
        wire::put_record(record, &mut lines);
        RowRecords { lines, count: 1, is_ok: false }
    }

    /// The record of a row that has too many records for a worker.
    fn too_large(&self, last: &Record, most: usize) -> Record {
        let mut row = last.row.clone();
        row.item = Some(Item { number: None, last: true });
        let mib = most / (1024 * 1024);
        let why = format!(
            "its records are larger than {mib} MiB together, which is the most that a worker on another machine hands over for a row: ask for it on one machine, or by shards (--shard)"
        );
        let dropped = self.dropped.as_ref();
        Record {
            row,
            outcome: Err(Failure::new(FailureKind::BodyTooLarge, why)),
            kept: Vec::new(),
            body: None,
            attempts: dropped.map_or(0, |it| it.attempts),
            arrived: dropped.map(|it| it.arrived.clone()).unwrap_or_default(),
            warning: None,
            ..last.clone()
        }
    }
}

impl DroppedRequests {
    fn add(&mut self, record: &Record) {
        self.attempts += record.attempts;
        self.arrived.extend(record.arrived.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::held::unknown;
    use crate::row::Row;

    fn item(number: u64, last: bool) -> Record {
        let item = Some(Item { number: Some(number), last });
        let row = Row { number: 7, item, ..Row::default() };
        let arrived = vec![Some(Arrived { from: number as i64, ..Arrived::default() })];
        Record { outcome: Ok(Vec::new()), attempts: 1, arrived, ..unknown(row) }
    }

    #[test]
    fn a_row_whose_records_are_too_large_ends_as_one_failure_that_has_all_requests() {
        let most = 200;
        let mut begun = BegunRow::default();
        for number in 0..9 {
            assert_eq!(begun.take_up_to(&item(number, false), most), None);
        }
        let all = begun.take_up_to(&item(9, true), most).unwrap();
        assert!(!all.is_ok && all.count == 1);
        let record = wire::records(&all.lines).unwrap().remove(0);
        assert_eq!(record.row.item, Some(Item { number: None, last: true }));
        assert_eq!((record.attempts, record.arrived.len()), (10, 10));
        assert!(record.detail().unwrap().contains("MiB together"));
    }

    #[test]
    fn a_row_ends_with_its_last_record() {
        let mut begun = BegunRow::default();
        assert_eq!(begun.take(&item(0, false)), None);
        let all = begun.take(&item(1, true)).unwrap();
        assert_eq!((all.count, all.is_ok), (2, true));
        assert_eq!(wire::records(&all.lines).unwrap(), [item(0, false), item(1, true)]);
    }
}
