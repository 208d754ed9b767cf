//! The mock over real sockets.

// Helpers of tests count as tests.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, CONTENT_ENCODING, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use throng_mock::{Judgement, Latency, Limit, Mock, Refusal, Settings, Tls, price};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const QUOTE: &str = "/v6/finance/quote/?region=US&lang=en&symbols=";

fn start(settings: Settings) -> Mock {
    Mock::start(settings, "127.0.0.1:0").unwrap()
}

fn limited(limit: &str) -> Settings {
    Settings {
        limits: vec![limit.parse().unwrap()],
        ..Settings::default()
    }
}

fn faulty(faults: &str) -> Settings {
    Settings {
        faults: faults.parse().unwrap(),
        ..Settings::default()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}

/// A connection that takes one request after the other.
struct Line(http1::SendRequest<Full<Bytes>>);

#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    /// As much as came, and whether that was all.
    body: Vec<u8>,
    whole: bool,
    pieces: usize,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: impl hyper::header::AsHeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Line {
    async fn to(mock: &Mock) -> Line {
        let stream = TcpStream::connect(mock.addr()).await.unwrap();
        Line::over(stream).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Line {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Line(sender)
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Told> {
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        Ok(read(response).await)
    }

    async fn get(&mut self, path: &str) -> hyper::Result<Told> {
        self.ask(request(Method::GET, path, "")).await
    }
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "mock");
    request.body(Full::from(body)).unwrap()
}

async fn read(response: Response<hyper::body::Incoming>) -> Told {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut whole, mut pieces) = (Vec::new(), true, 0);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => whole = false,
        }
        pieces += 1;
    }
    Told {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
        whole,
        pieces,
    }
}

/// One request on a connection of its own.
fn get(mock: &Mock, path: &str) -> hyper::Result<Told> {
    run(async { Line::to(mock).await.get(path).await })
}

/// What a test waits for becomes true sooner or later, or the test hangs.
async fn until(mock: &Mock, seen: impl Fn(&Judgement) -> bool) -> Judgement {
    loop {
        let judgement = mock.judgement();
        if seen(&judgement) {
            return judgement;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn quotes_have_the_price_of_their_symbol() {
    let mock = start(Settings::default());
    run(async {
        let mut line = Line::to(&mock).await;
        for (method, body) in [(Method::GET, ""), (Method::POST, "x=1")] {
            let request = request(method, &format!("{QUOTE}BRK.B"), body);
            let told = line.ask(request).await.unwrap();
            assert_eq!(told.status, 200);
            let quote = &told.json()["quoteResponse"]["result"][0];
            assert_eq!(quote["symbol"], "BRK.B");
            assert_eq!(quote["regularMarketPreviousClose"], price("BRK.B"));
        }
        let form = request(Method::POST, "/v6/finance/quote", "symbols=A%2CB");
        let told = line.ask(form).await.unwrap();
        assert_eq!(told.json()["quoteResponse"]["result"][1]["symbol"], "B");
    });
    let judgement = mock.judgement();
    assert_eq!(judgement.answers["200"], 3);
    assert_eq!(judgement.symbols["BRK.B"], 2);
    assert_eq!(judgement.symbols["B"], 1);
}

#[test]
fn padding_makes_quotes_longer() {
    let padding = 2000;
    let mock = start(Settings {
        padding,
        ..Settings::default()
    });
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert!(told.body.len() > padding);
    let quote = &told.json()["quoteResponse"]["result"][0];
    assert_eq!(quote["regularMarketPreviousClose"], price("A"));
}

#[test]
fn a_key_is_asked_for_if_there_is_one() {
    let mock = start(Settings {
        api_key: Some("secret".into()),
        ..Settings::default()
    });
    assert_eq!(get(&mock, &format!("{QUOTE}A")).unwrap().status, 401);
    let with_key = |key: &str| {
        let mut request = request(Method::GET, &format!("{QUOTE}A"), "");
        request
            .headers_mut()
            .insert("x-api-key", key.parse().unwrap());
        run(async { Line::to(&mock).await.ask(request).await.unwrap().status })
    };
    assert_eq!(with_key("guess"), 401);
    assert_eq!(with_key("secret"), 200);
    assert_eq!(get(&mock, "/echo").unwrap().status, 200);
    assert_eq!(mock.judgement().requests, 4);
}

#[test]
fn the_limit_is_kept_over_arrivals() {
    let mock = start(limited("3/1h"));
    let answers: Vec<Told> = (0..5).map(|_| get(&mock, "/echo").unwrap()).collect();
    let statuses: Vec<u16> = answers.iter().map(|told| told.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let wait: u64 = answers[4].header(RETRY_AFTER).parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.refused), (5, 2));
    assert_eq!((judgement.answers["200"], judgement.answers["429"]), (3, 2));
    let window = &judgement.windows[0];
    assert_eq!((window.units, window.most), (3, 5));
}

#[test]
fn refusals_say_what_they_are_told_to() {
    for (refusal, expected) in [
        (Refusal::RetryAfterSeconds, Some("3600")),
        (Refusal::Bare, None),
    ] {
        let mock = start(Settings {
            refusal,
            ..limited("fixed:1/1h")
        });
        get(&mock, "/echo").unwrap();
        let told = get(&mock, "/echo").unwrap();
        assert_eq!(told.headers.contains_key(RETRY_AFTER), expected.is_some());
    }
    let mock = start(Settings {
        refusal: Refusal::RetryAfterDate,
        ..limited("bucket:1/1h")
    });
    get(&mock, "/echo").unwrap();
    let told = get(&mock, "/echo").unwrap();
    assert!(told.header(RETRY_AFTER).ends_with(" GMT"), "{told:?}");
}

#[test]
fn the_judge_can_be_asked_and_reset_without_being_counted() {
    let mock = start(limited("1/1h"));
    run(async {
        let mut line = Line::to(&mock).await;
        line.get(&format!("{QUOTE}A")).await.unwrap();
        let told = line.get("/judge").await.unwrap();
        let judgement: Judgement = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(judgement, mock.judgement());
        assert_eq!(judgement.requests, 1);
        for (method, path) in [(Method::DELETE, "/judge"), (Method::POST, "/judge/reset")] {
            line.ask(request(method, path, "")).await.unwrap();
            assert_eq!(mock.judgement().requests, 0);
            assert_eq!(line.get("/echo").await.unwrap().status, 200);
        }
    });
}

#[test]
fn certain_faults_come_for_certain() {
    for (name, status) in [("429", 429), ("500", 500), ("notjson", 200)] {
        let mock = start(faulty(&format!("{name}=100%")));
        let told = get(&mock, &format!("{QUOTE}A")).unwrap();
        assert_eq!(told.status, status);
        assert!(!told.headers.contains_key(RETRY_AFTER));
        let json = serde_json::from_slice::<Value>(&told.body);
        assert_eq!(json.is_ok(), name != "notjson");
        assert_eq!(mock.judgement().answers[name], 1);
        assert_eq!(mock.judgement().refused, 0);
    }
    let mock = start(faulty("empty=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!(told.json()["quoteResponse"]["result"], Value::Array(vec![]));
    assert_eq!(mock.judgement().answers["empty"], 1);
}

#[test]
fn dropped_and_cut_connections_end_early() {
    let mock = start(faulty("drop=1"));
    let error = get(&mock, &format!("{QUOTE}A")).unwrap_err();
    assert!(error.is_incomplete_message(), "{error:?}");
    assert_eq!(mock.judgement().answers["drop"], 1);

    let mock = start(faulty("cut=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert_eq!((told.status, told.whole), (200, false));
    assert!(told.body.starts_with(b"{\"quoteResponse\""), "{told:?}");
    assert_eq!(mock.judgement().answers["cut"], 1);
}

#[test]
fn a_dripping_body_is_whole_in_the_end() {
    let mock = start(faulty("drip=1"));
    let told = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert!(told.whole && told.pieces > 1, "{told:?}");
    assert_eq!(told.json()["quoteResponse"]["result"][0]["symbol"], "A");
    assert_eq!(mock.judgement().answers["drip"], 1);
}

#[test]
fn faults_follow_from_the_seed_and_not_from_the_order() {
    let story = |symbols: [&str; 3]| {
        let mock = start(Settings {
            seed: 42,
            ..faulty("500=50%")
        });
        let mut told: Vec<_> = (0..8)
            .flat_map(|time| symbols.map(|symbol| (symbol, time)))
            .map(|(symbol, time)| (symbol, time, get(&mock, &format!("{QUOTE}{symbol}"))))
            .map(|(symbol, time, told)| (symbol.to_owned(), time, told.unwrap().status))
            .collect();
        told.sort();
        told
    };
    let forwards = story(["A", "B", "C"]);
    assert_eq!(forwards, story(["C", "A", "B"]));
    assert!(forwards.iter().any(|(_, _, status)| *status == 200));
    assert!(forwards.iter().any(|(_, _, status)| *status == 500));
}

#[test]
fn an_echo_says_what_was_asked() {
    let mock = start(Settings::default());
    let mut asked = request(Method::PUT, "/echo/deep?a=1&b=%20", "hello");
    asked.headers_mut().append("x-many", "1".parse().unwrap());
    asked.headers_mut().append("X-Many", "2".parse().unwrap());
    let told = run(async { Line::to(&mock).await.ask(asked).await.unwrap() });
    let json = told.json();
    assert_eq!(json["method"], "PUT");
    assert_eq!(json["path"], "/echo/deep");
    assert_eq!(json["query"], "a=1&b=%20");
    assert_eq!(json["headers"]["x-many"], serde_json::json!(["1", "2"]));
    assert_eq!(json["body"], "hello");
}

#[test]
fn statuses_and_redirects_are_as_asked() {
    let mock = start(Settings::default());
    let told = get(&mock, "/status/503?retry_after=7&body=%5B1%5D").unwrap();
    assert_eq!((told.status, told.header(RETRY_AFTER)), (503, "7"));
    assert_eq!(told.body, b"[1]");
    let told = get(&mock, "/redirect/307?to=%2Fecho%3Fa").unwrap();
    assert_eq!((told.status, told.header(LOCATION)), (307, "/echo?a"));
    let told = get(&mock, "/nowhere").unwrap();
    assert_eq!(told.status, 404);
    assert!(told.json()["error"].is_string());
    assert_eq!(mock.judgement().answers["404"], 1);
}

#[test]
fn flaky_answers_count_the_tries() {
    let mock = start(Settings::default());
    let path = "/flaky/1/x?status=429&retry_after=1";
    let told = get(&mock, path).unwrap();
    assert_eq!((told.status, told.header(RETRY_AFTER)), (429, "1"));
    let told = get(&mock, path).unwrap();
    assert_eq!(told.json(), serde_json::json!({"id": "x", "tries": 2}));
}

#[test]
fn bytes_come_in_every_encoding() {
    let mock = start(Settings::default());
    let n = 3_000_000;
    let plain = get(&mock, &format!("/bytes/{n}")).unwrap();
    assert_eq!(plain.body.len(), n);
    assert_eq!(plain.header("content-length"), "3000000");
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let told = get(&mock, &format!("/bytes/{n}?encoding={encoding}")).unwrap();
        assert_eq!(told.header(CONTENT_ENCODING), encoding);
        assert!(told.whole && told.body.len() < n / 10);
        assert_eq!(unpack(encoding, &told.body), plain.body, "{encoding}");
    }
    assert_eq!(mock.judgement().answers["200"], 5);
}

fn unpack(encoding: &str, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader: Box<dyn Read + '_> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, 4096)),
        _ => Box::new(zstd::Decoder::new(packed).unwrap()),
    };
    reader.read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_huge_body_is_made_while_it_is_read() {
    let mock = start(Settings::default());
    run(async {
        let mut line = Line::to(&mock).await;
        let asked = request(Method::GET, "/bytes/10000000000?encoding=gzip", "");
        let mut response = line.0.send_request(asked).await.unwrap();
        response.frame().await.unwrap().unwrap();
        // Others are served meanwhile; then the client has had enough.
        let other = Line::to(&mock).await.get("/echo").await.unwrap();
        assert_eq!(other.status, 200);
        drop((response, line));
        let judgement = until(&mock, |seen| seen.answers.len() == 2).await;
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.most_in_flight, 2);
    });
}

#[test]
fn connections_are_kept_until_they_are_told_to_close() {
    let mock = start(Settings::default());
    run(async {
        let mut line = Line::to(&mock).await;
        line.get("/echo").await.unwrap();
        let told = line.get("/close").await.unwrap();
        assert_eq!(told.header(CONNECTION), "close");
        assert!(line.get("/echo").await.is_err());
        assert!(Line::to(&mock).await.get("/drop").await.is_err());
    });
    assert_eq!(mock.judgement().answers["drop"], 1);
}

#[test]
fn who_does_not_wait_is_gone_but_was_there() {
    let mock = start(Settings::default());
    run(async {
        let mut line = Line::to(&mock).await;
        let asked = line
            .0
            .send_request(request(Method::GET, "/slow/86400000", ""));
        tokio::select! {
            _ = asked => panic!("a day has not passed"),
            _ = until(&mock, |seen| seen.most_in_flight == 1) => {}
        }
        drop(line);
        let judgement = until(&mock, |seen| !seen.answers.is_empty()).await;
        assert_eq!(judgement.answers["gone"], 1);
    });
}

#[test]
fn who_goes_before_the_arrival_arrives_nevertheless() {
    let mock = start(Settings {
        latency: Latency::Constant(Duration::from_millis(100)),
        there: 1.0,
        ..Settings::default()
    });
    // A server that reads a request and the end of its connection at once may
    // never look at the request: of several one is seen.
    for _ in 0..32 {
        let mut stream = BlockingStream::connect(mock.addr()).unwrap();
        let request = format!("GET {QUOTE}A HTTP/1.1\r\nhost: mock\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
    }
    let judgement = run(until(&mock, |seen| !seen.answers.is_empty()));
    assert_eq!(judgement.requests, judgement.symbols["A"]);
    assert_eq!(judgement.answers.keys().collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn latency_passes_before_the_answer() {
    let latency = Duration::from_millis(20);
    let mock = start(Settings {
        latency: Latency::Constant(latency),
        ..Settings::default()
    });
    let before = std::time::Instant::now();
    get(&mock, "/echo").unwrap();
    assert!(before.elapsed() >= latency);
}

#[test]
fn dropping_the_mock_cuts_what_is_open() {
    let mock = start(Settings {
        threads: 2,
        ..Settings::default()
    });
    run(async {
        let mut lines = Vec::new();
        for _ in 0..4 {
            let mut line = Line::to(&mock).await;
            line.get("/echo").await.unwrap();
            lines.push(line);
        }
        let mut waiting = lines.remove(0);
        let asked = waiting
            .0
            .send_request(request(Method::GET, "/slow/86400000", ""));
        tokio::pin!(asked);
        tokio::select! {
            _ = &mut asked => panic!("a day has not passed"),
            _ = until(&mock, |seen| seen.requests == 5) => {}
        }
        // Also from within a runtime.
        drop(mock);
        assert!(asked.await.is_err());
        assert!(lines[0].get("/echo").await.is_err());
    });
}

#[test]
fn http2_over_tls_carries_many_at_once() {
    let tls = Tls::self_signed(["localhost"]).unwrap();
    let mock = start(Settings {
        tls: Some(tls.clone()),
        limits: vec!["10/1h".parse::<Limit>().unwrap()],
        ..Settings::default()
    });
    assert!(mock.url().starts_with("https://127.0.0.1:"));
    run(async {
        let stream = tls_stream(&mock, &tls, b"h2").await;
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let asks = (0..20).map(|_| {
            let mut sender = sender.clone();
            let asked = Request::get(format!("https://localhost{QUOTE}A"));
            let asked = asked.body(Full::<Bytes>::default()).unwrap();
            tokio::spawn(async move { sender.send_request(asked).await.unwrap() })
        });
        let mut statuses = Vec::new();
        for ask in asks.collect::<Vec<_>>() {
            let response = ask.await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            statuses.push(read(response).await.status);
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    });
    assert_eq!(mock.judgement().refused, 10);
}

#[test]
fn with_http2_a_drop_ends_the_stream_only() {
    let mock = start(Settings::default());
    run(async {
        let stream = TcpStream::connect(mock.addr()).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        for (path, answered) in [("/drop", false), ("/echo", true)] {
            let asked = Request::get(format!("http://localhost{path}"));
            let asked = asked.body(Full::<Bytes>::default()).unwrap();
            assert_eq!(sender.send_request(asked).await.is_ok(), answered);
        }
    });
}

#[test]
fn http1_over_tls_is_served_too() {
    let tls = Tls::self_signed(["localhost"]).unwrap();
    let mock = start(Settings {
        tls: Some(tls.clone()),
        ..Settings::default()
    });
    run(async {
        let stream = tls_stream(&mock, &tls, b"http/1.1").await;
        let told = Line::over(stream).await.get("/echo").await.unwrap();
        assert_eq!(told.status, 200);
    });
}

async fn tls_stream(
    mock: &Mock,
    tls: &Tls,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(tls.certificate.as_bytes());
    roots.add(certificate.unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(mock.addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}
