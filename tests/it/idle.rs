//! Servers that close their connections, beside requests that must not be sent twice.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Place, each, run};

const ROWS: usize = 150;

/// A server that reads POSTs, and closes each connection in its own way without saying so.
struct Closing {
    url: String,
    /// Number of whole requests that it has read.
    read: Arc<AtomicU64>,
}

impl Closing {
    /// After so many answers, or once a connection has been idle for so long.
    fn start(answers: usize, idle: Duration) -> Closing {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let read = Arc::new(AtomicU64::new(0));
        let count = read.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let count = count.clone();
                thread::spawn(move || serve(stream.unwrap(), answers, idle, &count));
            }
        });
        Closing { url, read }
    }
}

fn serve(mut stream: TcpStream, answers: usize, idle: Duration, read: &AtomicU64) {
    stream.set_read_timeout(Some(idle)).unwrap();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..answers {
        let mut length = 0;
        loop {
            let mut line = String::new();
            match input.read_line(&mut line) {
                Ok(1..) if line.trim().is_empty() => break,
                Ok(1..) => {
                    let line = line.to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                _ => return,
            }
        }
        if input.read_exact(&mut vec![0; length]).is_err() {
            return;
        }
        read.fetch_add(1, Ordering::SeqCst);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// POSTs all rows, at a pace of a few milliseconds.
#[track_caller]
fn assert_all_once(server: &Closing, flags: &str) {
    let place = Place::new();
    let ended = run()
        .files(&place, ROWS, "out.jsonl")
        .arg("--url", &server.url)
        .flags(
            "--method POST --data {{symbol}} --extract a=.a --allow-plain --retries 0 --workers 1",
        )
        .flags(flags)
        .ends();
    let records = place.records("out.jsonl");
    let failed: Vec<_> = records.iter().filter(|record| record["_ok"] != true).collect();
    assert!(failed.is_empty(), "{} of {ROWS}: {} {}", failed.len(), failed[0], ended.stderr);
    assert_eq!(each(&records, "_row").len(), ROWS);
    assert_eq!(server.read.load(Ordering::SeqCst), ROWS as u64);
}

#[test]
fn a_server_that_closes_after_each_answer_loses_no_post() {
    for flags in ["--concurrency 1", "--concurrency 8"] {
        assert_all_once(&Closing::start(1, Duration::from_secs(9)), flags);
    }
}

#[test]
fn a_server_that_closes_after_some_answers_loses_no_post() {
    assert_all_once(&Closing::start(7, Duration::from_secs(9)), "--concurrency 4");
}

#[test]
fn a_server_that_closes_idle_connections_loses_no_post() {
    // Requests come as connections are closed.
    let server = Closing::start(usize::MAX, Duration::from_millis(10));
    assert_all_once(&server, "--concurrency 2 --rate 100/1s --burst 1 --guard sent");
}
