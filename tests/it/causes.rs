//! Why it waits: the summary says what the time went to, and what would help.
//! That it adds up is asserted wherever a test reads a summary.

use std::time::{Duration, Instant};

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{Ended, Place, Throng, mock, plain_mock, run, symbols, until};

fn slow(latency: &str) -> Mock {
    mock(Settings { latency: latency.parse().unwrap(), ..Settings::default() })
}

fn quotes(place: &Place, mock: &Mock, rows: usize) -> Throng {
    let input = place.file("rows.csv", &symbols(rows));
    summarized(place, run().quotes(&mock.url())).arg("--input", &input)
}

fn summarized(place: &Place, throng: Throng) -> Throng {
    throng.arg("--summary-json", &place.path("summary.json"))
}

/// The cause is listed, by this name if it has one; where it comes first, so is what
/// would help. Gives what is advised. How large the shares are is judged in virtual
/// time, where nothing else takes time.
#[track_caller]
fn lists(place: &Place, ended: &Ended, cause: &str, name: Option<&str>, help: &str) -> String {
    let summary = place.json("summary.json");
    let causes = summary["causes"].as_array().unwrap();
    let is_it = |it: &Value| it["cause"] == cause && it["name"].as_str() == name;
    let rank = causes.iter().position(is_it);
    assert!(rank.is_some(), "no {cause} {name:?} in {causes:?}");
    let advice = summary["why"].as_str().unwrap_or_default().to_owned();
    ended.says(&advice).says("time went to: ");
    assert!(rank != Some(0) || advice.contains(help), "{advice}");
    advice
}

#[test]
fn a_limit_that_binds_is_named() {
    let (place, mock) = (Place::new(), slow("5ms"));
    let flags = "--rate 5/500ms --rate 1000/1m --workers 2";
    let ended = quotes(&place, &mock, 20).flags(flags).exits(0);
    let help = "more workers will not help; a second key would halve it";
    lists(&place, &ended, "limit", Some("5/500ms"), help);
}

#[test]
fn limits_of_keys_and_of_what_is_in_flight_are_told_apart() {
    let (place, mock) = (Place::new(), slow("100ms"));
    for (flags, name, help) in [
        ("--rate 1000/1s --in-flight 1", "1 in flight", "more requests in flight, if"),
        ("--rate 2/500ms --per {{request.host}}", "2/500ms", "rows of more keys"),
    ] {
        let throng = quotes(&place, &mock, 11).flags("--workers 1").flags(flags);
        lists(&place, &throng.exits(0), "limit", Some(name), help);
    }
}

#[test]
fn requests_without_an_answer_are_told_from_the_limit_whose_units_they_hold() {
    let (place, mock) = (
        Place::new(),
        mock(Settings { faults: "drop=20%".parse().unwrap(), ..Settings::default() }),
    );
    let flags = "--rate 5/500ms --workers 1 --linger 1s --retries 9";
    let ended = quotes(&place, &mock, 20).flags(flags).exits(0);
    lists(&place, &ended, "linger", Some("5/500ms"), "--linger");
    ended.says("each counted for 1 s more");
}

#[test]
fn a_server_that_is_slow_is_told_from_a_limit() {
    let (place, mock) = (Place::new(), slow("250ms"));
    let ended = quotes(&place, &mock, 6).flags("--mode sync --workers 1 --rate 100/1s").exits(0);
    lists(&place, &ended, "server", None, "--mode async");
}

#[test]
fn pauses_that_the_server_asks_for_and_those_before_retries_are_told_apart() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(20));
    for (route, cause, help) in [
        ("1/p{{ symbol }}?status=429&retry_after=2", "pause", "a lower rate"),
        ("3/r{{ symbol }}?status=503", "retries", "fewer failed attempts"),
    ] {
        let url = format!("{}/flaky/{route}", mock.url());
        let throng = summarized(&place, run().arg("--url", &url)).arg("--input", &input);
        let ended = throng.flags("--workers 1 --retries 5").exits(0);
        lists(&place, &ended, cause, None, help);
    }
}

#[test]
fn a_slow_input_is_told() {
    let (place, mock) = (Place::new(), plain_mock());
    let throng = summarized(&place, run().quotes(&mock.url()));
    let mut running = throng.flags("--input - --format csv").with_open_stdin();
    running.feed("symbol\nA\n");
    until("a request", || mock.judgement().requests == 1);
    let begun = Instant::now();
    until("two seconds", || begun.elapsed() > Duration::from_secs(2));
    running.close_stdin();
    let ended = running.ends().with_code(0);
    lists(&place, &ended, "input", None, "rows come no faster");
}

#[test]
fn a_run_that_is_stopped_while_it_waits_says_when_it_could_go_on() {
    let (place, mock) = (Place::new(), plain_mock());
    let throng = quotes(&place, &mock, 9).flags("--rate 3/1d --workers 1");
    // A zone without a clock that is changed: a day later is a day later.
    let throng = throng.env("TZ", "UTC");
    let today = jiff::Timestamp::now();
    let running = throng.start();
    until("all that is allowed", || mock.judgement().requests == 3);
    let begun = Instant::now();
    until("two seconds", || begun.elapsed() > Duration::from_secs(2));
    running.signal("-INT");
    let ended = running.ends().with_code(130);
    let advice = lists(&place, &ended, "limit", Some("3/1d"), "bound by 3/1d");
    // The first was sent somewhere between then and now, and skew is less than 100 s.
    let dates = [(today, 86_400), (jiff::Timestamp::now(), 86_500)].map(|(time, seconds)| {
        let free = time + jiff::SignedDuration::from_secs(seconds);
        format!("; available again at {} ", free.strftime("%Y-%m-%d"))
    });
    assert!(dates.iter().any(|date| advice.contains(date)), "{dates:?}: {advice}");
}
