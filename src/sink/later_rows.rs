//! The rows that failed in a later stage of a chain, as that stage took them: lines of the log of
//! pages, `FILE.pages`. To ask again for such a row is one request, and no earlier stage's.
//!
//! Like the pages of the log they are a hint: without a line the earlier stages are asked again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::row::{Fields, Item, Row};

/// A row of a later stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaterRow {
    row: u64,
    /// The index of the stage.
    pub stage: usize,
    item: Option<u64>,
    last: bool,
    fields: Fields,
}

/// Parts of rows: items, and rows without items.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RowParts {
    rows: RoaringTreemap,
    items: BTreeMap<u64, RoaringTreemap>,
}

/// The rows of later stages at which a run begins, as they stand in the log.
pub struct LaterRows {
    lines: Option<io::Take<BufReader<File>>>,
    /// Those that were not given yet.
    wanted: RowParts,
}

impl LaterRow {
    /// This row, as the stage with this index takes it.
    #[must_use]
    pub fn new(stage: usize, row: &Row) -> LaterRow {
        let Row { number, fields, item, .. } = row;
        LaterRow {
            row: *number,
            stage,
            item: item.and_then(|item| item.number),
            last: item.is_some_and(|item| item.last),
            fields: fields.clone(),
        }
    }

    /// The number of its row in the input, of its item, and whether that is the last one.
    pub(super) fn place(&self) -> (u64, Option<u64>, bool) {
        (self.row, self.item, self.last)
    }

    /// The row itself.
    #[must_use]
    pub fn row(self) -> Row {
        let LaterRow { row, item, last, fields, .. } = self;
        let item = item.map(|number| Item { number: Some(number), last });
        Row { number: row, fields, item, ..Row::default() }
    }

    /// The row of a line of the log, if it has one.
    pub(super) fn of_line(line: &[u8]) -> Option<LaterRow> {
        serde_json::from_slice(line).ok()
    }
}

impl RowParts {
    /// Adds an item of a row, or the row; false if it was there.
    pub fn insert(&mut self, row: u64, item: Option<u64>) -> bool {
        match item {
            None => self.rows.insert(row),
            Some(item) => self.items.entry(row).or_default().insert(item),
        }
    }

    /// Takes an item of a row out, or the row; false if it was not there.
    pub fn remove(&mut self, row: u64, item: Option<u64>) -> bool {
        match item {
            None => self.rows.remove(row),
            Some(item) => self.items.get_mut(&row).is_some_and(|items| items.remove(item)),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.items.values().all(RoaringTreemap::is_empty)
    }

    /// The rows without items.
    pub fn rows(&self) -> &RoaringTreemap {
        &self.rows
    }

    /// The rows with items.
    pub fn rows_with_items(&self) -> impl Iterator<Item = u64> {
        self.items.keys().copied()
    }
}

impl LaterRows {
    /// The wanted ones among the first bytes of a log.
    pub(super) fn open(log: &Path, bytes: u64, wanted: RowParts) -> io::Result<LaterRows> {
        if wanted.is_empty() || bytes == 0 {
            return Ok(LaterRows { lines: None, wanted });
        }
        let lines = BufReader::new(File::open(log)?).take(bytes);
        Ok(LaterRows { lines: Some(lines), wanted })
    }
}

impl Iterator for LaterRows {
    type Item = io::Result<LaterRow>;

    fn next(&mut self) -> Option<io::Result<LaterRow>> {
        let lines = self.lines.as_mut()?;
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Err(error) => return Some(Err(error)),
                Ok(0) => return None,
                Ok(_) => {}
            }
            let later = LaterRow::of_line(&line);
            let wanted = later.filter(|it| self.wanted.remove(it.row, it.item));
            if let Some(later) = wanted {
                return Some(Ok(later));
            }
        }
    }
}
