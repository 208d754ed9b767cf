//! Rows that are known by a key: their records follow them through an input that has
//! changed, and say where they stand in it.

use std::fs;

use serde_json::Value;
use throng_mock::Mock;

use crate::forms::{PARTS, converted, parts};
use crate::harness::{Ended, Place, Throng, each, plain_mock, run};

const OUTPUTS: [&str; 6] =
    ["out.jsonl", "out.csv", "out.jsonl.zst", "out.parquet", "out.db", PARTS];

/// A symbol and what else its row says.
type Row = (String, &'static str);

fn rows(symbols: impl IntoIterator<Item = usize>) -> Vec<Row> {
    let symbols = symbols.into_iter();
    symbols.map(|n| (format!("S{n}"), "old")).collect()
}

/// Writes the rows to a file, and gives its path.
fn input(place: &Place, rows: &[Row]) -> String {
    let lines = rows.iter().map(|(symbol, note)| format!("{symbol},{note}\n"));
    let text = format!("symbol,note\n{}", lines.collect::<String>());
    place.file("rows.csv", &text)
}

fn ask(place: &Place, mock: &Mock, output: &str, rows: &[Row]) -> Throng {
    run()
        .quotes(&mock.url())
        .arg("--input", &input(place, rows))
        .arg("--output", &place.path(output))
        .flags("--key symbol")
        .flags(parts(output))
}

fn jsonl(symbols: &[&str]) -> String {
    let lines = symbols.iter().map(|symbol| format!("{{\"symbol\":{symbol:?}}}\n"));
    lines.collect()
}

/// The symbols that were asked for since the last time.
fn asked(mock: &Mock) -> Vec<String> {
    let asked = mock.judgement().symbols.into_keys().collect();
    mock.reset();
    asked
}

/// Each row of the input has one record, which has its number and its values, and no
/// record is of anything else.
#[track_caller]
fn assert_are_those_of(place: &Place, output: &str, rows: &[Row]) {
    let mut records = converted(place, output);
    records.sort_by_key(|record| record["_row"].as_u64());
    let told: Vec<_> = records.iter().map(|it| (&it["_row"], &it["symbol"], &it["note"])).collect();
    let numbers: Vec<Value> = (0..rows.len()).map(Value::from).collect();
    let values: Vec<(Value, Value)> =
        rows.iter().map(|(symbol, note)| (symbol.as_str().into(), (*note).into())).collect();
    let expected: Vec<_> = numbers
        .iter()
        .zip(&values)
        .map(|(number, (symbol, note))| (number, symbol, note))
        .collect();
    assert_eq!(told, expected, "{output}");
}

#[test]
fn records_follow_their_rows() {
    for output in OUTPUTS {
        let (place, mock) = (Place::new(), plain_mock());
        ask(&place, &mock, output, &rows(0..20)).exits(0);
        asked(&mock);
        // Two were inserted, and the rest turned round.
        let now = rows([90].into_iter().chain((0..20).rev()).chain([91]));
        let resume = || ask(&place, &mock, output, &now).flags("--resume");
        let ended = resume().exits(0);
        ended.says("20 more done before").says("stand at another place of");
        assert_eq!(asked(&mock), ["S90", "S91"], "{output}");
        assert_are_those_of(&place, output, &now);
        let ended = resume().exits(0);
        assert!(!ended.stderr.contains("another place"), "{}", ended.stderr);
        assert!(asked(&mock).is_empty());
        assert_are_those_of(&place, output, &now);
    }
}

#[test]
fn rows_with_other_values_or_that_are_gone_are_told_and_dealt_with_when_told() {
    for output in OUTPUTS {
        let (place, mock) = (Place::new(), plain_mock());
        ask(&place, &mock, output, &rows(0..20)).exits(0);
        asked(&mock);
        // S3 and S5 are gone, S90 is new, and S7 has another note.
        let mut now = rows([90].into_iter().chain((0..20).filter(|n| ![3, 5].contains(n))));
        now[6] = ("S7".to_owned(), "new");
        assert!(rows([7])[0].0 == now[6].0);
        let ask = |flags| ask(&place, &mock, output, &now).flags(flags);
        for flags in ["--resume", "--retry-failed"] {
            let ended: Ended = ask(flags).exits(2);
            ended.says("17 are the same, 1 have other values now, 2 are no longer there");
            ended.says("--resume=changed");
            assert!(!ended.stderr.contains("--key FIELD"), "{}", ended.stderr);
        }
        assert!(asked(&mock).is_empty());
        ask("--resume=changed").exits(0).says("17 more done before");
        assert_eq!(asked(&mock), ["S7", "S90"], "{output}");
        assert_are_those_of(&place, output, &now);
        ask("--resume").exits(0);
        assert!(asked(&mock).is_empty(), "{output}");
    }
}

#[test]
fn failed_rows_are_asked_for_again_where_they_stand_now() {
    for output in OUTPUTS {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |rows: &[Row], code: &str| {
            run()
                .with_two_statuses(&mock.url(), code)
                .arg("--input", &input(&place, rows))
                .arg("--output", &place.path(output))
                .flags("--key symbol")
                .flags(parts(output))
        };
        ask(&rows(0..20), "404").exits(1);
        let now = rows([90].into_iter().chain((0..20).rev()));
        ask(&now, "200").flags("--resume").exits(1);
        assert_are_those_of(&place, output, &now);
        let now = rows([91].into_iter().chain(0..20).chain([90]));
        let ended = ask(&now, "200").flags("--retry-failed").exits(0);
        ended.says("19 more done before");
        assert_are_those_of(&place, output, &now);
    }
}

#[test]
fn a_key_that_stands_twice_or_not_at_all_is_told_before_it_is_sent_again() {
    let (place, mock) = (Place::new(), plain_mock());
    let twice = [rows(0..3), rows(1..2)].concat();
    for output in OUTPUTS {
        let ended = ask(&place, &mock, output, &twice).exits(2);
        ended.says("row 3 of").says("has the same symbol, \"S1\", as an earlier row");
    }
    // In a table of texts these are one.
    let values = "{\"symbol\":7}\n{\"symbol\":\"7\"}\n";
    let values = place.file("values.jsonl", values);
    let ask = |output: &str, input: &str| {
        let asked = run().quotes(&mock.url()).flags("--key symbol");
        asked.arg("--input", input).arg("--output", &place.path(output))
    };
    let ended = ask("out.csv", &values).exits(2);
    ended.says("row 1 of").says("has the same symbol, \"7\"");
    assert_eq!(mock.judgement().requests, 0);
    ask("values.out.jsonl", &values).exits(0);
    for (text, why) in [
        (jsonl(&["A", "B", "A"]), "row 2 of standard input has the same symbol, \"A\""),
        (jsonl(&["A"]) + "{\"s\":1}\n", "row 1 of standard input has no field \"symbol\""),
    ] {
        let running = ask("piped.jsonl", "-").flags("--overwrite").with_stdin(&text);
        running.ends().with_code(3).says(why);
    }
}

#[test]
fn rows_of_a_pipe_get_numbers_that_no_record_has() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |text: &str| {
        let asked = run().quotes(&mock.url()).flags("--input - --key symbol --resume");
        asked.arg("--output", &place.path("out.jsonl")).with_stdin(text).ends()
    };
    place.file("out.jsonl", "");
    ask(&jsonl(&["A", "B", "C"])).with_code(0);
    ask(&jsonl(&["D", "C", "E", "A", "B"])).with_code(0);
    let mut numbers = each(&place.records("out.jsonl"), "_row");
    numbers.sort_by_key(Value::as_u64);
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "{numbers:?}");
    assert_eq!(mock.judgement().requests, 5);
}

#[test]
fn numbers_that_older_versions_left_twice_are_put_right() {
    let (place, mock) = (Place::new(), plain_mock());
    let now = rows(0..4);
    ask(&place, &mock, "out.jsonl", &now).exits(0);
    asked(&mock);
    let text = place.read("out.jsonl").replace("\"_row\":3", "\"_row\":0");
    fs::write(place.path("out.jsonl"), text).unwrap();
    ask(&place, &mock, "out.jsonl", &now).flags("--resume").exits(0);
    assert!(asked(&mock).is_empty());
    assert_are_those_of(&place, "out.jsonl", &now);
}
