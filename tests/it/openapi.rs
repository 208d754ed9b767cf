//! Jobs from OpenAPI descriptions, run against a server that keeps what comes.

use serde_json::{Value, json};

use crate::harness::{Place, run, throng};
use crate::recorder::{Recorder, json as answer};

const YAML: &str = r##"
openapi: 3.0.3
info: { title: Shop, version: "1" }
servers: [{ url: "SERVER/{version}", variables: { version: { default: v2 } } }]
security: [{ key: [] }]
components:
  securitySchemes: { key: { type: apiKey, in: header, name: X-Shop-Key } }
  parameters:
    Shop: { name: shop-id, in: path, required: true, schema: { type: string } }
  schemas:
    Item:
      allOf:
        - { type: object, required: [name], properties: { name: { type: string }, note: { type: string } } }
        - { type: object, required: [price], properties: { price: { $ref: "#/components/schemas/Money" } } }
    Money: { type: object, properties: { amount: { type: number }, currency: { type: string, default: EUR } } }
paths:
  /shops/{shop-id}/items:
    parameters: [{ $ref: "#/components/parameters/Shop" }]
    get:
      operationId: listItems
      parameters:
        - { name: page, in: query, schema: { type: integer } }
        - { name: kind, in: query, required: true, schema: { type: string } }
      responses:
        "200":
          description: items
          content: { application/json: { schema: { type: object, properties: { items: { type: array, items: { $ref: "#/components/schemas/Item" } } } } } }
    post:
      operationId: addItem
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/Item" } } } }
      responses: { "201": { description: made } }
"##;

/// The job file of one operation.
fn init(place: &Place, description: &str, operation: &str) -> String {
    let job = place.path(&format!("{operation}.toml"));
    throng("init").flags(&job).arg("--openapi", description).arg("--operation", operation).exits(0);
    job
}

#[test]
fn a_description_in_yaml_gives_jobs_that_run() {
    let place = Place::new();
    let recorder = Recorder::answering(|came| {
        if came.line.contains("page=1") {
            answer(r#"{"items": [{"name": "a"}, {"name": "b"}]}"#)
        } else {
            answer(r#"{"items": []}"#)
        }
    });
    let description = place.file("api.yaml", &YAML.replace("SERVER", &recorder.url()));
    let input = place
        .file("rows.jsonl", r#"{"shop_id": "s/1", "kind": "new", "name": "x", "amount": 7.5}"#);
    let job = init(&place, &description, "addItem");
    run()
        .flags(&job)
        .arg("--input", &input)
        .arg("--output", &place.path("a.jsonl"))
        .env("API_KEY", "the-shop-key")
        .exits(0);
    let came = recorder.only();
    assert_eq!(came.line, "POST /v2/shops/s%2F1/items HTTP/1.1");
    assert_eq!(came.header("x-shop-key"), Some("the-shop-key"));
    let sent: Value = serde_json::from_str(&came.text()).unwrap();
    assert_eq!(sent, json!({"name": "x", "price": {"amount": 7.5, "currency": "EUR"}}));

    recorder.forget();
    let job = init(&place, &description, "listItems");
    run()
        .flags(&job)
        .arg("--input", &input)
        .arg("--output", &place.path("l.jsonl"))
        .arg("--extract", "item=.name")
        .env("API_KEY", "the-shop-key")
        .exits(0);
    let lines: Vec<String> = recorder.came().iter().map(|came| came.line.clone()).collect();
    assert_eq!(
        lines,
        [
            "GET /v2/shops/s%2F1/items?kind=new&page=1 HTTP/1.1",
            "GET /v2/shops/s%2F1/items?kind=new&page=2 HTTP/1.1",
        ]
    );
    let records = place.read("l.jsonl");
    assert!(records.contains("\"item\":\"a\"") && records.contains("\"item\":\"b\""), "{records}");
}

/// 1,500 things with three operations each, tied together by references.
fn large(server: &str) -> Value {
    let mut paths = serde_json::Map::new();
    for number in 0..1_500 {
        let thing = json!({"$ref": "#/components/schemas/Thing"});
        paths.insert(
            format!("/things{number}/{{thing-id}}"),
            json!({
                "parameters": [{"$ref": "#/components/parameters/Thing"}],
                "get": {
                    "operationId": format!("getThing{number}"),
                    "parameters": [{"name": "fields[]", "in": "query", "required": true, "schema": {"type": "array"}}],
                    "responses": {"200": {"description": "a thing", "content": {"application/json": {"schema": thing}}}},
                },
                "patch": {
                    "operationId": format!("changeThing{number}"),
                    "security": [{"key": [], "tenant": []}],
                    "requestBody": {"$ref": "#/components/requestBodies/Change"},
                    "responses": {"204": {"description": "changed"}},
                },
            }),
        );
        paths.insert(
            format!("/files{number}"),
            json!({"post": {
                "operationId": format!("addFile{number}"),
                "requestBody": {"content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Upload"}}}},
                "responses": {"201": {"description": "added"}},
            }}),
        );
    }
    json!({
        "openapi": "3.1.0", "info": {"title": "Large", "version": "1"},
        "servers": [{"url": format!("{server}/{{stage}}"), "variables": {"stage": {"default": "live", "enum": ["live", "test"]}}}],
        "security": [{"login": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "login": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "query", "name": "key"},
                "tenant": {"type": "apiKey", "in": "header", "name": "x-tenant-key"},
            },
            "parameters": {"Thing": {"name": "thing-id", "in": "path", "required": true, "schema": {"type": "string"}}},
            "requestBodies": {"Change": {"content": {"application/json": {"schema": {"allOf": [
                {"$ref": "#/components/schemas/Thing"},
                {"required": ["name", "kind", "maker"], "properties": {
                    "kind": {"const": "thing"},
                    "maker": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Maker"}]},
                }},
            ]}}}}},
            "schemas": {
                "Thing": {"type": "object", "properties": {
                    "id": {"type": "integer", "readOnly": true},
                    "name": {"type": ["string", "null"]},
                    "note": {"type": "string"},
                    "inner": {"$ref": "#/components/schemas/Thing"},
                }},
                "Maker": {"type": "object", "properties": {"country": {"type": "string", "default": null}}},
                "Upload": {"type": "object", "required": ["file", "purpose"], "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "purpose": {"type": "string", "enum": ["batch"]},
                    "expires": {"type": "integer"},
                }},
            },
        },
    })
}

#[test]
fn a_large_description_in_json_gives_jobs_that_run() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let description = place.file("api.json", &large(&recorder.url()).to_string());
    place.file("content.txt", "content of a file");
    let row = json!({
        "thing_id": 7, "fields__": ["a", "b"], "name": "x", "country": "PT", "file": "content.txt",
    });
    let input = place.file("rows.jsonl", &row.to_string());
    let ask = |operation: &str| {
        recorder.forget();
        let job = init(&place, &description, operation);
        run()
            .in_directory(&place.path(""))
            .flags(&job)
            .arg("--input", &input)
            .arg("--output", &place.path(&format!("{operation}.jsonl")))
            .env("API_TOKEN", "a-token-of-mine")
            .env("API_KEY", "a-key-of-mine")
            .exits(0);
        recorder.only()
    };
    let came = ask("getThing1218");
    assert_eq!(came.line, "GET /live/things1218/7?fields%5B%5D=a&fields%5B%5D=b HTTP/1.1");
    assert_eq!(came.header("authorization"), Some("Bearer a-token-of-mine"));
    let came = ask("changeThing1499");
    assert_eq!(came.line, "PATCH /live/things1499/7?key=a-key-of-mine HTTP/1.1");
    assert_eq!(came.header("x-tenant-key"), Some("a-key-of-mine"));
    assert_eq!(came.header("authorization"), None);
    let sent: Value = serde_json::from_str(&came.text()).unwrap();
    assert_eq!(sent, json!({"name": "x", "kind": "thing", "maker": {"country": "PT"}}));
    let came = ask("addFile0");
    let text = came.text();
    assert!(text.contains("filename=\"content.txt\"") && text.contains("content of a file"));
    assert!(text.contains("name=\"purpose\"\r\n\r\nbatch\r\n") && !text.contains("expires"));
    throng("init")
        .flags(&place.path("x.toml"))
        .arg("--openapi", &description)
        .arg("--operation", "getThign1218")
        .exits(2)
        .says("it has no operation \"getThign1218\" (--operation); the nearest are: getThing");
    throng("init")
        .flags(&place.path("x.toml"))
        .arg("--openapi", &description)
        .exits(2)
        .says("choose one of its operations (--operation): ")
        .says(" more");
}

#[test]
fn a_body_that_is_one_value_is_the_row_s() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let description = json!({
        "openapi": "3.0.0",
        "servers": [{"url": recorder.url()}],
        "paths": {"/ids": {"put": {
            "operationId": "setIds",
            "requestBody": {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "string"}}}}},
        }}},
    });
    let description = place.file("api.json", &description.to_string());
    let input = place.file("rows.jsonl", r#"{"body": ["a", "b"]}"#);
    let job = init(&place, &description, "setIds");
    run().flags(&job).arg("--input", &input).arg("--output", &place.path("o.jsonl")).exits(0);
    assert_eq!(recorder.only().text(), r#"["a","b"]"#);
}
