//! Jobs: from a file of either syntax, from flags alone, from flags over a file.

use serde_json::{Value, json};
use throng_mock::{Settings, price};

use crate::harness::{Place, each, mock, plain_mock, run, symbols};

pub const KEY: &str = "the-key-of-the-test";

pub fn guarded() -> throng_mock::Mock {
    mock(Settings { api_key: Some(KEY.into()), ..Settings::default() })
}

fn toml(input: &str, url: &str) -> String {
    format!(
        r#"
        [input]
        file = "{input}"
        [request]
        url = "{url}"
        query = {{ region = "US", symbols = "{{{{ symbol }}}}" }}
        headers = {{ x-api-key = "{{{{ env.XAPIKEY }}}}" }}
        [workers]
        count = 1
        [extract]
        price = ".quoteResponse.result[0].regularMarketPreviousClose"
        "#
    )
}

fn json(input: &str, url: &str) -> String {
    json!({
        "input": { "file": input },
        "request": {
            "url": url,
            "query": { "region": "US", "symbols": "{{ symbol }}" },
            "headers": { "x-api-key": "{{ env.XAPIKEY }}" },
        },
        "workers": { "count": 1 },
        "extract": { "price": ".quoteResponse.result[0].regularMarketPreviousClose" },
    })
    .to_string()
}

pub fn prices(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!(price(&format!("S{n}")))).collect()
}

#[test]
fn a_job_file_in_toml_and_the_same_in_json_do_the_same() {
    let (place, mock) = (Place::new(), guarded());
    let input = place.file("rows.csv", &symbols(5));
    let url = format!("{}/v6/finance/quote/", mock.url());
    for (name, text) in [("job.toml", toml(&input, &url)), ("job.json", json(&input, &url))] {
        mock.reset();
        let job = place.file(name, &text);
        let ended = run().flags(&job).env("XAPIKEY", KEY).exits(0);
        assert_eq!(each(&ended.records(), "price"), prices(5), "{name}");
        let judgement = mock.judgement();
        assert_eq!((judgement.requests, judgement.symbols.len()), (5, 5));
        assert_eq!(judgement.answers["200"], 5);
    }
}

#[test]
fn a_wrong_key_fails_every_row() {
    let (place, mock) = (Place::new(), guarded());
    let input = place.file("rows.csv", &symbols(2));
    let url = format!("{}/v6/finance/quote/", mock.url());
    let job = place.file("job.toml", &toml(&input, &url));
    let ended = run().flags(&job).env("XAPIKEY", "another").exits(1);
    assert_eq!(each(&ended.records(), "_error"), ["status 401", "status 401"]);
    assert_eq!(mock.judgement().requests, 2);
}

#[test]
fn flags_alone_are_a_job() {
    let (place, mock) = (Place::new(), guarded());
    let input = place.file("rows.csv", &symbols(5));
    let ended = run()
        .quotes(&mock.url())
        .arg("--input", &input)
        .arg("--header", "x-api-key: {{ env.XAPIKEY }}")
        .env("XAPIKEY", KEY)
        .exits(0);
    assert_eq!(each(&ended.records(), "price"), prices(5));
}

#[test]
fn a_flag_wins_over_the_file_and_leaves_the_rest() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(5));
    // Nobody listens on port 1.
    let job = place.file("job.toml", &toml(&input, "http://127.0.0.1:1/"));
    let ended = run()
        .flags(&job)
        .arg("--url", &format!("{}/echo", mock.url()))
        .flags("--query region=DE --header X-API-Key:me --take 2")
        .flags("--extract query=.query --extract price=.path")
        .arg("--extract", "keys=.headers[\"x-api-key\"]")
        .env("XAPIKEY", KEY)
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "query"), ["region=DE&symbols=S0", "region=DE&symbols=S1"]);
    assert_eq!(each(&records, "price"), ["/echo", "/echo"]);
    assert_eq!(each(&records, "keys"), [json!(["me"]), json!(["me"])]);
    assert_eq!(mock.judgement().requests, 2);
}
