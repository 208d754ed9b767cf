//! Answers in HTML: CSS selectors take values, items and next pages out of them, and a page where
//! no selector expects one stays a failure.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Throng, each, raw_server, run};

const PRODUCT: &str = r#"<!doctype html><html><head><title>Bolt &ndash; shop</title>
<meta property="og:title" content="Bolt"><meta name=price content=17.5>
<script type="application/ld+json">{"offers": {"price": 17.5}}</script></head>
<body><h1> Bolt
  <small>M8</small></h1><ul><li><a href="/a">A</a><li><a href="/b">B</a></ul></body></html>"#;

/// A table of two pages.
fn table(query: &str) -> String {
    let (rows, next) = match query {
        "" => ("<tr><td>Acme<td>17.5<tr><td>Bolt<td>2", "<a rel=next href='?page=2'>Next</a>"),
        "page=2" => ("<tr><td>Cog<td>3", ""),
        "none" => ("", ""),
        query => panic!("{query}"),
    };
    format!(
        "<html><body>{next}<table class=quotes><tbody>{rows}</tbody></table>{next}</body></html>"
    )
}

/// The type and the body of an answer.
fn answer(path: &str) -> (&'static str, Vec<u8>) {
    let (name, query) = path.split_once('?').unwrap_or((path, ""));
    match name {
        "product" => ("text/html; charset=utf-8", PRODUCT.into()),
        "table" => ("text/html", table(query).into()),
        "latin1" => ("text/html", b"<html><meta charset=iso-8859-1><h1>Zo\xeb</h1></html>".into()),
        "login" => ("text/html", "<html><body><form>Log in</form></body></html>".into()),
        "json" => ("application/json", "{\"a\": 1}".into()),
        "part" => ("application/json", "{\"html\": \"<li>one<li>two\"}".into()),
        "deep" => ("text/html", "<div>".repeat(1_000_000).into()),
        name => panic!("{name}"),
    }
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    let (kind, body) = answer(path);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

/// A run that asks for one answer.
fn asks(path: &str) -> Throng {
    let addr = raw_server(converse);
    run().arg("--url", &format!("http://{addr}/{path}")).flags("--retries 0 --progress none")
}

fn takes(path: &str, program: &str) -> Throng {
    asks(path).arg("--extract", &format!("v={program}"))
}

/// The failure of a row with this answer, and its detail.
fn failure(run: Throng) -> (String, String) {
    let record = run.exits(1).records().remove(0);
    let text = |field: &str| record[field].as_str().unwrap().to_owned();
    (text("_error"), text("_detail"))
}

#[test]
fn selectors_take_values_out_of_a_page() {
    for (path, program, expected) in [
        ("product", "css:title", json!("Bolt – shop")),
        ("product", "css:h1", json!("Bolt M8")),
        ("product", "css:meta[property='og:title']@content", json!("Bolt")),
        ("product", "css(\"meta[name=price]@content\") | tonumber", json!(17.5)),
        (
            "product",
            "css(\"script[type='application/ld+json']\") | fromjson | .offers.price",
            json!(17.5),
        ),
        ("product", "[css:li a@href]", json!(["/a", "/b"])),
        ("product", "[html(\"li\") | css(\"a\")]", json!(["A", "B"])),
        ("product", "[css:h6]", json!([])),
        ("table", "css:a[rel=next]@href", json!("?page=2")),
        ("latin1", "css:h1", json!("Zoë")),
        ("part", ".html | [css(\"li\")]", json!(["one", "two"])),
    ] {
        let record = takes(path, program).exits(0).records().remove(0);
        assert_eq!(record["v"], expected, "{path} {program}");
    }
    let text = takes("product", "startswith(\"<!doctype\")").flags("--answer-format html").exits(0);
    assert_eq!(text.records()[0]["v"], true);
    let none = asks("product").flags("--extract v?=css:h6 --extract w=css:title").exits(0);
    assert_eq!(none.records()[0]["v"], Value::Null);
}

#[test]
fn items_and_next_pages_are_those_of_selectors() {
    let ended = asks("table")
        .arg("--each", "css:table.quotes tr")
        .arg("--next", "css:a[rel=next]@href")
        .arg("--extract", "name=css:td:first-child")
        .arg("--extract", "price=css(\"td:nth-child(2)\") | tonumber")
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "name"), ["Acme", "Bolt", "Cog"]);
    assert_eq!(each(&records, "price"), [json!(17.5), json!(2), json!(3)]);
    let links = asks("product").arg("--each", "css:li a@href").flags("--extract v=.").exits(0);
    assert_eq!(each(&links.records(), "v"), ["/a", "/b"]);
    let none = asks("table?none").arg("--each", "css:tr?").flags("--extract v=css:td").exits(0);
    assert_eq!((none.records().len(), &none.records()[0]["_item"]), (1, &Value::Null));
}

#[test]
fn a_page_without_what_is_selected_fails_by_name() {
    for (run, kind, why) in [
        (takes("login", ".price"), "not json", "css:SELECTOR takes values out of HTML"),
        (takes("login", "css:h1.price"), "missing v", "the value is null or not there"),
        (takes("login", ".a").flags("--each .items[]"), "not json", "Log in"),
        (
            takes("login", "css:td").arg("--each", "css:tr"),
            "missing items",
            "no element matches tr",
        ),
        (takes("product", "css:li"), "missing v", "the selector gave 2 values"),
        (takes("product", "css(\"a:hover\")"), "missing v", "of pseudo-classes, first-child"),
        (takes("json", "css:h1"), "missing v", "select from HTML, which is a text"),
        (takes("json", "css:h1").flags("--answer-format html"), "not html", "{\\\"a\\\": 1}"),
        (takes("deep", "css:h1"), "missing v", "nests deeper than 512 elements"),
    ] {
        let (error, detail) = failure(run);
        assert_eq!(error, kind, "{why}: {detail}");
        assert!(detail.contains(why), "{why}: {detail}");
    }
    let wrong = takes("product", "css:a:hover").exits(2);
    wrong.says("\"a:hover\" is no CSS selector: of pseudo-classes, first-child");
}
