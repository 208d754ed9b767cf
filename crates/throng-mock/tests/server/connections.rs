//! Connections, and the arrivals of their requests.

use std::io::Write;
use std::net::TcpStream as BlockingStream;
use std::time::Duration;

use hyper::Method;
use hyper::header::CONNECTION;
use throng_mock::{Latency, Settings};

use crate::client::{Connection, QUOTE, get, request, run, start, until};

#[test]
fn connections_stay_open_until_the_answer_closes_them() {
    let mock = start(Settings::default());
    run(async {
        let mut connection = Connection::to(&mock).await;
        connection.get("/echo").await.unwrap();
        let answer = connection.get("/close").await.unwrap();
        assert_eq!(answer.header(CONNECTION), "close");
        assert!(connection.get("/echo").await.is_err());
        assert!(Connection::to(&mock).await.get("/drop").await.is_err());
    });
    assert_eq!(mock.judgement().answers["drop"], 1);
}

#[test]
fn a_client_that_does_not_wait_is_counted_as_gone() {
    let mock = start(Settings::default());
    run(async {
        let mut connection = Connection::to(&mock).await;
        let request = connection.0.send_request(request(Method::GET, "/slow/86400000", ""));
        tokio::select! {
            _ = request => panic!("a day has not passed"),
            _ = until(&mock, |reached| reached.most_in_flight == 1) => {}
        }
        drop(connection);
        let judgement = until(&mock, |reached| !reached.answers.is_empty()).await;
        assert_eq!(judgement.answers["gone"], 1);
    });
}

#[test]
fn a_request_arrives_although_its_client_has_gone() {
    let mock = start(Settings {
        latency: Latency::Constant(Duration::from_millis(100)),
        there: 1.0,
        ..Settings::default()
    });
    // A server that reads a request and the end of its connection together may
    // drop the request: of several, one is counted.
    for _ in 0..32 {
        let mut stream = BlockingStream::connect(mock.addr()).unwrap();
        let request = format!("GET {QUOTE}A HTTP/1.1\r\nhost: mock\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
    }
    let judgement = run(until(&mock, |reached| !reached.answers.is_empty()));
    assert_eq!(judgement.requests, judgement.symbols["A"]);
    assert_eq!(judgement.answers.keys().collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn latency_passes_before_the_answer() {
    let latency = Duration::from_millis(20);
    let mock = start(Settings { latency: Latency::Constant(latency), ..Settings::default() });
    let before = std::time::Instant::now();
    get(&mock, "/echo").unwrap();
    assert!(before.elapsed() >= latency);
}

#[test]
fn dropping_the_mock_drops_open_connections() {
    let mock = start(Settings { threads: 2, ..Settings::default() });
    run(async {
        let mut connections = Vec::new();
        for _ in 0..4 {
            let mut connection = Connection::to(&mock).await;
            connection.get("/echo").await.unwrap();
            connections.push(connection);
        }
        let mut waiting = connections.remove(0);
        let request = waiting.0.send_request(request(Method::GET, "/slow/86400000", ""));
        tokio::pin!(request);
        tokio::select! {
            _ = &mut request => panic!("a day has not passed"),
            _ = until(&mock, |reached| reached.requests == 5) => {}
        }
        // Also from within a runtime.
        drop(mock);
        assert!(request.await.is_err());
        assert!(connections[0].get("/echo").await.is_err());
    });
}
