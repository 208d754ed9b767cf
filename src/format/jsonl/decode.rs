//! Records read back, as far as resuming needs it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use super::encode::value;
use crate::format::codec::{Decode, FoundRecord, ReadRecord};
use crate::record::FailureKind;

/// Reads records; with the field that identifies rows.
pub(super) fn decoder(key: Option<&str>) -> Box<dyn Decode> {
    Box::new(JsonlRecords { key: key.map(str::to_owned) })
}

struct JsonlRecords {
    key: Option<String>,
}

/// The fields of a line that resuming needs; the rest is only checked to be JSON.
#[derive(Deserialize)]
struct ResumeLine<'a> {
    _row: u64,
    #[serde(default)]
    _item: Option<u64>,
    #[serde(default = "yes")]
    _last: bool,
    #[serde(default = "yes")]
    _ok: bool,
    #[serde(borrow, default)]
    _error: Option<Cow<'a, str>>,
}

fn yes() -> bool {
    true
}

impl Decode for JsonlRecords {
    fn ends(&mut self, _: &[u8]) -> bool {
        true
    }

    fn read(&mut self, record: &[u8]) -> Option<FoundRecord> {
        let line: ResumeLine = serde_json::from_slice(record).ok()?;
        let key = match &self.key {
            None => None,
            Some(name) => Some(field(record, name)?),
        };
        Some(FoundRecord::Row(ReadRecord {
            row: line._row,
            item: line._item,
            last: line._last,
            ok: line._ok,
            unknown: line._error.is_some_and(|error| error == FailureKind::OutcomeUnknown.text()),
            key,
        }))
    }

    fn row_at(&self, record: &[u8]) -> Option<Range<usize>> {
        row_at(record)
    }
}

/// Where the value of `_row` stands in an object of JSON; not in one within it.
fn row_at(record: &[u8]) -> Option<Range<usize>> {
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let (mut at, mut depth) = (0, 0);
    while at < record.len() {
        match record[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let text = at + 1..end_of_text(record, at + 1)?;
                at = text.end;
                let is_row = depth == 1 && &record[text] == b"_row";
                let after = at + 1 + record[at + 1..].iter().take_while(|it| blank(it)).count();
                if is_row && record.get(after) == Some(&b':') {
                    let number = &record[after + 1..];
                    let start = after + 1 + number.iter().take_while(|it| blank(it)).count();
                    let digits = record[start..].iter().take_while(|it| it.is_ascii_digit());
                    return Some(start..start + digits.count());
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the quotes are that end the text which starts there.
fn end_of_text(record: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match record.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn field(record: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<Cow<str>, Value> = serde_json::from_slice(record).ok()?;
    Some(value(&fields.remove(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_number_is_found() {
        for line in [
            r#"{"a":"_row","b":{"_row":7},"c":[{"_row":8}],"d":"\\\",\"_row\":9","_row":12,"e":1}"#,
            r#"{ "_row" : 12 }"#,
        ] {
            let at = row_at(line.as_bytes()).unwrap();
            assert_eq!(&line[at], "12", "{line}");
        }
        for line in [r#"{"a":{"_row":1}}"#, r#"{"_row"#, r#"{"a\"#, ""] {
            assert_eq!(row_at(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_line_tells_its_row_and_how_it_ended() {
        let read = |line: &str| decoder(Some("id")).read(line.as_bytes());
        let line = r#"{"id":7,"_row":3,"_ok":false,"_error":"outcome unknown"}"#;
        let seen = ReadRecord {
            row: 3,
            item: None,
            last: true,
            ok: false,
            unknown: true,
            key: Some(b"7".to_vec()),
        };
        assert_eq!(read(line), Some(FoundRecord::Row(seen)));
        for line in [r#"{"_row":3}"#, r#"{"id":7}"#, r#"{"id":7,"_row":3}x"#, "", "\0"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
