//! The records of earlier runs that stay in the output, read back as a report needs them.

use serde_json::Value;

use super::{OpenMode, Output};
use crate::error::Error;
use crate::format::Format;
use crate::record::Record;
use crate::row::Row;
use crate::sink::product::source;
use crate::sink::{parts, record};

/// Records that are read as they are asked for.
type Records = Box<dyn Iterator<Item = Result<Record, Error>>>;

impl Output {
    /// The records that the open output has before this run writes to it. `values` names
    /// the extracted values: where a table has no text for one, the record has no value.
    ///
    /// # Errors
    /// The output can't be read.
    pub fn earlier_records(&self, values: &[String]) -> Result<Records, Error> {
        let past = &self.checked.past;
        let has_some = past.records > 0 && !past.keeps_none();
        let Some(journal) = self.checked.mode.file().filter(|_| has_some) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let format = self.checked.format;
        let (path, format) = match &self.checked.mode {
            // It is finished, and was not put back.
            OpenMode::Unpack(product) if !journal.exists() => (product.path().to_owned(), format),
            _ if format.is_appended() => (journal, format),
            _ => (journal, Format::JSONL),
        };
        let in_journal = source(&path, format)?.rows()?;
        let rows: Box<dyn Iterator<Item = Result<Row, Error>>> = match &self.checked.mode {
            OpenMode::Parts(parts, _) => Box::new(parts::rows(&parts.directory)?.chain(in_journal)),
            _ => in_journal,
        };
        let has_nulls = format == Format::JSONL || !format.is_appended();
        let (name, values) = (self.name(), values.to_owned());
        Ok(Box::new(rows.map(move |row| {
            let mut row = row?;
            if !has_nulls {
                let is_empty = |field: Option<&Value>| field.is_some_and(|field| field == "");
                for value in &values {
                    if is_empty(row.fields.get(value)) {
                        row.fields.insert(value.clone(), Value::Null);
                    }
                }
            }
            let number = row.number;
            record(row.fields).map_err(|why| {
                Error::plan(format!("{name}: record {number} can't be read back: {why}"))
            })
        })))
    }
}
