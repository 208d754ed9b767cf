//! What a source does with real files, whatever their format.

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::format::rows::FormatRow;
use crate::format::{self, Format};
use crate::row::{Fields, Row};

/// Two rows, written in each format.
const TWO_ROWS: [(&str, &str); 4] = [
    ("a.csv", "line\nx\n\n\"y\"\n"),
    ("a.jsonl", "{\"line\": \"x\"}\n\n{\"line\": \"y\"}\n"),
    ("a.json", "[{\"line\": \"x\"},\n{\"line\": \"y\"}]\n"),
    ("a.txt", "x\n\ny"),
];

fn written(name: &str, bytes: &[u8]) -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, settings(&path))
}

fn settings(path: &Path) -> Settings {
    Settings { file: Some(path.display().to_string()), ..Settings::default() }
}

fn fields(source: &Source) -> Vec<Value> {
    source.rows().unwrap().map(|row| row.unwrap().fields.into()).collect()
}

#[test]
fn marks_and_line_ends_change_nothing() {
    for (name, text) in TWO_ROWS {
        let windows = format!("\u{FEFF}{}", text.replace('\n', "\r\n"));
        for text in [text, &windows] {
            let (_folder, settings) = written(name, text.as_bytes());
            let mut source = Source::new(&settings).unwrap();
            assert_eq!(fields(&source), [json!({"line": "x"}), json!({"line": "y"})], "{name}");
            assert_eq!(source.survey().unwrap().rows, Some(2));
        }
    }
}

#[test]
fn rows_can_be_read_again_and_only_those_taken() {
    for (name, text) in TWO_ROWS {
        let (_folder, settings) = written(name, text.as_bytes());
        let mut source = Source::new(&Settings { take: Some(1), ..settings }).unwrap();
        let survey = source.survey().unwrap();
        assert_eq!((survey.rows, survey.names), (Some(1), vec!["line".into()]));
        let rows: Vec<Row> = source.clone().rows().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, survey.first);
    }
}

#[test]
fn a_late_mistake_is_a_plan_error_ahead_and_a_stop_on_the_way() {
    let (_folder, settings) = written("a.csv", b"a\n1\n2,3\n");
    let mut source = Source::new(&settings).unwrap();
    let ahead = source.survey().unwrap_err();
    let on_the_way = source.rows().unwrap().last().unwrap().unwrap_err();
    assert_eq!(ahead.to_string(), on_the_way.to_string());
    assert_eq!(ahead.kind(), ErrorKind::Plan);
    assert_eq!(on_the_way.kind(), ErrorKind::Stopped);
    assert!(ahead.to_string().starts_with(&format!("{}, line 3: 2 fields", source.name())));
}

/// Bytes that are made as they are read, and counted.
struct Made<I> {
    pieces: I,
    read: Arc<AtomicUsize>,
}

impl<I: Iterator<Item = String>> Read for Made<I> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.pieces.next().unwrap_or_default();
        out[..piece.len()].copy_from_slice(piece.as_bytes());
        self.read.fetch_add(piece.len(), Ordering::Relaxed);
        Ok(piece.len())
    }
}

#[test]
fn an_array_is_never_read_whole() {
    let elements = (1..=200_000).map(|n| format!("{{\"n\": {n}}},"));
    let pieces = ["[".into()].into_iter().chain(elements).chain(["{}]".into()]);
    let read = Arc::new(AtomicUsize::new(0));
    let bytes = Made { pieces, read: read.clone() };
    let format::Read::Text(open) = Format::JSON.reader() else { panic!("it is a text") };
    let mut rows = open(Box::new(BufReader::new(bytes)), "made", &Default::default()).unwrap();
    for n in 1..=100 {
        assert_eq!(rows.next().unwrap().unwrap()["n"], n);
    }
    assert!(read.load(Ordering::Relaxed) < 2000, "a hundred rows of about ten bytes");
    assert_eq!(rows.filter(Result::is_ok).count(), 199_901);
}

#[test]
fn a_named_pipe_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.csv");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut source = Source::new(&settings(&path)).unwrap();
    assert_eq!(source.survey(), Ok(Survey::default()));
    let writer = thread::spawn(move || fs::write(path, "a\n1\n").unwrap());
    assert_eq!(fields(&source), [json!({"a": "1"})]);
    writer.join().unwrap();
}

#[test]
fn settings_are_written_plainly_and_nothing_else_is_let_in() {
    let settings: Settings = serde_json::from_value(json!({"file": "-", "format": "tsv"})).unwrap();
    assert_eq!((settings.format, settings.take), (Some(Format::TSV), None));
    let unknown = serde_json::from_value::<Settings>(json!({"files": "-"})).unwrap_err();
    assert!(unknown.to_string().starts_with("unknown field `files`"));
}

#[test]
fn a_source_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + std::fmt::Debug>() {}
    shared::<Source>();
}

struct Given(std::vec::IntoIter<FormatRow>);

impl Iterator for Given {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        self.0.next()
    }
}

impl RowReader for Given {}

fn numbers(found: Vec<FormatRow>, most: u64) -> Vec<Result<u64, ErrorKind>> {
    numbered(Box::new(Given(found.into_iter())), most)
        .map(|row| row.map(|row| row.number).map_err(|error| error.kind()))
        .collect()
}

#[test]
fn rows_are_numbered_up_to_what_is_taken() {
    let found = || vec![Ok(Fields::new()); 3];
    assert_eq!(numbers(found(), u64::MAX), [Ok(0), Ok(1), Ok(2)]);
    assert_eq!(numbers(found(), 2), [Ok(0), Ok(1)]);
    assert_eq!(numbers(found(), 0), []);
}

#[test]
fn the_first_error_is_the_end() {
    let (row, flaw) = (|| Ok(Fields::new()), || Err(String::new()));
    assert_eq!(numbers(vec![flaw(), row()], 9), [Err(ErrorKind::Plan)]);
    assert_eq!(numbers(vec![row(), flaw(), row()], 9), [Ok(0), Err(ErrorKind::Stopped)]);
}
