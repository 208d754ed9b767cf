//! Jobs, however they are written: as a file, a curl command, an API's description, a
//! template.

use std::time::Duration;

use serde_json::{Value, json};
use throng::Row;
use throng::internals::render::{CostExpressions, RenderContext, Renderer, RowBinding, Settings};
use throng::internals::{curl, openapi as description};
use throng::{Job, Plan};

use crate::{halves, text};

/// A job file in TOML or JSON: it is a job or a plan error, and what it would send can
/// be shown.
pub fn jobs(data: &[u8]) {
    for name in ["job.toml", "job.json"] {
        if let Ok(job) = Job::parse(name, text(data)) {
            plan(job);
        }
    }
}

/// A command as an API's documentation has it.
pub fn curl_lines(data: &[u8]) {
    if let Ok(translated) = curl::translate(text(data)) {
        plan_tree(&translated.job);
    }
}

/// An OpenAPI description, and the operation that is looked for in it.
pub fn openapi(data: &[u8]) {
    let (operation, description) = halves(data);
    if let Ok(translated) = description::translate(text(description), text(operation)) {
        plan_tree(&translated.job);
    }
}

/// One text as the template of each part of a request.
pub fn templates(data: &[u8]) {
    let template = text(data);
    for request in [
        json!({"url": format!("https://api.example/{template}")}),
        json!({"url": "https://api.example/", "query": {"q": template}}),
        json!({"url": "https://api.example/", "headers": {"x-a": template}}),
        json!({"url": "https://api.example/", "data": template}),
        json!({"url": "https://api.example/", "json": template}),
    ] {
        plan_tree(&json!({ "request": request }));
    }
}

/// A row's value stays inside the place where its template stands, whatever it is.
pub fn values(data: &[u8]) {
    let value = text(data);
    let mut row = Row::default();
    row.fields.insert("x".into(), value.into());
    let request: Settings = serde_json::from_value(json!({
        "url": "https://api.example/items/{{ x }}/end?a=1&b={{ x }}&c=3",
        "headers": {"x-value": "{{ x }}", "cookie": "a=1; b={{ x }}"},
        "form": {"first": "1", "x": "{{ x }}", "last": "3"},
    }))
    .unwrap();
    let known = RenderContext { environment: &|_| None, vault: &std::sync::Arc::default() };
    let (renderer, _) =
        Renderer::new(&request, RowBinding::Values, &CostExpressions::default(), &known).unwrap();
    let Ok(request) = renderer.render(&row) else {
        return;
    };
    let uri = request.uri();
    assert_eq!(uri.host(), Some("api.example"));
    let segments: Vec<&str> = uri.path().split('/').collect();
    assert_eq!((segments.len(), segments[1]), (4, "items"), "{uri}");
    assert_eq!(decoded(segments[2]), value);
    assert_eq!(pairs(uri.query().unwrap(), "abc")[1], value);
    assert_eq!(pairs(text(request.body()), "fxl")[1], value);
    let cookie = request.headers()["cookie"].as_bytes();
    assert_eq!(cookie.iter().filter(|byte| **byte == b';').count(), 1);
}

/// The values of a query with three names that begin with these letters.
fn pairs(query: &str, names: &str) -> Vec<String> {
    let pairs: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let starts: String = pairs.iter().filter_map(|(name, _)| name.chars().next()).collect();
    assert_eq!(starts, names, "{query}");
    pairs.into_iter().map(|(_, value)| decoded(&value.replace('+', " "))).collect()
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).expect("a value is UTF-8")
}

fn plan_tree(tree: &Value) {
    if let Ok(job) = Job::parse("job.json", &tree.to_string()) {
        plan(job);
    }
}

/// Plans a job over one row, and shows it. No file that it names is read or written, and
/// no command of it is run.
fn plan(job: Job) {
    let mut tree = serde_json::to_value(&job).expect("a job can be written");
    for key in ["secrets", "auth", "tls", "network", "output"] {
        remove(&mut tree, key);
    }
    for key in ["body-file", "multipart"] {
        remove(&mut tree["request"], key);
    }
    tree["input"] = json!({"list": [{"id": "7", "x": "a b&c/d"}]});
    let job: Job = serde_json::from_value(tree).expect("a job can be read as it was written");
    let environment = |name: &str| (name.len() < 9).then(|| "s3cret-value".to_owned());
    if let Ok(plan) = Plan::new(&job, &environment) {
        let _ = plan.preview(Duration::from_millis(100), throng::limit::now(), Ok(&[]));
    }
}

fn remove(table: &mut Value, key: &str) {
    if let Some(table) = table.as_object_mut() {
        table.remove(key);
    }
}
