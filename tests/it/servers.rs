//! Against servers written by others: httpbin under gunicorn, and nginx with TLS,
//! client certificates and HTTP/2. `tests/servers/install` brings them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Ended, Place, Server, Throng, each, free_port, run};

fn httpbin() -> Server {
    let port = free_port();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/servers/bin/gunicorn");
    let mut command = Command::new(program);
    command.args([
        "--bind",
        &format!("127.0.0.1:{port}"),
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "httpbin:app",
    ]);
    Server::start(command, port)
}

fn ask(place: &Place, url: &str, flags: &str) -> Ended {
    with(place, url).flags(flags).ends()
}

fn with(place: &Place, url: &str) -> Throng {
    let input = place.file("rows.csv", "id\nseven\n");
    run().arg("--url", url).arg("--input", &input)
}

fn body(ended: &Ended) -> Value {
    let record = &ended.records()[0];
    assert_eq!(record["_ok"], true, "{record}");
    serde_json::from_str(record["_body"].as_str().unwrap()).unwrap()
}

fn failure(ended: &Ended) -> String {
    ended.records()[0]["_error"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn httpbin_sees_methods_and_bodies() {
    let (place, server) = (Place::new(), httpbin());
    let at = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let echo = body(&ask(
            &place,
            &at("anything/{{ id }}?a=1"),
            &format!("--method {method} --query b={{{{id}}}}"),
        ));
        assert_eq!(echo["method"], method);
        assert_eq!(echo["args"], serde_json::json!({"a": "1", "b": "seven"}));
        assert!(echo["url"].as_str().unwrap().contains("/anything/seven"));
    }
    let form = body(
        &with(&place, &at("post")).arg("--form", "x={{ id }} & more").arg("--form", "y=ü").exits(0),
    );
    assert_eq!(form["form"], serde_json::json!({"x": "seven & more", "y": "ü"}));
    let json =
        body(&with(&place, &at("post")).arg("--json", r#"{"id": "{{ id }}", "n": [1]}"#).exits(0));
    assert_eq!(json["json"], serde_json::json!({"id": "seven", "n": [1]}));
    place.file("seven.txt", "content of a file");
    let file = format!("{}/{{{{ id }}}}.txt", place.path("").trim_end_matches('/'));
    let parts = body(
        &with(&place, &at("post"))
            .arg("--multipart", "note={{ id }}")
            .arg("--multipart", &format!("file=@{file}"))
            .exits(0),
    );
    assert_eq!(
        (&parts["form"]["note"], &parts["files"]["file"]),
        (&"seven".into(), &"content of a file".into())
    );
    let raw = body(
        &with(&place, &at("post"))
            .arg("--body-file", &file)
            .arg("--header", "content-type: text/plain")
            .exits(0),
    );
    assert_eq!(raw["data"], "content of a file");
}

#[test]
fn httpbin_answers_in_every_way() {
    let (place, server) = (Place::new(), httpbin());
    let at = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port);
    for (path, key) in [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")] {
        assert_eq!(body(&ask(&place, &at(path), ""))[key], true);
    }
    let utf8 = ask(&place, &at("encoding/utf8"), "").with_code(0);
    assert!(utf8.records()[0]["_body"].as_str().unwrap().contains("∮ E⋅da = Q"));
    for (path, flags, kind) in [
        ("status/404", "", "status 404"),
        ("status/500", "--retries 1", "status 500"),
        ("redirect/2", "", "status 302"),
        ("redirect/3", "--follow 2", "status 302"),
        ("redirect/3", "--follow 3", "none"),
        ("redirect-to?url=http%3A%2F%2Flocalhost%3A1%2F", "--follow 1 --retries 0", "connect"),
        ("delay/3", "--timeout 1s --retries 0", "timeout"),
        ("drip?numbytes=9&duration=5&delay=0", "--timeout 1s --retries 0", "timeout"),
        ("drip?numbytes=9&duration=1&delay=0", "--timeout 9s", "none"),
        ("drip?numbytes=90000&duration=0&delay=0", "--max-body 10kB", "body too large"),
        ("stream/20", "--max-body 1kB", "body too large"),
        ("stream/3", "", "none"),
        ("stream-bytes/50000?chunk_size=100", "", "not text"),
        ("stream-bytes/50000", "--max-body 10kB", "body too large"),
        ("bytes/50000", "--max-body 10kB", "body too large"),
        ("html", "--extract a=.a", "not json"),
        ("json", "--extract a=.slideshow.nothing", "missing a"),
        ("json", "--extract a=.slideshow.title", "none"),
    ] {
        assert_eq!(failure(&ask(&place, &at(path), flags)), kind, "{path}");
    }
    // Cookies of an answer go with no later request.
    let cookies = body(&ask(&place, &at("cookies/set?a=b"), "--follow 1"));
    assert_eq!(cookies["cookies"], serde_json::json!({}));
    let cookies = body(&with(&place, &at("cookies")).arg("--header", "cookie: a=b; c=d").exits(0));
    assert_eq!(cookies["cookies"].as_object().unwrap().len(), 2);
}

#[test]
fn httpbin_lets_in_who_proves_it() {
    let (place, server) = (Place::new(), httpbin());
    let at = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port);
    let basic = |password: &str| {
        with(&place, &at("basic-auth/me/right-password"))
            .arg("--auth", "kind=basic")
            .arg("--auth", "user=me")
            .arg("--auth", "password={{ env.PASSWORD }}")
            .env("PASSWORD", password)
            .ends()
    };
    assert_eq!(body(&basic("right-password"))["authenticated"], true);
    assert_eq!(failure(&basic("wrong-password")), "status 401");
    let bearer = with(&place, &at("bearer"))
        .arg("--auth", "kind=bearer")
        .arg("--auth", "token={{ env.TOKEN }}")
        .env("TOKEN", "a-token-of-mine")
        .exits(0);
    let answer = body(&bearer);
    // The server echoes the token, and throng doesn't.
    assert_eq!(answer, serde_json::json!({"authenticated": true, "token": "***"}));
    assert_eq!(failure(&ask(&place, &at("bearer"), "")), "status 401");
}

/// nginx with TLS and HTTP/2; `/private` is for those who show our certificate.
struct Nginx {
    server: Server,
    /// Where it speaks TLS 1.2 and nothing newer.
    old: u16,
    place: Place,
}

fn nginx() -> Nginx {
    let (place, port, old) = (Place::new(), free_port(), free_port());
    let server = throng_mock::ServerCertificate::self_signed(["127.0.0.1", "localhost"]).unwrap();
    let client = throng_mock::ServerCertificate::self_signed(["client.example"]).unwrap();
    place.file("server.pem", &server.certificate);
    place.file("server.key", &server.key);
    place.file("client.pem", &client.certificate);
    place.file("client.key", &client.key);
    std::fs::write(place.path("page.json"), "{\"page\": 1}").unwrap();
    let here = place.path("");
    let here = here.trim_end_matches('/');
    let config = place.file("nginx.conf", &format!(r#"
        daemon off; worker_processes 1; pid {here}/pid; error_log {here}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log {here}/access.log;
            log_format streams '$connection $status $server_protocol';
            # Those that come sooner wait.
            limit_req_zone $server_port zone=slow:64k rate=20r/s;
            client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f;
            uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
            ssl_certificate {here}/server.pem; ssl_certificate_key {here}/server.key;
            server {{
                listen 127.0.0.1:{old} ssl;
                ssl_protocols TLSv1.2;
                default_type application/json;
                location / {{ return 200 '{{"tls": "$ssl_protocol"}}'; }}
            }}
            server {{
                listen 127.0.0.1:{port} ssl http2;
                ssl_protocols TLSv1.2 TLSv1.3;
                ssl_client_certificate {here}/client.pem; ssl_verify_client optional;
                # A connection ends after so many requests: GOAWAY under HTTP/2.
                keepalive_requests 50;
                http2_max_concurrent_streams 8;
                default_type application/json;
                location /private {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} return 200 '{{"private": true}}'; }}
                location /slow {{
                    access_log {here}/slow.log streams;
                    limit_req zone=slow burst=100;
                    root {here}; try_files /page.json =404;
                }}
                location / {{ return 200 '{{"protocol": "$server_protocol", "tls": "$ssl_protocol", "uri": "$request_uri", "host": "$host"}}'; }}
            }}
        }}
    "#));
    let mut command = Command::new("nginx");
    command.args(["-c", &config, "-p", here]);
    Nginx { server: Server::start(command, port), old, place }
}

impl Nginx {
    fn ask(&self, path: &str) -> Throng {
        self.ask_at(self.server.port, path)
    }

    fn ask_at(&self, port: u16, path: &str) -> Throng {
        let input =
            self.place.file("rows.txt", &(0..400).map(|n| format!("{n}\n")).collect::<String>());
        run()
            .arg("--url", &format!("https://127.0.0.1:{port}/{path}"))
            .arg("--input", &input)
            .arg("--cacert", &self.place.path("server.pem"))
    }
}

#[test]
fn nginx_speaks_http2_and_ends_connections_without_a_row_lost() {
    let nginx = nginx();
    for (flags, protocol) in [("", "HTTP/2.0"), ("--http 1.1", "HTTP/1.1")] {
        let ended = nginx
            .ask("v/{{ line }}")
            .flags(&format!("--workers 2 --extract protocol=.protocol --extract uri=.uri {flags}"))
            .exits(0);
        let records = ended.records();
        assert_eq!(records.len(), 400);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(
                (&record["protocol"], &record["uri"]),
                (&protocol.into(), &format!("/v/{number}").into())
            );
        }
    }
    // Each row arrived as often as it was sent.
    let log = nginx.place.read("access.log");
    assert_eq!(log.matches("\"GET /v/7 HTTP/2.0\" 200").count(), 1, "{log}");
}

#[test]
fn nginx_is_sent_no_more_on_a_connection_than_it_takes_at_once() {
    let nginx = nginx();
    let ended = nginx
        .ask("slow")
        .flags("--take 40 --workers 1 --concurrency 24 --extract page=.page")
        .exits(0);
    assert_eq!(ended.records().len(), 40);
    let log = nginx.place.read("slow.log");
    let connections: BTreeSet<&str> = log
        .lines()
        .map(|line| {
            let (connection, rest) = line.split_once(' ').unwrap();
            assert_eq!(rest, "200 HTTP/2.0");
            connection
        })
        .collect();
    // Eight at once is what it says: 24 need three connections.
    assert!(connections.len() >= 3, "{log}");
}

/// nginx refuses a `Host` that contradicts the `:authority`.
#[test]
fn nginx_sees_the_host_that_the_job_names() {
    let nginx = nginx();
    for flags in ["", "--http 1.1"] {
        let ended = nginx
            .ask("x")
            .arg("--header", "Host: api.example")
            .flags("--take 9 --extract host=.host")
            .flags(flags)
            .exits(0);
        assert_eq!(each(&ended.records(), "host"), ["api.example"; 9]);
    }
}

#[test]
fn nginx_asks_for_our_certificate() {
    let nginx = nginx();
    let take = "--take 1 --retries 0";
    let refused = nginx.ask("private").flags(take).exits(1);
    assert_eq!(failure(&refused), "status 403");
    let own = format!(
        "--cert {} --cert-key {}",
        nginx.place.path("client.pem"),
        nginx.place.path("client.key")
    );
    let let_in =
        nginx.ask("private").flags(take).flags(&own).flags("--extract p=.private").exits(0);
    assert_eq!(let_in.records()[0]["p"], true);
    let tls = nginx.ask("x").flags(take).flags("--tls-min 1.3 --extract tls=.tls").exits(0);
    assert_eq!(tls.records()[0]["tls"], "TLSv1.3");
    let old = |flags: &str| {
        let asked = nginx.ask_at(nginx.old, "x").flags(take).flags(flags);
        asked.flags("--extract tls=.tls").ends()
    };
    assert_eq!(old("").with_code(0).records()[0]["tls"], "TLSv1.2");
    old("--tls-min 1.3").with_code(3).says("tls");
    nginx
        .ask("x")
        .flags(take)
        .flags("--cert /no/such.pem")
        .exits(2)
        .says("tls.cert (--cert): /no/such.pem");
}
