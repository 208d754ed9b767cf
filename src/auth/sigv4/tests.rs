//! The published test suite of AWS Signature Version 4 (Apache-2.0), all 38 cases of
//! signing by headers, as one file.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::*;

/// Characters that can't stand unencoded in a request line.
const UNSENT: &AsciiSet = &CONTROLS.add(b' ');

fn request(case: &Value) -> Request<Bytes> {
    let text = case["request"].as_str().unwrap();
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    // A header may go on in the next line, after a blank.
    let head = head.replace("\n ", " ");
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let path = rest.strip_suffix(" HTTP/1.1").unwrap();
    let path = utf8_percent_encode(path, UNSENT);
    let mut request =
        Request::builder().method(method).uri(format!("https://example.amazonaws.com{path}"));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

#[test]
fn signatures_match_the_published_vectors() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(cases.len(), 38);
    for case in &cases {
        let mut request = request(case);
        let headers = request.headers_mut();
        if let Some(token) = case["token"].as_str().filter(|_| case["token_after"] == false) {
            set_secret(headers, &TOKEN, token).unwrap();
        }
        if case["sign_body"] == true {
            let digest = Hash::Sha256.hex(request.body());
            set_secret(request.headers_mut(), &CONTENT, &digest).unwrap();
        }
        let signing = Signing {
            time: "20150830T123600Z",
            region: "us-east-1",
            service: "service",
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            path_encoding: PathEncoding {
                normalize: case["normalize"] == true,
                encode_twice: false,
            },
        };
        signing.sign(&mut request).unwrap();
        assert_eq!(
            canonical(&request, signing.path_encoding),
            case["canonical"].as_str().unwrap().trim_end_matches('\n'),
            "{}",
            case["name"]
        );
        let authorization = request.headers()[AUTHORIZATION].to_str().unwrap();
        let signature = case["signature"].as_str().unwrap();
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{}", case["name"]);
        assert!(authorization.contains(
            "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
        ));
    }
}

#[test]
fn a_path_is_encoded_once_more_except_for_storage() {
    let request = || Request::get("https://h/a%20b/../c").body(Bytes::new()).unwrap();
    let second = |service| {
        let text = canonical(&request(), PathEncoding::of(service));
        text.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(second("s3"), "/a%20b/../c");
    assert_eq!(second("execute-api"), "/c");
    let request = Request::get("https://h/a%20b").body(Bytes::new()).unwrap();
    assert!(canonical(&request, PathEncoding::of("execute-api")).contains("\n/a%2520b\n"));
}

#[test]
fn the_time_is_in_the_format_of_the_server() {
    let at = humantime::parse_rfc3339("2015-08-30T12:36:00Z").unwrap();
    assert_eq!(timestamp(at), "20150830T123600Z");
}
