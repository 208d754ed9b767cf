//! What a server counts, and from when to when: windows that end at a reset that it
//! tells or at some midnight, and answers that cost nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use throng_mock::Settings;

use crate::counted::{Counted, Left, go, serve};
use crate::harness::{Place, assert_one_record_per_row, each, mock, run, symbols, until};
use crate::recorder::{answer, json};

/// The most that were sent within any so many seconds, by the records.
fn most_sent(records: &[Value], seconds: f64) -> usize {
    let attempts = records.iter().filter_map(|record| record["_arrived"].as_array());
    let mut sent: Vec<f64> = attempts.flatten().filter_map(|at| at[0].as_f64()).collect();
    sent.sort_by(f64::total_cmp);
    let within = |from: &f64| sent.iter().filter(|at| (*from..from + seconds).contains(at)).count();
    sent.iter().map(within).max().unwrap_or(0)
}

#[test]
fn a_window_ends_when_the_server_says_so() {
    let counted = Arc::new(Counted::new(5, Duration::from_secs(1)));
    let (place, count) = (Place::new(), counted.clone());
    let server = serve(move |_| match count.count() {
        Left(Some(left), rest) => {
            let (left, rest) = (left.to_string(), rest.as_secs_f64().ceil().to_string());
            let headers = [
                ("X-RateLimit-Limit", "5"),
                ("X-RateLimit-Remaining", &*left),
                ("X-RateLimit-Reset", &*rest),
            ];
            answer("200 OK", &headers, "{}")
        }
        Left(None, _) => answer("429 Too Many Requests", &[], "{}"),
    });
    // Without the resets, the second five would wait for an hour.
    let job = "[limit]\nrate = { rate = \"5/1h@reset\", skew = \"100ms\" }";
    let ended = go(&place, &server, 15, job, 0);
    assert_one_record_per_row(&ended.records(), 15);
    assert_eq!(counted.refused(), 0);
}

/// A zone in which it is somewhere near noon.
fn zone_at_noon() -> String {
    let hour = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    // The signs of these are the other way round.
    format!("Etc/GMT{:+}", hour - 12)
}

#[test]
fn a_day_in_a_zone_has_no_more_than_its_share_until_midnight() {
    let (place, mock) = (Place::new(), mock(Settings::default()));
    let running = run()
        .quotes(&mock.url())
        .arg("--input", &place.file("rows.csv", &symbols(9)))
        .arg("--output", &place.path("out.jsonl"))
        .arg("--rate", &format!("4/1d@{}", zone_at_noon()))
        .start();
    let written = || std::fs::read_to_string(place.path("out.jsonl")).unwrap_or_default();
    until("the day's share", || written().matches('\n').count() == 4);
    running.signal("-INT");
    running.ends().with_code(130);
    assert_eq!(mock.judgement().requests, 4);
}

#[test]
fn failures_that_a_server_does_not_count_give_their_share_back() {
    let counted = Arc::new(Counted::new(4, Duration::from_secs(2)));
    let (place, count) = (Place::new(), counted.clone());
    let turn = AtomicUsize::new(0);
    let server = serve(move |_| {
        let fails = turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        match fails || count.count().0.is_some() {
            true if fails => answer("500 Internal Server Error", &[], "{}"),
            true => json("{}"),
            false => answer("429 Too Many Requests", &[], "{}"),
        }
    });
    let job = "[limit]\nrate = \"4/2s\"\nuncounted = [\"failed\"]";
    let records = go(&place, &server, 16, job, 1).records();
    assert_one_record_per_row(&records, 16);
    assert_eq!(counted.refused(), 0);
    let most = most_sent(&records, 2.0);
    assert!(most > 4, "no more than {most} were sent in 2 s");
}

#[test]
fn so_do_refusals() {
    let counted = Arc::new(Counted::new(4, Duration::from_secs(2)));
    let (place, count) = (Place::new(), counted.clone());
    let turn = AtomicUsize::new(0);
    let server = serve(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        ..3 => answer("429 Too Many Requests", &[("Retry-After", "0")], "{}"),
        _ if count.count().0.is_some() => json("{}"),
        _ => answer("429 Too Many Requests", &[], "{}"),
    });
    let job = "[limit]\nrate = \"4/2s\"\nshape = \"burst\"\nuncounted = [\"refused\"]";
    let records = go(&place, &server, 8, job, 0).records();
    assert_one_record_per_row(&records, 8);
    assert_eq!(counted.refused(), 0);
    let attempts: u64 = each(&records, "_attempts").iter().filter_map(Value::as_u64).sum();
    assert_eq!(attempts, 11);
    let most = most_sent(&records, 2.0);
    assert!(most > 4, "no more than {most} were sent in 2 s");
}
