//! HTTPS: over HTTP/2 and HTTP/1.1, with a certificate that is trusted, or not.

use std::collections::BTreeSet;

use serde_json::Value;
use throng_mock::{Mock, ServerCertificate, Settings};

use crate::harness::{Ended, Place, Throng, each, mock, plain_mock, run, symbols};
use crate::proxy::Proxy;
use crate::terminator;

fn certificate() -> ServerCertificate {
    ServerCertificate::self_signed(["127.0.0.1", "localhost"]).unwrap()
}

fn https(tls: &ServerCertificate) -> Mock {
    mock(Settings { tls: Some(tls.clone()), ..Settings::default() })
}

/// Twenty rows are echoed by a server whose certificate is trusted.
fn ask(place: &Place, server: &str, trusted: &ServerCertificate) -> Throng {
    let input = place.file("rows.csv", &symbols(20));
    let roots = place.file("roots.pem", &trusted.certificate);
    run()
        .arg("--url", &format!("{server}/echo/{{{{ symbol }}}}"))
        .flags("--extract path=.path --extract host?=.headers.host[0]")
        .arg("--input", &input)
        .flags("--workers 1")
        .env("SSL_CERT_FILE", &roots)
}

#[track_caller]
fn assert_all_answered(ended: &Ended, host: Value) {
    let records = ended.records();
    let paths: Vec<String> = (0..20).map(|n| format!("/echo/S{n}")).collect();
    assert_eq!(each(&records, "path"), paths);
    let hosts: BTreeSet<String> = records.iter().map(|r| r["host"].to_string()).collect();
    assert_eq!(hosts, BTreeSet::from([host.to_string()]));
}

#[test]
fn http2_is_spoken_where_it_is_offered() {
    let (place, tls) = (Place::new(), certificate());
    let mock = https(&tls);
    let ended = ask(&place, &mock.url(), &tls).exits(0);
    // HTTP/2 has no host header.
    assert_all_answered(&ended, Value::Null);
    assert_eq!(mock.judgement().requests, 20);
}

#[test]
fn http1_is_spoken_where_http2_is_not_offered() {
    let (place, tls, mock) = (Place::new(), certificate(), plain_mock());
    let addr = terminator::http1_only(&tls, mock.addr());
    let ended = ask(&place, &format!("https://{addr}"), &tls).exits(0);
    assert_all_answered(&ended, addr.to_string().into());
    assert_eq!(mock.judgement().requests, 20);
}

#[test]
fn with_http2_a_reset_stream_costs_no_other_row() {
    let (place, tls) = (Place::new(), certificate());
    let mock = mock(Settings {
        tls: Some(tls.clone()),
        faults: "drop=20%".parse().unwrap(),
        seed: 3,
        ..Settings::default()
    });
    let ended = ask(&place, &mock.url(), &tls).flags("--retries 9").exits(0);
    assert_all_answered(&ended, Value::Null);
    let sum: u64 = ended.records().iter().map(|record| record["_attempts"].as_u64().unwrap()).sum();
    let judgement = mock.judgement();
    assert!(judgement.answers["drop"] > 0);
    assert_eq!(sum, judgement.requests);
}

#[test]
fn a_certificate_that_nobody_trusts_stops_the_run() {
    let (place, tls) = (Place::new(), certificate());
    let mock = https(&tls);
    let ended = ask(&place, &mock.url(), &certificate()).exits(3);
    ended.says("tls").says("127.0.0.1").says("certificate");
    assert_eq!((ended.stdout.as_str(), mock.judgement().requests), ("", 0));
}

#[test]
fn a_certificate_for_another_name_stops_the_run() {
    let (place, tls) = (Place::new(), ServerCertificate::self_signed(["example.org"]).unwrap());
    let mock = https(&tls);
    let ended = ask(&place, &mock.url(), &tls).exits(3);
    ended.says("tls").says("certificate");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn through_a_proxy_there_is_a_tunnel() {
    let (place, tls) = (Place::new(), ServerCertificate::self_signed(["api.test"]).unwrap());
    let mock = https(&tls);
    let proxy = Proxy::before(mock.addr());
    let ended = ask(&place, "https://api.test", &tls).env("HTTPS_PROXY", &proxy.url()).exits(0);
    assert_all_answered(&ended, Value::Null);
    assert_eq!(mock.judgement().requests, 20);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "HTTP/2 needs one connection: {heads:?}");
    assert!(heads[0].starts_with("CONNECT api.test:443 HTTP/1.1\r\n"), "{heads:?}");
}
