//! Resume after something has changed: the job, the input, or the results file.

use std::fs;

use throng_mock::Mock;

use crate::harness::{Place, Throng, assert_one_record_per_row, each, plain_mock, run, symbols};

const ROWS: usize = 30;
const DONE: usize = 20;

fn ask(place: &Place, mock: &Mock, input: &str) -> Throng {
    run()
        .quotes(&mock.url())
        .arg("--input", input)
        .arg("--output", &place.path("out.jsonl"))
        .flags("--mode sync --workers 1")
}

/// Does the first rows of an input, and forgets on the server's side.
fn begun(place: &Place, mock: &Mock) -> String {
    run()
        .quotes(&mock.url())
        .files(place, DONE, "out.jsonl")
        .flags("--mode sync --workers 1")
        .exits(0);
    mock.reset();
    place.file("rows.csv", &symbols(ROWS))
}

fn asked(mock: &Mock) -> Vec<String> {
    mock.judgement().symbols.into_keys().collect()
}

#[test]
fn rows_that_were_added_at_the_end_are_asked_for() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = begun(&place, &mock);
    ask(&place, &mock, &input).flags("--resume").exits(0);
    assert_eq!(mock.judgement().requests as usize, ROWS - DONE);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_changed_request_is_named_and_gone_on_with_when_told() {
    for (flags, name) in [
        ("--query lang=en", "request.query changed"),
        ("--header a:b", "request.headers changed"),
        ("--extract other?=.other", "extract changed"),
    ] {
        let (place, mock) = (Place::new(), plain_mock());
        let input = begun(&place, &mock);
        let ask = || ask(&place, &mock, &input).flags(flags);
        let ended = ask().flags("--resume").exits(2);
        ended.says(name).says("20 rows of");
        ended.says("--resume=changed keeps them").says("asks for 10 rows");
        let is_told = ended.stderr.contains("with the values that they have");
        assert_eq!(is_told, name.starts_with("extract"), "{}", ended.stderr);
        assert_eq!(mock.judgement().requests, 0);
        ask().flags("--resume=changed").exits(0);
        assert_eq!(mock.judgement().requests as usize, ROWS - DONE);
        assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    }
}

#[test]
fn a_changed_limit_is_said_and_changes_nothing() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = begun(&place, &mock);
    let ended = ask(&place, &mock, &input).flags("--resume --rate 1000/1s").exits(0);
    ended.says("the limit was none and is now 1000/1s; the 20 rows that are done stay");
}

#[test]
fn a_changed_input_is_told_row_by_row() {
    let (place, mock) = (Place::new(), plain_mock());
    begun(&place, &mock);
    // S3 has another name, and only 15 rows are left.
    let text = symbols(15).replace("S3\n", "T3\n");
    let input = place.file("rows.csv", &text);
    let before = place.read("out.jsonl");
    let ended = ask(&place, &mock, &input).flags("--resume").exits(2);
    ended.says("14 are the same, 1 have other values now, 5 are no longer there");
    assert_eq!(place.read("out.jsonl"), before);
    ask(&place, &mock, &input).flags("--resume=changed").exits(0);
    assert_eq!(asked(&mock), ["T3"]);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 15);
    assert_eq!(records[3]["symbol"], "T3");
}

#[test]
fn without_its_sidecar_a_file_is_compared_with_the_input() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = begun(&place, &mock);
    fs::remove_file(place.path("out.jsonl.throng")).unwrap();
    let ended = ask(&place, &mock, &input).flags("--resume").exits(0);
    ended.says("out.jsonl.throng is missing");
    assert_eq!(mock.judgement().requests as usize, ROWS - DONE);
    fs::write(place.path("out.jsonl.throng"), "{").unwrap();
    let input = place.file("rows.csv", &symbols(ROWS).replace("S3\n", "T3\n"));
    let ended = ask(&place, &mock, &input).flags("--resume").exits(2);
    ended.says("29 are the same, 1 have other values now");
}

#[test]
fn a_key_identifies_rows_in_any_order() {
    for name in ["out.jsonl", "out.csv"] {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |rows: &[&str]| {
            let input = place.file("rows.csv", &format!("symbol\n{}\n", rows.join("\n")));
            run()
                .quotes(&mock.url())
                .arg("--input", &input)
                .arg("--output", &place.path(name))
                .flags("--key symbol")
        };
        ask(&["A", "=B", "\"C,C\""]).exits(0);
        mock.reset();
        ask(&["\"C,C\"", "D", "A", "=B", "E"]).flags("--resume").exits(0);
        assert_eq!(asked(&mock), ["D", "E"], "{name}");
        assert_eq!(
            place.read(name).matches("price").count(),
            if name == "out.csv" { 1 } else { 5 }
        );
        ask(&["A", "B", "A"])
            .flags("--overwrite")
            .exits(2)
            .says("row 2 of")
            .says("has the same symbol, \"A\", as an earlier row");
    }
}

#[test]
fn failed_rows_are_asked_for_again_and_have_one_record_afterwards() {
    for name in ["out.jsonl", "out.csv"] {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |code: &str| run().with_two_statuses(&mock.url(), code).files(&place, ROWS, name);
        ask("404").exits(1);
        ask("404").exits(2).says("--retry-failed asks for the 2 that failed as well");
        mock.reset();
        ask("200").flags("--resume").exits(1).says("30 more done before, of which 2 failed");
        assert_eq!(mock.judgement().requests, 0);
        ask("200").flags("--retry-failed").exits(0).says("28 more done before");
        assert_eq!(mock.judgement().requests, 2);
        let text = place.read(name);
        assert_eq!(text.matches("false").count(), 0, "{text}");
        assert_eq!(text.lines().count(), ROWS + usize::from(name == "out.csv"));
    }
}

#[test]
fn a_damaged_record_is_told_with_its_line_and_asked_for_again_when_told() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = begun(&place, &mock);
    let damaged = place.read("out.jsonl").replace("{\"symbol\":\"S7\"", "\0\0\0");
    fs::write(place.path("out.jsonl"), damaged).unwrap();
    let ended = ask(&place, &mock, &input).flags("--resume").exits(2);
    ended.says("line 8 is no jsonl record").says("--resume=damaged");
    let ended = ask(&place, &mock, &input).flags("--resume=damaged").exits(0);
    ended.says("1 record of").says("out.jsonl.torn");
    assert!(place.read("out.jsonl.torn").starts_with("\0\0\0"));
    assert_eq!(mock.judgement().symbols.get("S7"), Some(&1));
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn an_edited_file_is_taken_as_it_stands_but_not_in_silence() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = begun(&place, &mock);
    let text = place.read("out.jsonl");
    let twice = text.lines().next().unwrap().to_owned() + "\n" + &text;
    fs::write(place.path("out.jsonl"), twice).unwrap();
    let ended = ask(&place, &mock, &input).flags("--resume").exits(0);
    ended.says("out.jsonl is not as throng left it");
    ended.says("stood there twice: the first one of each row stays");
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    assert!(place.read("out.jsonl").starts_with(&text));
}

#[test]
fn two_runs_do_not_write_one_file() {
    let (place, mock) = (Place::new(), plain_mock());
    let slow = || {
        let input = place.file("rows.csv", &symbols(3));
        run()
            .arg("--url", &format!("{}/slow/60000?{{{{ symbol }}}}", mock.url()))
            .arg("--input", &input)
            .arg("--output", &place.path("out.jsonl"))
            .flags("--grace 0s")
    };
    let first = slow().start();
    crate::harness::until("a request", || mock.judgement().requests > 0);
    let ended = slow().exits(2);
    ended.says(&format!("is in use: process {} is writing it", first.id()));
    first.signal("-KILL");
    first.ends();
    let second = slow().start();
    crate::harness::until("more requests", || mock.judgement().requests > 3);
    second.signal("-TERM");
    second.ends().with_code(143);
}

#[test]
fn a_finished_run_leaves_a_sidecar_without_secrets() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(3));
    ask(&place, &mock, &input)
        .arg("--header", "x-api-key: {{ env.KEY }} and literally-secret")
        .env("KEY", "hunter2-hunter2")
        .exits(0);
    let sidecar = place.read("out.jsonl.throng");
    assert!(sidecar.contains("\"request.headers\"") && sidecar.contains("synced"));
    assert!(!sidecar.contains("hunter2") && !sidecar.contains("literally-secret"));
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; 3]);
}
