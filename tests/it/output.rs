//! Output: the record of the design, in order, in every format.

use serde_json::{Value, json};

use crate::harness::{Place, Throng, each, plain_mock, run, throng};

const ROWS: &str = "symbol,sector\nA,x\n\"B,\"\"b\"\"\",y\nC,=1+1\n";
const OWN: [&str; 7] = ["_row", "_ok", "_status", "_error", "_detail", "_attempts", "_ms"];

/// Asks for the path of each row; the last row fails.
fn ask(place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", ROWS);
    let last = "{% if symbol == 'C' %}status/404?body=none{% else %}echo/1{% endif %}";
    run().arg("--url", &format!("{server}/{last}")).arg("--input", &input)
}

fn names(record: &Value) -> Vec<&str> {
    let fields = record.as_object().unwrap();
    fields.keys().map(String::as_str).collect()
}

#[test]
fn a_record_has_its_row_its_values_and_what_became_of_it() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("out.jsonl");
    let ended = ask(&place, &mock.url())
        .flags("--extract path=.path --extract none?=.none")
        .arg("--output", &output)
        .exits(1);
    assert_eq!(ended.stdout, "", "records go to the file");
    ended.says(&output);
    let records = place.records("out.jsonl");
    for record in &records {
        // What the server said of a row that failed.
        let said: &[&str] = if record["_ok"] == true { &[] } else { &["_body"] };
        let all = [&["symbol", "sector", "path", "none"], &OWN[..], said].concat();
        assert_eq!(names(record), all);
        assert!(record["_ms"].as_f64() > Some(0.0), "{record}");
    }
    assert_eq!(each(&records, "symbol"), ["A", "B,\"b\"", "C"]);
    assert_eq!(each(&records, "path"), [json!("/echo/1"), json!("/echo/1"), Value::Null]);
    assert_eq!(each(&records, "_ok"), [true, true, false]);
    assert_eq!(each(&records, "_status"), [200, 200, 404]);
    assert_eq!(each(&records, "_error"), [Value::Null, Value::Null, json!("status 404")]);
    assert_eq!(each(&records, "_detail"), [Value::Null, Value::Null, json!("none")]);
    assert_eq!(records[2]["_body"], "none");
    assert_eq!(each(&records, "_attempts"), [1, 1, 1]);
}

#[test]
fn a_table_has_the_same_columns() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("out.csv");
    ask(&place, &mock.url())
        .flags("--extract path=.path --mode sync --workers 1")
        .arg("--output", &output)
        .exits(1);
    let mut table = csv::Reader::from_path(&output).unwrap();
    let columns = [&["symbol", "sector", "path"], &OWN[..], &["_body"]].concat();
    assert_eq!(table.headers().unwrap(), columns);
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let start = |row: usize| rows[row].iter().take(9).collect::<Vec<_>>();
    assert_eq!(start(0), ["A", "x", "/echo/1", "0", "true", "200", "", "", "1"]);
    assert_eq!(start(1)[0], "B,\"b\"");
    // No spreadsheet takes it for a formula.
    let failed = ["C", "'=1+1", "", "2", "false", "404", "status 404", "none", "1"];
    assert_eq!(start(2), failed);
    assert_eq!(rows.iter().map(|row| &row[10]).collect::<Vec<_>>(), ["", "", "none"]);
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_file_has_the_columns_that_are_chosen() {
    let (place, mock) = (Place::new(), plain_mock());
    let two = place.file("two.csv", "symbol,sector\nA,x\nB,=1\n");
    let ask = |input: &str, output: &str| {
        run()
            .arg("--url", &format!("{}/echo/{{{{ symbol }}}}", mock.url()))
            .arg("--input", input)
            .flags("--extract path=.path --workers 1 --concurrency 1")
            .arg("--output", &place.path(output))
    };
    ask(&two, "all.csv").flags("--no-meta").exits(0);
    assert_eq!(place.read("all.csv"), "symbol,sector,path\nA,x,/echo/A\nB,'=1,/echo/B\n");
    ask(&two, "two.jsonl").flags("--columns path,_row").exits(0);
    let lines = "{\"path\":\"/echo/A\",\"_row\":0}\n{\"path\":\"/echo/B\",\"_row\":1}\n";
    assert_eq!(place.read("two.jsonl"), lines);
    for output in ["out.csv.gz", "out.parquet", "out.sqlite", "out.arrow"] {
        ask(&two, output).flags("--columns path,symbol --no-meta").exits(0);
        throng("convert").flags(&place.path(output)).flags(&place.path("back.jsonl")).exits(0);
        let back = place.read("back.jsonl");
        let second = r#"{"path":"/echo/B","symbol":"B"}"#;
        assert_eq!(back.lines().last(), Some(second), "{output}");
        std::fs::remove_file(place.path("back.jsonl")).unwrap();
        // A finished file is not asked for again, and none of its rows is lost.
        ask(&two, output).flags("--columns path,symbol --no-meta --resume").exits(0);
    }
    let asked = mock.judgement().requests;
    assert_eq!(asked, 2 * 6);
    let wrong = ask(&two, "x.csv").flags("--columns path,symbl").exits(2);
    wrong.says("\"symbl\"").says("symbol, sector, path");
    let to_stdout = run().arg("--url", &mock.url()).arg("--input", &two).flags("--no-meta");
    to_stdout.exits(2).says("need an output file");
    ask(&two, "parts").flags("--no-meta --parts").exits(2).says("need one file");
    let again = ask(&place.file("three.csv", "symbol\nA\nB\nC\n"), "all.csv");
    again.flags("--no-meta --resume").exits(2).says("--overwrite");
    assert_eq!(mock.judgement().requests, asked);
}

#[test]
fn rows_that_failed_are_asked_for_again_also_where_columns_were_chosen() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("out.csv");
    let ask =
        |flags: &str| ask(&place, &mock.url()).flags("--extract path=.path --no-meta").flags(flags);
    ask("").arg("--output", &output).exits(1);
    assert_eq!(place.read("out.csv").lines().count(), 4);
    ask("").arg("--output", &output).exits(2).says("--retry-failed asks for the 1 that failed");
    ask("--retry-failed").arg("--output", &output).exits(1);
    assert_eq!(mock.judgement().requests, 4);
    assert_eq!(place.read("out.csv").lines().count(), 4);
    // The job is mended.
    let mended = run()
        .arg("--url", &format!("{}/echo/1", mock.url()))
        .arg("--input", &place.path("rows.csv"))
        .flags("--extract path=.path --no-meta --retry-failed --resume=changed");
    mended.arg("--output", &output).exits(0);
    assert_eq!(place.read("out.csv").matches("/echo/1").count(), 3);
    assert!(!std::path::Path::new(&place.path("out.csv.journal")).exists());
}

#[test]
fn stdout_has_the_format_that_is_asked_for() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended =
        ask(&place, &mock.url()).flags("--extract path=.path --output-format csv --quiet").exits(1);
    let first = ended.stdout.lines().next().unwrap();
    assert!(first.starts_with("symbol,sector,path,_row,_ok"), "{first}");
    assert_eq!(ended.stderr, "throng: 1 of 3 rows failed: status 404 (1)\n");
}

#[test]
fn without_values_the_body_is_kept_and_with_them_if_asked() {
    let (place, mock) = (Place::new(), plain_mock());
    let bodies = |flags: &str| {
        let ended = ask(&place, &mock.url()).flags(flags).flags("--take 1");
        ended.exits(0).records()[0].get("_body").cloned()
    };
    for flags in ["", "--keep-body", "--extract path=.path --keep-body"] {
        let body = bodies(flags).unwrap();
        let echo: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
        assert_eq!(echo["path"], "/echo/1", "{flags}");
    }
    assert_eq!(bodies("--extract path=.path"), None);
}

#[test]
fn a_file_is_replaced_only_when_told() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.file("out.jsonl", "{\"_row\":7,\"old\":true}\n");
    ask(&place, &mock.url()).flags("--overwrite --take 2").arg("--output", &output).exits(0);
    assert_eq!(each(&place.records("out.jsonl"), "_row"), [0, 1]);
}

#[test]
fn a_results_file_can_be_the_next_input() {
    let (place, mock) = (Place::new(), plain_mock());
    let (first, second) = (place.path("first.jsonl"), place.path("second.jsonl"));
    ask(&place, &mock.url()).flags("--extract path=.path").arg("--output", &first).exits(1);
    run()
        .arg("--url", &format!("{}/echo/{{{{ symbol }}}}", mock.url()))
        .arg("--input", &first)
        .arg("--output", &second)
        .flags("--extract again=.path")
        .exits(0);
    let records = place.records("second.jsonl");
    let all = [&["symbol", "sector", "path", "again"], &OWN[..]].concat();
    assert_eq!(names(&records[0]), all);
    assert_eq!(each(&records, "_row"), [0, 1, 2]);
    assert_eq!(each(&records, "_ok"), [true, true, true]);
}
