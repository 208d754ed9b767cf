//! Connections that come to nothing say why, and what to do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use throng_mock::{Mock, ServerCertificate, Settings};

use crate::harness::{Place, Throng, mock, plain_mock, run};
use crate::terminator;

/// A server that answers the first bytes of each connection with these, and closes it.
fn saying(bytes: &'static [u8]) -> SocketAddr {
    saying_in_turn(vec![bytes])
}

/// A server that answers the first bytes of its connections with one of these after the
/// other, then with the last one.
fn saying_in_turn(answers: Vec<&'static [u8]>) -> SocketAddr {
    let last = answers[answers.len() - 1];
    let mut answers = answers.into_iter();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 2_048];
            // A client may go at any time.
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(answers.next().unwrap_or(last));
                let _ = stream.read(&mut head);
            }
        }
    });
    addr
}

fn ask(place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", "id\n1\n2\n3\n");
    run()
        .arg("--url", &format!("{server}/echo/{{{{ id }}}}"))
        .arg("--input", &input)
        .flags("--extract path=.path --workers 1")
}

fn https(tls: &ServerCertificate) -> Mock {
    mock(Settings { tls: Some(tls.clone()), ..Settings::default() })
}

#[test]
fn a_server_that_speaks_tls_alone_is_told_where_the_url_has_none() {
    let tls = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let (place, mock) = (Place::new(), https(&tls));
    let addr = mock.addr();
    let ended = ask(&place, &format!("http://{addr}")).exits(3);
    ended.says(&format!("{addr} speaks TLS: is it https://{addr}?"));
}

#[test]
fn a_redirect_to_a_server_that_speaks_tls_alone_is_told_as_well() {
    let tls = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let (place, mock, plain) = (Place::new(), https(&tls), plain_mock());
    let addr = mock.addr();
    let url = format!("{}/redirect/302?to=http://{addr}/echo", plain.url());
    let ended = run().arg("--url", &url).flags("--follow 1 --retries 0 --allow-private");
    let ended = ended.arg("--input", &place.file("rows.csv", "id\n1\n")).exits(1);
    let record = &ended.records()[0];
    assert_eq!(record["_error"], "tls");
    let said = format!("{addr} speaks TLS: is it https://{addr}?");
    assert!(record["_detail"].as_str().unwrap().contains(&said), "{record}");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_by_its_first_bytes() {
    let place = Place::new();
    let addr = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let ended = ask(&place, &format!("https://{addr}")).exits(3);
    ended.says(&format!("{addr} does not speak TLS: is it http://{addr}?"));
}

#[test]
fn a_server_whose_tls_is_too_old_is_told() {
    let place = Place::new();
    // A fatal alert: protocol_version.
    let addr = saying(&[0x15, 3, 1, 0, 2, 2, 70]);
    let server = format!("https://{addr}");
    ask(&place, &server).exits(3).says(&format!("{addr} speaks only a TLS older than 1.2"));
    let strict = ask(&place, &server).flags("--tls-min 1.3").exits(3);
    strict.says("older than 1.3, which tls.min-version (--tls-min) asks for");
}

#[test]
fn a_server_without_http2_is_told_with_what_does_without() {
    let (place, mock) = (Place::new(), plain_mock());
    let tls = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let addr = terminator::http1_only(&tls, mock.addr());
    let roots = place.file("roots.pem", &tls.certificate);
    for addr in [addr, saying(&[0x15, 3, 1, 0, 2, 2, 120])] {
        let ask = || ask(&place, &format!("https://{addr}")).arg("--cacert", &roots);
        ask().flags("--http 2").exits(3).says("does not speak HTTP/2").says("--http 1.1");
    }
    let server = format!("https://{addr}");
    ask(&place, &server).arg("--cacert", &roots).flags("--http 1.1").exits(0);
    // Without TLS, its first bytes tell.
    let plain = saying(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let ended = ask(&place, &format!("http://{plain}")).flags("--http 2").exits(3);
    ended.says(&format!("{plain} does not speak HTTP/2")).says("--http 1.1");
}

#[test]
fn an_issuer_that_is_not_trusted_is_named() {
    let place = Place::new();
    let tls = ServerCertificate::issued("Ministry \u{1b}[31mRoot", ["127.0.0.1"]).unwrap();
    let mock = https(&tls);
    let ended = ask(&place, &mock.url()).exits(3);
    ended.says("Ministry").says("is not trusted here").says("--cacert");
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    let own = https(&ServerCertificate::self_signed(["127.0.0.1"]).unwrap());
    ask(&place, &own.url()).exits(3).says("is self-signed").says("--cacert");
    assert_eq!((mock.judgement().requests, own.judgement().requests), (0, 0));
}

#[test]
fn a_self_signed_certificate_is_trusted_if_it_is_given_for_its_own_names() {
    let place = Place::new();
    for (name, code) in [("127.0.0.1", 0), ("other.example", 3)] {
        let tls = ServerCertificate::self_signed_authority([name]).unwrap();
        let mock = https(&tls);
        let roots = place.file("roots.pem", &tls.certificate);
        ask(&place, &mock.url()).arg("--cacert", &roots).exits(code);
        assert_eq!(mock.judgement().requests, if code == 0 { 3 } else { 0 });
        // Another one of the same name is none that was given.
        let other = ServerCertificate::self_signed_authority([name]).unwrap();
        let roots = place.file("roots.pem", &other.certificate);
        ask(&place, &mock.url()).arg("--cacert", &roots).exits(3).says("certificate");
    }
}

#[test]
fn a_key_of_another_certificate_is_an_error_of_the_plan() {
    let place = Place::new();
    let [one, other] = [1, 2].map(|_| ServerCertificate::self_signed(["me"]).unwrap());
    let cert = place.file("cert.pem", &one.certificate);
    let key = |name, key: &str| place.file(name, key);
    let mock = https(&ServerCertificate::self_signed(["127.0.0.1"]).unwrap());
    let ask = |key: &str| {
        ask(&place, &mock.url()).arg("--cert", &cert).arg("--cert-key", key).flags("--insecure")
    };
    let ended = ask(&key("other.pem", &other.key)).exits(2);
    ended.says("the key does not belong to the certificate").says("--cert-key");
    ask(&key("own.pem", &one.key)).exits(0);
}

#[test]
fn a_proxy_that_wants_a_password_stops_the_run_at_once() {
    let place = Place::new();
    for (answer, flags, says) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"[..],
            "",
            "give them with network.proxy (--proxy http://USER:PASSWORD@HOST:PORT)",
        ),
        (
            b"HTTP/1.1 401 Unauthorized\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
            "me:wrong@",
            "the user or the password that it was given is wrong",
        ),
    ] {
        // Through a tunnel, and in a request's place.
        for server in ["https://api.example", "http://api.example"] {
            let proxy = saying(answer);
            let ended =
                ask(&place, server).arg("--proxy", &format!("http://{flags}{proxy}")).exits(3);
            ended.says(says).says(&proxy.to_string());
            assert!(!ended.stderr.contains("wrong@"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_proxy_that_opens_no_tunnel_stops_the_run_at_once() {
    let place = Place::new();
    let proxy = saying(b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n");
    let ended = ask(&place, "https://api.example").arg("--proxy", &format!("http://{proxy}"));
    ended.exits(3).says(
        "it answered 501 Not Implemented to CONNECT: is it a proxy for this server? Else check",
    );
}

#[test]
fn a_server_s_own_401_behind_a_proxy_is_an_answer() {
    let place = Place::new();
    let proxy = saying(
        b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
    let ended = ask(&place, "http://api.example").arg("--proxy", &format!("http://{proxy}"));
    ended.exits(1).says("status 401");
}

#[test]
fn a_proxy_that_takes_the_password_no_longer_stops_a_run_that_is_under_way() {
    let place = Place::new();
    let proxy = saying_in_turn(vec![
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 12\r\n\r\n{\"path\":\"a\"}",
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
    ]);
    let ended = ask(&place, "http://api.example")
        .flags("--concurrency 1")
        .arg("--proxy", &format!("http://{proxy}"))
        .exits(3);
    ended.says("through the proxy").says("407").says("--proxy http://USER");
    assert_eq!(ended.stdout.lines().count(), 1);
}
