//! The examples run as they are, but for where the API and the output are.

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{Ended, Place, each, mock, plain_mock, run};

fn example(name: &str, limit: &str) -> (Ended, Mock) {
    let mock = mock(Settings { limits: vec![limit.parse().unwrap()], ..Settings::default() });
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/examples/{name}")).unwrap();
    let text = text
        .replace("http://127.0.0.1:8099", &mock.url())
        .replace("examples/", &format!("{root}/examples/"));
    let place = Place::new();
    let job = place.file("job.toml", &text);
    let ended =
        run().arg("--config-json-file", &job).flags("--output - --output-format jsonl").exits(0);
    let judgement = mock.judgement();
    let allowed = limit.split('/').next().unwrap().parse::<u64>().unwrap();
    assert!(judgement.windows[0].most <= allowed, "{judgement:?}");
    (ended, mock)
}

fn are_ok(records: &[Value]) -> bool {
    records.iter().all(|record| record["_ok"] == true)
}

#[test]
fn a_paged_export() {
    let (ended, mock) = example("paged.toml", "22/5s");
    let records = ended.records();
    assert_eq!((records.len(), mock.judgement().requests), (350, 4));
    assert!(are_ok(&records) && records[349]["name"] == "Item 349");
}

#[test]
fn a_list_then_the_details() {
    let (ended, mock) = example("chain.toml", "50/1s");
    let records = ended.records();
    assert_eq!((records.len(), mock.judgement().requests), (120, 5 + 120));
    assert!(are_ok(&records));
    ended.says("mean_price");
}

#[test]
fn jobs_that_are_polled() {
    let (ended, mock) = example("poll.toml", "50/1s");
    let records = ended.records();
    assert_eq!((records.len(), mock.judgement().requests), (3, 3 * (1 + 3 + 1)));
    assert!(are_ok(&records) && records[0]["price"] == throng_mock::price("AAPL"));
}

#[test]
fn a_batch_of_ids() {
    let (ended, mock) = example("batch.toml", "22/5s");
    let records = ended.records();
    assert_eq!((records.len(), mock.judgement().requests), (500, 10));
    assert!(are_ok(&records));
}

#[test]
fn graphql() {
    let mock = plain_mock();
    let ended = run()
        .flags("examples/graphql.toml --take 3")
        .arg("--url", &format!("{}/echo/graphql", mock.url()))
        .exits(0);
    assert_eq!(each(&ended.records(), "asked").len(), 3);
    assert_eq!(each(&ended.records(), "asked"), each(&ended.records(), "symbol"));
}
