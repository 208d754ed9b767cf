//! Runs that end before their last row, so that they can go on: a wait that is too long, and a
//! deadline.

use serde_json::json;
use throng::internals::simulate::ModelRun;
use throng::{Job, Plan};
use throng_mock::Settings;

use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, mock, plain_mock, run, symbols,
};
use crate::recorder::{Recorder, answer};

const ROWS: usize = 9;

/// Runs of one place share what they keep of limits.
fn quotes(place: &Place, server: &str, flags: &str) -> Throng {
    let state = place.path("state");
    let throng = run().quotes(server).files(place, ROWS, "out.jsonl");
    throng.env("XDG_STATE_HOME", &state).env("TZ", "UTC").flags(flags)
}

#[test]
fn a_wait_for_a_limit_of_the_job_that_is_too_long_ends_the_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = |flags: &str| quotes(&place, &mock.url(), flags).flags("--rate 3/1d --max-wait 1s");
    let ended = job("--workers 2").exits(3);
    ended
        .says("would have to wait for 3/1d ")
        .says("longer than 1s (retry.max-wait or --max-wait)");
    ended.says("go on after 20").says(" UTC (1 d) with --resume").says("goes on with");
    assert_eq!(each(&place.records("out.jsonl"), "_attempts"), [1, 1, 1]);
    // The next run of the day sends nothing, and says the same.
    job("--resume").exits(3).says(" with --resume");
    assert_eq!(mock.judgement().requests, 3);
    // With the time to wait, or a limit that is not used up, it goes on.
    let more = quotes(&place, &mock.url(), "--resume --rate 100/1s --max-wait 1s");
    more.exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_limit_with_edges_names_the_time_in_its_zone() {
    let (place, mock) = (Place::new(), plain_mock());
    let flags = "--rate 3/1d@America/Los_Angeles --max-wait 1s";
    let ended = quotes(&place, &mock.url(), flags).exits(3);
    assert!(ended.stderr.contains("go on after 00:00:0"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" PST (") || ended.stderr.contains(" PDT ("), "{}", ended.stderr);
}

#[test]
fn a_wait_that_is_short_enough_is_waited_for() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock.url(), "--rate 3/1s --max-wait 2s").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_unit_that_comes_back_was_no_long_wait() {
    // The connection to each first request's host is refused, so that its unit comes back.
    let (place, mock) = (Place::new(), plain_mock());
    let input =
        place.file("rows.csv", &format!("url\nhttp://127.0.0.1:1/\n{}/echo/1\n", mock.url()));
    let ended = run()
        .arg("--url", "{{ url }}")
        .arg("--input", &input)
        .flags("--rate 1/1d --max-wait 1s --retries 0 --workers 1 --allow-private")
        .exits(1);
    ended.says("2 rows: 1 ok, 1 failed");
}

/// Says that nothing is left for 20 hours.
fn exhausted() -> Recorder {
    Recorder::answering(|_| {
        let headers = [("x-ratelimit-limit", "50"), ("x-ratelimit-remaining", "0")];
        answer("200 OK", &[headers[0], headers[1], ("x-ratelimit-reset", "72000")], "{}")
    })
}

#[test]
fn a_wait_that_headers_ask_for_ends_the_run_if_it_is_too_long() {
    let server = exhausted();
    for flags in ["--mode sync", "--concurrency 2", "--concurrency 3 --rate 100/1s"] {
        let place = Place::new();
        let input = place.file("rows.csv", &symbols(ROWS));
        let throng = run().arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()));
        let throng = throng.arg("--input", &input).arg("--output", &place.path("out.jsonl"));
        let ended = throng.env("TZ", "UTC").flags("--workers 1").flags(flags).exits(3);
        ended.says("would have to wait for the server").says("longer than 1h (retry.max-wait or");
        ended.says(" UTC (20 h) with --resume").says("--no-headers NAME ignores one");
        assert!(!place.records("out.jsonl").is_empty());
    }
}

#[test]
fn a_header_that_is_wrong_is_ignored() {
    let server = exhausted();
    let job = |flags: &str| {
        let throng = run().arg("--url", &format!("{}/1", server.url()));
        throng.flags("--mode sync --workers 1 --take 3 --input -").flags(flags)
    };
    let rows = |throng: Throng| throng.with_stdin("symbol\nA\nB\nC\n").ends();
    for flags in ["x-ratelimit-reset", "X-RateLimit-Remaining", "all"] {
        rows(job("--format csv --no-headers").flags(flags)).with_code(0).says("3 ok");
    }
    let ended = rows(job("--format csv --no-headers ratelimit-reset")).with_code(3);
    ended.says("--no-headers NAME ignores one");
    let ended = rows(job("--format csv --no-headers x-rate-reset")).with_code(2);
    ended.says("throng reads no header \"x-rate-reset\" (no-headers, --no-headers)");
}

#[test]
fn a_reset_in_milliseconds_is_rescaled() {
    let server = exhausted();
    let place = Place::new();
    let signal = "limit = 'x-ratelimit-limit'\nremaining = 'x-ratelimit-remaining'\nreset = 'x-ratelimit-reset'\nreset-unit = '1us'";
    let job = place.file("job.toml", &format!("[[signal]]\n{signal}"));
    let input = place.file("rows.csv", &symbols(3));
    let throng = run().flags(&job).arg("--url", &format!("{}/1", server.url()));
    // 72 ms: after each of them, one request goes.
    throng.arg("--input", &input).flags("--mode sync --workers 1").exits(0).says("3 ok");
}

#[test]
fn a_deadline_ends_the_run_and_answers_in_flight_come_in() {
    let (place, mock) =
        (Place::new(), mock(Settings { latency: "300ms".parse().unwrap(), ..Settings::default() }));
    let flags = "--rate 2/1s --workers 1 --deadline 1200ms";
    let ended = quotes(&place, &mock.url(), flags).exits(3);
    ended.says("the deadline (1s200ms after the start; workers.deadline or --deadline) has come");
    ended.says("go on with --resume");
    let records = place.records("out.jsonl");
    assert_eq!(records.len() as u64, mock.judgement().requests);
    assert!(records.len() < ROWS && records.iter().all(|record| record["_ok"] == true));
    quotes(&place, &mock.url(), "--resume --deadline 1h").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_deadline_is_a_time_that_is_still_to_come() {
    let (place, mock) = (Place::new(), plain_mock());
    for (deadline, why) in [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z has passed"),
        ("soon", "\"soon\" is no deadline: write a duration such as 2h30m, a time of day"),
    ] {
        let throng = quotes(&place, &mock.url(), "").arg("--deadline", deadline);
        throng.exits(2).says("workers.deadline (--deadline): ").says(why);
    }
    assert_eq!(mock.judgement().requests, 0);
}

/// This job with 1,000 rows, in virtual time; why it stopped, and how many rows are done.
fn simulated(job: serde_json::Value) -> (Option<String>, u64) {
    let mut job = job;
    job["input"] = json!({"list": vec![json!({"id": 1}); 1_000]});
    job["request"] = json!({"url": "http://model/{{ id }}"});
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let server = Settings { latency: "200ms".parse().unwrap(), ..Settings::default() };
    let model = ModelRun::new(Plan::new(&job, &|_| None).unwrap(), &[server], 1.0).unwrap();
    (model.run.stopped, model.run.ok)
}

#[test]
fn in_virtual_time_both_end_a_run_after_hours() {
    let (stopped, ok) =
        simulated(json!({"limit": {"rate": "60/1h"}, "workers": {"deadline": "9h30m"}}));
    assert_eq!(ok, 600);
    assert!(stopped.unwrap().starts_with("the deadline (9h30m after the start"));
    // Each window but the last one ends soon enough.
    let rates = json!(["60/1h", "300/1d"]);
    let (stopped, ok) = simulated(json!({"limit": {"rate": rates}, "retry": {"max-wait": "2h"}}));
    assert_eq!(ok, 300);
    let stopped = stopped.unwrap();
    assert!(stopped.contains("wait for 300/1d") && stopped.contains("(20 h"), "{stopped}");
    let (stopped, ok) = simulated(json!({"limit": {"rate": "300/1d"}}));
    assert_eq!((stopped, ok), (None, 1_000));
}
