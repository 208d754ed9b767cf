//! Requests that may have been done: none reaches the server twice without consent.

use std::collections::BTreeSet;
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use throng_mock::{Fault, Faults, Mock, Settings};

use crate::counted::serve;
use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, mock, plain_mock, repetitions, run,
    run_undisturbed, until,
};
use crate::recorder::answer;

const ROWS: usize = 150;

fn post(place: &Place, mock: &Mock) -> Throng {
    run()
        .quotes(&mock.url())
        .files(place, ROWS, "out.jsonl")
        .flags("--method POST --workers 2 --concurrency 3")
}

fn clumsy() -> Mock {
    mock(Settings {
        latency: "2ms".parse().unwrap(),
        faults: Faults { rates: vec![(Fault::DropBefore, 0.1), (Fault::ServerError, 0.1)] },
        ..Settings::default()
    })
}

#[test]
fn a_post_reaches_the_server_once_whatever_crashes() {
    let (mut chance, mut killed) = (StdRng::seed_from_u64(4), 0);
    let kills = repetitions(40, 300);
    let (place, mock) = (Place::new(), clumsy());
    let (_, within) = run_undisturbed(post(&place, &mock), &mock);
    let mut while_sending = 0;
    while killed < kills {
        let (place, mock) = (Place::new(), clumsy());
        loop {
            let is_there = std::fs::exists(place.path("out.jsonl")).unwrap();
            let how = if is_there { "--resume" } else { "" };
            let before = mock.judgement().requests;
            let running = post(&place, &mock).flags(how).start();
            // Once it was killed often enough, it comes to its end.
            if killed < kills {
                thread::sleep(within.mul_f64(chance.random_range(0.0..1.0)));
                running.signal("-KILL");
            }
            match running.ends().code {
                None => {
                    killed += 1;
                    while_sending += usize::from(mock.judgement().requests > before);
                }
                Some(_) => break,
            }
        }
        assert_no_row_was_done_twice(&place, &mock);
        assert!(!std::fs::exists(place.path("out.jsonl.intents")).unwrap());
    }
    assert!(while_sending > 0, "all {kills} kills fell before a request");
}

fn assert_no_row_was_done_twice(place: &Place, mock: &Mock) {
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    let counts = mock.judgement().symbols;
    for record in records {
        let arrived = counts.get(record["symbol"].as_str().unwrap()).copied().unwrap_or(0);
        let expected = match record["_error"].as_str() {
            None | Some("status 500") => 1..=1,
            Some("outcome unknown") => 0..=1,
            Some(_) => panic!("{record}"),
        };
        assert!(expected.contains(&arrived), "{arrived} times: {record}");
    }
}

#[test]
fn what_was_sent_before_a_crash_is_in_doubt_and_sent_again_only_with_consent() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |wait: &str| {
        run()
            .arg("--url", &format!("{}/slow/{{{{ env.WAIT }}}}?{{{{ symbol }}}}", mock.url()))
            .env("WAIT", wait)
            .files(&place, 4, "out.jsonl")
            .flags("--method POST")
    };
    let running = ask("60000").start();
    until("four requests", || mock.judgement().requests == 4);
    running.signal("-KILL");
    running.ends();
    let ended = ask("0").flags("--resume").exits(1);
    ended.says("4 rows were sent and may have been done");
    assert_eq!(mock.judgement().requests, 4);
    assert_eq!(each(&place.records("out.jsonl"), "_error"), ["outcome unknown"; 4]);
    ask("0").flags("--retry-failed").exits(1).says("4 more done before, of which 4 failed");
    assert_eq!(mock.judgement().requests, 4);
    ask("0").flags("--retry-failed --resend-unknown").exits(0);
    assert_eq!(mock.judgement().requests, 8);
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; 4]);
}

#[test]
fn rows_that_failed_before_a_crash_are_in_no_doubt() {
    for key in ["", "--key symbol"] {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |code: &str, wait: &str| {
            let path = "{% if symbol == 'S1' %}slow/{{ env.WAIT }}{% else %}status/{{ env.CODE }}{% endif %}";
            run()
                .arg("--url", &format!("{}/{path}?{{{{ symbol }}}}", mock.url()))
                .env("CODE", code)
                .env("WAIT", wait)
                .files(&place, 3, "out.jsonl")
                .flags("--method POST")
                .flags(key)
        };
        let running = ask("404", "60000").start();
        until("two records", || {
            std::fs::read_to_string(place.path("out.jsonl"))
                .is_ok_and(|text| text.lines().count() == 2)
        });
        running.signal("-KILL");
        running.ends();
        mock.reset();
        ask("200", "0")
            .flags("--retry-failed")
            .exits(1)
            .says("1 row was sent and may have been done");
        assert_eq!(mock.judgement().requests, 2, "{key}");
        let records = place.records("out.jsonl");
        assert_one_record_per_row(&records, 3);
        for record in records {
            let expected = match record["symbol"].as_str() {
                Some("S1") => Value::from("outcome unknown"),
                _ => Value::Null,
            };
            assert_eq!(record["_error"], expected, "{record}");
        }
    }
}

#[test]
fn pages_asked_for_by_post_are_in_doubt_after_a_crash_and_what_came_of_them_stays() {
    let (place, mock) = (Place::new(), plain_mock());
    place.file("rows.csv", "total\n30\n10\n");
    let ask = || {
        run()
            .arg("--url", &format!("{}/list/{{{{ total }}}}?size=10", mock.url()))
            .arg("--input", &place.path("rows.csv"))
            .arg("--output", &place.path("out.jsonl"))
            .flags("--method POST --next link --each .items[] --extract id=.id")
    };
    ask().exits(0);
    let whole = place.read("out.jsonl");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let (first, second): (Vec<&str>, Vec<&str>) =
        lines.iter().partition(|line| line.contains("\"_row\":0,"));
    // A crash after twelve items of the first row, and before any of the second.
    let crashed = |second: &[&str]| {
        place.file("out.jsonl", &(first[..12].concat() + &second.concat()));
        place.file("out.jsonl.intents", "{\"row\":0}\n{\"row\":1}\n");
        mock.reset();
    };
    crashed(&[]);
    ask().flags("--resume --order input").exits(1).says("2 rows were sent and may have been done");
    assert_eq!(mock.judgement().requests, 0);
    let records: Vec<Value> = lines_of(&place.read("out.jsonl"));
    assert_eq!(records.len(), 12 + 1 + 1);
    assert_eq!(records[..12], lines_of(&first[..12].concat()));
    for (place, row) in [(12, 0), (13, 1)] {
        let record = &records[place];
        assert_eq!(
            (&record["_row"], &record["_item"], &record["_last"]),
            (&row.into(), &Value::Null, &true.into())
        );
        assert_eq!(record["_error"], "outcome unknown");
    }
    ask().flags("--resume").exits(1);
    assert_eq!(mock.judgement().requests, 0, "each row has its end");
    ask().flags("--retry-failed --resend-unknown").exits(0);
    assert_eq!(mock.judgement().requests, 3 + 1);
    assert_eq!(lines_of(&place.read("out.jsonl")).len(), 40);
    // Whoever knows that these only read says so from the start.
    crashed(&second);
    ask().flags("--resume --resend-unknown").exits(0);
    assert_eq!(mock.judgement().requests, 3);
    assert_eq!(lines_of(&place.read("out.jsonl")).len(), 40);
}

#[test]
fn a_row_s_pages_are_announced_before_the_first_is_sent() {
    let (place, mock) = (Place::new(), plain_mock());
    place.file("rows.csv", &crate::harness::symbols(2));
    let running = run()
        .arg("--url", &format!("{}/slow/60000?{{{{ symbol }}}}", mock.url()))
        .arg("--input", &place.path("rows.csv"))
        .arg("--output", &place.path("out.jsonl"))
        .flags("--method POST --each .items[]")
        .start();
    until("two requests", || mock.judgement().requests == 2);
    running.signal("-KILL");
    running.ends();
    assert_eq!(place.read("out.jsonl.intents").lines().count(), 2);
}

fn lines_of(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_key_is_the_same_whenever_a_row_is_sent() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |key: &str| {
        run()
            .arg("--url", &format!("{}/echo/1?{{{{ symbol }}}}", mock.url()))
            .files(&place, 6, "out.jsonl")
            .arg("--extract", "key=.headers[\"idempotency-key\"][0]")
            .arg("--idempotency-key", key)
            .flags("--method POST")
    };
    let keys = || each(&place.records("out.jsonl"), "key");
    ask("auto").exits(0);
    let first = keys();
    let different: BTreeSet<&str> = first.iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(different.len(), 6);
    assert!(different.iter().all(|key| key.len() == 36 && key.as_bytes()[14] == b'8'));
    let half: Vec<Value> = place.records("out.jsonl").into_iter().take(3).collect();
    place.file("out.jsonl", &half.iter().map(|record| format!("{record}\n")).collect::<String>());
    ask("auto").flags("--resume").exits(0);
    assert_eq!(keys(), first);
    ask("auto").flags("--overwrite").exits(0);
    assert_ne!(keys(), first, "another job");
    ask("order-{{ symbol }}").flags("--overwrite").exits(0);
    assert_eq!(keys()[5], "order-S5");
}

#[test]
fn with_a_key_what_may_have_landed_is_sent_again() {
    let (place, mock) = (Place::new(), clumsy());
    post(&place, &mock).flags("--idempotency-key auto --retries 9").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    assert!(mock.judgement().requests > ROWS as u64);
    assert!(!std::fs::exists(place.path("out.jsonl.intents")).unwrap());
}

#[test]
fn a_key_that_the_server_has_forgotten_is_not_sent_again() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |wait: &str, ttl: &str| {
        run()
            .arg("--url", &format!("{}/slow/{{{{ env.WAIT }}}}?{{{{ symbol }}}}", mock.url()))
            .env("WAIT", wait)
            .files(&place, 4, "out.jsonl")
            .flags("--method POST --idempotency-key auto --idempotency-ttl")
            .flags(ttl)
    };
    let running = ask("60000", "1h").start();
    until("four requests", || mock.judgement().requests == 4);
    running.signal("-KILL");
    running.ends();
    // Two of them were sent long ago.
    let log = place.read("out.jsonl.intents");
    let old = log.lines().map(|line| {
        let mut intent: Value = serde_json::from_str(line).unwrap();
        if intent["row"].as_u64().unwrap() < 2 {
            intent["at"] = 1.into();
        }
        format!("{intent}\n")
    });
    place.file("out.jsonl.intents", &old.collect::<String>());
    let ended = ask("0", "1h").flags("--resume").exits(1);
    ended.says("the server knows its Idempotency-Key for 1h");
    assert_eq!(mock.judgement().requests, 6);
    let kinds = each(&place.records("out.jsonl"), "_error");
    let unknown = Value::from("outcome unknown");
    assert_eq!(kinds, [unknown.clone(), unknown, Value::Null, Value::Null]);
    ask("0", "1h").flags("--retry-failed").exits(1);
    assert_eq!(mock.judgement().requests, 6);
    ask("0", "1h").flags("--retry-failed --resend-unknown").exits(0);
    assert_eq!(mock.judgement().requests, 8);
    let without = run().quotes(&mock.url()).files(&place, 1, "new.jsonl");
    without
        .flags("--method POST --idempotency-ttl 1h")
        .exits(2)
        .says("give retry.idempotency-key (--idempotency-key) as well");
}

#[test]
fn a_refused_request_was_not_done_however_old_its_key() {
    let (place, mock) = (
        Place::new(),
        mock(Settings { limits: vec!["2/1s".parse().unwrap()], ..Settings::default() }),
    );
    post(&place, &mock).flags("--take 4 --idempotency-key auto --idempotency-ttl 100ms").exits(0);
    assert!(mock.judgement().refused > 0);
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; 4]);
}

#[test]
fn an_answer_that_the_server_has_stored_is_not_asked_for_for_ever() {
    let stored = [("idempotent-replayed", "true")];
    let server = serve(move |_| answer("500 Internal Server Error", &stored, "{}"));
    let place = Place::new();
    run()
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .files(&place, 3, "out.jsonl")
        .flags("--method POST --idempotency-key auto")
        .exits(1);
    assert_eq!(server.came().len(), 3);
    let kinds = each(&place.records("out.jsonl"), "_error");
    assert_eq!(kinds, ["status 500"; 3]);
}
