//! What people have reported of answers that say why they refuse: the run tells it in the
//! server's words, and goes on or ends as it should.

use crate::harness::{Place, Throng, each, plain_mock, run};
use crate::recorder::Recorder;

/// A server that gives the same answer to everything.
fn always(name: &str) -> Recorder {
    let path = format!("{}/tests/cases/answers/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let answer = std::fs::read_to_string(path).unwrap();
    Recorder::answering(move |_| answer.clone())
}

/// A run of three rows, one after the other.
fn ask(server: &Recorder, place: &Place) -> Throng {
    let rows = place.file("rows.csv", "id\na\nb\nc\n");
    let url = format!("{}/{{{{ id }}}}", server.url());
    run().arg("--url", &url).arg("--input", &rows).flags("--mode sync --workers 1 -e price=.price")
}

#[test]
fn a_long_list_of_what_is_wrong_is_kept_whole() {
    let (server, place) = (always("err422"), Place::new());
    let records = ask(&server, &place).exits(1).records();
    assert_eq!(each(&records, "_error"), ["status 422"; 3]);
    let said = records[0]["_body"].as_str().unwrap();
    assert!(said.starts_with("{\"detail\": [{\"loc\": [\"body\", \"f0\"]"), "{said}");
    assert!(said.ends_with(", \"code\": \"LAST\"}"), "{said}");
}

#[test]
fn a_quota_that_is_gone_is_told_in_the_server_s_words() {
    let (server, place) = (always("quota429"), Place::new());
    let ended = ask(&server, &place).flags("--max-refusals 1").exits(3);
    ended.says("the server refused 2 times in a row").says("You exceeded your current quota");
    assert_eq!(server.came().len(), 2);
}

#[test]
fn a_header_that_says_wait_is_no_slow_input() {
    let (server, place) = (always("rl_two_1"), Place::new());
    let ended = ask(&server, &place).flags("--max-wait 1h").exits(3);
    ended.says("would have to wait for the server for longer than 1h");
    assert!(!ended.stderr.contains("bound by the input"), "{}", ended.stderr);
    assert_eq!(server.came().len(), 1);
}

#[test]
fn codes_that_mean_that_nothing_is_there_are_asked_for_once() {
    let (mock, place) = (plain_mock(), Place::new());
    let codes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/codes.csv");
    let ask = |flags: &str| {
        run()
            .arg("--url", &format!("{}/status/{{{{ code }}}}", mock.url()))
            .arg("--input", codes)
            .arg("--output", &place.path("out.jsonl"))
            .arg("--answer", "404,410 = missing")
            .flags("--retries 0 -e v?=.v")
            .flags(flags)
            .exits(1)
    };
    ask("").says("4 ok (2 missing), 1 failed");
    assert_eq!(mock.judgement().requests, 5);
    ask("--retry-failed");
    assert_eq!(mock.judgement().requests, 6);
}
