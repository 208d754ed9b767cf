//! What one answer can do to the next request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Place, each, run, symbols};

/// How many requests came on each connection.
type Counts = Arc<Mutex<Vec<usize>>>;

/// A server that keeps its connections open, and adds an answer that was not asked for
/// to each but the first on a connection, before the answer itself.
fn adding() -> (SocketAddr, Counts) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let counts = Counts::default();
    let of_server = counts.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counts = of_server.clone();
            // It ends when the client goes.
            thread::spawn(move || converse(stream.ok()?, &counts));
        }
    });
    (addr, counts)
}

fn converse(mut stream: TcpStream, counts: &Counts) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let place = {
        let mut counts = counts.lock().unwrap();
        counts.push(0);
        counts.len() - 1
    };
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            line.clear();
        }
        let path = first.split(' ').nth(1)?.trim_start_matches('/');
        let mut counts = counts.lock().unwrap();
        let extra = if counts[place] > 0 { "stray" } else { "" };
        counts[place] += 1;
        for body in [extra, path].into_iter().filter(|body| !body.is_empty()) {
            let body = format!("\"{body}\"");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }
}

/// The stray answer comes after the request that it is taken for the answer of: no
/// client can tell. A connection for each request leaves no room for it.
#[test]
fn connection_close_gives_each_request_a_connection_of_its_own() {
    let (place, (server, counts)) = (Place::new(), adding());
    let input = place.file("rows.csv", &symbols(40));
    let ask = |flags: &str| {
        counts.lock().unwrap().clear();
        run()
            .arg("--url", &format!("http://{server}/{{{{ symbol }}}}"))
            .arg("--input", &input)
            .arg("--extract", "said=.")
            .flags("--workers 1 --concurrency 2")
            .flags(flags)
            .ends()
    };
    let ended = ask("--header connection:close").with_code(0);
    let expected: Vec<String> = (0..40).map(|n| format!("S{n}")).collect();
    assert_eq!(each(&ended.records(), "said"), expected);
    assert_eq!(*counts.lock().unwrap(), [1; 40]);
    // Without it, connections are used again, and the server's lie is believed.
    let ended = ask("");
    assert!(counts.lock().unwrap().iter().any(|count| *count > 1));
    assert!(ended.stdout.contains("stray"), "{}", ended.stdout);
}
