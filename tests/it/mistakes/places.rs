//! Mistakes about where records go, and servers that are not there.

use super::Good;
use crate::harness::{Place, run, symbols};

#[test]
fn resuming_or_replacing_without_a_file() {
    let good = Good::new();
    for flag in ["--resume", "--overwrite"] {
        good.refuses(good.run().flags(flag), &[flag, "--output FILE"]);
    }
    let none = good.place.path("none.jsonl");
    let throng = good.run().flags("--resume").arg("--output", &none);
    good.refuses(throng, &["nothing to resume", "none.jsonl does not exist"]);
    assert!(!std::fs::exists(none).unwrap());
}

#[test]
fn records_that_are_there_already() {
    let good = Good::new();
    for (name, text, said) in [
        ("ours.jsonl", "{\"symbol\":\"S0\",\"_row\":0,\"_ok\":true}\n", "has 1 row already"),
        ("theirs.jsonl", "a letter to someone\n", "is no jsonl results file"),
    ] {
        let output = good.place.file(name, text);
        let ended = good.refuses(good.run().arg("--output", &output), &[name, said]);
        ended.says("--overwrite");
        assert_eq!(good.place.read(name), text);
    }
    let ours = good.place.path("ours.jsonl");
    good.refuses(good.run().arg("--output", &ours), &["--resume goes on"]);
}

#[test]
fn an_output_that_can_not_be() {
    let good = Good::new();
    for (output, said) in
        [("out.xlsx", "--output-format"), ("none/out.jsonl", "there is no directory")]
    {
        let output = good.place.path(output);
        good.refuses(good.run().arg("--output", &output), &[said]);
    }
}

#[test]
fn a_summary_that_can_not_be_written() {
    let good = Good::new();
    let summary = good.place.path("none/summary.json");
    let throng = good.run().arg("--summary-json", &summary);
    good.refuses(throng, &["--summary-json", "none/summary.json"]);
    let both = good.run().arg("--summary-json", "-");
    good.refuses(both, &["both go to standard output"]);
    let apart = good.run().arg("--summary-json", "-");
    let apart = apart.arg("--output", &good.place.path("out.jsonl")).exits(0);
    let summary: serde_json::Value = serde_json::from_str(&apart.stdout).unwrap();
    assert_eq!(summary["ok"], 3);
}

#[test]
fn one_file_for_two_things() {
    let good = Good::new();
    let rows = good.place.file("rows.jsonl", "{\"symbol\":\"A\"}\n");
    let throng = run()
        .quotes(&good.mock.url())
        .arg("--input", &rows)
        .arg("--output", &rows)
        .flags("--overwrite");
    good.refuses(throng, &["rows.jsonl"]);
    assert_eq!(good.place.read("rows.jsonl"), "{\"symbol\":\"A\"}\n");
    let output = good.place.path("out.jsonl");
    let throng = good.run().arg("--output", &output);
    good.refuses(throng.arg("--summary-json", &output), &["out.jsonl"]);
}

#[test]
fn a_server_that_nobody_reaches_stops_the_run() {
    let place = Place::new();
    let (input, output) = (place.file("rows.csv", &symbols(3)), place.path("out.jsonl"));
    let ended = run()
        .quotes("http://127.0.0.1:1")
        .arg("--input", &input)
        .arg("--output", &output)
        .flags("--retries 0 --max-wait 1s")
        .exits(3);
    ended.says("the server can't be reached: connect").says("127.0.0.1:1");
    assert!(!std::fs::exists(output).unwrap(), "it would hold nothing");
}
