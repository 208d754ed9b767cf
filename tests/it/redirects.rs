//! Redirects: not followed unless told, and nothing of the job's goes elsewhere.

use std::io::Write;

use serde_json::Value;
use throng_mock::Mock;

use crate::harness::{Ended, Place, plain_mock, raw_server, run};

const KEY: &str = "only-for-the-first-host";

/// One row is asked for at `/redirect`, with a key and a plain header.
fn redirected(mock: &Mock, status: u16, to: &str, flags: &str) -> Ended {
    let place = Place::new();
    let input = place.file("rows.csv", "id\nonly\n");
    run()
        .arg("--url", &format!("{}/redirect/{status}?to={to}", mock.url()))
        .arg("--header", "x-api-key: {{ env.KEY }}")
        .arg("--header", "x-row: {{ id }}")
        .arg("--header", "x-both: {{ id }}{{ env.KEY }}")
        .env("KEY", KEY)
        .arg("--input", &input)
        .flags(flags)
        .ends()
}

fn record(ended: &Ended) -> Value {
    ended.records()[0].clone()
}

/// The request that `/echo` saw last.
fn echoed(record: &Value) -> Value {
    serde_json::from_str(record["_body"].as_str().unwrap()).unwrap()
}

#[test]
fn they_are_not_followed_by_themselves() {
    let mock = plain_mock();
    let ended = redirected(&mock, 302, "/echo/there", "").with_code(1);
    let record = record(&ended);
    assert_eq!(record["_error"], "status 302");
    let detail = record["_detail"].as_str().unwrap();
    assert!(detail.contains("/echo/there") && detail.contains("--follow"), "{detail}");
    assert_eq!(mock.judgement().requests, 1);
}

/// Each text says what became of the redirect where the job follows some.
#[test]
fn a_redirect_that_is_not_followed_says_why() {
    let mock = plain_mock();
    let circle = format!("{}/redirect/302?to=/redirect/302%3Fto=/echo", mock.url());
    for (to, said) in [
        (
            circle.replace("%3F", "%253F").as_str(),
            "after as many redirects as send.follow (--follow)",
        ),
        ("ftp://files.example/x", "which is no http:// or https:// URL"),
        ("http://me:pw@127.0.0.1/x", "as it has a user or a password"),
    ] {
        let ended = redirected(&mock, 302, to, "--follow 1").with_code(1);
        let detail = record(&ended)["_detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("redirects to ") && detail.contains(said), "{detail}");
        assert!(!detail.contains("follows it"), "{detail}");
    }
    let addr = raw_server(|path, mut stream| {
        let answer: &[u8] = match path {
            "the%20re/%C3%A9" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            _ => b"HTTP/1.1 302 Found\r\nLocation: /the re/\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
        };
        stream.write_all(answer).ok()
    });
    let ended = run().flags(&format!("--url http://{addr}/x --follow 1")).exits(0);
    assert_eq!(ended.records()[0]["_body"], "{}", "a blank in an address is encoded");
}

#[test]
fn the_same_server_gets_the_same_headers() {
    let mock = plain_mock();
    let ended = redirected(&mock, 302, "/echo/there", "--follow 1").with_code(0);
    let record = record(&ended);
    let echo = echoed(&record);
    assert_eq!(echo["path"], "/echo/there");
    assert_eq!(echo["headers"]["x-row"][0], "only");
    // It was sent, but is not shown.
    assert_eq!(echo["headers"]["x-api-key"][0], "***");
    assert_eq!((&record["_status"], &record["_attempts"]), (&200.into(), &2.into()));
    assert_eq!(mock.judgement().requests, 2);
}

#[test]
fn another_server_gets_none_of_the_job_s_headers() {
    let (mock, other) = (plain_mock(), plain_mock());
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/echo/elsewhere", other.url());
        let ended = redirected(&mock, status, &to, "--follow 1").with_code(0);
        let echo = echoed(&record(&ended));
        assert_eq!(echo["path"], "/echo/elsewhere");
        let headers = echo["headers"].as_object().unwrap();
        for name in ["x-api-key", "x-row", "x-both"] {
            assert!(!headers.contains_key(name), "{status}: {echo}");
        }
    }
    assert_eq!(other.judgement().requests, 5);
}

#[test]
fn there_and_back_again_the_headers_stay_away() {
    let (mock, other) = (plain_mock(), plain_mock());
    let back = format!("{}/redirect/302?to={}/echo", other.url(), mock.url());
    let ended = redirected(&mock, 302, &back.replace('?', "%3F"), "--follow 2").with_code(0);
    let headers = echoed(&record(&ended))["headers"].clone();
    assert_eq!(headers.get("x-api-key"), None, "{headers}");
}

#[test]
fn a_body_goes_nowhere_else() {
    let (mock, other) = (plain_mock(), plain_mock());
    let to = format!("{}/echo", other.url());
    let ended = redirected(&mock, 307, &to, "--follow 1 --data secret=1").with_code(1);
    assert_eq!(record(&ended)["_error"], "status 307");
    assert_eq!(other.judgement().requests, 0);
}

#[test]
fn following_ends_and_each_hop_takes_a_permit() {
    let mock = plain_mock();
    let ended =
        redirected(&mock, 302, "/redirect/302?to=/echo".replace('?', "%3F").as_str(), "--follow 1");
    assert_eq!(record(&ended.with_code(1))["_error"], "status 302");
    assert_eq!(mock.judgement().requests, 2);
    let limited =
        throng_mock::Settings { limits: vec!["1/300ms".parse().unwrap()], ..Default::default() };
    let mock = crate::harness::mock(limited);
    let ended = redirected(&mock, 302, "/echo", "--follow 1 --rate 1/300ms").with_code(0);
    assert_eq!(record(&ended)["_attempts"], 2);
    assert_eq!(mock.judgement().refused, 0);
}
