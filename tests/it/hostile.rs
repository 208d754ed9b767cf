//! Answers that never end, or hardly come: each fails its row in its time, by its
//! name, and the rows after it are none the worse.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{Place, raw_server, run};

/// A server that answers each path in a bad way of its own, for as long as the
/// client stays.
fn hostile() -> SocketAddr {
    raw_server(converse)
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    let block = "x".repeat(1 << 14);
    let chunk = format!("4000\r\n{block}\r\n");
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let (start, more, pause): (&str, &str, u64) = match path {
        "chunked" => ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &chunk, 0),
        "unsized" => ("HTTP/1.1 200 OK\r\n\r\n", &block, 0),
        "enormous" => ("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n", &block, 0),
        "dripping" => ("HTTP/1.1 200 OK\r\n\r\n", "x", 20),
        "dripping-head" => ("HTTP/1.1 200 OK\r\nx-head: ", "x", 20),
        "large-head" => ("HTTP/1.1 200 OK\r\nx-head: ", &block, 0),
        "many-headers" => ("HTTP/1.1 200 OK\r\n", "x-head: x\r\n", 0),
        "not-yet" => ("", early, 5),
        "not-yet-flood" => ("", early, 0),
        "silent" => ("", "", 20),
        "cut" => {
            let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
            return stream.write_all(cut.as_bytes()).ok();
        }
        _ => {
            let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            return stream.write_all(fine.as_bytes()).ok();
        }
    };
    stream.write_all(start.as_bytes()).ok()?;
    loop {
        stream.write_all(more.as_bytes()).ok()?;
        thread::sleep(Duration::from_millis(pause));
    }
}

#[test]
fn an_answer_without_end_fails_its_row_alone() {
    let expected = [
        ("chunked", "body too large"),
        ("unsized", "body too large"),
        ("enormous", "body too large"),
        ("dripping", "timeout"),
        ("dripping-head", "timeout"),
        ("large-head", "headers too large"),
        ("many-headers", "headers too large"),
        ("not-yet", "bad answer"),
        ("not-yet-flood", "bad answer"),
        ("silent", "timeout"),
        ("cut", "connection lost"),
    ];
    let (place, server) = (Place::new(), hostile());
    // Only what has to be out of time is given little of it.
    for (timeout, is_slow) in [("3s", true), ("30s", false)] {
        let expected = expected.iter();
        let expected: Vec<_> =
            expected.filter(|(_, kind)| (*kind == "timeout") == is_slow).collect();
        let rows: String = expected.iter().map(|(path, _)| format!("{path}\nfine\n")).collect();
        let records = run()
            .arg("--url", &format!("http://{server}/{{{{ line }}}}"))
            .arg("--input", &place.file("rows.txt", &rows))
            .arg("--timeout", timeout)
            .flags("--max-body 1MB --retries 0 --workers 1 --concurrency 4")
            .exits(1)
            .records();
        for ((path, kind), pair) in expected.iter().zip(records.chunks(2)) {
            assert_eq!(pair[0]["_error"], *kind, "{path}: {}", pair[0]);
            assert_eq!(pair[0]["_attempts"], 1, "{path}");
            assert_eq!(pair[1]["_ok"], true, "after {path}: {}", pair[1]);
        }
    }
}
