//! Proxies, netrc, the environment: what is around a run has no say in it unseen.

use super::{CANARY, ask};
use crate::harness::Place;
use crate::proxy::Proxy;
use crate::recorder::Recorder;

#[test]
fn row_4_a_proxy_s_credentials_stay_with_it() {
    let (place, origin) = (Place::new(), Recorder::start());
    let tls = throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let addr = crate::terminator::http1_only(&tls, origin.addr());
    let roots = place.file("roots.pem", &tls.certificate);
    let proxy = Proxy::before(addr);
    let with_user = proxy.url().replace("http://", "http://me:proxy-canary@");
    let ended = ask(&place, &format!("https://{addr}/"))
        .flags(&format!("--proxy {with_user} --cacert {roots} -v"))
        .exits(0);
    let head = &proxy.heads()[0].to_lowercase();
    assert!(head.starts_with("connect ") && head.contains("proxy-authorization: basic "));
    assert!(!head.contains(CANARY));
    let came = origin.only();
    assert_eq!(came.header("proxy-authorization"), None);
    assert!(!format!("{came:?}").contains("proxy-canary"));
    ended.says("go through the proxy http://127.0.0.1:");
    assert!(!ended.stderr.contains("proxy-canary"));
}

#[test]
fn row_5_netrc_is_not_read() {
    let (place, recorder) = (Place::new(), Recorder::start());
    place.file(
        ".netrc",
        "machine 127.0.0.1 login me password trap\ndefault login me password trap\n",
    );
    ask(&place, &recorder.url())
        .env("HOME", &place.path(""))
        .env("NETRC", &place.path(".netrc"))
        .exits(0);
    assert_eq!(recorder.only().header("authorization"), None);
}

#[test]
fn row_6_proxies_of_the_environment_are_shown_and_can_be_left_out() {
    let (place, origin) = (Place::new(), Recorder::start());
    let proxy = Proxy::before(origin.addr());
    let through = |name: &str, value: &str, flags: &str| {
        let before = proxy.connections();
        let ended = ask(&place, &origin.url()).env(name, value).flags(flags).exits(0);
        (proxy.connections() > before, ended)
    };
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (used, ended) = through(name, &proxy.url(), "");
        assert!(used, "{name}");
        ended.says("go through the proxy http://");
        assert!(!through(name, &proxy.url(), "--proxy none").0);
    }
    let before = proxy.connections();
    ask(&place, &origin.url())
        .env("HTTP_PROXY", &proxy.url())
        .env("REQUEST_METHOD", "GET")
        .exits(0);
    ask(&place, &origin.url())
        .env("HTTP_PROXY", &proxy.url())
        .env("NO_PROXY", "127.0.0.1")
        .exits(0);
    assert_eq!(proxy.connections(), before);
}
