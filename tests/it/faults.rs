//! Faults: a server that fails now and then in eight ways costs no row its record.

use std::collections::BTreeMap;

use serde_json::Value;
use throng_mock::{Judgement, Mock, Settings};

use crate::harness::{
    Ended, Place, assert_attempts_are_the_server_s, assert_one_record_per_row, mock, run, symbols,
};

const ROWS: usize = 300;
const SEED: u64 = 11;

fn faulty(faults: &str) -> Mock {
    mock(Settings { faults: faults.parse().unwrap(), seed: SEED, ..Settings::default() })
}

/// How many records have which kind of failure.
fn kinds(records: &[Value]) -> BTreeMap<&str, u64> {
    let mut kinds = BTreeMap::new();
    for kind in records.iter().filter_map(|record| record["_error"].as_str()) {
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn answers(judgement: &Judgement, kinds: &[&str]) -> u64 {
    let count = |kind: &&str| judgement.answers.get(*kind).copied().unwrap_or(0);
    kinds.iter().map(count).sum()
}

#[test]
fn all_at_once_leave_one_record_for_each_row_and_counts_that_agree() {
    let (place, mock) = (
        Place::new(),
        faulty("429=5%,500=5%,drop=5%,cut=5%,empty=5%,missing=5%,notjson=5%,drip=5%"),
    );
    let input = place.file("rows.csv", &symbols(ROWS));
    let ended = run()
        .quotes(&mock.url())
        .arg("--input", &input)
        .flags("--workers 2 --concurrency 50")
        .arg("--summary-json", &place.path("summary.json"))
        .exits(1);
    let (records, summary) = (ended.records(), place.json("summary.json"));
    assert_one_record_per_row(&records, ROWS);
    assert_attempts_are_the_server_s(&records, &mock);
    assert_values_only_where_ok(&records);
    assert_counts_agree(&records, &summary, &mock.judgement());
}

fn assert_values_only_where_ok(records: &[Value]) {
    for record in records {
        let ok = record["_ok"] == true;
        assert_eq!(record["price"].is_number(), ok, "{record}");
        assert_eq!(record["_error"].is_null(), ok, "{record}");
        assert_eq!(record["_detail"].is_null(), ok, "{record}");
    }
}

fn assert_counts_agree(records: &[Value], summary: &Value, judgement: &Judgement) {
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("rows"), ROWS as u64);
    assert_eq!(count("ok") + count("failed"), ROWS as u64);
    assert_eq!(count("requests"), judgement.requests);
    assert_eq!(count("refused"), answers(judgement, &["429"]));
    let kinds = kinds(records);
    // These are answers, and nothing is tried again for them.
    assert_eq!(kinds["missing price"], answers(judgement, &["empty", "missing"]));
    assert_eq!(kinds["not json"], answers(judgement, &["notjson"]));
    assert_eq!(count("failed"), kinds.values().sum::<u64>());
    // What else went wrong was tried again, unless it was the row's last try.
    let given_up: u64 =
        ["status 500", "connection lost"].iter().filter_map(|kind| kinds.get(kind)).sum();
    let troubles = answers(judgement, &["500", "drop", "cut"]);
    assert_eq!(count("retries") + given_up, troubles);
    for failure in summary["failures"].as_array().unwrap() {
        let kind = failure["kind"].as_str().unwrap();
        assert_eq!(failure["count"], kinds[kind]);
    }
}

/// Runs two rows against a server that always has this fault.
fn always(fault: &str, flags: &str) -> (Ended, Judgement) {
    let (place, mock) = (Place::new(), faulty(&format!("{fault}=100%")));
    let input = place.file("rows.csv", &symbols(2));
    let ended = run().quotes(&mock.url()).arg("--input", &input).flags(flags).ends();
    (ended, mock.judgement())
}

#[test]
fn each_has_the_name_that_failures_are_counted_by() {
    for (fault, kind) in [
        ("500", "status 500"),
        ("drop", "connection lost"),
        ("cut", "connection lost"),
        ("empty", "missing price"),
        ("missing", "missing price"),
        ("notjson", "not json"),
    ] {
        let (ended, judgement) = always(fault, "--retries 0");
        let ended = ended.with_code(1);
        assert_eq!(kinds(&ended.records())[kind], 2, "{fault}");
        assert_eq!(judgement.requests, 2, "{fault}");
        ended.says(kind);
    }
}

#[test]
fn a_slow_body_is_read_to_its_end_unless_it_takes_too_long() {
    let (ended, _) = always("drip", "--retries 0");
    assert_eq!(ended.with_code(0).records().len(), 2);
    let (ended, judgement) = always("drip", "--retries 0 --timeout 300ms");
    assert_eq!(kinds(&ended.with_code(1).records())["timeout"], 2);
    assert_eq!(judgement.requests, 2);
}
