//! A record read back from a results file of any format.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::format::RESERVED;
use crate::record::{AnswerOrigin, Arrived, Failure, FailureKind, Record, SavedFile, is_ok};
use crate::row::{Fields, Row};

/// The record of a row of a results file; its values stay among its fields.
/// Values of a CSV file are texts.
///
/// # Errors
/// The field that it lacks, if it is no record.
pub fn record(mut fields: Fields) -> Result<Record, String> {
    let number = number(fields.get("_row")).ok_or("it has no _row")?;
    let ok = is_ok(&fields).ok_or("it has no _ok")?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let milliseconds = fields.get("_ms").and_then(float);
    let record = Record {
        outcome: match FailureKind::parse(&text("_error")) {
            kind if !ok || kind == FailureKind::Missing => Err(Failure::new(kind, text("_detail"))),
            _ => Ok(Vec::new()),
        },
        kept: Vec::new(),
        arrived: fields.get("_arrived").and_then(arrived).unwrap_or_default(),
        warning: None,
        saved: saved(&fields).map(Box::new),
        origin: origin(&fields),
        target: fields
            .get("_target")
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
            .map(Arc::from),
        body: None,
        status: self::number(fields.get("_status")).and_then(|it| u16::try_from(it).ok()),
        attempts: self::number(fields.get("_attempts"))
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(0),
        latency: milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
        row: Row::default(),
    };
    fields.retain(|name, _| !RESERVED.contains(&name.as_str()));
    Ok(Record { row: Row { number, fields, ..Row::default() }, ..record })
}

/// The intervals of a record's requests: a list, or, in a table of texts, its JSON.
fn arrived(value: &Value) -> Option<Vec<Option<Arrived>>> {
    if let Value::String(text) = value {
        return arrived(&serde_json::from_str::<Value>(text).ok().filter(Value::is_array)?);
    }
    value.as_array()?.iter().map(interval).collect()
}

/// One interval, none for an attempt without one.
fn interval(entry: &Value) -> Option<Option<Arrived>> {
    let micros = |seconds: &Value| Some((seconds.as_f64()? * 1e6).round() as i64);
    Some(match &**entry.as_array()? {
        [] => None,
        [from, to, rest @ ..] => {
            let counted = rest.first().and_then(Value::as_object).cloned().unwrap_or_default();
            Some(Arrived { from: micros(from)?, to: micros(to)?, counted })
        }
        [_] => return None,
    })
}

/// The file that a record tells of. A row's own field may have the name of a path alone.
fn saved(fields: &Fields) -> Option<SavedFile> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    Some(SavedFile {
        path: text("_file")?.to_owned(),
        size: number(fields.get("_size"))?,
        sha256: text("_sha256")?.to_owned(),
        content_type: text("_content_type").map(str::to_owned),
    })
}

/// Where the answer of a record was found for which its row did not ask.
fn origin(fields: &Fields) -> Option<AnswerOrigin> {
    let is_stored = fields.get("_stored").is_some_and(|it| match it {
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        value => *value == Value::Bool(true),
    });
    let same_as = number(fields.get("_same_as")).map(AnswerOrigin::Row);
    same_as.or(is_stored.then_some(AnswerOrigin::Store))
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(fields: Value) -> Result<Record, String> {
        record(fields.as_object().unwrap().clone())
    }

    #[test]
    fn a_record_is_read_from_any_format() {
        for fields in [
            json!({"a": 1, "_row": 3, "_ok": false, "_status": 500, "_error": "status 500", "_detail": "x", "_attempts": 2, "_ms": 1.5}),
            json!({"a": 1, "_row": "3", "_ok": "false", "_status": "500", "_error": "status 500", "_detail": "x", "_attempts": "2", "_ms": "1.5"}),
        ] {
            let record = read(fields).unwrap();
            assert_eq!((record.row.number, record.attempts, record.status), (3, 2, Some(500)));
            assert_eq!(record.outcome, Err(Failure::new(FailureKind::Status(500), "x")));
            assert_eq!(record.latency, Some(Duration::from_micros(1500)));
            assert_eq!(Value::from(record.row.fields), json!({"a": 1}));
        }
    }

    #[test]
    fn the_times_of_its_requests_are_read_from_lists_and_from_texts() {
        let times = json!([[], [1.5, 2.0], [3.0, 4.0, {"tokens": 7}]]);
        for arrived in [times.clone(), times.to_string().into()] {
            let arrived =
                read(json!({"_row": 0, "_ok": true, "_arrived": arrived})).unwrap().arrived;
            let ends: Vec<_> = arrived.iter().flatten().map(|it| (it.from, it.to)).collect();
            assert_eq!((arrived.len(), arrived[0].is_none()), (3, true));
            assert_eq!(ends, [(1_500_000, 2_000_000), (3_000_000, 4_000_000)]);
            assert_eq!(Value::from(arrived[2].clone().unwrap().counted), json!({"tokens": 7}));
        }
        for wrong in [json!("x"), json!(1), json!([[1.0]]), json!("\"[]\"")] {
            assert!(
                read(json!({"_row": 0, "_ok": true, "_arrived": wrong}))
                    .unwrap()
                    .arrived
                    .is_empty()
            );
        }
    }

    #[test]
    fn what_is_no_record_says_why() {
        assert_eq!(read(json!({"_ok": true})).unwrap_err(), "it has no _row");
        assert_eq!(read(json!({"_row": 1})).unwrap_err(), "it has no _ok");
    }
}
