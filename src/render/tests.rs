//! From a job's request and a row to what is sent.

use serde_json::{Value, json};

use super::*;
use crate::record::FailureKind;

fn renderer(settings: Value) -> Result<Renderer, Error> {
    Ok(compiled(settings)?.0)
}

fn compiled(settings: Value) -> Result<(Renderer, Vec<SecretHeader>), Error> {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let known = RenderContext {
        environment: &|name| (name == "KEY").then(|| "s3cret".to_owned()),
        vault: &Arc::default(),
    };
    Renderer::new(&settings, RowBinding::Values, &CostExpressions::default(), &known)
}

fn row(fields: Value) -> Row {
    let fields = serde_json::from_value(fields).unwrap();
    Row { fields, ..Row::default() }
}

#[test]
fn a_row_becomes_a_request() {
    let (renderer, secret) = compiled(json!({
        "url": "https://h/v/{{ id }}",
        "query": {"lang": "en", "n": [3, 4], "q": "{{ id }}"},
        "headers": {"x-id": "{{ id }}", "x-key": "{{ env.KEY }}"},
        "json": {"id": "{{ id }}"},
    }))
    .unwrap();
    let request = renderer.render(&row(json!({"id": "a b"}))).unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://h/v/a%20b?lang=en&n=3&n=4&q=a%20b");
    assert_eq!(request.headers()["x-id"], "a b");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.body(), "{\"id\":\"a b\"}");
    assert!(!request.headers().contains_key("x-key"), "signing adds it");
    assert_eq!(secret[0].0, "x-key");
    assert_eq!(secret[0].1.get().unwrap().expose(), "s3cret");
}

#[test]
fn a_form_is_escaped_as_a_form() {
    let job = json!({"url": "http://h/", "data": "a={{ id }}&b=2"});
    let request = renderer(job).unwrap().render(&row(json!({"id": "x&y"})));
    assert_eq!(request.unwrap().body(), "a=x%26y&b=2");
}

#[test]
fn bodies_are_of_many_kinds() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.bin"), b"raw").unwrap();
    let file = format!("{}/{{{{ id }}}}.bin", folder.path().display());
    for (body, kind, expected) in [
        (
            json!({"form": {"id": "{{ id }}", "n": [1, "&"], "l": "{{ list }}"}}),
            "application/x-www-form-urlencoded",
            "id=a&n=1&n=%26&l=x&l=y",
        ),
        (
            json!({"jq": "{ids: .list, n: (.list | length)}"}),
            "application/json",
            "{\"ids\":[\"x\",\"y\"],\"n\":2}",
        ),
        (json!({"body-file": file}), "application/octet-stream", "raw"),
        (
            json!({"data": "<a>{{ id }}</a>", "headers": {"Content-Type": "text/xml"}}),
            "text/xml",
            "<a>a</a>",
        ),
    ] {
        let mut job = body.as_object().unwrap().clone();
        job.insert("url".into(), "http://h/".into());
        let renderer = renderer(job.into()).unwrap();
        let row = row(json!({"id": "a", "list": ["x", "y"]}));
        let request = renderer.render(&row).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.headers()["content-type"], kind);
        assert_eq!(request.body(), expected);
    }
}

#[test]
fn a_row_that_does_not_fit_fails_as_input() {
    let renderer = renderer(json!({
        "url": "http://h/", "headers": {"x-id": "{{ id }}"},
    }))
    .unwrap();
    for (fields, detail) in [
        (json!({}), "header x-id: the row has no field \"id\""),
        (json!({"id": "a\nb"}), "header x-id: a header can't contain a line break"),
        (json!({"id": "a\u{1}b"}), "header x-id: the value holds a control character"),
    ] {
        assert_eq!(
            renderer.render(&row(fields)).unwrap_err(),
            Failure::new(FailureKind::Input, detail)
        );
    }
}

#[test]
fn what_is_wrong_without_any_row_is_said_at_once() {
    for (job, message) in [
        (json!({}), "no URL"),
        (json!({"url": "http://h/{{ x"}), "request.url (--url): the template"),
        (json!({"url": "http://h/", "method": "G T"}), "\"G T\" is not a method"),
        (json!({"url": "http://h/", "method": "connect"}), "CONNECT opens a tunnel"),
        (
            json!({"url": "http://h/", "headers": {"a b": "c"}}),
            "\"a b\" is not the name of a header",
        ),
        (json!({"url": "http://h/", "headers": {"a": {"c": 1}}}), "a is {\"c\":1}, not a text"),
        (json!({"url": "http://h/", "data": "x", "json": {}}), "a request has one body"),
        (json!({"url": "http://h/", "json": "{\"a\": {{ id }}}"}), "put templates in quotes"),
        (json!({"url": "http://h/{{ env.NOPE }}"}), "the environment variable NOPE is not set"),
    ] {
        let error = renderer(job).err().expect("the job is wrong").to_string();
        assert!(error.contains(message), "{error}");
    }
}
