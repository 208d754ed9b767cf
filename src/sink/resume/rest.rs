//! The records of a row that come all at once, where an earlier run has written some of them. Pure.

use super::completed::ItemProgress;
use crate::record::{Failure, FailureKind, Record};
use crate::row::Item;

impl ItemProgress {
    /// Those of all records of a row that are left to write. A list that has become shorter than
    /// what is written of it ends with a failure.
    pub fn rest(&self, records: Vec<Record>) -> Vec<Record> {
        let Some(end) = records.last().cloned() else { return records };
        let came = records.iter().filter_map(number).count() as u64;
        let is_missing = |item| !self.has(item) && self.last().is_none_or(|last| item <= last);
        let mut rest: Vec<Record> =
            records.into_iter().filter(|it| number(it).is_some_and(is_missing)).collect();
        let last = self.last_with(&rest, &end);
        if last.is_none() {
            rest.retain(|record| record.is_ok() || number(record) != number(&end));
        }
        for record in &mut rest {
            let is_last = last.is_some() && number(record) == last;
            record.row.item = record.row.item.map(|item| Item { last: is_last, ..item });
        }
        if last.is_none() {
            rest.push(self.ended(end, came));
        }
        rest
    }

    /// The last item of the row, if all items up to it are there with these; `end` is the last
    /// record that came.
    fn last_with(&self, rest: &[Record], end: &Record) -> Option<u64> {
        let Some(last) = self.last() else {
            let end = number(end)?;
            return (!self.has(end) && !self.has_after(end)).then_some(end);
        };
        let missing = (0..=last).filter(|item| !self.has(*item)).count();
        (missing == rest.len()).then_some(last)
    }

    /// The last record of a row that lacks items.
    fn ended(&self, end: Record, came: u64) -> Record {
        let failure = match &end.outcome {
            Err(failure) if !end.is_ok() => failure.clone(),
            _ => self.shrunk(came),
        };
        let mut row = end.row.clone();
        row.item = Some(Item { number: None, last: true });
        Record { row, outcome: Err(failure), kept: Vec::new(), body: None, ..end }
    }

    /// The failure of a list that has this number of items now, and had more.
    pub fn shrunk(&self, items: u64) -> Failure {
        Failure::new(
            FailureKind::MissingItems,
            format!(
                "the list has {items} items now, and had more when an earlier run took {} of them: it changed meanwhile (--overwrite asks for all of it)",
                self.count()
            ),
        )
    }
}

/// The place of a record among the items of its row.
fn number(record: &Record) -> Option<u64> {
    record.row.item.and_then(|item| item.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use crate::sink::samples;

    /// The progress of a row with these items, of which the last one is known if it `has_last`.
    fn progress(items: &[u64], has_last: bool) -> ItemProgress {
        ItemProgress::of(items, items.last().copied().filter(|_| has_last))
    }

    /// The records of a row with this number of items, of which the last one failed if it `fails`.
    fn all(items: u64, fails: bool) -> Vec<Record> {
        let record = |number| {
            let last = number + 1 == items;
            let row = Row {
                number: 1,
                item: Some(Item { number: Some(number), last }),
                ..Row::default()
            };
            let record = if fails && last { samples::failed(1) } else { samples::ok(1) };
            Record { row, ..record }
        };
        (0..items).map(record).collect()
    }

    /// The items that are left, the last of them with `true`, and a failure that is none of them.
    fn rest(progress: &ItemProgress, records: Vec<Record>) -> (Vec<(u64, bool)>, Option<String>) {
        let mut rest = progress.rest(records);
        let ended = rest.pop_if(|it| it.row.item.unwrap().number.is_none());
        let item = |it: &Record| (it.row.item.unwrap().number.unwrap(), it.row.item.unwrap().last);
        let kind = ended.map(|it| it.outcome.unwrap_err().kind.text().into_owned());
        (rest.iter().map(item).collect(), kind)
    }

    #[test]
    fn items_that_are_written_are_left_out() {
        let begun = progress(&[0, 1], false);
        assert_eq!(rest(&begun, all(4, false)), (vec![(2, false), (3, true)], None));
        assert_eq!(rest(&begun, all(3, true)), (vec![(2, true)], None));
        // One of them failed before, and is asked for again.
        let holes = progress(&[0, 2], true);
        assert_eq!(rest(&holes, all(3, false)), (vec![(1, false)], None));
        assert_eq!(rest(&holes, all(5, false)), (vec![(1, false)], None));
    }

    #[test]
    fn a_list_that_has_become_shorter_ends_with_a_failure() {
        let shrunk = Some("missing items".to_owned());
        for (written, has_last, now) in [(&[0, 1, 2][..], false, 3), (&[0, 1, 2], false, 2)] {
            let rest = rest(&progress(written, has_last), all(now, false));
            assert_eq!(rest, (vec![], shrunk.clone()));
        }
        assert_eq!(
            rest(&progress(&[1, 4], true), all(3, false)),
            (vec![(0, false), (2, false)], shrunk)
        );
        let (items, kind) = rest(&progress(&[0, 1, 2], false), all(2, true));
        assert_eq!(items, []);
        assert!(kind.is_some_and(|kind| kind != "missing items"));
    }
}
