//! The acked guard: a slow answer doesn't hold its slot, and the limit is kept.

use serde_json::Value;
use throng_mock::{Mock, ServerCertificate, Settings};

use crate::harness::{Place, Throng, assert_one_record_per_row, mock, run, symbols, throng};
use crate::proxy::Proxy;
use crate::terminator;

const LIMIT: &str = "10/300ms";
/// So much longer that a server which counts late counts no more than it allows.
const FLAGS: &str = "--rate 10/300ms --skew 300ms --workers 1 --concurrency 30";
const ROWS: usize = 30;

/// A server that takes two seconds for each answer, all of it after the arrival.
fn slow(tls: Option<&ServerCertificate>) -> Mock {
    mock(Settings {
        limits: vec![LIMIT.parse().unwrap()],
        latency: "2s".parse().unwrap(),
        there: 0.0,
        tls: tls.cloned(),
        ..Settings::default()
    })
}

fn ask(place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", &symbols(ROWS));
    run()
        .quotes(server)
        .arg("--input", &input)
        .arg("--summary-json", &place.path("summary.json"))
        .flags(FLAGS)
}

/// Runs, keeps the limit, and gives how much the server had in flight and what
/// the summary says of the limit.
#[track_caller]
fn most_in_flight(throng: Throng, place: &Place, mock: &Mock) -> (u64, Value) {
    let ended = throng.exits(0);
    assert_one_record_per_row(&ended.records(), ROWS);
    let judgement = mock.judgement();
    let counted = (judgement.refused, judgement.requests);
    assert_eq!(counted, (0, ROWS as u64), "{}", ended.stderr);
    assert!(judgement.windows[0].most <= 10, "{:?}", judgement.windows);
    let limit = place.json("summary.json")["limits"][0].clone();
    assert!(limit["most_in_window"].as_u64() <= Some(10), "{limit}");
    (judgement.most_in_flight, limit)
}

/// While the first windows are worked on, two more go out at least; `strict`
/// never has more than one.
#[track_caller]
fn assert_slots_come_back_early(throng: Throng, place: &Place, mock: &Mock) {
    let (most, limit) = most_in_flight(throng.flags("--guard acked"), place, mock);
    assert!(most >= 30, "no more than {most} in flight");
    assert_eq!(limit["guard"], "acked");
    assert_eq!(limit["kept_as_strict"], Value::Null);
}

#[test]
#[cfg(target_os = "linux")]
fn a_slow_answer_does_not_hold_its_slot() {
    let (place, mock) = (Place::new(), slow(None));
    assert_slots_come_back_early(ask(&place, &mock.url()), &place, &mock);
}

#[test]
#[cfg(target_os = "linux")]
fn nor_with_http2() {
    let (place, tls) = (Place::new(), ServerCertificate::self_signed(["127.0.0.1"]).unwrap());
    let (mock, roots) = (slow(Some(&tls)), place.file("roots.pem", &tls.certificate));
    let asked = ask(&place, &mock.url()).env("SSL_CERT_FILE", &roots);
    assert_slots_come_back_early(asked, &place, &mock);
}

#[test]
#[cfg(target_os = "linux")]
fn nor_with_http1_over_tls() {
    let (place, tls) = (Place::new(), ServerCertificate::self_signed(["127.0.0.1"]).unwrap());
    let (mock, roots) = (slow(None), place.file("roots.pem", &tls.certificate));
    let addr = terminator::http1_only(&tls, mock.addr());
    let asked = ask(&place, &format!("https://{addr}")).env("SSL_CERT_FILE", &roots);
    assert_slots_come_back_early(asked, &place, &mock);
}

#[test]
fn behind_a_proxy_it_is_kept_as_strict_and_says_so() {
    let (place, mock) = (Place::new(), slow(None));
    let proxy = Proxy::before(mock.addr());
    let asked =
        ask(&place, "http://api.test").flags("--guard acked").env("HTTP_PROXY", &proxy.url());
    let (most, limit) = most_in_flight(asked, &place, &mock);
    assert_eq!((most, limit["guard"].as_str()), (10, Some("acked")));
    let why = limit["kept_as_strict"].as_str().unwrap();
    let plan = throng("plan")
        .quotes("http://api.test")
        .arg("--input", &place.path("rows.csv"))
        .flags(FLAGS)
        .flags("--guard acked")
        .env("HTTP_PROXY", &proxy.url())
        .exits(0);
    let said = format!("acked is kept as strict here, since {why}");
    assert!(plan.stdout.contains(&said), "{}", plan.stdout);
}
