//! Answers: unpacked within bounds, and taken apart.

use serde_json::Value;

use crate::harness::plain_mock;
use crate::verdicts::{ask, record};

#[test]
fn a_body_may_not_be_too_large_before_or_after_it_is_unpacked() {
    let mock = plain_mock();
    for encoding in ["", "?encoding=gzip", "?encoding=zstd"] {
        let path = format!("/bytes/5000{encoding}");
        let record_of = |flags: &str, code| record(&ask(&mock, &path, flags).with_code(code));
        let failed = record_of("--max-body 4999B", 1);
        assert_eq!(failed["_error"], "body too large", "{path}");
        assert_eq!((&failed["_attempts"], &failed["_status"]), (&1.into(), &200.into()));
        let ok = record_of("--max-body 5000B", 0);
        assert_eq!(ok["_body"].as_str().unwrap().len(), 5000, "{path}");
    }
}

#[test]
fn answers_are_unpacked() {
    let mock = plain_mock();
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let path = format!("/bytes/100000?encoding={encoding}");
        let ended = ask(&mock, &path, "--extract length=length");
        assert_eq!(record(&ended.with_code(0))["length"], 99_998, "{encoding}");
    }
    let ended = ask(&mock, "/echo", "--extract all=.headers[\"accept-encoding\"][0]");
    assert_eq!(record(&ended.with_code(0))["all"], "gzip, br, zstd, deflate");
}

#[test]
fn a_value_may_be_missing_only_where_its_name_says_so() {
    let mock = plain_mock();
    let ended = ask(&mock, "/echo", "--extract path=.path --extract no?=.none.such");
    let record_ = record(&ended.with_code(0));
    assert_eq!((&record_["path"], &record_["no"]), (&"/echo".into(), &Value::Null));
    let ended = ask(&mock, "/echo", "--extract path=.path --extract no=.none.such");
    let record_ = record(&ended.with_code(1));
    assert_eq!(record_["_error"], "missing no");
    assert_eq!((&record_["path"], &record_["_status"]), (&Value::Null, &200.into()));
    assert_eq!(mock.judgement().requests, 2);
}

#[test]
fn a_page_instead_of_json_says_how_it_begins() {
    let mock = plain_mock();
    let path = "/status/200?body=%3Chtml%3EBusy";
    let failed = record(&ask(&mock, path, "--extract a=.a").with_code(1));
    assert_eq!(failed["_error"], "not json");
    let detail = failed["_detail"].as_str().unwrap();
    assert!(detail.contains("<html>Busy"), "{detail}");
    // Where nothing is extracted nobody needs JSON.
    let kept = record(&ask(&mock, path, "").with_code(0));
    assert_eq!(kept["_body"], "<html>Busy");
}
