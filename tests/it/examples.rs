//! The examples run as they are, but for where the API and the output are.

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{Ended, Place, each, mock, plain_mock, run, throng};

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

#[test]
fn reviews_from_prompts_to_parquet_within_a_budget() {
    let (place, mock) = (Place::new(), plain_mock());
    let table = place.path("reviews.parquet");
    let job = |command: &str| {
        throng(command)
            .operand("examples/reviews.toml")
            .arg("--url", &format!("{}/v1/chat/completions", mock.url()))
            .arg("--output", &table)
    };
    let planned = job("plan").exits(0).stdout;
    assert!(planned.contains("budget    $1.00: enough for 12 rows"), "{planned}");
    job("run").arg("--summary-json", &place.path("summary.json")).exits(0);
    throng("convert").operand(&table).operand(&place.path("reviews.jsonl")).exits(0);
    let records = place.records("reviews.jsonl");
    let labels = each(&records, "label");
    assert!(records.iter().all(|record| record["_target"] == "small"));
    assert!(
        records.len() == 12
            && labels.iter().all(|it| ["good", "bad", "mixed"].iter().any(|label| it == label))
    );
    let usage = mock.judgement().usage;
    assert!(usage.answers > 12, "no answer had to be asked for again");
    let bill = &place.json("summary.json")["bill"];
    assert_eq!(bill["units"]["output_tokens"]["units"], usage.completion_tokens);
    assert_eq!(bill["units"]["input_tokens"]["units"], usage.prompt_tokens);
}

#[test]
fn reviews_that_one_model_does_not_sort_go_to_another() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = run()
        .operand("examples/reviews.toml")
        .arg("--url", &format!("{}/v1/chat/completions", mock.url()))
        .arg("--summary-json", &place.path("summary.json"))
        .flags("--reask 0 --output - --output-format jsonl")
        .exits(0);
    let records = ended.records();
    assert!(records.len() == 12 && are_ok(&records));
    let of_large = records.iter().filter(|record| record["_target"] == "large").count() as u64;
    let summary = place.json("summary.json");
    assert!(of_large > 0 && of_large < 12, "{of_large}");
    assert_eq!(
        (&summary["targets"]["large"], mock.judgement().usage.answers),
        (&of_large.into(), 12 + of_large)
    );
    let usage = mock.judgement().usage;
    let units = &summary["bill"]["units"];
    assert_eq!(units["output_tokens"]["units"], usage.completion_tokens);
    assert_eq!(units["input_tokens"]["units"], usage.prompt_tokens);
}
