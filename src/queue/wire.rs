//! Rows and records as bytes: a line of JSON for each, compressed where that helps. Pure.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::{AnswerOrigin, Arrived, Failure, FailureKind, Record, SavedFile};
use crate::row::{Fields, Item, Row};
use crate::zstandard;

/// Minimum size of bytes that are compressed.
const WORTH_IT: usize = 512;

/// Maximum size that bytes are decompressed to: 1 GiB.
const MAX_SIZE: u64 = 1 << 30;

/// The first bytes of what Zstandard has compressed.
const COMPRESSED: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A row.
#[derive(Serialize, Deserialize)]
struct RowLine<'a>(u64, Cow<'a, Fields>);

/// Adds the line of a row.
pub(crate) fn put_row(row: &Row, lines: &mut Vec<u8>) {
    put(&RowLine(row.number, Cow::Borrowed(&row.fields)), lines);
}

/// The rows of these bytes.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let row = |RowLine(number, fields): RowLine<'static>| Row {
        number,
        fields: fields.into_owned(),
        ..Row::default()
    };
    Ok(lines(&unpacked(bytes)?)?.into_iter().map(row).collect())
}

/// The earliest and the latest arrival of a request, and what else it counts for.
type ArrivedPart<'a> = (i64, i64, Cow<'a, Map<String, Value>>);

/// The path, size, hash and type of a file with an answer.
type SavedPart<'a> = (Cow<'a, str>, u64, Cow<'a, str>, Option<Cow<'a, str>>);

/// A record.
#[derive(Serialize, Deserialize)]
struct RecordLine<'a> {
    row: u64,
    fields: Cow<'a, Fields>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    item: Option<(Option<u64>, bool)>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    values: Option<Cow<'a, [Value]>>,
    /// The kind of its failure, and the detail.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    failed: Option<(String, Cow<'a, str>)>,
    #[serde(skip_serializing_if = "<[Value]>::is_empty", default)]
    kept: Cow<'a, [Value]>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    status: Option<u16>,
    attempts: u32,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    latency: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    arrived: Vec<Option<ArrivedPart<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    warning: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    saved: Option<SavedPart<'a>>,
    /// Whether the answer was found in a store of answers.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    is_stored: bool,
}

/// Adds the line of a record.
pub(crate) fn put_record(record: &Record, lines: &mut Vec<u8>) {
    let failure = record.outcome.as_ref().err();
    let arrived = |it: &Option<Arrived>| {
        it.as_ref().map(|it| (it.from, it.to, Cow::Owned(it.counted.clone())))
    };
    let line = RecordLine {
        row: record.row.number,
        fields: Cow::Borrowed(&record.row.fields),
        item: record.row.item.map(|item| (item.number, item.last)),
        values: record.outcome.as_deref().ok().map(Cow::Borrowed),
        failed: failure.map(|it| (it.kind.text().into_owned(), Cow::Borrowed(&*it.detail))),
        kept: Cow::Borrowed(&record.kept),
        body: record.body.as_deref().map(Cow::Borrowed),
        status: record.status,
        attempts: record.attempts,
        latency: record.latency.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)),
        arrived: record.arrived.iter().map(arrived).collect(),
        warning: record.warning.as_deref().map(Cow::Borrowed),
        saved: record.saved.as_deref().map(|it| {
            let kind = it.content_type.as_deref().map(Cow::Borrowed);
            (Cow::Borrowed(&*it.path), it.size, Cow::Borrowed(&*it.sha256), kind)
        }),
        is_stored: record.origin == Some(AnswerOrigin::Store),
    };
    put(&line, lines);
}

/// The records of these bytes.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn records(bytes: &[u8]) -> Result<Vec<Record>, String> {
    Ok(lines::<RecordLine<'static>>(&unpacked(bytes)?)?.into_iter().map(record).collect())
}

fn record(line: RecordLine<'_>) -> Record {
    let item = line.item.map(|(number, last)| Item { number, last });
    let arrived = |(from, to, counted): (i64, i64, Cow<'_, Map<String, Value>>)| Arrived {
        from,
        to,
        counted: counted.into_owned(),
    };
    Record {
        row: Row { number: line.row, fields: line.fields.into_owned(), item, ..Row::default() },
        outcome: match line.failed {
            Some((kind, detail)) => Err(Failure::new(FailureKind::parse(&kind), detail)),
            None => Ok(line.values.map(Cow::into_owned).unwrap_or_default()),
        },
        kept: line.kept.into_owned(),
        body: line.body.map(Cow::into_owned),
        status: line.status,
        attempts: line.attempts,
        latency: line.latency.map(Duration::from_nanos),
        arrived: line.arrived.into_iter().map(|it| it.map(arrived)).collect(),
        warning: line.warning.map(Cow::into_owned),
        saved: line.saved.map(|(path, size, sha256, content_type)| {
            Box::new(SavedFile {
                path: path.into_owned(),
                size,
                sha256: sha256.into_owned(),
                content_type: content_type.map(Cow::into_owned),
            })
        }),
        origin: line.is_stored.then_some(AnswerOrigin::Store),
        target: None,
    }
}

/// These lines, compressed if that helps.
pub(crate) fn packed(lines: Vec<u8>) -> Vec<u8> {
    if lines.len() < WORTH_IT {
        return lines;
    }
    zstandard::pack(&lines).ok().flatten().filter(|it| it.len() < lines.len()).unwrap_or(lines)
}

fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !bytes.starts_with(&COMPRESSED) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut lines = Vec::new();
    let read =
        zstandard::decoder(bytes).and_then(|packed| packed.take(MAX_SIZE).read_to_end(&mut lines));
    read.map_err(|error| error.to_string())?;
    Ok(Cow::Owned(lines))
}

fn put(line: &impl Serialize, lines: &mut Vec<u8>) {
    // Numbers and texts can always be written.
    lines.extend(serde_json::to_vec(line).unwrap_or_default());
    lines.push(b'\n');
}

fn lines<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<Vec<T>, String> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record_of(outcome: Result<Vec<Value>, Failure>) -> Record {
        let fields = json!({"id": "ü\n", "n": 18446744073709551615u64, "x": 0.1});
        Record {
            row: Row {
                number: 1 << 40,
                fields: fields.as_object().unwrap().clone(),
                item: Some(Item { number: Some(3), last: true }),
                ..Row::default()
            },
            outcome,
            kept: vec![json!(1)],
            body: Some("{}".to_owned()),
            status: Some(200),
            attempts: 3,
            latency: Some(Duration::from_nanos(1_234_567)),
            arrived: vec![
                None,
                Some(Arrived {
                    from: 5,
                    to: 6,
                    counted: json!({"tokens": 7}).as_object().unwrap().clone(),
                }),
            ],
            warning: Some("repeats".to_owned()),
            saved: Some(Box::new(SavedFile {
                path: "a".to_owned(),
                size: 3,
                sha256: "f".to_owned(),
                content_type: None,
            })),
            origin: Some(AnswerOrigin::Store),
            target: None,
        }
    }

    #[test]
    fn records_are_read_back_as_they_were() {
        let failure = Failure::new(FailureKind::Rule("no such item".into()), "why");
        let all = [
            record_of(Ok(vec![json!("a"), Value::Null])),
            record_of(Ok(Vec::new())),
            record_of(Err(failure)),
            record_of(Err(Failure::new(FailureKind::Status(503), ""))),
        ];
        for repeated in [1, 100] {
            let mut lines = Vec::new();
            (0..repeated).flat_map(|_| &all).for_each(|it| put_record(it, &mut lines));
            let size = lines.len();
            let packed = packed(lines);
            assert!(packed.len() <= size);
            let read = records(&packed).unwrap();
            assert!(read.chunks(all.len()).all(|read| read == all));
            assert_eq!(read.len(), repeated * all.len());
        }
    }

    #[test]
    fn rows_are_read_back_as_they_were() {
        let row = |number: u64| Row {
            number,
            fields: json!({"b": number, "a": [null]}).as_object().unwrap().clone(),
            ..Row::default()
        };
        let all: Vec<Row> = (7..99).map(row).collect();
        let mut lines = Vec::new();
        all.iter().for_each(|row| put_row(row, &mut lines));
        assert_eq!(rows(&packed(lines)).unwrap(), all);
        assert!(rows(b"[1").is_err());
    }
}
