//! The summary: the same figures for people on stderr and for programs in a file.

use serde_json::Value;
use throng_mock::price;

use crate::harness::{Ended, Place, Throng, mock, plain_mock, run, throng};

const ROWS: &str = "symbol,sector\nA,tech\nB,bank\nC,tech\nD,oil\nE,tech\n";

fn ask(place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", ROWS);
    run().quotes(server).arg("--input", &input).arg("--summary-json", &place.path("summary.json"))
}

fn about(figure: &Value, expected: f64) -> bool {
    let value = figure["value"].as_f64().unwrap();
    (value - expected).abs() < 1e-6
}

#[test]
fn it_has_all_the_figures() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = ask(&place, &mock.url()).flags("--rate 100/1s --workers 2").exits(0);
    let summary = place.json("summary.json");
    for (name, value) in
        [("rows", 5), ("ok", 5), ("failed", 0), ("requests", 5), ("retries", 0), ("refused", 0)]
    {
        assert_eq!(summary[name], value, "{name}");
    }
    for name in ["seconds", "best_possible_seconds", "requests_per_second"] {
        assert!(summary[name].is_number(), "{name}: {summary}");
    }
    for name in ["p50", "p90", "p99", "max"] {
        assert!(summary["latency_ms"][name].as_f64() > Some(0.0), "{name}");
    }
    let limit = &summary["limits"][0];
    assert_eq!((&limit["rate"], &limit["guard"]), (&"100/1s".into(), &"strict".into()));
    assert_eq!(limit["most_in_window"], 5);
    assert_eq!(summary["failures"], Value::Array(Vec::new()));
    ended.says("5 rows: 5 ok, 0 failed").says("0 refused (429)");
}

#[test]
fn it_says_what_earlier_runs_have_used_and_the_bound_waits_for_it() {
    let (place, mock) = (Place::new(), plain_mock());
    let limited = || ask(&place, &mock.url()).flags("--rate 6/2s");
    let first = limited().exits(0);
    assert!(!first.stderr.contains("before this run"), "{}", first.stderr);
    let summary = place.json("summary.json");
    assert_eq!(summary["sharing"], "machine");
    assert_eq!(summary["limits"][0]["used_before"], Value::Null);
    assert!(summary["best_possible_seconds"].as_f64() < Some(1.0), "{summary}");
    limited().exits(0).says("5 used before this run");
    let summary = place.json("summary.json");
    assert_eq!(summary["limits"][0]["used_before"], 5);
    let [bound, took] =
        ["best_possible_seconds", "seconds"].map(|name| summary[name].as_f64().unwrap());
    // The bound is known a moment before the time of the run begins, longer on a busy machine.
    assert!(bound > 0.2 && bound < took + 0.1, "{summary}");
}

#[test]
fn it_says_with_how_many_runs_a_limit_was_shared() {
    let (place, mock) = (Place::new(), plain_mock());
    let rows: String = (0..30).map(|row| format!("{row}\n")).collect();
    let input = place.file("rows.txt", &rows);
    let start = |name: &str| {
        run()
            .arg("--url", &format!("{}/v6/finance/quote/?symbols={{{{ line }}}}", mock.url()))
            .arg("--input", &input)
            .arg("--summary-json", &place.path(name))
            .flags("--rate 10/1s")
            .start()
    };
    for (name, running) in [("a.json", start("a.json")), ("b.json", start("b.json"))] {
        let ended = running.ends().with_code(0);
        ended.says("; shared with 1 other run\n");
        ended.says("for a run alone (10/1s, shared with 1 other run)");
        assert_eq!(place.json(name)["limits"][0]["other_runs"], 1, "{}", ended.stderr);
    }
}

#[test]
fn it_says_that_limits_are_not_shared() {
    let (place, mock) = (Place::new(), plain_mock());
    let alone = ask(&place, &mock.url()).flags("--rate 100/1s --share none").exits(0);
    alone.says("limits: this run's alone (--share none), whatever other runs send\n");
    assert_eq!(place.json("summary.json")["sharing"], "none");
    ask(&place, &mock.url()).exits(0);
    assert_eq!(place.json("summary.json")["sharing"], Value::Null);
}

#[test]
fn aggregates_are_those_of_the_server_s_prices() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended: Ended = ask(&place, &mock.url())
        .arg("--summarize", "mean(price)")
        .arg("--summarize", "most=max(price)")
        .arg("--summarize", "sum(price) by sector")
        .arg("--summarize", "count(price) by sector")
        .exits(0);
    let aggregates = place.json("summary.json")["aggregates"].clone();
    let prices = ["A", "B", "C", "D", "E"].map(price);
    assert!(about(&aggregates["mean(price)"], prices.iter().sum::<f64>() / 5.0));
    assert!(about(&aggregates["most"], prices.into_iter().fold(0.0, f64::max)));
    let groups = aggregates["sum(price) by sector"]["groups"].as_array().unwrap();
    for (key, sum) in
        [("tech", prices[0] + prices[2] + prices[4]), ("bank", prices[1]), ("oil", prices[3])]
    {
        let group = groups.iter().find(|group| group["key"] == key).unwrap();
        assert!(about(group, sum), "{group}");
    }
    let counts = &aggregates["count(price) by sector"]["groups"];
    assert_eq!((&counts[0]["key"], counts[0]["value"].as_f64()), (&"tech".into(), Some(3.0)));
    ended.says("mean(price)").says("tech");
}

#[test]
fn failed_rows_are_counted_by_their_kind_with_examples() {
    let place = Place::new();
    let mock = mock(throng_mock::Settings {
        faults: "missing=100%".parse().unwrap(),
        ..Default::default()
    });
    let ended = ask(&place, &mock.url()).arg("--summarize", "mean(price)").exits(1);
    let summary = place.json("summary.json");
    let failure = &summary["failures"][0];
    assert_eq!((&failure["kind"], &failure["count"]), (&"missing price".into(), &5.into()));
    assert_eq!(failure["examples"][0]["label"], "A");
    assert_eq!(summary["aggregates"]["mean(price)"]["value"], Value::Null);
    ended.says("5 rows: 0 ok, 5 failed").says("missing price");
}

#[test]
fn quiet_says_nothing_and_writes_the_file_all_the_same() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = ask(&place, &mock.url()).flags("--quiet").exits(0);
    assert_eq!(ended.stderr, "");
    assert_eq!(place.json("summary.json")["ok"], 5);
    assert_eq!(ended.records().len(), 5);
}

#[test]
fn verbose_tells_what_each_worker_did() {
    let (place, mock) = (Place::new(), plain_mock());
    let flags = "--verbose --workers 2 --progress none";
    let ended = ask(&place, &mock.url()).flags(flags).exits(0);
    ended.says("worker 1: ").says("worker 2: ");
    let workers = place.json("summary.json")["workers"].clone();
    let answered = |n: usize| workers[n]["answered"].as_u64().unwrap();
    assert_eq!(answered(0) + answered(1), 5);
}

#[test]
fn a_run_that_stops_on_its_way_writes_it_quiet_or_not() {
    let (place, mock) = (Place::new(), plain_mock());
    for flags in ["", "--quiet"] {
        let throng = run()
            .quotes(&mock.url())
            .arg("--summary-json", &place.path("summary.json"))
            .flags("--input - --format csv --mode sync --workers 1")
            .flags(flags);
        // More than are read ahead.
        let good = "symbol,b\n".to_owned() + &"A,1\n".repeat(2_000);
        throng.with_stdin(&(good + "C\n")).ends().with_code(3);
        let summary = place.json("summary.json");
        assert!(summary["ok"].as_u64() > Some(0), "{summary}");
        let stopped = summary["stopped"].as_str().unwrap();
        assert!(stopped.contains("line 2002"), "{stopped}");
        std::fs::remove_file(place.path("summary.json")).unwrap();
    }
}

#[test]
fn a_summary_never_takes_the_place_of_the_records_that_it_is_of() {
    let place = Place::new();
    let records = "{\"symbol\":\"A\",\"_row\":0,\"_ok\":true,\"_status\":200,\"_error\":null,\"_detail\":null,\"_attempts\":1,\"_ms\":1.0}\n";
    let path = place.file("out.jsonl", records);
    let ended = throng("report").arg("--summary-json", &path).flags(&path);
    ended.exits(2).says("the summary");
    assert_eq!(place.read("out.jsonl"), records);
}
