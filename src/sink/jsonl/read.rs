//! JSON Lines read back, as far as resuming needs it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::codec::{Decode, Found, Seen, UNKNOWN};

/// The reader's half; with the field that identifies rows.
pub(in super::super) fn decoder(key: Option<&str>) -> Box<dyn Decode> {
    Box::new(Lines {
        key: key.map(str::to_owned),
    })
}

struct Lines {
    key: Option<String>,
}

/// All that resuming needs of a line; the rest is only checked to be JSON.
#[derive(Deserialize)]
struct Line<'a> {
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

impl Decode for Lines {
    fn ends(&mut self, _: &[u8]) -> bool {
        true
    }

    fn read(&mut self, record: &[u8]) -> Option<Found> {
        let line: Line = serde_json::from_slice(record).ok()?;
        let key = match &self.key {
            None => None,
            Some(name) => Some(field(record, name)?),
        };
        Some(Found::Row(Seen {
            row: line._row,
            item: line._item,
            last: line._last,
            ok: line._ok,
            unknown: line._error.is_some_and(|error| error == UNKNOWN),
            key,
        }))
    }
}

fn field(record: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<Cow<str>, Value> = serde_json::from_slice(record).ok()?;
    Some(super::value(&fields.remove(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_row_and_how_it_ended() {
        let read = |line: &str| decoder(Some("id")).read(line.as_bytes());
        let line = r#"{"id":7,"_row":3,"_ok":false,"_error":"outcome unknown"}"#;
        let seen = Seen {
            row: 3,
            item: None,
            last: true,
            ok: false,
            unknown: true,
            key: Some(b"7".to_vec()),
        };
        assert_eq!(read(line), Some(Found::Row(seen)));
        for line in [
            r#"{"_row":3}"#,
            r#"{"id":7}"#,
            r#"{"id":7,"_row":3}x"#,
            "",
            "\0",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
