//! Redirects: what is the first origin's stays with it.

use super::{CANARY, ask, carries_canary, redirecting};
use crate::harness::{Place, each};
use crate::recorder::{Recorder, answer, json};

#[test]
fn row_1_and_2_credentials_reach_only_the_first_origin() {
    let (place, there) = (Place::new(), Recorder::start());
    let port = there.addr().port();
    let tls = there.url().replace("http", "https");
    for status in ["301 M", "302 F", "303 S", "307 T", "308 P"] {
        for (to, arrives) in [
            (there.url(), true),                         // another port
            (format!("http://localhost:{port}/"), true), // another host
            (format!("http://me:pw@127.0.0.1:{port}/"), false),
            (tls.clone(), false), // another scheme, and no TLS there
        ] {
            there.forget();
            let here = redirecting(status, to.clone());
            ask(&place, &here.url())
                .flags("--follow 3 --retries 0 --allow-private")
                .ends();
            assert!(carries_canary(&here));
            assert_eq!(
                !there.came().is_empty() && !to.starts_with("https"),
                arrives,
                "{status} {to}"
            );
            assert!(!carries_canary(&there), "{status} {to}");
        }
    }
}

#[test]
fn row_1_a_redirect_from_tls_to_plain_is_not_gone() {
    let (place, there) = (Place::new(), Recorder::start());
    let here = redirecting("302 F", there.url());
    let tls = throng_mock::Tls::self_signed(["127.0.0.1"]).unwrap();
    let addr = crate::terminator::http1_only(&tls, here.addr());
    let roots = place.file("roots.pem", &tls.certificate);
    let ended = ask(&place, &format!("https://{addr}/"))
        .flags("--follow 3 --allow-private --cacert")
        .flags(&roots)
        .exits(1);
    assert_eq!(each(&ended.records(), "_error"), ["status 302"]);
    assert!(there.came().is_empty());
}

#[test]
fn row_3_no_referer_is_sent() {
    let place = Place::new();
    let recorder = Recorder::answering(|came| match came.line.contains("/first") {
        true => answer("302 F", &[("location", "/second")], ""),
        false => json("{}"),
    });
    let url = format!("{}/first?api_key={{{{ env.CANARY }}}}", recorder.url());
    ask(&place, &url).flags("--follow 1").exits(0);
    assert_eq!(recorder.came().len(), 2);
    assert!(
        recorder
            .came()
            .iter()
            .all(|came| came.header("referer").is_none())
    );
    assert!(!recorder.came()[1].line.contains(CANARY));
}
