//! Tables as they are written and read back: no value changes on the way, and what can't
//! be read in one way only is refused.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Place, Throng, run, symbols, throng};
use crate::recorder::{Recorder, json as answer};

/// A run that sends the field `who` in the path.
fn ask(server: &Recorder, place: &Place, input: &str, output: &str) -> Throng {
    run()
        .arg("-i", &place.path(input))
        .arg("--url", &format!("{}/{{{{ who }}}}", server.url()))
        .arg("-o", &place.path(output))
        .arg("-e", "said=.said")
}

fn asked(server: &Recorder) -> Vec<String> {
    let paths = server.came().into_iter().map(|came| {
        let path = came.line.split(' ').nth(1).unwrap();
        path.to_owned()
    });
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths
}

#[test]
fn a_results_file_as_the_next_input_sends_what_was_there() {
    let place = Place::new();
    let server = Recorder::answering(|_| answer(r#"{"said": "=1+1"}"#));
    place.file(
        "in.jsonl",
        "{\"who\":\"@bob\"}\n{\"who\":\"'@bob\"}\n{\"who\":\"-1\"}\n{\"who\":\"'tis\"}\n",
    );
    ask(&server, &place, "in.jsonl", "one.csv").flags("-w 1").exits(0);
    let expected = ["/%27%40bob", "/%27tis", "/%40bob", "/-1"];
    assert_eq!(asked(&server), expected);
    let written = place.read("one.csv");
    assert!(written.contains("\n'@bob,'=1+1,0,true"), "{written}");
    let again = Recorder::answering(|_| answer(r#"{"said": 1}"#));
    run()
        .arg("-i", &place.path("one.csv"))
        .arg("--url", &format!("{}/{{{{ who }}}}", again.url()))
        .arg("-o", &place.path("two.csv"))
        .flags("-w 1")
        .exits(0);
    assert_eq!(asked(&again), expected);
    throng("convert").arg(&place.path("two.csv"), &place.path("two.jsonl")).exits(0);
    let rows = place.read("two.jsonl");
    let rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    let mut who: Vec<String> = rows.map(|row| row["who"].as_str().unwrap().into()).collect();
    who.sort();
    assert_eq!(who, ["'@bob", "'tis", "-1", "@bob"]);
}

#[test]
fn a_table_whose_quotes_have_two_meanings_is_refused() {
    let (place, server) = (Place::new(), Recorder::start());
    place.file("in.csv", "id,who\n1,\"say \\\"hi\\\"\"\n");
    ask(&server, &place, "in.csv", "out.csv")
        .exits(2)
        .says("in.csv, line 2: in column 2, a backslash stands before a quote (\\\")")
        .says("write a quote within a value twice (\"\")");
    assert_eq!(asked(&server), [""; 0]);
}

#[test]
fn a_file_that_a_spreadsheet_has_saved_is_gone_on_with() {
    let place = Place::new();
    let server = Recorder::answering(|_| answer(r#"{"said": 1}"#));
    place.file("in.csv", "who\na\nb\n");
    ask(&server, &place, "in.csv", "out.csv").flags("--take 1").exits(0);
    let saved = place.read("out.csv").replace('\n', "\r\n").replace("true", "TRUE");
    place.file("out.csv", &format!("\u{feff}{saved}"));
    ask(&server, &place, "in.csv", "out.csv").flags("--resume").exits(0);
    assert_eq!(asked(&server), ["/a", "/b"]);
    let text = place.read("out.csv");
    assert_eq!(text.matches("\r\n").count(), 3);
    assert_eq!(text.matches('\n').count(), 3);
    throng("report").flags(&place.path("out.csv")).exits(0);
    fs::remove_file(place.path("out.csv.throng")).unwrap();
    ask(&server, &place, "in.csv", "out.csv").flags("--resume").exits(0);
    assert_eq!(asked(&server).len(), 2);
    let other = text.replace(',', ";");
    place.file("out.csv", &other);
    ask(&server, &place, "in.csv", "out.csv")
        .flags("--resume")
        .exits(2)
        .says("separated by semicolons");
}

#[test]
fn a_table_with_tabs_is_written_gone_on_with_and_read() {
    let place = Place::new();
    let server = Recorder::answering(|_| answer(r#"{"said": "=1\t\"+1\"\n"}"#));
    place.file("in.tsv", "who\n\"a\tb\"\nc\nd\n");
    ask(&server, &place, "in.tsv", "out.tsv").flags("-w 1 --concurrency 1 --take 2").exits(0);
    let record = "\n\"a\tb\"\t\"'=1\t\"\"+1\"\"\n\"\t0\ttrue\t200\t\t\t1\t";
    let text = place.read("out.tsv");
    assert!(text.starts_with("who\tsaid\t_row\t_ok\t"), "{text}");
    assert!(text.contains(record), "{text}");
    // The second record is torn.
    place.file("out.tsv", &text[..text.len() - 3]);
    ask(&server, &place, "in.tsv", "out.tsv")
        .flags("-w 1 --resume")
        .exits(0)
        .says("1 more done before");
    assert_eq!(asked(&server), ["/a%09b", "/c", "/c", "/d"]);
    throng("convert").arg(&place.path("out.tsv"), &place.path("out.jsonl")).exits(0);
    let said = json!("=1\t\"+1\"\n");
    let rows = place.read("out.jsonl");
    assert_eq!(rows.matches(&said.to_string()).count(), 3, "{rows}");
    place.file("out.tsv", &text.replace('\t', ","));
    ask(&server, &place, "in.tsv", "out.tsv")
        .flags("--resume")
        .exits(2)
        .says("separated by commas")
        .says("save it with tabs");
}

#[test]
fn one_broken_quote_costs_one_record() {
    const ROWS: usize = 3000;
    let place = Place::new();
    let server = Recorder::answering(|_| answer(r#"{"said": "x"}"#));
    place.file("in.csv", &symbols(ROWS).replace("symbol", "who"));
    ask(&server, &place, "in.csv", "out.csv").exits(0);
    let text = place.read("out.csv");
    let broken = text.lines().nth(24).unwrap();
    place.file("out.csv", &text.replace(broken, &format!("\"{broken}")));
    ask(&server, &place, "in.csv", "out.csv")
        .flags("--resume")
        .exits(2)
        .says("line 25 is no csv record")
        .says("--resume=damaged");
    ask(&server, &place, "in.csv", "out.csv")
        .flags("--resume=damaged")
        .exits(0)
        .says("1 record of");
    assert_eq!(asked(&server).len(), ROWS + 1);
    assert_eq!(place.read("out.csv").lines().count(), ROWS + 1);
    assert_eq!(place.read("out.csv.torn"), format!("\"{broken}\n"));
}

#[test]
fn a_database_that_cannot_hold_all_columns_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let server = Recorder::answering(|_| answer(r#"{"said": 1}"#));
    let names: Vec<String> = (0..1993).map(|n| format!("c{n}")).collect();
    let table = |names: &[String]| {
        let values = vec!["x"; names.len()].join(",");
        format!("who,{}\na,{values}\n", names.join(","))
    };
    // With `who`, `said` and the 8 of throng's own: 2,003.
    place.file("in.csv", &table(&names));
    ask(&server, &place, "in.csv", "out.db")
        .exits(2)
        .says("there are 2003 columns")
        .says(".parquet, .jsonl");
    assert_eq!(asked(&server), [""; 0]);
    place.file("in.csv", &table(&names[3..]));
    ask(&server, &place, "in.csv", "out.db").exits(0);
}

#[test]
fn types_of_parquet_come_out_as_they_are() {
    let place = Place::new();
    let types = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/types.parquet");
    throng("convert").arg(types, &place.path("out.jsonl")).exits(0);
    let text = place.read("out.jsonl");
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for (name, value) in [
        ("u64", json!(u64::MAX)),
        ("ts", json!("2024-01-02T03:04:05.678")),
        ("tz", json!("2024-01-02T00:00:00Z")),
        ("d", json!("2024-01-02")),
        ("dec", json!("1.10")),
        ("l", json!(["a", "b"])),
        ("s", json!({"x": 1, "y": "q"})),
        ("b", json!("AP8=")),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    for name in ["again.parquet", "again.jsonl"] {
        throng("convert").arg(&place.path("out.jsonl"), &place.path(name)).exits(0);
    }
}

/// The file was written by pyarrow.
/// A day that never comes, and numbers of 32 bits.
#[test]
fn the_last_day_and_short_numbers_come_out_as_they_are_written() {
    for name in ["ends.parquet", "ends.arrow"] {
        let place = Place::new();
        let (file, out) =
            (format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR")), place.path("out.jsonl"));
        throng("convert").flags(&format!("{file} {out}")).exits(0);
        let row: Value = serde_json::from_str(&place.read("out.jsonl")).unwrap();
        let expected = json!({
            "day": "9999-12-31", "at": "9999-12-31T23:59:59.999999Z",
            "local": "9999-12-31T23:59:59", "first": "0001-01-01", "price": 0.1, "large": 1e30
        });
        assert_eq!(row, expected, "{name}");
    }
}

#[test]
fn types_of_arrow_come_out_as_they_are() {
    let place = Place::new();
    let types = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/types.arrow");
    throng("convert").arg(types, &place.path("out.jsonl")).exits(0);
    let text = place.read("out.jsonl");
    let mut rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (first, second) = (rows.next().unwrap(), rows.next().unwrap());
    for (name, value) in [
        ("u64", json!(u64::MAX)),
        ("i8", json!(-1)),
        ("ts", json!("2024-01-02T03:04:05.678")),
        ("tz", json!("2024-01-02T00:00:00Z")),
        ("d", json!("2024-01-02")),
        ("d64", json!("1969-12-31")),
        ("tm", json!("03:04:05")),
        ("dec", json!("1.10")),
        ("lt", json!("x")),
        ("sv", json!("x")),
        ("l", json!(["a", "b"])),
        ("s", json!({"x": 1, "y": "q"})),
        ("m", json!({"k": 1})),
        ("c", json!("p")),
        ("b", json!("AP8=")),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    assert_eq!((&second["f"], &second["n"]), (&json!("Infinity"), &Value::Null));
    place.file("cut.arrow", "ARROW1");
    throng("convert")
        .arg(&place.path("cut.arrow"), &place.path("no.jsonl"))
        .exits(2)
        .says("cut.arrow is no whole Arrow IPC file");
    place.file("text.arrow", "hello");
    throng("convert")
        .arg(&place.path("text.arrow"), &place.path("no.jsonl"))
        .exits(2)
        .says("text.arrow is no Arrow IPC file: it does not begin with \"ARROW1\"");
}

#[test]
fn a_terminal_gets_nothing_to_obey() {
    let place = Place::new();
    let evil = "a\u{9b}31m\u{7f}\u{202e}b\u{2066}\u{200f}\u{61c}\\u001b[31m";
    let server = Recorder::answering(move |_| answer(&format!("{{\"said\": \"{evil}\"}}")));
    place.file("in.csv", "who\na\n");
    let expected = "a\u{9b}31m\u{7f}\u{202e}b\u{2066}\u{200f}\u{61c}\u{1b}[31m";
    for format in ["jsonl", "csv"] {
        let command = run()
            .arg("-i", &place.path("in.csv"))
            .arg("--url", &format!("{}/{{{{ who }}}}", server.url()))
            .arg("-e", "said=.said")
            .arg("--output-format", format)
            .command();
        let seen = on_terminal(&command);
        let obeyed = |char: char| {
            char.is_control() || matches!(char, '\u{61c}' | '\u{200f}' | '\u{202e}' | '\u{2066}')
        };
        let record = seen.lines().find(|line| line.contains("31m")).unwrap();
        assert!(!record.chars().any(obeyed), "{record:?}");
        assert!(
            record.contains("\\u009b31m\\u007f\\u202eb\\u2066\\u200f\\u061c\\u001b[31m"),
            "{record}"
        );
        if format == "jsonl" {
            let record: Value = serde_json::from_str(record).unwrap();
            assert_eq!(record["said"], expected);
        }
    }
}

/// What a command writes to its standard output if that is a terminal.
fn on_terminal(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''")));
    let line = format!("{} 2>/dev/null", quoted.collect::<Vec<_>>().join(" "));
    let script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(script.stdout).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_number_that_would_be_rounded_stays_what_is_written() {
    let (long, decimal) = ("-12345678901234567890123", "0.1234567890123456789");
    let line = |who: &str| format!("{{\"who\": {who}, \"all\": [18446744073709551616, 1.5]}}");
    let (one, two) = (line(long), line(decimal));
    for (name, text, flags) in [
        ("in.jsonl", format!("{one}\n{two}\n"), ""),
        ("in.ndjson", format!("{one}\n{two}\n"), "--format jsonl"),
        ("in.json", format!("[{one},\n {two}]"), ""),
        ("in.json", format!("{{\"data\": [{one}, {two}]}}"), "--rows .data[]"),
        ("in.json", format!("[[{one}], [{two}]]"), "--rows .[][]"),
    ] {
        let place = Place::new();
        let server = Recorder::answering(|_| answer(r#"{"said": 1}"#));
        place.file(name, &text);
        let ask = || ask(&server, &place, name, "out.jsonl").flags(flags);
        ask().flags("--take 1").exits(0);
        ask().flags("--resume").exits(0);
        assert_eq!(asked(&server), [format!("/{long}"), format!("/{decimal}")], "{name} {flags}");
        for record in place.records("out.jsonl") {
            assert_eq!(record["all"], json!(["18446744073709551616", 1.5]), "{name} {flags}");
        }
        throng("convert").arg(&place.path("out.jsonl"), &place.path("out.csv")).exits(0);
        let table = place.read("out.csv");
        assert!(table.contains(&format!("\n{long},")), "{table}");
        assert!(table.contains(&format!("\n{decimal},")), "{table}");
    }
}

#[test]
fn a_report_is_of_a_file_whose_name_says_no_format_if_a_flag_does() {
    let place = Place::new();
    place.file("results.log", "{\"who\":\"a\",\"_row\":0,\"_ok\":true}\n");
    let report = || throng("report").arg(&place.path("results.log"), "--quiet");
    report().exits(2).says("say what it holds with --format csv|");
    report().flags("--format jsonl").exits(0);
}
