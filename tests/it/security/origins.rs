//! Redirects: what is the first origin's stays with it.

use std::sync::{Arc, Mutex};

use throng_mock::ServerCertificate;

use super::{CANARY, ask, carries_canary};
use crate::harness::{Place, Throng};
use crate::recorder::{Recorder, answer, json};

const STATUSES: [&str; 5] = ["301 M", "302 F", "303 S", "307 T", "308 P"];

/// TLS in front of a recorder: its URL.
fn with_tls(tls: &ServerCertificate, recorder: &Recorder) -> String {
    format!("https://{}", crate::terminator::http1_only(tls, recorder.addr()))
}

/// Sends `/` elsewhere, and is content with anything else.
fn leading(status: &'static str, to: String) -> Recorder {
    Recorder::answering(move |came| {
        if came.line.contains(" / ") {
            answer(status, &[("location", &to)], "")
        } else {
            json("{}")
        }
    })
}

/// One row with the canary wherever a request can carry it.
fn ask_with_all(place: &Place, url: &str, roots: &str) -> Throng {
    ask(place, url)
        .arg("--header", "cookie: session={{ env.CANARY }}")
        .arg("--auth", "kind=bearer")
        .arg("--auth", "token={{ env.CANARY }}")
        .flags("--follow 9 --retries 0 --allow-private --cacert")
        .flags(roots)
}

#[test]
fn row_1_and_2_credentials_reach_only_the_first_origin() {
    let (place, there) = (Place::new(), Recorder::start());
    let tls = ServerCertificate::self_signed(["127.0.0.1", "localhost"]).unwrap();
    let roots = place.file("roots.pem", &tls.certificate);
    let (port, there_tls) = (there.addr().port(), with_tls(&tls, &there));
    for status in STATUSES {
        for (to, arrives) in [
            (there.url(), true),                                // another port
            (format!("http://localhost:{port}/x"), true),       // another host
            (there_tls.clone(), true),                          // another scheme
            (format!("http://me:pw@127.0.0.1:{port}/"), false), // a password
            ("file:///etc/passwd".to_owned(), false),
        ] {
            there.forget();
            let here = leading(status, to.clone());
            ask_with_all(&place, &here.url(), &roots).ends();
            assert!(carries_canary(&here));
            assert_eq!(!there.came().is_empty(), arrives, "{status} {to}");
            assert!(!carries_canary(&there), "{status} {to}");
        }
        // Within the origin, what the job says goes along.
        let here = leading(status, "/there".to_owned());
        ask_with_all(&place, &here.url(), &roots).exits(0);
        let names = ["x-zq81", "cookie", "authorization"];
        let second = here.came()[1].clone();
        assert!(names.iter().all(|name| second.header(name).is_some()));
    }
}

#[test]
fn row_1_from_tls_a_redirect_leads_to_tls_alone() {
    let (place, there) = (Place::new(), Recorder::start());
    let tls = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let roots = place.file("roots.pem", &tls.certificate);
    let there_tls = with_tls(&tls, &there);
    for status in STATUSES {
        for (to, arrives) in [(there.url(), false), (there_tls.clone(), true)] {
            there.forget();
            let here = leading(status, to.clone());
            let ended = ask_with_all(&place, &with_tls(&tls, &here), &roots).ends();
            assert_eq!(there.came().len(), usize::from(arrives), "{status} {to}");
            assert!(!carries_canary(&there), "{status} {to}");
            let record = &ended.records()[0];
            assert_eq!(record["_ok"], arrives, "{record}");
        }
    }
}

#[test]
fn row_1_eight_hops_away_and_back_carry_nothing_after_the_first_that_leaves() {
    let place = Place::new();
    let tls = ServerCertificate::self_signed(["127.0.0.1", "localhost"]).unwrap();
    let roots = place.file("roots.pem", &tls.certificate);
    // Where each hop leads is known when all have their ports.
    let hops: Arc<Mutex<Vec<String>>> = Arc::default();
    let known = hops.clone();
    let recorder = Recorder::answering(move |came| {
        let number = came.line.split(['/', ' ']).nth(2).unwrap().parse::<usize>();
        match known.lock().unwrap().get(number.unwrap()) {
            Some(to) => answer(STATUSES[came.line.len() % 5], &[("location", to)], ""),
            None => json("{}"),
        }
    });
    let (here, port) = (recorder.url(), recorder.addr().port());
    let (there, away) = (Recorder::start(), with_tls(&tls, &recorder));
    *hops.lock().unwrap() = vec![
        "/1".to_owned(),
        format!("{here}/2"),
        format!("http://localhost:{port}/3"),
        format!("{here}/4"),
        "/5".to_owned(),
        format!("{away}/6"),
        "/7".to_owned(),
        format!("{}/8", with_tls(&tls, &there)),
    ];
    let ended = ask_with_all(&place, &format!("{here}/0"), &roots).exits(0);
    assert_eq!(ended.records()[0]["_attempts"], 9);
    let carried: Vec<bool> =
        recorder.came().iter().map(|came| format!("{came:?}").contains(CANARY)).collect();
    assert_eq!(carried, [true, true, true, false, false, false, false, false]);
    assert!(!carries_canary(&there) && there.only().line.starts_with("GET /8 "));
}

#[test]
fn row_3_no_referer_is_sent() {
    let place = Place::new();
    let recorder = Recorder::answering(|came| {
        if came.line.contains("/first") {
            answer("302 F", &[("location", "/second")], "")
        } else {
            json("{}")
        }
    });
    let url = format!("{}/first?api_key={{{{ env.CANARY }}}}", recorder.url());
    ask(&place, &url).flags("--follow 1").exits(0);
    assert_eq!(recorder.came().len(), 2);
    assert!(recorder.came().iter().all(|came| came.header("referer").is_none()));
    assert!(!recorder.came()[1].line.contains(CANARY));
}
