//! What each step of a row costs by itself. `cargo bench` times them;
//! `cargo bench --bench steps -- --times N STEP` only does one of them N times,
//! for a tool that counts instructions (`bench/instructions.py`).
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use serde_json::{Value, json};
use throng::Record;
use throng::Row;
use throng::internals::extract::Extractor;
use throng::internals::render::{CostExpressions, RenderContext, Renderer, RowBinding};
use throng::internals::secret::{Secrets, Vault};
use throng::internals::sink::{Columns, Existing, Identity, Output};
use throng::internals::tally::{Aggregate, Tally};
use throng::limit::{Guard, RateLimiter};

/// One step, ready to be done as often as asked.
type Step = (&'static str, Box<dyn FnMut()>);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let times = arguments.iter().position(|argument| argument == "--times");
    match times.and_then(|at| Some((arguments.get(at + 1)?, arguments.get(at + 2)?))) {
        Some((times, name)) => repeat(name, times.parse().unwrap()),
        None => measure(),
    }
}

fn repeat(name: &str, times: u64) {
    let mut all = steps();
    let (_, step) = all.iter_mut().find(|(known, _)| *known == name).unwrap();
    (0..times).for_each(|_| step());
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, mut step) in steps() {
        criterion.bench_function(name, |bencher| bencher.iter(&mut step));
    }
    criterion.final_summary();
}

fn steps() -> Vec<Step> {
    vec![
        ("render", render()),
        ("gate", gate(&[])),
        ("gate-limited", gate(&["1000000/1ms"])),
        ("extract", extract(".quote.result[0].price")),
        ("extract-jq", extract(".quote.result[0] | .price * 2")),
        ("hide", hide()),
        ("tally", tally()),
        ("write", write()),
    ]
}

fn row() -> Row {
    Row {
        fields: serde_json::from_value(json!({"symbol": "AAPL", "sector": "technology"})).unwrap(),
        ..Row::default()
    }
}

fn record() -> Record {
    Record {
        row: row(),
        outcome: Ok(vec![187.44.into(), "Apple Inc.".into()]),
        kept: Vec::new(),
        body: None,
        status: Some(200),
        attempts: 1,
        latency: Some(Duration::from_micros(1_234)),
        arrived: Vec::new(),
        warning: None,
        saved: None,
        origin: None,
        target: None,
    }
}

fn render() -> Box<dyn FnMut()> {
    let settings = json!({
        "url": "https://api.example/v6/finance/quote",
        "query": {"region": "US", "lang": "en", "symbols": "{{ symbol }}"},
        "headers": {"accept": "application/json"},
    });
    let vault = Arc::new(Vault::new(&Default::default()).unwrap());
    let known = RenderContext { environment: &|_| None, vault: &vault };
    let settings = serde_json::from_value(settings).unwrap();
    let made = Renderer::new(&settings, RowBinding::Values, &CostExpressions::default(), &known);
    let (renderer, _) = made.unwrap();
    let row = row();
    Box::new(move || drop(black_box(renderer.render(&row).unwrap())))
}

fn gate(limits: &[&str]) -> Box<dyn FnMut()> {
    let limits: Vec<_> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    let gate = RateLimiter::new(&limits, Guard::Strict).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Box::new(move || {
        let mut permit = runtime.block_on(gate.acquire(1)).unwrap();
        permit.sent();
        permit.answered();
    })
}

/// From an answer of 1 KB.
fn extract(program: &str) -> Box<dyn FnMut()> {
    let settings = serde_json::from_value(json!({ "price": program })).unwrap();
    let extractor = Extractor::new(&settings).unwrap();
    let fields = (0..36).map(|i| {
        let value = if i % 2 == 0 { json!(i) } else { json!("some text") };
        (format!("marketField{i}"), value)
    });
    let mut quote: serde_json::Map<String, Value> = fields.collect();
    quote.insert("price".into(), json!(187.44));
    let body = json!({"quote": {"result": [quote], "error": null}}).to_string();
    Box::new(move || drop(black_box(extractor.extract(body.as_bytes()).unwrap())))
}

/// In the values of one record, with a key and the header that it is in.
fn hide() -> Box<dyn FnMut()> {
    let secrets = Secrets::default();
    secrets.add("sk-live-7f3a9c51d2e84b60");
    secrets.add("Bearer sk-live-7f3a9c51d2e84b60");
    let mut values = record().outcome.unwrap();
    Box::new(move || secrets.hide_in_values(black_box(&mut values)))
}

fn tally() -> Box<dyn FnMut()> {
    let aggregates = ["mean(price)", "p90(price) by sector"];
    let aggregates = aggregates.map(|text| Aggregate::parse("figure", text).unwrap());
    let mut tally = Tally::new(&aggregates, &["price".to_owned(), "name".to_owned()]);
    let record = record();
    Box::new(move || tally.add(black_box(&record)))
}

fn write() -> Box<dyn FnMut()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let settings = throng::internals::sink::Settings {
        file: Some(file.display().to_string()),
        existing: Existing::Overwrite,
        ..Default::default()
    };
    let names = vec!["price".to_owned(), "name".to_owned()];
    let columns = Columns::new(None, names, false).unwrap();
    let output = Output::new(&settings, true).unwrap();
    let mut writer = output.create(&columns, &Identity::default()).unwrap();
    let record = record();
    Box::new(move || {
        // It goes with the writer.
        let _ = &folder;
        writer.write(black_box(&record)).unwrap();
    })
}
