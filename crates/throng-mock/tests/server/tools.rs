//! Further routes: echoes, statuses, bytes in every encoding.

use std::io::Read;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{CONTENT_ENCODING, LOCATION, RETRY_AFTER};
use throng_mock::Settings;

use crate::client::{Connection, get, request, run, start, until};

#[test]
fn an_echo_repeats_the_request() {
    let mock = start(Settings::default());
    let mut request = request(Method::PUT, "/echo/deep?a=1&b=%20", "hello");
    request.headers_mut().append("x-many", "1".parse().unwrap());
    request.headers_mut().append("X-Many", "2".parse().unwrap());
    let answer = run(async { Connection::to(&mock).await.send(request).await.unwrap() });
    let json = answer.json();
    assert_eq!(json["method"], "PUT");
    assert_eq!(json["path"], "/echo/deep");
    assert_eq!(json["query"], "a=1&b=%20");
    assert_eq!(json["headers"]["x-many"], serde_json::json!(["1", "2"]));
    assert_eq!(json["body"], "hello");
}

#[test]
fn statuses_and_redirects_are_as_requested() {
    let mock = start(Settings::default());
    let answer = get(&mock, "/status/503?retry_after=7&body=%5B1%5D").unwrap();
    assert_eq!((answer.status, answer.header(RETRY_AFTER)), (503, "7"));
    assert_eq!(answer.body, b"[1]");
    let answer = get(&mock, "/redirect/307?to=%2Fecho%3Fa").unwrap();
    assert_eq!((answer.status, answer.header(LOCATION)), (307, "/echo?a"));
    let answer = get(&mock, "/nowhere").unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"].is_string());
    assert_eq!(mock.judgement().answers["404"], 1);
}

#[test]
fn flaky_answers_count_the_tries() {
    let mock = start(Settings::default());
    let path = "/flaky/1/x?status=429&retry_after=1";
    let answer = get(&mock, path).unwrap();
    assert_eq!((answer.status, answer.header(RETRY_AFTER)), (429, "1"));
    let answer = get(&mock, path).unwrap();
    assert_eq!(answer.json(), serde_json::json!({"id": "x", "tries": 2}));
}

#[test]
fn bytes_come_in_every_encoding() {
    let mock = start(Settings::default());
    let n = 3_000_000;
    let uncompressed = get(&mock, &format!("/bytes/{n}")).unwrap();
    assert_eq!(uncompressed.body.len(), n);
    assert_eq!(uncompressed.header("content-length"), "3000000");
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let answer = get(&mock, &format!("/bytes/{n}?encoding={encoding}")).unwrap();
        assert_eq!(answer.header(CONTENT_ENCODING), encoding);
        assert!(answer.whole && answer.body.len() < n / 10);
        assert_eq!(decompress(encoding, &answer.body), uncompressed.body, "{encoding}");
    }
    assert_eq!(mock.judgement().answers["200"], 5);
}

fn decompress(encoding: &str, compressed: &[u8]) -> Vec<u8> {
    let mut uncompressed = Vec::new();
    let mut reader: Box<dyn Read + '_> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(compressed)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(compressed)),
        "br" => Box::new(brotli::Decompressor::new(compressed, 4096)),
        _ => Box::new(zstd::Decoder::new(compressed).unwrap()),
    };
    reader.read_to_end(&mut uncompressed).unwrap();
    uncompressed
}

#[test]
fn a_huge_body_is_generated_while_it_is_read() {
    let mock = start(Settings::default());
    run(async {
        let mut connection = Connection::to(&mock).await;
        let request = request(Method::GET, "/bytes/10000000000?encoding=gzip", "");
        let mut response = connection.0.send_request(request).await.unwrap();
        response.frame().await.unwrap().unwrap();
        // Other clients are served meanwhile; then the client closes the connection.
        let other = Connection::to(&mock).await.get("/echo").await.unwrap();
        assert_eq!(other.status, 200);
        drop((response, connection));
        let judgement = until(&mock, |reached| reached.answers.len() == 2).await;
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.most_in_flight, 2);
    });
}
