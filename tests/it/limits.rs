//! Limits: the server never counts more than it allows, whoever sends and however.

use std::thread;

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{
    Place, assert_attempts_are_the_server_s, assert_one_record_per_row, each, mock, run, symbols,
    until,
};

fn far_away(limits: &[&str]) -> Mock {
    mock(Settings {
        limits: limits.iter().map(|limit| limit.parse().unwrap()).collect(),
        latency: "lognormal:30ms:0.6".parse().unwrap(),
        ..Settings::default()
    })
}

/// Runs with these flags; all rows must be ok, and the server content.
#[track_caller]
fn assert_keeps(limits: &[&str], rows: usize, flags: &str) -> Vec<Value> {
    let (place, mock) = (Place::new(), far_away(limits));
    let input = place.file("rows.csv", &symbols(rows));
    let mut throng = run().quotes(&mock.url()).arg("--input", &input);
    for limit in limits {
        throng = throng.arg("--rate", limit);
    }
    let ended = throng.flags(flags).arg("--summary-json", &place.path("summary.json")).exits(0);
    let records = ended.records();
    assert_one_record_per_row(&records, rows);
    assert!(each(&records, "_ok").iter().all(|ok| ok == true), "{flags}");
    assert_attempts_are_the_server_s(&records, &mock);
    let judgement = mock.judgement();
    assert_eq!((judgement.refused, judgement.requests), (0, rows as u64));
    for window in &judgement.windows {
        assert!(window.most <= u64::from(window.units), "{flags}: {window:?}");
    }
    let summary = place.json("summary.json");
    summary["limits"].as_array().unwrap().clone()
}

#[test]
fn sync_and_async_with_one_two_and_four_workers_keep_it() {
    thread::scope(|threads| {
        for mode in ["sync", "async"] {
            for workers in [1, 2, 4] {
                threads.spawn(move || {
                    let flags = format!("--mode {mode} --workers {workers}");
                    let limits = assert_keeps(&["10/500ms"], 60, &flags);
                    assert_eq!(limits[0]["units_allowed"], 10);
                    assert!(limits[0]["most_in_window"].as_u64() <= Some(10));
                });
            }
        }
    });
}

#[test]
fn several_limits_hold_at_once() {
    let limits = assert_keeps(&["5/200ms", "12/1s"], 30, "--workers 2");
    let rates: Vec<&str> = limits.iter().map(|limit| limit["rate"].as_str().unwrap()).collect();
    assert_eq!(rates, ["5/200ms", "12/1s"]);
}

#[test]
fn sync_has_one_request_in_flight_for_each_worker_and_async_more() {
    let place = Place::new();
    let input = place.file("rows.csv", &symbols(30));
    for (flags, most) in [
        ("--mode sync --workers 1", 1),
        ("--mode sync --workers 3", 3),
        ("--mode async --workers 2 --concurrency 4", 8),
    ] {
        let mock = far_away(&[]);
        run().quotes(&mock.url()).arg("--input", &input).flags(flags).exits(0);
        let seen = mock.judgement().most_in_flight;
        assert!(seen <= most, "{flags}: {seen}");
        assert!(most <= 3 || seen > 3, "{flags} only had {seen} in flight");
    }
}

#[test]
fn what_was_sent_before_an_interruption_is_not_sent_over_by_the_next_run() {
    let (place, mock) = (Place::new(), far_away(&["8/2s"]));
    let flags = "--rate 8/2s --mode async";
    let first = run().quotes(&mock.url()).files(&place, 40, "out.jsonl").flags(flags).start();
    // Two windows are full, and the times of the first are noted later than they were.
    until("two windows", || mock.judgement().requests == 16);
    first.signal("-INT");
    first.ends().with_code(130);
    let next = run()
        .quotes(&mock.url())
        .files(&place, 40, "out.jsonl")
        .flags(flags)
        .flags("--resume --take 24");
    next.exits(0).says("at most 8 can have arrived in any 2 s");
    let judgement = mock.judgement();
    assert_eq!((judgement.refused, judgement.windows[0].most), (0, 8));
}
