//! The room that a disk has for an output, and the room that a record needs.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Output;
use crate::format::Columns;
use crate::fs::free_bytes;
use crate::record::{Arrived, Record};
use crate::row::Row;

/// The room for an output, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// The room that is free on its disk.
    pub free: u64,
    /// The size of a record.
    pub record: u64,
    /// Whether a record is larger by the values of its answer, since none was read yet.
    pub is_least: bool,
}

impl Output {
    /// The room for records of rows like these; none if the output is no file, or the system
    /// does not tell.
    pub fn room(&self, columns: &Columns, rows: &[Row]) -> Option<DiskRoom> {
        let free = self.free()?;
        let past = &self.checked.past;
        let mean = past.end.checked_div(past.records).filter(|size| *size > 0);
        let record = mean.or_else(|| self.least_record(columns, rows))?;
        Some(DiskRoom { free, record, is_least: mean.is_none() })
    }

    /// The bytes that are free on its disk; none if the output is no file, or the system does not
    /// tell.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let file = self.checked.mode.file()?;
        // A directory of parts may be yet to be made.
        let directory = file.ancestors().skip(1).find_map(|it| {
            File::open(if it.as_os_str().is_empty() { Path::new(".") } else { it }).ok()
        });
        free_bytes(&directory?)
    }

    /// The mean size of the records of these rows, without the values of an answer.
    fn least_record(&self, columns: &Columns, rows: &[Row]) -> Option<u64> {
        let mut encode = self.checked.format.encoder(columns, None).ok()?;
        let mut text = Vec::new();
        for row in rows {
            encode.record(&without_values(row, columns), &mut text).ok()?;
        }
        (text.len() as u64).checked_div(rows.len() as u64)
    }
}

fn without_values(row: &Row, columns: &Columns) -> Record {
    Record {
        row: row.clone(),
        outcome: Ok(vec![Value::Null; columns.values.len()]),
        kept: Vec::new(),
        body: None,
        status: Some(200),
        attempts: 1,
        warning: None,
        saved: None,
        origin: None,
        target: None,
        latency: Some(Duration::from_millis(100)),
        arrived: vec![Some(Arrived {
            from: 1_700_000_000_000_000,
            to: 1_700_000_000_000_000,
            ..Arrived::default()
        })],
    }
}
