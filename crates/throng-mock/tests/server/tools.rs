//! What else the mock answers: echoes, statuses, bytes in every encoding.

use std::io::Read;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{CONTENT_ENCODING, LOCATION, RETRY_AFTER};
use throng_mock::Settings;

use crate::client::{Line, get, request, run, start, until};

#[test]
fn an_echo_says_what_was_asked() {
    let mock = start(Settings::default());
    let mut asked = request(Method::PUT, "/echo/deep?a=1&b=%20", "hello");
    asked.headers_mut().append("x-many", "1".parse().unwrap());
    asked.headers_mut().append("X-Many", "2".parse().unwrap());
    let told = run(async { Line::to(&mock).await.ask(asked).await.unwrap() });
    let json = told.json();
    assert_eq!(json["method"], "PUT");
    assert_eq!(json["path"], "/echo/deep");
    assert_eq!(json["query"], "a=1&b=%20");
    assert_eq!(json["headers"]["x-many"], serde_json::json!(["1", "2"]));
    assert_eq!(json["body"], "hello");
}

#[test]
fn statuses_and_redirects_are_as_asked() {
    let mock = start(Settings::default());
    let told = get(&mock, "/status/503?retry_after=7&body=%5B1%5D").unwrap();
    assert_eq!((told.status, told.header(RETRY_AFTER)), (503, "7"));
    assert_eq!(told.body, b"[1]");
    let told = get(&mock, "/redirect/307?to=%2Fecho%3Fa").unwrap();
    assert_eq!((told.status, told.header(LOCATION)), (307, "/echo?a"));
    let told = get(&mock, "/nowhere").unwrap();
    assert_eq!(told.status, 404);
    assert!(told.json()["error"].is_string());
    assert_eq!(mock.judgement().answers["404"], 1);
}

#[test]
fn flaky_answers_count_the_tries() {
    let mock = start(Settings::default());
    let path = "/flaky/1/x?status=429&retry_after=1";
    let told = get(&mock, path).unwrap();
    assert_eq!((told.status, told.header(RETRY_AFTER)), (429, "1"));
    let told = get(&mock, path).unwrap();
    assert_eq!(told.json(), serde_json::json!({"id": "x", "tries": 2}));
}

#[test]
fn bytes_come_in_every_encoding() {
    let mock = start(Settings::default());
    let n = 3_000_000;
    let plain = get(&mock, &format!("/bytes/{n}")).unwrap();
    assert_eq!(plain.body.len(), n);
    assert_eq!(plain.header("content-length"), "3000000");
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let told = get(&mock, &format!("/bytes/{n}?encoding={encoding}")).unwrap();
        assert_eq!(told.header(CONTENT_ENCODING), encoding);
        assert!(told.whole && told.body.len() < n / 10);
        assert_eq!(unpack(encoding, &told.body), plain.body, "{encoding}");
    }
    assert_eq!(mock.judgement().answers["200"], 5);
}

fn unpack(encoding: &str, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader: Box<dyn Read + '_> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, 4096)),
        _ => Box::new(zstd::Decoder::new(packed).unwrap()),
    };
    reader.read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_huge_body_is_made_while_it_is_read() {
    let mock = start(Settings::default());
    run(async {
        let mut line = Line::to(&mock).await;
        let asked = request(Method::GET, "/bytes/10000000000?encoding=gzip", "");
        let mut response = line.0.send_request(asked).await.unwrap();
        response.frame().await.unwrap().unwrap();
        // Others are served meanwhile; then the client has had enough.
        let other = Line::to(&mock).await.get("/echo").await.unwrap();
        assert_eq!(other.status, 200);
        drop((response, line));
        let judgement = until(&mock, |seen| seen.answers.len() == 2).await;
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.most_in_flight, 2);
    });
}
