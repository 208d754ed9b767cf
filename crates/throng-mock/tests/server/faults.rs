//! Faults that come when they are told to.

use hyper::header::RETRY_AFTER;
use serde_json::Value;
use throng_mock::Settings;

use crate::client::{QUOTE, faulty, get, start};

#[test]
fn certain_faults_come_for_certain() {
    for (name, status) in [("429", 429), ("500", 500), ("notjson", 200)] {
        let mock = start(faulty(&format!("{name}=100%")));
        let told = get(&mock, &format!("{QUOTE}A")).unwrap();
        assert_eq!(told.status, status);
        assert!(!told.headers.contains_key(RETRY_AFTER));
        let json = serde_json::from_slice::<Value>(&told.body);
        assert_eq!(json.is_ok(), name != "notjson");
        assert_eq!(mock.judgement().answers[name], 1);
        assert_eq!(mock.judgement().refused, 0);
    }
    let mock = start(faulty("empty=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!(told.json()["quoteResponse"]["result"], Value::Array(vec![]));
    assert_eq!(mock.judgement().answers["empty"], 1);
}

#[test]
fn dropped_and_cut_connections_end_early() {
    let mock = start(faulty("drop=1"));
    let error = get(&mock, &format!("{QUOTE}A")).unwrap_err();
    assert!(error.is_incomplete_message(), "{error:?}");
    assert_eq!(mock.judgement().answers["drop"], 1);

    let mock = start(faulty("cut=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!((told.status, told.whole), (200, false));
    assert!(told.body.starts_with(b"{\"quoteResponse\""), "{told:?}");
    assert_eq!(mock.judgement().answers["cut"], 1);
}

#[test]
fn a_dripping_body_is_whole_in_the_end() {
    let mock = start(faulty("drip=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert!(told.whole && told.pieces > 1, "{told:?}");
    assert_eq!(told.json()["quoteResponse"]["result"][0]["symbol"], "A");
    assert_eq!(mock.judgement().answers["drip"], 1);
}

#[test]
fn faults_follow_from_the_seed_and_not_from_the_order() {
    let story = |symbols: [&str; 3]| {
        let mock = start(Settings {
            seed: 42,
            ..faulty("500=50%")
        });
        let mut told: Vec<_> = (0..8)
            .flat_map(|time| symbols.map(|symbol| (symbol, time)))
            .map(|(symbol, time)| (symbol, time, get(&mock, &format!("{QUOTE}{symbol}"))))
            .map(|(symbol, time, told)| (symbol.to_owned(), time, told.unwrap().status))
            .collect();
        told.sort();
        told
    };
    let forwards = story(["A", "B", "C"]);
    assert_eq!(forwards, story(["C", "A", "B"]));
    assert!(forwards.iter().any(|(_, _, status)| *status == 200));
    assert!(forwards.iter().any(|(_, _, status)| *status == 500));
}
