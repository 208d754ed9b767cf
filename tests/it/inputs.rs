//! Rows of every kind, from files and from a pipe, and how their values are asked for.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Throng, each, plain_mock, run, symbols};

/// The same two rows in each format, and the name of the field that they have.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("csv", "rows.csv", "symbol,note\nA,x\nB,\"y,z\"\n", "symbol"),
    ("tsv", "rows.tsv", "symbol\tnote\nA\tx\nB\ty,z\n", "symbol"),
    (
        "jsonl",
        "rows.jsonl",
        "{\"symbol\":\"A\",\"note\":\"x\"}\n{\"symbol\":\"B\",\"note\":\"y,z\"}\n",
        "symbol",
    ),
    (
        "json",
        "rows.json",
        "[{\"symbol\":\"A\",\"note\":\"x\"},\n {\"symbol\":\"B\",\"note\":\"y,z\"}]",
        "symbol",
    ),
    ("lines", "rows.txt", "A\nB\n", "line"),
];

fn ask_for(field: &str, server: &str) -> Throng {
    run()
        .arg("--url", &format!("{server}/v6/finance/quote/"))
        .arg("--query", &format!("symbols={{{{ {field} }}}}"))
        .arg("--extract", "name=.quoteResponse.result[0].longName")
}

#[track_caller]
fn assert_both_rows(ended: &Ended, field: &str, kind: &str) {
    let records = ended.records();
    assert_eq!(each(&records, field), ["A", "B"], "{kind}");
    assert_eq!(each(&records, "name"), ["A Inc.", "B Inc."], "{kind}");
    if field == "symbol" {
        assert_eq!(each(&records, "note"), ["x", "y,z"], "{kind}");
    }
}

#[test]
fn files_of_every_format_are_known_by_their_names() {
    let (place, mock) = (Place::new(), plain_mock());
    for (kind, name, text, field) in KINDS {
        let input = place.file(name, text);
        let ended = ask_for(field, &mock.url()).arg("--input", &input).exits(0);
        assert_both_rows(&ended, field, kind);
    }
}

#[test]
fn a_format_that_is_told_wins_over_the_name() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.txt", "symbol\tnote\nA\tx\nB\ty,z\n");
    let ended =
        ask_for("symbol", &mock.url()).flags("--format tsv").arg("--input", &input).exits(0);
    assert_both_rows(&ended, "symbol", "tsv");
}

#[test]
fn a_pipe_of_every_format_is_read_told_or_guessed() {
    let mock = plain_mock();
    for (kind, _, text, field) in KINDS {
        let piped = || ask_for(field, &mock.url()).flags("--input -");
        let told = piped().arg("--format", kind).with_stdin(text).ends();
        assert_both_rows(&told.with_code(0), field, kind);
        let guessed = piped().with_stdin(text).ends();
        assert_both_rows(&guessed.with_code(0), field, kind);
    }
}

#[test]
fn take_stops_after_so_many_rows() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(50));
    let from_file =
        ask_for("symbol", &mock.url()).flags("--take 3").arg("--input", &input).exits(0);
    assert_eq!(each(&from_file.records(), "symbol"), ["S0", "S1", "S2"]);
    let from_pipe = ask_for("symbol", &mock.url()).flags("--take 3 --input - --format csv");
    let from_pipe = from_pipe.with_stdin(&symbols(50)).ends().with_code(0);
    assert_eq!(each(&from_pipe.records(), "symbol"), ["S0", "S1", "S2"]);
    assert_eq!(mock.judgement().requests, 6);
}

#[test]
fn an_input_without_rows_is_done_at_once() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "symbol\n");
    let ended = ask_for("symbol", &mock.url()).arg("--input", &input).exits(0);
    assert_eq!((ended.stdout.as_str(), mock.judgement().requests), ("", 0));
}

#[test]
fn values_arrive_as_they_are_whatever_is_in_them() {
    let (place, mock) = (Place::new(), plain_mock());
    let odd = ["^GSPC", "BRK B", "A&b=c", "50%", "a/b?c#d", "Ünïted", "{{x}}", "+1"];
    let rows: Vec<Value> = odd.iter().map(|text| json!({ "symbol": text })).collect();
    let input = place.file("rows.json", &json!(rows).to_string());
    let ended = ask_for("symbol", &mock.url()).arg("--input", &input).exits(0);
    assert_eq!(each(&ended.records(), "symbol"), odd);
    let seen = mock.judgement().symbols;
    assert_eq!(seen.len(), odd.len());
    for symbol in odd {
        assert_eq!(seen.get(symbol), Some(&1), "{symbol}: {seen:?}");
    }
}

#[test]
fn a_value_is_one_segment_of_a_path_and_one_text_of_a_body() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.jsonl", "{\"id\":\"a/b \\\"q\\\" é\",\"n\":7}\n");
    let ended = run()
        .arg("--url", &format!("{}/echo/{{{{ id }}}}/x", mock.url()))
        .arg("--json", r#"{"id": "{{ id }}", "n": "{{ n }}", "fixed": [1]}"#)
        .arg("--input", &input)
        .flags("--extract method=.method --extract path=.path --extract body=.body")
        .exits(0);
    let record = &ended.records()[0];
    assert_eq!(record["method"], "POST");
    assert_eq!(record["path"], "/echo/a%2Fb%20%22q%22%20%C3%A9/x");
    let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["id"], "a/b \"q\" é");
    assert!(body["n"] == 7 || body["n"] == "7", "{body}");
    assert_eq!(body["fixed"], json!([1]));
}

#[test]
fn numbers_of_64_bits_stay_as_they_are_written() {
    let (place, mock) = (Place::new(), plain_mock());
    let rows = "{\"symbol\":-9223372036854775808}\n{\"symbol\":18446744073709551615}\n";
    let input = place.file("rows.jsonl", rows);
    let ended = ask_for("symbol", &mock.url()).arg("--input", &input).ends();
    let asked: Vec<String> = mock.judgement().symbols.into_keys().collect();
    assert_eq!(asked, ["-9223372036854775808", "18446744073709551615"]);
    assert!(ended.stdout.contains("\"symbol\":-9223372036854775808,"));
}
