//! Outputs that are no plain text, and `throng convert` between all of them.

use std::fs;

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, mock, plain_mock, run, symbols, throng, until,
};

pub const ROWS: usize = 50;
const FORMS: [&str; 8] = [
    "out.parquet",
    "out.db",
    "out.arrow",
    "out.jsonl.gz",
    "out.jsonl.zst",
    "out.csv.gz",
    "out.tsv.gz",
    PARTS,
];
/// A directory.
pub const PARTS: &str = "results/";

pub fn ask(place: &Place, mock: &Mock, output: &str) -> Throng {
    run().quotes(&mock.url()).files(place, ROWS, output).flags(parts(output))
}

pub fn parts(output: &str) -> &str {
    match output {
        PARTS => "--parts=12",
        _ => "",
    }
}

/// The records of any file, by way of `throng convert`.
pub fn converted(place: &Place, name: &str) -> Vec<Value> {
    let to = place.path("converted.jsonl");
    throng("convert").arg(&place.path(name), &to).flags("--overwrite").exits(0);
    let text = place.read("converted.jsonl");
    let mut records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Values of CSV are texts.
    for record in &mut records {
        if let Some(row) = record["_row"].as_str() {
            record["_row"] = row.parse::<u64>().unwrap().into();
        }
    }
    records.sort_by_key(|record| record["_row"].as_u64().unwrap());
    records
}

#[test]
fn every_form_has_the_same_records() {
    let (place, mock) = (Place::new(), plain_mock());
    ask(&place, &mock, "out.jsonl").exits(0);
    let expected = place.records("out.jsonl");
    for name in FORMS {
        ask(&place, &mock, name).exits(0).says(name.trim_end_matches('/'));
        let records = converted(&place, name);
        assert_one_record_per_row(&records, ROWS);
        for column in ["symbol", "price", "_ok"] {
            let texts = |records: &[Value]| -> Vec<String> {
                let values = each(records, column).into_iter();
                values.map(|value| value.to_string().replace('"', "")).collect()
            };
            assert_eq!(texts(&records), texts(&expected), "{name}");
        }
        let journal = format!("{}.journal", name.trim_end_matches('/'));
        assert!(!fs::exists(place.path(&journal)).unwrap());
    }
}

#[test]
fn a_finished_one_is_gone_on_with() {
    for name in FORMS {
        let (place, mock) = (Place::new(), plain_mock());
        ask(&place, &mock, name).flags("--take 20").exits(0);
        ask(&place, &mock, name).exits(2).says("has 20 rows already: --resume goes on");
        mock.reset();
        ask(&place, &mock, name).flags("--resume").exits(0).says("20 more done before");
        assert_eq!(mock.judgement().requests as usize, ROWS - 20, "{name}");
        assert_one_record_per_row(&converted(&place, name), ROWS);
        ask(&place, &mock, name).flags("--overwrite --take 3").exits(0);
        assert_one_record_per_row(&converted(&place, name), 3);
    }
}

/// The figures of a summary that depend on all of its records.
fn figures(summary: &Value) -> Value {
    let mut figures = serde_json::json!({});
    for name in ["rows", "ok", "failed", "failures", "aggregates"] {
        figures[name] = summary[name].clone();
    }
    let mean = &mut figures["aggregates"]["mean(price)"]["value"];
    *mean = format!("{:.6}", mean.as_f64().unwrap()).into();
    figures
}

#[test]
fn a_continued_one_has_the_figures_of_all_its_records() {
    for name in FORMS.into_iter().chain(["out.jsonl", "out.csv"]) {
        let (place, mock) = (Place::new(), plain_mock());
        let summary = |output: &str, flags: &str| {
            ask(&place, &mock, output)
                .flags("--extract none?=.none --summarize mean(price) --summarize p50(price)")
                .flags("--summarize distinct(symbol) --summarize count(none)")
                .arg("--summarize", "count(price) by symbol")
                .arg("--summary-json", &place.path("summary.json"))
                .flags(flags)
                .exits(0);
            place.json("summary.json")
        };
        let first = summary(name, "--take 20");
        assert_eq!(first["this_run"], Value::Null);
        let second = summary(name, "--resume");
        let this_run = &second["this_run"];
        assert_eq!((&this_run["rows"], &this_run["ok"]), (&30.into(), &30.into()), "{name}");
        assert_eq!(this_run["aggregates"]["p50(price)"]["values"], 30);
        let once = if name == PARTS { "again/" } else { "again.jsonl" };
        let parts = if name == PARTS { "--parts=12" } else { "" };
        assert_eq!(figures(&second), figures(&summary(once, parts)), "{name}");
        // Nothing is left to do, and all is there.
        assert_eq!(figures(&summary(name, "--resume")), figures(&second), "{name}");
    }
}

#[test]
fn failed_rows_of_a_finished_one_are_asked_for_again() {
    for name in FORMS {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |code: &str| {
            run().with_two_statuses(&mock.url(), code).files(&place, ROWS, name).flags(parts(name))
        };
        ask("404").exits(1);
        mock.reset();
        let ended = ask("200").flags("--retry-failed").exits(0);
        ended.says("50 rows: 50 ok, 0 failed (this run 2: 2 ok, 0 failed; 48 more done before)");
        assert_eq!(mock.judgement().requests, 2, "{name}");
        let records = converted(&place, name);
        assert_one_record_per_row(&records, ROWS);
        assert!(records.iter().all(|record| record["_status"].to_string().contains("200")));
    }
}

#[test]
fn an_interrupted_one_is_gone_on_with() {
    for name in FORMS {
        let (place, mock) = (Place::new(), slow());
        let running = ask(&place, &mock, name).flags("--mode sync --workers 1").start();
        until("some requests", || mock.judgement().requests > 5);
        running.signal("-INT");
        running
            .ends()
            .with_code(130)
            .says(&format!("--resume goes on with {}", place.path(name.trim_end_matches('/'))));
        ask(&place, &mock, name).flags("--resume").exits(0);
        assert_one_record_per_row(&converted(&place, name), ROWS);
        assert_eq!(mock.judgement().requests as usize, ROWS, "{name}");
    }
}

pub fn slow() -> Mock {
    mock(Settings { latency: "10ms".parse().unwrap(), ..Settings::default() })
}

#[test]
fn a_database_is_readable_while_the_run_goes_on() {
    let (place, mock) = (Place::new(), slow());
    let running = ask(&place, &mock, "out.db").flags("--mode sync --workers 1").start();
    let open = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        rusqlite::Connection::open_with_flags(place.path("out.db"), flags)
    };
    until("ten rows", || {
        let Ok(database) = open() else {
            return false;
        };
        let count =
            database.query_row("select count(*) from results where _ok", [], |row| row.get(0));
        count.is_ok_and(|count: i64| count >= 10)
    });
    running.ends().with_code(0);
    let database = open().unwrap();
    let sql = "select symbol, typeof(price), _status from results where _row = 7";
    let row: (String, String, i64) =
        database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(row, ("S7".into(), "real".into(), 200));
}

#[test]
fn records_come_in_the_order_of_the_input_when_asked_for() {
    for name in ["out.jsonl", "out.csv", "out.tsv", "out.jsonl.gz", "out.parquet"] {
        let (place, mock) = (
            Place::new(),
            mock(Settings { latency: "uniform:0ms:20ms".parse().unwrap(), ..Settings::default() }),
        );
        ask(&place, &mock, name).flags("--order input").exits(0);
        let to = place.path("ordered.jsonl");
        throng("convert").arg(&place.path(name), &to).exits(0);
        let text = place.read("ordered.jsonl");
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let symbols: Vec<String> = rows.map(|row| row["symbol"].as_str().unwrap().into()).collect();
        let expected: Vec<String> = (0..ROWS).map(|row| format!("S{row}")).collect();
        assert_eq!(symbols, expected, "{name}");
    }
}

#[test]
fn every_form_can_be_an_input() {
    let (place, mock) = (Place::new(), plain_mock());
    let csv = place.file("rows.csv", &symbols(ROWS));
    for name in ["in.parquet", "in.db", "in.feather", "in.tsv", "in.csv.zst", "in.jsonl.gz"] {
        throng("convert").arg(&csv, &place.path(name)).exits(0).says("50 rows");
        let output = place.path("out.jsonl");
        run()
            .quotes(&mock.url())
            .arg("--input", &place.path(name))
            .arg("--output", &output)
            .flags("--overwrite")
            .exits(0);
        let records = place.records("out.jsonl");
        assert_one_record_per_row(&records, ROWS);
        assert_eq!(records[7]["symbol"], "S7", "{name}");
    }
}

#[test]
fn one_of_several_tables_is_read_by_its_name() {
    let (place, mock) = (Place::new(), plain_mock());
    let database = rusqlite::Connection::open(place.path("in.db")).unwrap();
    let sql = "create table a (symbol); insert into a values ('A');
               create table b (symbol); insert into b values ('B'), ('C');";
    database.execute_batch(sql).unwrap();
    let ask = |flags: &str| {
        let asked = run().quotes(&mock.url()).arg("--input", &place.path("in.db"));
        asked.flags(flags)
    };
    ask("").exits(2).says("has the tables a, b, and none called results: say which one");
    ask("--table c").exits(2).says("and none called c");
    let records = ask("--table b").exits(0).records();
    assert_eq!(each(&records, "symbol"), ["B", "C"]);
    let csv = place.file("rows.csv", &symbols(1));
    let ended = run().quotes(&mock.url()).arg("--input", &csv).flags("--table b");
    ended.exits(2).says("is none: leave it out");
}

#[test]
fn columns_called_as_a_row_s_place_lose_no_rows() {
    let (place, mock) = (Place::new(), plain_mock());
    for (columns, code) in [("ROWID", 0), ("rowid, _rowid_", 0), ("rowid, _rowid_, Oid", 2)] {
        let database = rusqlite::Connection::open(place.path("in.db")).unwrap();
        // Each place is the same text, and none of them is the number of a row.
        let values = "'7',".repeat(columns.split(',').count());
        let sql = format!(
            "drop table if exists a; create table a ({columns}, symbol);
             insert into a values ({values} 'A'), ({values} 'B'), ({values} 'C');"
        );
        database.execute_batch(&sql).unwrap();
        let asked = run().quotes(&mock.url()).arg("--input", &place.path("in.db"));
        let ended = asked.exits(code);
        match code {
            0 => assert_eq!(each(&ended.records(), "symbol"), ["A", "B", "C"]),
            _ => drop(ended.says("which hide the place of a row: rename one of them")),
        }
    }
}

#[test]
fn names_that_a_database_takes_for_one_are_found_before_anything_is_sent() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "symbol,Price\nS0,7\n");
    let ask = |output: &str| {
        let asked = run().quotes(&mock.url()).arg("--input", &input);
        asked.arg("--output", &place.path(output))
    };
    ask("out.db").exits(2).says("the columns \"Price\" and \"price\" differ only in case");
    assert_eq!(mock.judgement().requests, 0);
    ask("out.parquet").exits(0);
    // Of a pipe nobody knows its names before.
    let rows = "{\"symbol\":\"S0\",\"Price\":7}\n";
    let piped = run().quotes(&mock.url()).flags("--input - --format jsonl");
    piped.arg("--output", &place.path("piped.db")).with_stdin(rows).ends().with_code(0);
    let record = &converted(&place, "piped.db")[0];
    assert_eq!(record["Price"], 7);
    assert!(record["price_2"].is_number(), "{record}");
}

#[test]
fn what_cannot_be_read_or_written_says_why() {
    let (place, mock) = (Place::new(), plain_mock());
    for (name, why) in [
        ("in.parquet", "is no whole Parquet file"),
        ("in.db", "is no SQLite database"),
        ("in.csv.gz", "cannot read"),
    ] {
        place.file(name, "this is something else entirely");
        let ended = run().quotes(&mock.url()).arg("--input", &place.path(name)).exits(2);
        ended.says(name).says(why);
    }
    let input = place.file("rows.csv", &symbols(1));
    let pipe = place.path("pipe.db");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for flags in ["--output-format parquet", &format!("--output {pipe}")] {
        run()
            .quotes(&mock.url())
            .arg("--input", &input)
            .flags(flags)
            .exits(2)
            .says("output needs a file");
    }
    let convert = |from: &str, to: &str| throng("convert").arg(&place.path(from), &place.path(to));
    convert("rows.csv", "one.jsonl").exits(0).says("1 row: ");
    convert("rows.csv", "none/one.jsonl").exits(2).says("there is no directory");
    convert("row.csv", "two.jsonl").exits(2).says("rows.csv?");
}

#[test]
fn a_finished_file_is_reported_again() {
    let (place, mock) = (Place::new(), plain_mock());
    for name in ["out.jsonl", "out.csv", "out.parquet", "out.db"] {
        let summary = |throng: Throng| {
            let flags = throng.arg("--summary-json", &place.path("summary.json"));
            let ended = flags.arg("--summarize", "mean(price)").exits(0);
            ended.says("50 rows: 50 ok, 0 failed");
            let summary = place.json("summary.json");
            let mean = &summary["aggregates"]["mean(price)"];
            // Sums of the same numbers in another order differ in their last digits.
            let value = mean["value"].as_f64().map(|value| (value * 1e6).round());
            let counts = ["rows", "requests"].map(|name| summary[name].clone());
            (counts, value, mean["values"].clone())
        };
        let first = summary(ask(&place, &mock, name));
        let again = throng("report").flags(&place.path(name));
        assert_eq!(summary(again), first, "{name}");
    }
    throng("report")
        .flags(&place.file("rows.csv", &symbols(1)))
        .exits(2)
        .says("row 0 is not a record of throng: it has no _row");
}
