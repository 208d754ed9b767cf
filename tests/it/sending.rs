//! Connections: kept alive, made anew where the server closes them, through a proxy.

use crate::harness::{
    Place, Throng, assert_attempts_are_the_server_s, each, plain_mock, run, symbols,
};
use crate::proxy::Proxy;

fn rows(place: &Place, count: usize) -> String {
    place.file("rows.csv", &symbols(count))
}

fn ask(place: &Place, url: &str) -> Throng {
    run().arg("--url", url).arg("--input", &rows(place, 20))
}

#[test]
fn a_connection_is_used_again() {
    let (place, mock) = (Place::new(), plain_mock());
    let front = Proxy::before(mock.addr());
    for (flags, most) in [
        ("--mode sync --workers 1", 1),
        ("--mode sync --workers 2", 3),
        ("--workers 1 --concurrency 5", 9),
    ] {
        let front = Proxy::before(mock.addr());
        run().quotes(&front.url()).arg("--input", &rows(&place, 100)).flags(flags).exits(0);
        assert!(front.connections() <= most, "{flags}: {}", front.connections());
    }
    assert_eq!(front.connections(), 0);
    assert_eq!(mock.judgement().requests, 300);
}

#[test]
fn a_server_that_closes_every_connection_costs_no_row() {
    let (place, mock) = (Place::new(), plain_mock());
    let front = Proxy::before(mock.addr());
    let ended =
        ask(&place, &format!("{}/close", front.url())).flags("--workers 2 --retries 0").exits(0);
    assert_eq!(each(&ended.records(), "_attempts"), [1; 20]);
    assert_eq!(mock.judgement().requests, 20);
    assert_eq!(front.connections(), 20);
}

#[test]
fn a_proxy_sees_the_whole_url() {
    let (place, mock) = (Place::new(), plain_mock());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        mock.reset();
        let proxy = Proxy::before(mock.addr());
        let ended = run()
            .quotes("http://api.test")
            .arg("--input", &rows(&place, 20))
            .flags("--mode sync --workers 1")
            .env(name, &proxy.url())
            .exits(0);
        assert_attempts_are_the_server_s(&ended.records(), &mock);
        let heads = proxy.heads();
        let first = "GET http://api.test/v6/finance/quote/?symbols=S0 HTTP/1.1\r\n";
        assert!(heads[0].starts_with(first), "{heads:?}");
        assert!(heads[0].contains("host: api.test\r\n"), "{heads:?}");
        assert_eq!(heads.len(), 1, "it is kept alive too");
    }
}

#[test]
fn a_proxy_that_wants_a_password_gets_it_and_nobody_else() {
    let (place, mock) = (Place::new(), plain_mock());
    let proxy = Proxy::before(mock.addr());
    let url = proxy.url().replace("http://", "http://me:let-me-in@");
    let ended = ask(&place, "http://api.test/echo").env("HTTP_PROXY", &url).exits(0);
    let heads = proxy.heads();
    // "me:let-me-in" in base64.
    let basic = "proxy-authorization: Basic bWU6bGV0LW1lLWlu\r\n";
    assert!(heads.iter().all(|head| head.contains(basic)), "{heads:?}");
    assert!(!ended.stderr.contains("let-me-in"));
}

#[test]
fn hosts_that_need_no_proxy_are_asked_directly() {
    let (place, mock) = (Place::new(), plain_mock());
    let proxy = Proxy::before(mock.addr());
    ask(&place, &format!("{}/echo", mock.url()))
        .env("HTTP_PROXY", &proxy.url())
        .env("NO_PROXY", "127.0.0.1,localhost")
        .exits(0);
    assert_eq!((proxy.connections(), mock.judgement().requests), (0, 20));
}

#[test]
fn a_proxy_that_is_not_there_stops_the_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = ask(&place, &format!("{}/echo", mock.url()))
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .flags("--retries 0")
        .exits(3);
    ended.says("can't be reached").says("127.0.0.1:1").says("proxy");
    assert_eq!(mock.judgement().requests, 0);
}
