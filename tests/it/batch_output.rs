//! Results in the form of the output of OpenAI's batch endpoint, which others' tools read.

use jsonschema::Validator;
use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{Place, Throng, plain_mock, run, throng};

/// A line, as the reference of the batch endpoint describes it.
fn schema() -> Validator {
    let response = json!({
        "type": ["object", "null"],
        "required": ["status_code", "request_id", "body"],
        "additionalProperties": false,
        "properties": {
            "status_code": { "type": "integer" },
            "request_id": { "type": "string" },
            "body": { "type": "object" },
        },
    });
    let error = json!({
        "type": ["object", "null"],
        "required": ["code", "message"],
        "additionalProperties": false,
        "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
    });
    let line = json!({
        "type": "object",
        "required": ["id", "custom_id", "response", "error"],
        "additionalProperties": false,
        "properties": {
            "id": { "type": "string" },
            "custom_id": { "type": "string" },
            "response": response,
            "error": error,
        },
    });
    jsonschema::validator_for(&line).unwrap()
}

/// Requests in the form of the batch endpoint's input, of which the last one gets a 404.
fn requests(place: &Place) -> String {
    let line = |n: usize| {
        let url = if n == 3 { "/status/404" } else { "/v1/chat/completions" };
        let messages = json!([{ "role": "user", "content": format!("hi {n}") }]);
        let body = json!({ "model": "m", "max_tokens": 50, "messages": messages });
        json!({ "custom_id": format!("q-{n}"), "method": "POST", "url": url, "body": body })
    };
    place.file("in.jsonl", &(0..4).map(|n| format!("{}\n", line(n))).collect::<String>())
}

fn ask(place: &Place, mock: &Mock) -> Throng {
    run()
        .arg("--input", &requests(place))
        .arg("--output", &place.path("out.jsonl"))
        .flags(&format!("--url {} --format requests --output-format openai-batch", mock.url()))
}

/// The lines of a file by their `custom_id`, each of which fits the schema.
fn lines(place: &Place, name: &str) -> Vec<Value> {
    let schema = schema();
    let read = |line: &str| -> Value {
        let line = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&line), "{line}: {:?}", schema.validate(&line).err());
        line
    };
    let mut lines: Vec<Value> = place.read(name).lines().map(read).collect();
    lines.sort_by_key(|line| line["custom_id"].to_string());
    lines
}

#[test]
fn a_run_answers_a_file_of_batch_requests_in_the_form_of_a_batch() {
    let (place, mock) = (Place::new(), plain_mock());
    ask(&place, &mock).exits(1);
    let found = lines(&place, "out.jsonl");
    assert_eq!(found.len(), 4);
    let answer = &found[2]["response"]["body"];
    assert_eq!(answer["choices"][0]["message"]["content"], "You asked: hi 2");
    assert!(answer["usage"]["total_tokens"].is_u64(), "{answer}");
    assert_eq!((&found[2]["custom_id"], &found[2]["error"]), (&json!("q-2"), &Value::Null));
    let failed = &found[3];
    assert_eq!(failed["error"]["code"], "status 404");
    assert_eq!(failed["response"]["status_code"], 404);
    // A run goes on with it: the rows that are there are not asked for again.
    let before = mock.judgement().requests;
    ask(&place, &mock).flags("--retry-failed").exits(1);
    assert_eq!(mock.judgement().requests, before + 1);
    let again = lines(&place, "out.jsonl");
    assert_eq!(again[..3], found[..3]);
    ask(&place, &mock).flags("--overwrite --columns custom_id").exits(2).says("form of its own");
}

#[test]
fn results_are_converted_into_the_form_of_a_batch_and_back() {
    let (place, mock) = (Place::new(), plain_mock());
    run()
        .arg("--url", &format!("{}/echo/{{{{ id }}}}", mock.url()))
        .arg("--input", &place.file("rows.csv", "id,custom_id\n1,a\n2,b\n"))
        .arg("--output", &place.path("out.csv"))
        .flags("-e path=.path")
        .exits(0);
    let convert = |from: &str, to: &str, flags: &str| {
        throng("convert").operand(&place.path(from)).operand(&place.path(to)).flags(flags).exits(0)
    };
    convert("out.csv", "batch.jsonl", "--output-format openai-batch");
    let found = lines(&place, "batch.jsonl");
    let body = json!({ "id": "2", "path": "/echo/2" });
    assert_eq!((&found[1]["custom_id"], &found[1]["response"]["body"]), (&json!("b"), &body));
    convert("batch.jsonl", "back.jsonl", "--format openai-batch");
    let back = &place.records("back.jsonl")[1];
    assert_eq!(serde_json::from_str::<Value>(back["_body"].as_str().unwrap()).unwrap(), body);
    let plain = throng("convert").operand(&place.path("rows.csv")).operand(&place.path("no.jsonl"));
    plain.flags("--output-format openai-batch").exits(3).says("is made of a record");
}
