//! Refusals: the server is stricter than the job, says so in one way or another, and
//! no row is lost over it.

use std::thread;

use throng_mock::{Mock, Refusal, Settings};

use crate::harness::{
    Place, assert_attempts_are_the_server_s, assert_one_record_per_row, each, mock, plain_mock,
    run, symbols,
};

const ROWS: usize = 20;

/// It takes half of what the job sends at once, and longer than the pause that
/// is made where none is named.
fn stricter(refusal: Refusal) -> Mock {
    mock(Settings { limits: vec!["10/2s".parse().unwrap()], refusal, ..Settings::default() })
}

/// Everything is sent at once, half of it is refused, and then nothing is sent
/// until the server wants it.
fn assert_waits(refusal: Refusal) {
    let (place, mock) = (Place::new(), stricter(refusal));
    let input = place.file("rows.csv", &symbols(ROWS));
    let summary = place.path("summary.json");
    let ended = run()
        .quotes(&mock.url())
        .arg("--input", &input)
        .flags("--rate 40/1s --workers 2 --retries 0")
        .arg("--summary-json", &summary)
        .exits(0);
    let records = ended.records();
    assert_one_record_per_row(&records, ROWS);
    assert_attempts_are_the_server_s(&records, &mock);
    let judgement = mock.judgement();
    assert!(judgement.refused > 0, "{judgement:?}");
    assert_eq!(judgement.requests, ROWS as u64 + judgement.refused);
    let summary = place.json("summary.json");
    assert_eq!(summary["refused"], judgement.refused);
    assert_eq!(summary["requests"], judgement.requests);
    if refusal != Refusal::Bare {
        // Only what was in flight when the gate closed.
        assert!(judgement.refused <= 10, "{judgement:?}");
    }
}

#[test]
fn a_pause_in_seconds_as_a_date_or_left_unsaid_is_waited_for() {
    thread::scope(|threads| {
        for refusal in [Refusal::RetryAfterSeconds, Refusal::RetryAfterDate, Refusal::Bare] {
            threads.spawn(move || assert_waits(refusal));
        }
    });
}

#[test]
fn a_503_that_names_a_pause_uses_no_retry_up() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(3));
    let url = format!("{}/flaky/1/{{{{ symbol }}}}?status=503&retry_after=1", mock.url());
    let ended = run()
        .arg("--url", &url)
        .arg("--input", &input)
        .flags("--retries 0 --extract tries=.tries")
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "tries"), [2, 2, 2]);
    assert_eq!(each(&records, "_attempts"), [2, 2, 2]);
}

#[test]
fn a_pause_that_can_t_be_read_is_told() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(1));
    let url = format!("{}/flaky/1/{{{{ symbol }}}}?status=503&retry_after=NaN", mock.url());
    let ended = run().arg("--url", &url).arg("--input", &input).exits(0);
    ended.says("ignored header: retry-after: \"NaN\" is no pause");
}

#[test]
fn a_pause_that_is_too_long_stops_the_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(30));
    let output = place.path("out.jsonl");
    let url = format!("{}/status/429?retry_after=7200", mock.url());
    let ended = run()
        .arg("--url", &url)
        .arg("--input", &input)
        .arg("--output", &output)
        .flags("--mode sync --workers 1")
        .exits(3);
    ended.says("2h").says("--max-wait");
    assert_eq!(mock.judgement().requests, 1);
    assert!(!std::fs::exists(&output).unwrap(), "it holds nothing");
}

#[test]
fn refusals_of_requests_in_flight_together_count_as_one() {
    let (place, mock) = (Place::new(), stricter(Refusal::RetryAfterSeconds));
    run()
        .quotes(&mock.url())
        .arg("--input", &place.file("rows.csv", &symbols(ROWS)))
        .flags("--rate 40/1s --max-refusals 1")
        .exits(0);
    assert!(mock.judgement().refused > 1, "{:?}", mock.judgement());
}

#[test]
fn a_server_that_only_refuses_stops_the_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(30));
    let ended = run()
        .arg("--url", &format!("{}/status/429?retry_after=0", mock.url()))
        .arg("--input", &input)
        .flags("--mode sync --workers 1 --max-refusals 5")
        .exits(3);
    ended.says("refused 6 times in a row").says("is the rate right");
    assert_eq!(mock.judgement().requests, 6);
    assert_eq!(ended.stdout, "");
}
