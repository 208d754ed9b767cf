//! Resume: rows with a record are not asked for again, all others get theirs.

use std::fs;

use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{Ended, Place, Throng, assert_one_record_per_row, each, plain_mock, run};
use crate::recorder::{self, Recorder};

const ROWS: usize = 40;

fn ask(place: &Place, mock: &Mock, output: &str) -> Throng {
    run()
        .quotes(&mock.url())
        .files(place, ROWS, output)
        .arg("--summary-json", &place.path("summary.json"))
        .flags("--mode sync --workers 1")
}

/// Does the whole job, then keeps the first bytes of its file.
fn cut(place: &Place, mock: &Mock, output: &str, bytes: impl Fn(&str) -> usize) -> String {
    ask(place, mock, output).exits(0);
    let whole = place.read(output);
    fs::write(place.path(output), &whole[..bytes(&whole)]).unwrap();
    mock.reset();
    whole
}

/// Up to the middle of this line, counted from 0.
fn into_line(line: usize) -> impl Fn(&str) -> usize {
    move |text| {
        let before = text.split_inclusive('\n').take(line);
        before.map(str::len).sum::<usize>() + 10
    }
}

#[track_caller]
fn assert_asked_only_from(mock: &Mock, first: usize) {
    let judgement = mock.judgement();
    assert_eq!(judgement.requests as usize, ROWS - first);
    let mut rows = first..ROWS;
    assert!(rows.all(|row| judgement.symbols.get(&format!("S{row}")) == Some(&1)));
}

#[test]
fn what_is_torn_and_what_is_missing_is_asked_for_again() {
    let (place, mock) = (Place::new(), plain_mock());
    let whole = cut(&place, &mock, "out.jsonl", into_line(25));
    let ended: Ended = ask(&place, &mock, "out.jsonl").flags("--resume").exits(0);
    assert_asked_only_from(&mock, 25);
    ended.says("25 more done before");
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    assert_eq!(each(&records, "price"), each(&crate::harness::records(&whole), "price"));
    let text = place.read("out.jsonl");
    let kept = whole.lines().take(25);
    assert!(kept.eq(text.lines().take(25)), "records on the disk stay as they are");
    assert_eq!(place.json("summary.json")["skipped"], 25);
}

#[test]
fn a_table_goes_on_after_its_last_whole_line() {
    let (place, mock) = (Place::new(), plain_mock());
    // Its header is a line, too.
    cut(&place, &mock, "out.csv", into_line(11));
    ask(&place, &mock, "out.csv").flags("--resume").exits(0);
    assert_asked_only_from(&mock, 10);
    let mut table = csv::Reader::from_path(place.path("out.csv")).unwrap();
    let rows: Vec<String> = table.records().map(|row| row.unwrap()[2].to_owned()).collect();
    let all: Vec<String> = (0..ROWS).map(|row| row.to_string()).collect();
    assert_eq!(rows, all);
}

#[test]
fn a_finished_file_is_left_as_it_is() {
    let (place, mock) = (Place::new(), plain_mock());
    let whole = cut(&place, &mock, "out.jsonl", str::len);
    let ended = ask(&place, &mock, "out.jsonl").flags("--resume").exits(0);
    ended.says("40 more done before");
    assert_eq!(mock.judgement().requests, 0);
    assert_eq!(place.read("out.jsonl"), whole);
}

#[test]
fn records_in_any_order_with_gaps_are_completed() {
    let (place, mock) = (Place::new(), plain_mock());
    let whole = cut(&place, &mock, "out.jsonl", str::len);
    let every_third: Vec<&str> = whole.lines().rev().step_by(3).collect();
    fs::write(place.path("out.jsonl"), every_third.join("\n") + "\n").unwrap();
    ask(&place, &mock, "out.jsonl").flags("--resume").exits(0);
    assert_eq!(mock.judgement().requests as usize, ROWS - every_third.len());
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_file_that_is_not_throng_s_is_not_gone_on_with() {
    let (place, mock) = (Place::new(), plain_mock());
    let text = "{\"_row\":0,\"_ok\":true}\nsomething else\n{\"_row\":2,\"_ok\":true}\n";
    place.file("out.jsonl", text);
    let ended = ask(&place, &mock, "out.jsonl").flags("--resume").exits(2);
    ended.says("out.jsonl cannot be resumed: line 2");
    assert_eq!((place.read("out.jsonl").as_str(), mock.judgement().requests), (text, 0));
}

#[test]
fn a_table_with_other_columns_is_not_gone_on_with() {
    let (place, mock) = (Place::new(), plain_mock());
    let whole = cut(&place, &mock, "out.csv", |text| text.len() / 2);
    let ended =
        ask(&place, &mock, "out.csv").flags("--resume=changed --extract more?=.more").exits(2);
    ended.says("has the columns symbol,price,_row");
    let kept = place.read("out.csv");
    assert_eq!((kept.len(), mock.judgement().requests), (whole.len() / 2, 0));
}

#[test]
fn figures_of_items_are_those_of_all_items() {
    let place = Place::new();
    let items = json!({ "items": [{"id": 1}, {"id": 2}, {"id": 7}] }).to_string();
    let server = Recorder::answering(move |_| recorder::json(&items));
    let ask = |flags: &str| {
        run()
            .arg("--url", &format!("{}?{{{{ symbol }}}}", server.url()))
            .files(&place, 4, "out.jsonl")
            .flags("--each .items[] --extract id=.id --summarize sum(id)")
            .arg("--summary-json", &place.path("summary.json"))
            .flags(flags)
            .exits(0);
        place.json("summary.json")
    };
    ask("--take 1");
    // A row of which some items are missing is asked for again, and keeps those that it has.
    let text = place.read("out.jsonl");
    fs::write(place.path("out.jsonl"), &text[..text.len() - 5]).unwrap();
    let summary = ask("--resume");
    assert_eq!((&summary["rows"], &summary["this_run"]["rows"]), (&json!(12), &json!(10)));
    place.file("out.jsonl", &text);
    let summary = ask("--resume");
    assert_eq!((&summary["rows"], &summary["this_run"]["rows"]), (&json!(12), &json!(9)));
    assert_eq!(summary["aggregates"]["sum(id)"]["value"], 40);
}

#[test]
fn a_failed_row_has_its_record_too() {
    let (place, mock) = (Place::new(), plain_mock());
    cut(&place, &mock, "out.jsonl", into_line(39));
    let failed = place.read("out.jsonl").replace("\"_ok\":true", "\"_ok\":false");
    fs::write(place.path("out.jsonl"), failed).unwrap();
    let ended = ask(&place, &mock, "out.jsonl").flags("--resume").exits(1);
    ended.says("39 more done before, of which 39 failed");
    assert_eq!(mock.judgement().requests, 1);
    let ok: Vec<Value> = each(&place.records("out.jsonl"), "_ok");
    assert_eq!(ok.iter().filter(|ok| **ok == true).count(), 1);
}

#[test]
fn a_finished_output_with_nothing_to_do_is_not_made_again() {
    use std::os::unix::fs::MetadataExt;
    for (output, failed) in [
        ("out.parquet", false),
        ("out.db", false),
        ("out.arrow", false),
        ("out.jsonl.gz", false),
        ("out.csv.gz", false),
        ("out.parquet", true),
        ("out.db", true),
    ] {
        let (place, mock) = (Place::new(), plain_mock());
        let code = i32::from(failed);
        let ask = |rows: usize, flags: &str| {
            let ask = run().files(&place, rows, output).flags("--progress none").flags(flags);
            let ask = ask.arg("--summary-json", &place.path("summary.json"));
            let status = if failed { "404" } else { "200" };
            ask.with_two_statuses(&mock.url(), status)
        };
        ask(ROWS, "").exits(code);
        let file = |name: &str| {
            let data = fs::metadata(place.path(name)).unwrap();
            (data.ino(), data.mtime(), data.mtime_nsec(), data.len())
        };
        let made = file(output);
        mock.reset();
        ask(ROWS, "--resume").exits(code).says("40 more done before");
        assert_eq!((file(output), mock.judgement().requests), (made, 0), "{output}");
        let summary = place.json("summary.json");
        let ok = if failed { 38 } else { 40 };
        let counts = [&summary["rows"], &summary["ok"], &summary["skipped"]];
        assert_eq!(counts, [&json!(40), &json!(ok), &json!(40)], "{output}");
        // Aggregates are those of all records.
        ask(ROWS, "--resume -s count(path)").exits(code).says("count(path)  38");
        assert_eq!(file(output), made, "{output}");
        // More rows are asked for as ever.
        ask(ROWS + 5, "--resume").exits(code).says("45 rows: ");
        assert_eq!(mock.judgement().requests, 5, "{output}");
        // A file that something else has written to is read.
        fs::write(place.path(output), "something else").unwrap();
        ask(ROWS + 5, "--resume").exits(2);
    }
}
