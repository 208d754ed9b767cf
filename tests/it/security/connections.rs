//! What one answer can do to the next request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Ended, Place, each, run, symbols};
use crate::recorder::json;

const ROWS: usize = 40;

/// How many requests came on each connection.
type Counts = Arc<Mutex<Vec<usize>>>;

/// A server that keeps its connections open, and adds an answer that was not asked for:
/// below `late/` before each answer but the first on a connection, and else after each
/// answer.
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
        let (is_late, path) = match first.split(' ').nth(1)?.strip_prefix("/late/") {
            Some(path) => (true, path),
            None => (false, first.split(['/', ' ']).nth(2)?),
        };
        let mut counts = counts.lock().unwrap();
        let bodies: &[&str] = match is_late {
            true if counts[place] > 0 => &["stray", path],
            true => &[path],
            false => &[path, "stray"],
        };
        counts[place] += 1;
        let answers = bodies.iter().map(|body| json(&format!("\"{body}\"")));
        stream.write_all(answers.collect::<String>().as_bytes()).ok()?;
    }
}

fn ask(server: SocketAddr, path: &str, flags: &str) -> Ended {
    let place = Place::new();
    run()
        .arg("--url", &format!("http://{server}/{path}{{{{ symbol }}}}"))
        .arg("--input", &place.file("rows.csv", &symbols(ROWS)))
        .arg("--extract", "said=.")
        .flags("--workers 1 --concurrency 2")
        .flags(flags)
        .ends()
}

#[track_caller]
fn assert_each_its_own(ended: Ended) {
    let expected: Vec<String> = (0..ROWS).map(|n| format!("S{n}")).collect();
    assert_eq!(each(&ended.with_code(0).records(), "said"), expected);
}

/// The stray answer comes after the request that it is taken for the answer of: no
/// client can tell. A connection for each request leaves no room for it.
#[test]
fn connection_close_gives_each_request_a_connection_of_its_own() {
    let (server, counts) = adding();
    assert_each_its_own(ask(server, "late/", "--header connection:close"));
    assert_eq!(*counts.lock().unwrap(), [1; ROWS]);
    // Without it, connections are used again, and the server's lie is believed.
    let ended = ask(server, "late/", "");
    assert!(counts.lock().unwrap().iter().any(|count| *count > 1));
    assert!(ended.stdout.contains("stray"), "{}", ended.stdout);
}

#[test]
fn an_answer_that_nothing_asked_for_yet_ends_its_connection() {
    let (server, _) = adding();
    for mode in ["async", "sync"] {
        assert_each_its_own(ask(server, "", &format!("--mode {mode}")));
    }
}
