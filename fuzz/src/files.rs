//! Files that a user gives: tables of rows, and results that a run goes on with.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use throng::internals::row::Fields;
use throng::internals::source::{Settings, Source};
use throng::internals::verify::{self, Scope, ScopedLimit};
use throng::{Job, Plan};

use crate::halves;

/// A file of rows in each text format: what is surveyed is what is read.
pub fn rows(data: &[u8]) {
    let place = place();
    for name in ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"] {
        let mut source = source(&written(&place, name, data));
        let rows: Result<Vec<Fields>, _> =
            source.rows().and_then(|rows| rows.map(|row| Ok(row?.fields)).collect());
        let survey = source.survey();
        match (&rows, &survey) {
            (Ok(rows), Ok(survey)) => {
                assert_eq!(survey.rows, Some(rows.len() as u64), "{name}");
            }
            (rows, survey) => assert_eq!(rows.is_ok(), survey.is_ok(), "{name}"),
        }
        if let (Ok(rows), "a.json") = (rows, name) {
            assert_is_the_array(data, rows);
        }
    }
}

/// What is read of a JSON array is what a whole parser reads of it. Texts in UTF-16 and
/// tables in other shapes are not compared, nor numbers that only others write, as null, and
/// those that a whole parser rounds.
fn assert_is_the_array(data: &[u8], rows: Vec<Fields>) {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let is_utf_16 = matches!(data, [0xFE | 0xFF | 0, ..] | [_, 0, ..]);
    let has_long_number = data.split(|byte| !byte.is_ascii_digit()).any(|run| run.len() > 15);
    if data.trim_ascii().is_empty() || is_utf_16 || has_long_number {
        return;
    }
    let whole: Value = match serde_json::from_slice(data) {
        Ok(whole) => whole,
        Err(error) => {
            let text = String::from_utf8_lossy(data);
            let has_odd = ["NaN", "Infinity"].iter().any(|number| text.contains(number));
            // Objects that follow one another.
            let is_series = matches!(data.trim_ascii().first(), Some(b'{' | 0x1E));
            let is_odd = has_odd || is_series || error.to_string().contains("number out of range");
            assert!(is_odd, "rows come from JSON: {error}");
            return;
        }
    };
    if !whole.is_array() {
        return;
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::Object).collect();
    assert_eq!(Value::Array(rows), whole);
}

/// A results file and what lies beside it, as after a crash or an edit: it is gone on
/// with or refused, and what is gone on with can be read.
pub fn results(data: &[u8]) {
    let (results, sidecar) = halves(data);
    let place = place();
    for (name, existing) in [
        ("a.jsonl", "resume"),
        ("b.jsonl", "resume-damaged"),
        ("a.csv", "resume"),
        ("b.csv", "resume-damaged"),
    ] {
        let path = written(&place, name, results);
        if !sidecar.is_empty() {
            fs::write(path.with_file_name(format!("{name}.throng")), sidecar).unwrap();
        }
        let rows: Vec<Value> = (0..3).map(|id| json!({ "id": id.to_string() })).collect();
        let job = json!({
            "input": {"list": rows},
            "request": {"url": "https://api.example/{{ id }}"},
            "extract": {"a?": ".a"},
            "output": {"file": path, "existing": existing},
        });
        let job = Job::parse("job.json", &job.to_string()).unwrap();
        // The file must not be touched by a plan.
        let _ = Plan::new(&job, &|_| None);
        assert_eq!(fs::read(&path).unwrap(), results, "{name}");
        let mut limits = vec![ScopedLimit::new("3/1s".parse().unwrap(), Scope::All, 1)];
        limits.extend(verify::limits_of(&[&path]).map_or(Vec::new(), |known| known.limits));
        let _ = verify::verify(&[settings(&path)], &limits);
    }
}

fn source(path: &Path) -> Source {
    Source::new(&settings(path)).unwrap()
}

fn settings(path: &Path) -> Settings {
    Settings { file: Some(path.to_str().unwrap().to_owned()), ..Settings::default() }
}

fn written(place: &TempDir, name: &str, data: &[u8]) -> PathBuf {
    let path = place.path().join(name);
    fs::write(&path, data).unwrap();
    path
}

/// In memory where the system has files there, since a fuzzer makes thousands a second.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}
