//! The records of a run, one object a line.

use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::format::codec::{Encode, milliseconds};
use crate::format::columns::Columns;
use crate::format::entry::NewEncoder;
use crate::record::Record;
use crate::row::Fields;

/// Writes records; a line needs nothing of the lines before it.
pub(super) fn encoder(columns: &Columns, _: Option<&[u8]>) -> NewEncoder {
    Ok(Box::new(JsonlEncoder::new(columns)?))
}

/// A value of the input as it stands in a record.
pub(super) fn value(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The beginning of the record of a row with these fields.
pub(super) fn start(columns: &Columns, fields: &Fields) -> Vec<u8> {
    let own = fields.iter().filter(|(name, _)| columns.is_input(name));
    let own: Fields = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut start = Value::Object(own).to_string().into_bytes();
    // More follows before the object's end.
    start.pop();
    start
}

struct JsonlEncoder {
    columns: Columns,
    /// What stands before each value: its name, and what sets it off.
    names: Vec<Vec<u8>>,
}

impl JsonlEncoder {
    fn new(columns: &Columns) -> Result<JsonlEncoder, Error> {
        let unwritable = |error| Error::plan(format!("a name cannot be written as JSON: {error}"));
        let names = columns.values.iter().map(|name| {
            let mut before = Vec::new();
            set_off(&mut before, name).map_err(unwritable)?;
            Ok(before)
        });
        Ok(JsonlEncoder { names: names.collect::<Result<_, Error>>()?, columns: columns.clone() })
    }

    fn object(&self, record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let start = out.len();
        for (name, value) in &record.row.fields {
            if self.columns.is_input(name) {
                set_off(out, name)?;
                serde_json::to_writer(&mut *out, value)?;
            }
        }
        let mut values = record.values().iter();
        for name in &self.names {
            entry(out, name, values.next().unwrap_or(&Value::Null))?;
        }
        own(&self.columns, record, out)?;
        // The comma before the first entry.
        out[start] = b'{';
        out.push(b'}');
        Ok(())
    }
}

impl Encode for JsonlEncoder {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        if let Err(error) = self.object(record, out) {
            out.truncate(start);
            return Err(Error::stopped(format!(
                "row {} cannot be written as JSON: {error}",
                record.row.number
            )));
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Sets the entry of this name off from the one before it.
fn set_off(out: &mut Vec<u8>, name: &str) -> serde_json::Result<()> {
    out.push(b',');
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    Ok(())
}

fn entry<T: Serialize>(out: &mut Vec<u8>, before: &[u8], value: T) -> serde_json::Result<()> {
    out.extend_from_slice(before);
    serde_json::to_writer(out, &value)
}

fn own(columns: &Columns, record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let failure = record.outcome.as_ref().err();
    entry(out, br#","_row":"#, record.row.number)?;
    if columns.items {
        let item = record.row.item;
        entry(out, br#","_item":"#, item.and_then(|item| item.number))?;
        entry(out, br#","_last":"#, item.is_none_or(|item| item.last))?;
    }
    entry(out, br#","_ok":"#, failure.is_none())?;
    entry(out, br#","_status":"#, record.status)?;
    entry(out, br#","_error":"#, failure.map(|failure| failure.kind.text()))?;
    entry(out, br#","_detail":"#, failure.map(|failure| &failure.detail))?;
    entry(out, br#","_attempts":"#, record.attempts)?;
    entry(out, br#","_ms":"#, record.latency.map(milliseconds))?;
    if columns.arrived {
        entry(out, br#","_arrived":"#, &record.arrived)?;
    }
    if columns.body {
        entry(out, br#","_body":"#, &record.body)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{columns, failed, ok};

    fn line(columns: &Columns, record: &Record) -> String {
        let mut out = Vec::new();
        let mut jsonl = encoder(columns, None).unwrap();
        jsonl.record(record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_result_is_one_line_in_the_order_of_the_design() {
        assert_eq!(
            line(&columns(&["price", "name"], false), &ok(7)),
            "{\"symbol\":\"RIV\",\"price\":12.5,\"name\":\"A \\\"B\\\"\\nC\",\"_row\":7,\"_ok\":true,\
             \"_status\":200,\"_error\":null,\"_detail\":null,\"_attempts\":2,\"_ms\":118.204}\n"
        );
    }

    #[test]
    fn a_failure_has_null_values_and_a_reason() {
        assert_eq!(
            line(&columns(&["price"], true), &failed(3)),
            "{\"symbol\":\"RIV\",\"price\":null,\"_row\":3,\"_ok\":false,\"_status\":null,\
             \"_error\":\"timeout\",\"_detail\":\"=no answer, in 30 s\",\"_attempts\":1,\"_ms\":null,\
             \"_body\":null}\n"
        );
    }

    #[test]
    fn a_limited_job_says_when_its_requests_arrived() {
        let mut columns = columns(&[], true);
        columns.arrived = true;
        let line = line(&columns, &ok(0));
        let end = "\"_ms\":118.204,\"_arrived\":[[0.5,0.618204],[2.0,2.25]],\"_body\":null}\n";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn no_key_stands_twice() {
        let mut record = ok(0);
        record.row.fields.insert("_row".into(), 99.into());
        record.row.fields.insert("price".into(), 1.into());
        let line = line(&columns(&["price", "name"], false), &record);
        assert_eq!(line.matches("\"_row\"").count(), 1, "{line}");
        assert!(line.contains("\"price\":12.5"), "{line}");
    }
}
