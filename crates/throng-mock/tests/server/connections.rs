//! Connections, and when what is asked on them arrives.

use std::io::Write;
use std::net::TcpStream as BlockingStream;
use std::time::Duration;

use hyper::Method;
use hyper::header::CONNECTION;
use throng_mock::{Latency, Settings};

use crate::client::{Line, QUOTE, get, request, run, start, until};

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
