//! Answers that come slowly: `--idle-timeout` bounds the silence between two parts of a body, and
//! `--timeout` all of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Throng, raw_server, run};

const EVENT: &str = "data: {\"n\": 1}\n\n";

/// Sends events one after the other, and then the end or nothing.
fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let count = if path == "silent" { 0 } else { 25 };
    for _ in 0..count {
        stream.write_all(EVENT.as_bytes()).ok()?;
        sleep(Duration::from_millis(100));
    }
    if path != "lively" {
        // Until the client gives up.
        drop(stream.read(&mut [0]));
    }
    Some(())
}

fn asks(path: &str, flags: &str) -> Throng {
    let addr = raw_server(converse);
    let run = run().arg("--url", &format!("http://{addr}/{path}")).flags("--progress none");
    run.flags("--retries 0 --extract n=length").flags(flags)
}

#[test]
fn silence_within_an_answer_fails_it_and_a_long_answer_does_not() {
    let whole = asks("lively", "--idle-timeout 2s").exits(0).records();
    assert_eq!(whole[0]["n"], 25);
    for path in ["silent", "stops"] {
        let failed = asks(path, "--idle-timeout 300ms --timeout 60s").exits(1).records();
        assert_eq!(failed[0]["_error"], "timeout", "{path}");
        let detail = failed[0]["_detail"].as_str().unwrap();
        assert!(detail.contains("nothing more of it came for 300ms"), "{path}: {detail}");
    }
    // The whole answer has a limit of its own.
    let late = asks("lively", "--idle-timeout 2s --timeout 1s").exits(1).records();
    let detail = late[0]["_detail"].as_str().unwrap();
    assert!(detail.contains("no whole answer within 1s"), "{detail}");
}
