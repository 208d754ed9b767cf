//! Verdicts: what an answer, or none, means for its row.

use serde_json::Value;
use throng_mock::Mock;

use crate::harness::{Ended, Place, Throng, each, plain_mock, run};

/// Asks for this path with one row.
fn one_row(mock: &Mock, path: &str) -> (Place, Throng) {
    let place = Place::new();
    let input = place.file("rows.csv", "id\nonly\n");
    let throng = run().arg("--url", &format!("{}{path}", mock.url())).arg("--input", &input);
    (place, throng)
}

pub fn ask(mock: &Mock, path: &str, flags: &str) -> Ended {
    let (_place, throng) = one_row(mock, path);
    throng.flags(flags).ends()
}

#[track_caller]
pub fn record(ended: &Ended) -> Value {
    let records = ended.records();
    assert_eq!(records.len(), 1, "{}", ended.stderr);
    records[0].clone()
}

#[test]
fn what_may_pass_is_tried_again() {
    let mock = plain_mock();
    let ended = ask(&mock, "/flaky/1/a", "--extract tries=.tries").with_code(0);
    let record = record(&ended);
    assert_eq!((&record["tries"], &record["_attempts"]), (&2.into(), &2.into()));
    assert_eq!(record["_status"], 200);
    assert_eq!(mock.judgement().requests, 2);
}

#[test]
fn tries_end_with_the_number_that_is_allowed() {
    let mock = plain_mock();
    for (retries, attempts) in [(0, 1), (2, 3)] {
        mock.reset();
        let ended = ask(&mock, "/flaky/9/a", &format!("--retries {retries}")).with_code(1);
        let record = record(&ended);
        assert_eq!(record["_error"], "status 503");
        assert_eq!(record["_attempts"], attempts);
        assert_eq!(mock.judgement().requests, attempts);
    }
}

#[test]
fn what_will_not_pass_fails_at_once() {
    let mock = plain_mock();
    for status in [400, 401, 404, 422] {
        mock.reset();
        let path = format!("/status/{status}?body=no+such+thing");
        let record = record(&ask(&mock, &path, "").with_code(1));
        assert_eq!(record["_error"], format!("status {status}"));
        assert_eq!(record["_status"], status);
        assert_eq!(record["_detail"], "no such thing");
        assert_eq!(mock.judgement().requests, 1);
    }
}

#[test]
fn a_post_that_may_have_landed_is_not_sent_again_unless_told() {
    let mock = plain_mock();
    for (path, flags, attempts, kind) in [
        ("/status/500", "", 1, "status 500"),
        ("/drop", "", 1, "outcome unknown"),
        ("/slow/60000", "--timeout 100ms", 1, "outcome unknown"),
        ("/status/500", "--resend-unknown --retries 1", 2, "status 500"),
        ("/drop", "--resend-unknown --retries 1", 2, "connection lost"),
    ] {
        mock.reset();
        let ended = ask(&mock, path, &format!("--method POST {flags}")).with_code(1);
        let record = record(&ended);
        assert_eq!((&record["_error"], &record["_attempts"]), (&kind.into(), &attempts.into()));
        assert_eq!(mock.judgement().requests, attempts, "{path} {flags}");
    }
}

#[test]
fn a_get_that_may_have_landed_is_sent_again() {
    let mock = plain_mock();
    let record = record(&ask(&mock, "/drop", "--retries 1").with_code(1));
    assert_eq!(record["_error"], "connection lost");
    assert_eq!(record["_status"], Value::Null);
    assert_eq!((&record["_attempts"], mock.judgement().requests), (&2.into(), 2));
}

#[test]
fn an_answer_that_takes_too_long_is_a_timeout() {
    let mock = plain_mock();
    let ended = ask(&mock, "/slow/60000", "--timeout 200ms --retries 0").with_code(1);
    let record = record(&ended);
    assert_eq!(record["_error"], "timeout");
    assert_eq!(record["_detail"], "no answer within 200ms (send.timeout or --timeout)");
}

#[test]
fn a_row_that_makes_no_request_fails_without_one() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "id\na\n..\nb\n");
    let ended = run()
        .arg("--url", &format!("{}/echo/{{{{ id }}}}/x", mock.url()))
        .arg("--input", &input)
        .exits(1);
    let records = ended.records();
    assert_eq!(each(&records, "_error"), [Value::Null, "input".into(), Value::Null]);
    assert_eq!(each(&records, "_attempts"), [1, 0, 1]);
    assert_eq!(mock.judgement().requests, 2);
}
