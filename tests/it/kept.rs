//! What a failed row keeps: the server's words, and the whole of an answer of which values
//! could not be taken, so that they can be taken later, without a request.

use serde_json::{Value, json};

use crate::harness::{Place, Throng, assert_one_record_per_row, each, plain_mock, run, throng};
use crate::recorder::{Recorder, answer, json as json_answer};

const OUTPUTS: [&str; 6] =
    ["out.jsonl", "out.csv", "out.parquet", "out.db", "out.jsonl.gz", "out.arrow"];

/// A server of quotes, which would be paid for.
fn quotes() -> Recorder {
    Recorder::answering(|came| {
        let symbol = came.line.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
        json_answer(&json!({"quote": {"price": 17.5, "name": symbol}}).to_string())
    })
}

fn ask(place: &Place, server: &Recorder, rows: usize, output: &str) -> Throng {
    run()
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .files(place, rows, output)
        .flags("--method POST --progress none")
}

/// The records of an output of any format, in the order of the rows, with texts for numbers.
fn table(place: &Place, output: &str) -> Vec<Value> {
    let (results, copy) = (place.path(output), place.path("copy.csv"));
    throng("convert").flags(&format!("{results} {copy} --overwrite")).exits(0);
    let mut table = csv::Reader::from_path(&copy).unwrap();
    let names = table.headers().unwrap().clone();
    let mut records: Vec<Value> = table
        .records()
        .map(|row| {
            let row = row.unwrap();
            names
                .iter()
                .zip(&row)
                .map(|(name, cell)| (name.to_owned(), Value::from(cell)))
                .collect()
        })
        .collect();
    for record in &mut records {
        record["_row"] = record["_row"].as_str().unwrap().parse::<u64>().unwrap().into();
    }
    records.sort_by_key(|record| record["_row"].as_u64());
    records
}

#[track_caller]
fn assert_quotes(place: &Place, output: &str, rows: usize) {
    let records = table(place, output);
    assert_one_record_per_row(&records, rows);
    for record in &records {
        assert_eq!(
            (&record["price"], &record["_ok"]),
            (&json!("17.5"), &json!("true")),
            "{output}"
        );
        assert_eq!(record["name"], record["symbol"], "{output}");
        assert_eq!(record["_error"], "", "{output}");
        assert!(record.get("prize").is_none(), "{record}");
    }
}

#[test]
fn values_are_taken_anew_without_a_request_in_every_format() {
    for output in OUTPUTS {
        let (place, server) = (Place::new(), quotes());
        ask(&place, &server, 20, output)
            .flags("-e prize=.quote.prize -e name=.quote.name")
            .exits(1);
        server.forget();
        let results = place.path(output);
        let right = "-e price=.quote.price -e name=.quote.name";
        let ended = throng("extract").flags(&format!("{results} {right}")).exits(0);
        ended.says("20 rows that failed before: ok now").says("20 ok, 0 failed");
        assert_quotes(&place, output, 20);
        // The records are those of the mended job.
        ask(&place, &server, 20, output).flags(right).flags("--resume").exits(0);
        assert_eq!(server.came().len(), 0, "{output}");
        assert_quotes(&place, output, 20);
    }
}

#[test]
fn what_a_stopped_run_has_paid_for_is_not_asked_for_again() {
    for output in OUTPUTS {
        let (place, server) = (Place::new(), quotes());
        let ask = || ask(&place, &server, 200, output);
        ask().flags("-e prize=.quote.prize -e name=.quote.name").exits(3);
        let paid = server.came().len();
        let results = place.path(output);
        let right = "-e price=.quote.price -e name=.quote.name";
        throng("extract").flags(&format!("{results} {right}")).exits(0);
        ask().flags(right).flags("--resume").exits(0);
        assert_eq!((server.came().len(), paid < 60), (200, true), "{output}");
        assert_quotes(&place, output, 200);
    }
}

#[test]
fn values_of_parts_are_taken_anew() {
    let (place, server) = (Place::new(), quotes());
    let ask = |flags: &str| ask(&place, &server, 25, "parts").flags("--parts=10").flags(flags);
    ask("-e prize=.quote.prize -e name=.quote.name").exits(1);
    let right = "-e price=.quote.price -e name=.quote.name";
    throng("extract").flags(&format!("{} {right}", place.path("parts"))).exits(0);
    assert_quotes(&place, "parts", 25);
    ask(right).flags("--resume").exits(0);
    assert_eq!(server.came().len(), 25);
}

#[test]
fn another_file_may_take_the_values_and_rows_without_an_answer_stay() {
    let (place, server) = (Place::new(), quotes());
    ask(&place, &server, 5, "out.jsonl").flags("-e name=.quote.name --keep-body").exits(0);
    let (results, other) = (place.path("out.jsonl"), place.path("other.csv"));
    let before = place.read("out.jsonl");
    let programs = "-e price=.quote.price -s mean(price)";
    let ended = throng("extract").flags(&format!("{results} {programs} -o {other}")).exits(0);
    ended.says("5 rows with values anew").says("mean(price)  17.5");
    assert_eq!(place.read("out.jsonl"), before);
    assert_quotes(&place, "other.csv", 5);
    // A value that an answer has not leaves its row as it was.
    let ended = throng("extract").flags(&format!("{results} -e x=.x")).exits(0);
    ended.says("a value can't be taken: left as they were");
    assert_eq!(each(&place.records("out.jsonl"), "name"), ["S0", "S1", "S2", "S3", "S4"]);
}

#[test]
fn programs_of_kept_answers_read_the_row_and_the_status() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "out.db"] {
        let (place, server) = (Place::new(), quotes());
        let ended = ask(&place, &server, 5, output).flags("-e prize=.quote.prize").exits(1);
        let results = place.path(output);
        ended.says(&format!(
            "to mend: throng extract {results} -e prize=JQ takes the value anew from the answers of 5 rows, without a request"
        ));
        let extract = |program: &str| throng("extract").arg(&results, "-e").flags(program);
        for variable in ["$headers.etag", "$url"] {
            let wrong = extract(&format!("x={variable}")).exits(2);
            wrong.says("only a run can read $headers and $url");
        }
        // A file that is left as it is is whole still.
        let other = place.path("other.jsonl");
        extract("name=.quote.name").arg("-o", &other).exits(0);
        assert!(!std::path::Path::new(&format!("{results}.journal")).exists(), "{output}");
        let program = "name=[.quote.name,$row.symbol,($row|length),$status]|tojson";
        let ended = extract(program).flags("--quiet").exits(0);
        assert_eq!(ended.stderr, "");
        let first = &table(&place, output)[0]["name"];
        assert_eq!(first, r#"["S0","S0",1,200]"#, "{output}");
    }
}

#[test]
fn a_key_that_ends_in_mid_run_names_the_command_for_its_rows() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = run()
        .with_two_statuses(&mock.url(), "401")
        .files(&place, 12, "out.jsonl")
        .flags("--progress none")
        .exits(1);
    ended.says(
        "to retry: the same command with --retry-failed asks again for the 2 rows that failed (status 401: give the right key)",
    );
}

#[test]
fn the_words_of_a_failure_are_bounded_and_an_answer_is_whole() {
    let long = format!("{{\"detail\": \"{}\"}}", "é".repeat(40_000));
    let whole = long.clone();
    let server = Recorder::answering(move |came| match came.line.split(['/', ' ']).nth(2) {
        Some("S0") => answer("422 Unprocessable Entity", &[], &long),
        _ => json_answer(&long),
    });
    for (flags, bodies) in [
        ("", [Some(16_385), Some(whole.chars().count())]),
        ("--keep-body=failed", [Some(16_385), Some(whole.chars().count())]),
        ("--keep-body none", [None, None]),
    ] {
        let place = Place::new();
        ask(&place, &server, 2, "out.jsonl").flags("-e price=.price").flags(flags).exits(1);
        let kept = each(&place.records("out.jsonl"), "_body");
        let lengths = [0, 1].map(|row| kept[row].as_str().map(|body| body.chars().count()));
        assert_eq!(lengths, bodies, "{flags}");
    }
}

#[test]
fn all_failures_are_listed_and_equal_messages_stand_together() {
    let (place, mock) = (Place::new(), plain_mock());
    let failing = "{% if symbol != 'S7' %}status/404?body=gone{% else %}echo/1{% endif %}";
    run()
        .arg("--url", &format!("{}/{failing}", mock.url()))
        .files(&place, 25, "out.jsonl")
        .flags("-e path=.path --progress none")
        .exits(1)
        .says("throng report --failed");
    let report = || throng("report").flags(&format!("--failed {}", place.path("out.jsonl")));
    let listed = report().exits(1).stdout;
    assert!(listed.starts_with("24 rows of 25 failed, with 1 message\n"), "{listed}");
    assert_eq!(listed.matches("status 404: gone").count(), 1);
    assert!(
        (0..25).all(|row| listed.contains(&format!("{row} (S{row})")) == (row != 7)),
        "{listed}"
    );
    report().arg("-o", &place.path("list.txt")).exits(1);
    assert_eq!(place.read("list.txt"), listed);
    report().arg("-o", &place.path("failed.jsonl")).exits(1);
    assert_eq!(place.records("failed.jsonl").len(), 24);
}

#[test]
fn the_end_names_the_next_command() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |flags: &str, code: &str, exit: i32| {
        run()
            .with_two_statuses(&mock.url(), code)
            .files(&place, 12, "out.jsonl")
            .flags("--retries 0 --progress none --overwrite")
            .flags(flags)
            .exits(exit)
    };
    ask("", "503", 1).says(
        "to retry: the same command with --retry-failed asks again for the 2 rows that failed, for reasons that may pass",
    );
    assert!(!ask("", "404", 1).stderr.contains("to retry"));
    let cut = ask("--take 3", "404", 0);
    cut.says("to continue: the same command without --take, and with --resume, goes on with");
    let quiet = ask("--quiet", "404", 1).stderr;
    let results = place.path("out.jsonl");
    let line = format!(
        "throng: 2 of 12 rows failed: status 404 (2); throng report --failed {results} lists them\n"
    );
    assert_eq!(quiet, line);
}
