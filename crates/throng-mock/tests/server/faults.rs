//! Faults that come when they are told to.

use hyper::header::RETRY_AFTER;
use serde_json::Value;
use throng_mock::Settings;

use crate::client::{QUOTE, faulty, get, start};

#[test]
fn a_fault_with_certainty_is_in_every_answer() {
    for (name, status) in [("429", 429), ("500", 500), ("notjson", 200)] {
        let mock = start(faulty(&format!("{name}=100%")));
        let answer = get(&mock, &format!("{QUOTE}A")).unwrap();
        assert_eq!(answer.status, status);
        assert!(!answer.headers.contains_key(RETRY_AFTER));
        let json = serde_json::from_slice::<Value>(&answer.body);
        assert_eq!(json.is_ok(), name != "notjson");
        assert_eq!(mock.judgement().answers[name], 1);
        assert_eq!(mock.judgement().refused, 0);
    }
    let mock = start(faulty("empty=1"));
    let answer = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!(answer.json()["quoteResponse"]["result"], Value::Array(vec![]));
    assert_eq!(mock.judgement().answers["empty"], 1);
}

#[test]
fn dropped_and_truncated_answers_end_early() {
    let mock = start(faulty("drop=1"));
    let error = get(&mock, &format!("{QUOTE}A")).unwrap_err();
    assert!(error.is_incomplete_message(), "{error:?}");
    assert_eq!(mock.judgement().answers["drop"], 1);

    let mock = start(faulty("cut=1"));
    let answer = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!((answer.status, answer.whole), (200, false));
    assert!(answer.body.starts_with(b"{\"quoteResponse\""), "{answer:?}");
    assert_eq!(mock.judgement().answers["cut"], 1);
}

#[test]
fn a_dripping_body_is_complete_in_the_end() {
    let mock = start(faulty("drip=1"));
    let answer = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert!(answer.whole && answer.pieces > 1, "{answer:?}");
    assert_eq!(answer.json()["quoteResponse"]["result"][0]["symbol"], "A");
    assert_eq!(mock.judgement().answers["drip"], 1);
}

#[test]
fn faults_depend_on_the_seed_and_not_on_the_order() {
    let story = |symbols: [&str; 3]| {
        let mock = start(Settings { seed: 42, ..faulty("500=50%") });
        let mut answer: Vec<_> = (0..8)
            .flat_map(|time| symbols.map(|symbol| (symbol, time)))
            .map(|(symbol, time)| (symbol, time, get(&mock, &format!("{QUOTE}{symbol}"))))
            .map(|(symbol, time, answer)| (symbol.to_owned(), time, answer.unwrap().status))
            .collect();
        answer.sort();
        answer
    };
    let forwards = story(["A", "B", "C"]);
    assert_eq!(forwards, story(["C", "A", "B"]));
    assert!(forwards.iter().any(|(_, _, status)| *status == 200));
    assert!(forwards.iter().any(|(_, _, status)| *status == 500));
}
