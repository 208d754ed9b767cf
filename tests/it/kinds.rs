//! Each kind of limit against a server that counts that way: it refuses nothing,
//! and every row has its record.

use std::fmt::Write;

use serde_json::{Value, json};
use throng_mock::{Judgement, Mock, Settings};

use crate::harness::{Place, Throng, assert_one_record_per_row, each, mock, run, symbols};

/// A server with these rules, some way off.
fn server(limits: &[&str]) -> Settings {
    Settings {
        limits: limits.iter().map(|limit| limit.parse().unwrap()).collect(),
        latency: "lognormal:20ms:0.6".parse().unwrap(),
        ..Settings::default()
    }
}

/// Runs it; all rows must be ok, and nothing refused.
#[track_caller]
fn keeps(mock: &Mock, rows: usize, throng: Throng) -> (Vec<Value>, Judgement) {
    let records = throng.exits(0).records();
    assert_one_record_per_row(&records, rows);
    let judgement = mock.judgement();
    assert_eq!((judgement.refused, judgement.requests), (0, rows as u64));
    (records, judgement)
}

/// Quotes for this number of rows, with these flags.
fn quotes(place: &Place, mock: &Mock, rows: usize, flags: &str) -> Throng {
    let input = place.file("rows.csv", &symbols(rows));
    run().quotes(&mock.url()).arg("--input", &input).flags(flags)
}

#[track_caller]
fn assert_keeps(limits: &[&str], rows: usize, flags: &str) -> (Vec<Value>, Judgement) {
    let (place, mock) = (Place::new(), mock(server(limits)));
    keeps(&mock, rows, quotes(&place, &mock, rows, flags))
}

/// When requests were sent, in order, in seconds.
fn sent(records: &[Value]) -> Vec<f64> {
    let from = |record: &Value| record["_arrived"][0][0].as_f64().unwrap();
    let mut sent: Vec<f64> = records.iter().map(from).collect();
    sent.sort_by(f64::total_cmp);
    sent
}

#[track_caller]
fn assert_apart(records: &[Value], gap: f64) {
    for pair in sent(records).windows(2) {
        assert!(pair[1] - pair[0] >= gap - 2e-6, "{pair:?}");
    }
}

#[test]
fn a_sliding_window_counter() {
    assert_keeps(&["counter:20/1s"], 40, "--rate counter:20/1s");
    assert_keeps(&["counter:40/1s"], 40, "--rate counter:40/1s --burst 10 --workers 2");
}

#[test]
fn a_bucket_with_a_smaller_and_with_a_larger_burst() {
    assert_keeps(&["bucket:20/1s:4"], 40, "--rate bucket:20/1s --burst 4 --workers 2");
    let (_, judgement) =
        assert_keeps(&["bucket:20/1s:30"], 50, "--rate bucket:20/1s --burst 30 --workers 2");
    assert!(judgement.windows[0].most > 20, "it makes use of the burst: {judgement:?}");
}

#[test]
fn gcra_without_a_burst_and_with_one() {
    let (records, _) = assert_keeps(&["gcra:50/1s"], 12, "--rate gcra:50/1s");
    assert_apart(&records, 0.020);
    let (_, judgement) =
        assert_keeps(&["gcra:20/1s:20"], 50, "--rate gcra:20/1s --burst 20 --workers 2");
    assert!(judgement.windows[0].most > 20, "it makes use of the burst: {judgement:?}");
}

#[test]
fn a_smaller_burst_beside_a_sliding_window() {
    assert_keeps(&["20/1s", "bucket:20/1s:5"], 40, "--rate 20/1s --burst 5 --workers 2");
}

#[test]
fn windows_of_the_clock_and_from_the_first_use() {
    let flags = "--rate 15/1s@clock --workers 2";
    assert_keeps(&["clock:15/1s"], 40, flags);
    let flags = "--rate 15/600ms@first --workers 2";
    assert_keeps(&["fixed:15/600ms"], 50, flags);
}

#[test]
fn the_least_spacing_as_the_server_counts_and_as_we_do() {
    let (place, mock) = (Place::new(), mock(server(&["1/20ms"])));
    keeps(&mock, 20, quotes(&place, &mock, 20, "--rate 1/20ms"));
    let (records, _) = assert_keeps(&[], 20, "--spacing 20ms --workers 2");
    assert_apart(&records, 0.020);
}

#[test]
fn a_period_s_requests_are_spread() {
    let flags = "--rate 12/600ms --shape spread --workers 2";
    let (records, _) = assert_keeps(&["12/600ms"], 24, flags);
    assert_apart(&records, 0.060);
}

#[test]
fn a_share_leaves_room_for_others() {
    let flags = "--rate 10/400ms --use 80% --workers 2";
    let (_, judgement) = assert_keeps(&["10/400ms"], 30, flags);
    assert!(judgement.windows[0].most <= 8, "{judgement:?}");
}

#[test]
fn what_is_in_flight_is_capped() {
    let flags = "--in-flight 3 --workers 2 --concurrency 10";
    let (_, judgement) = assert_keeps(&["in-flight:3"], 60, flags);
    assert_eq!(judgement.most_in_flight, 3);
}

#[test]
fn each_key_has_the_limit_for_itself() {
    let place = Place::new();
    let mock =
        mock(Settings { partition: Some("query:tenant".parse().unwrap()), ..server(&["5/500ms"]) });
    let mut rows = "tenant,n\n".to_owned();
    for n in 0..40 {
        writeln!(rows, "t{},{n}", n * n % 7).unwrap();
    }
    let throng = run()
        .arg("--url", &format!("{}/echo?tenant={{{{ tenant }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", &rows))
        .arg("--per", "{{ tenant }}")
        .flags("--rate 5/500ms --extract query=.query --workers 2");
    let (_, judgement) = keeps(&mock, 40, throng);
    assert_eq!(judgement.windows[0].most, 5);
}

#[test]
fn each_key_of_a_pool_has_the_limit_for_itself() {
    let place = Place::new();
    let mock = mock(Settings {
        partition: Some("header:x-api-key".parse().unwrap()),
        ..server(&["5/500ms"])
    });
    let keys = ["the-first-key", "the-second-key", "the-third-key"];
    let throng = run()
        .arg("--url", &format!("{}/echo?n={{{{ symbol }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", &symbols(45)))
        .arg("--header", "x-api-key: {{ key }}")
        .arg("--keys", keys[0])
        .arg("--keys", "{{ env.SECOND }}")
        .arg("--keys", keys[2])
        .env("SECOND", keys[1])
        .flags("--rate 5/500ms --workers 2")
        .arg("--extract", "length=.headers[\"x-api-key\"][0] | length")
        .arg("--extract", "key=.headers[\"x-api-key\"][0]");
    let (records, judgement) = keeps(&mock, 45, throng);
    assert_eq!(judgement.windows[0].most, 5);
    // A secret that the server echoes stays one.
    assert!(each(&records, "key").iter().all(|key| key == "***"));
}

/// Rows that may use 40 to 280 tokens each.
fn prompts(rows: u64) -> String {
    (0..rows).fold(String::new(), |text, n| {
        let row = json!({ "prompt": format!("question {n}"), "max": 40 + n * 37 % 241 });
        text + &format!("{row}\n")
    })
}

fn completions(place: &Place, mock: &Mock, rows: u64) -> Throng {
    run()
        .arg("--url", &format!("{}/v1/chat/completions", mock.url()))
        .arg("--json", r#"{"prompt": "{{ prompt }}", "max_tokens": "{{ max }}"}"#)
        .arg("--input", &place.file("rows.jsonl", &prompts(rows)))
        .arg("--extract", "used=.usage.total_tokens")
}

#[test]
fn tokens_are_reserved_before_and_settled_by_the_answer() {
    let place = Place::new();
    let mock = mock(server(&["2000 tokens/1s", "25/1s"]));
    let throng = completions(&place, &mock, 40)
        .arg("--rate", "2000 tokens/1s")
        .flags("--rate 25/1s --cost tokens=max --workers 2")
        .arg("--settle", "tokens=.usage.total_tokens")
        .arg("--summary-json", &place.path("summary.json"));
    let (records, judgement) = keeps(&mock, 40, throng);
    let used: u64 = each(&records, "used").iter().filter_map(Value::as_u64).sum();
    let reserved: u64 = each(&records, "max").iter().filter_map(Value::as_u64).sum();
    assert!(used < reserved, "{used} of {reserved}");
    assert!(judgement.windows[0].most > 1000, "{judgement:?}");
    let limit = &place.json("summary.json")["limits"][0];
    assert!(limit["most_in_window"].as_u64() <= Some(2000), "{limit}");
}

#[test]
fn refusals_that_count_end_as_well() {
    let place = Place::new();
    let mock = mock(Settings { refusals_count: true, ..server(&["5/300ms"]) });
    // It takes the limit for a larger one, and hears better.
    let ended = quotes(&place, &mock, 20, "--rate 8/300ms --workers 2").exits(0);
    assert_one_record_per_row(&ended.records(), 20);
    assert!(mock.judgement().refused > 0);
}

#[test]
fn a_total_that_is_used_up_stops_the_run_and_the_next_one_goes_on() {
    let (place, mock) = (Place::new(), mock(server(&[])));
    let output = place.path("out.jsonl");
    let throng = |flags| quotes(&place, &mock, 40, flags).arg("--output", &output);
    throng("--rate 25/run")
        .exits(3)
        .says("the total that the limits allow for a run is used up (25/run)");
    assert_eq!((place.records("out.jsonl").len(), mock.judgement().requests), (25, 25));
    throng("--rate 25/run --resume").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), 40);
    assert_eq!(mock.judgement().requests, 40);
}

#[test]
fn what_can_t_be_kept_is_found_before_anything_is_sent() {
    let (place, mock) = (Place::new(), mock(server(&[])));
    for (flags, why) in [
        (
            &["--cost", "tokens=max"][..],
            "limit.cost or limit.settle names \"tokens\", which no rate counts: write a rate such as \"90000 tokens/1m\"",
        ),
        (&["--per", "{{ tenant }}", "--rate", "1/1s"], "has no field \"tenant\""),
        (&["--keys", "a-key", "--rate", "1/1s"], "{{ key }}"),
        (&["--rate", "5/1s", "--per", "tenant"], "is the same for all rows"),
        (&["--rate", "250 tokens/1m", "--cost", "tokens=mx"], "has no field \"mx\""),
        (
            &["--rate", "250 tokens/1m", "--settle", "tokens=.usage.total_tokens"],
            "a rate counts tokens, and nothing says how many tokens a request costs: give limit.cost (--cost)",
        ),
        // 40 + 6 * 37 = 262
        (
            &["--rate", "250 tokens/1m", "--cost", "tokens=max"],
            "row 6: it costs 262 tokens, and 250 tokens/1m never allows more than 250 at once: split it, or raise the limit",
        ),
        (&["--in-flight", "0"], "limit.in-flight (--in-flight) is 0"),
    ] {
        let throng = flags
            .chunks(2)
            .fold(completions(&place, &mock, 9), |throng, flag| throng.arg(flag[0], flag[1]));
        throng.exits(2).says(why);
    }
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn the_example_of_a_language_model_works() {
    let place = Place::new();
    let mock = mock(server(&["60/1m", "9000 tokens/1m"]));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/llm.toml");
    run()
        .flags(example)
        .arg("--url", &format!("{}/v1/chat/completions", mock.url()))
        .arg("--output", &place.path("answers.jsonl"))
        .env("MODEL_KEY", "the-key-of-the-example")
        .exits(0)
        .says("tokens_used");
    let records = place.records("answers.jsonl");
    assert_one_record_per_row(&records, 6);
    let judgement = mock.judgement();
    assert_eq!((judgement.refused, judgement.requests), (0, 6));
    let used: u64 = each(&records, "tokens").iter().filter_map(Value::as_u64).sum();
    assert_eq!(judgement.windows[1].most, used);
}
