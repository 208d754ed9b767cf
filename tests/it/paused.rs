//! A throng that is stopped for a while, as by SIGSTOP or by a laptop that sleeps:
//! what came in that time counts, although its timers are over.

use std::io::{BufRead, BufReader, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Place, Running, Throng, assert_one_record_per_row, each, run, symbols, until,
};
use crate::recorder::answer;
use crate::streams::{Reply, Streams, whole};

const ROWS: usize = 40;
/// Enough for all requests to be sent, on a busy machine as well.
const LIMIT: Duration = Duration::from_secs(4);

/// Counts what has come, and says when it is answered.
#[derive(Clone, Default)]
struct Held {
    came: Arc<AtomicUsize>,
    let_go: Arc<AtomicBool>,
}

impl Held {
    fn come(&self) {
        self.came.fetch_add(1, Ordering::SeqCst);
    }

    fn hold(&self) {
        until("leave to answer", || self.let_go.load(Ordering::SeqCst));
    }

    fn until_came(&self, count: usize) {
        until("all requests", || self.came.load(Ordering::SeqCst) == count);
    }

    fn let_go(&self) {
        self.let_go.store(true, Ordering::SeqCst);
    }
}

/// Does this while throng is stopped, for longer than its time limit.
fn while_stopped(running: &Running, act: impl FnOnce()) {
    running.signal("-STOP");
    let status = format!("/proc/{}/stat", running.id());
    until("the stop", || std::fs::read_to_string(&status).unwrap().contains(") T "));
    let stopped = Instant::now();
    act();
    // As long as its timers run: there is nothing to see of that.
    thread::sleep((LIMIT + Duration::from_millis(500)).saturating_sub(stopped.elapsed()));
    running.signal("-CONT");
}

fn post(place: &Place, url: &str, flags: &str) -> Throng {
    let input = place.file("rows.csv", &symbols(ROWS));
    run()
        .arg("--url", &format!("{url}/{{{{ symbol }}}}"))
        .arg("--input", &input)
        .arg("--output", &place.path("out.jsonl"))
        .flags(&format!("--method POST --workers 1 --retries 0 {flags}"))
}

#[track_caller]
fn assert_all_answered(place: &Place, length: usize) {
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    for record in &records {
        let brief = |name: &str| record[name].to_string();
        let failed = (brief("_error"), brief("_detail"));
        assert_eq!(record["_body"].as_str().map(str::len), Some(length), "{failed:?}");
        assert_eq!(record["_attempts"], 1);
    }
}

/// Reads requests one after the other, and does this with each.
fn serve(each: impl Fn(&mut TcpStream) -> Option<()> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let each = each.clone();
            // It ends when the client goes.
            thread::spawn(move || -> Option<()> {
                let mut stream = stream.ok()?;
                let mut reader = BufReader::new(stream.try_clone().ok()?);
                loop {
                    let mut line = String::new();
                    while line != "\r\n" {
                        line.clear();
                        if reader.read_line(&mut line).ok()? == 0 {
                            return None;
                        }
                    }
                    each(&mut stream)?;
                }
            });
        }
    });
    addr
}

#[test]
fn answers_that_came_in_a_pause_are_no_timeouts() {
    for length in [2, 60_000] {
        let (place, held) = (Place::new(), Held::default());
        let server = held.clone();
        let addr = serve(move |stream| {
            server.come();
            server.hold();
            let whole = answer("200 OK", &[], &"x".repeat(length));
            stream.write_all(whole.as_bytes()).ok()
        });
        let running = post(&place, &format!("http://{addr}"), "--timeout 4s --concurrency 40");
        let running = running.start();
        held.until_came(ROWS);
        while_stopped(&running, || held.let_go());
        running.ends().with_code(0);
        assert_all_answered(&place, length);
    }
}

#[test]
fn nor_are_bodies() {
    let (place, held) = (Place::new(), Held::default());
    let server = held.clone();
    let addr = serve(move |stream| {
        let whole = answer("200 OK", &[], &"x".repeat(60_000));
        let (head, rest) = whole.split_at(1_000);
        stream.write_all(head.as_bytes()).ok()?;
        server.come();
        server.hold();
        stream.write_all(rest.as_bytes()).ok()
    });
    let running = post(&place, &format!("http://{addr}"), "--timeout 4s --concurrency 40");
    let running = running.start();
    held.until_came(ROWS);
    while_stopped(&running, || held.let_go());
    running.ends().with_code(0);
    assert_all_answered(&place, 60_000);
}

#[test]
fn nor_are_answers_by_http2() {
    // With the longer one, the client has to ask for the rest of the body.
    for length in [2, 20_000] {
        let (place, held) = (Place::new(), Held::default());
        let replies = Arc::<Mutex<Vec<Reply>>>::default();
        let (server, waiting) = (held.clone(), replies.clone());
        let server = Streams::answering(move |_, reply| {
            waiting.lock().unwrap().push(reply);
            server.come();
        });
        let running = post(&place, &server.url(), "--http 2 --timeout 4s --concurrency 40");
        let running = running.start();
        held.until_came(ROWS);
        while_stopped(&running, || {
            for reply in replies.lock().unwrap().drain(..) {
                whole(reply, &[], "x".repeat(length));
            }
        });
        running.ends().with_code(0);
        assert_all_answered(&place, length);
    }
}

#[test]
fn a_connection_that_was_made_in_a_pause_is_there() {
    let (place, held) = (Place::new(), Held::default());
    let server = Streams::answering(|_, reply| whole(reply, &[], "{}".to_owned()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, behind, holds) = (listener.local_addr().unwrap(), server.addr(), held.clone());
    thread::spawn(move || {
        let (client, _) = listener.accept().ok()?;
        holds.come();
        holds.hold();
        let server = TcpStream::connect(behind).ok()?;
        let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
        thread::spawn(move || copy(&mut from, &mut to));
        copy(&mut &server, &mut &client).ok()
    });
    let running =
        post(&place, &format!("http://{addr}"), "--http 2 --connect-timeout 4s --concurrency 40");
    let running = running.start();
    held.until_came(1);
    while_stopped(&running, || held.let_go());
    running.ends().with_code(0);
    assert_all_answered(&place, 2);
}

#[test]
fn answers_that_came_in_a_pause_are_in_time_for_the_end_of_a_run() {
    let (place, held) = (Place::new(), Held::default());
    let server = held.clone();
    let addr = serve(move |stream| {
        server.come();
        server.hold();
        stream.write_all(answer("200 OK", &[], "{}").as_bytes()).ok()
    });
    let running = post(&place, &format!("http://{addr}"), "--grace 4s --concurrency 40").start();
    held.until_came(ROWS);
    running.signal("-TERM");
    until("the end", || running.stderr_so_far().contains("stopping"));
    while_stopped(&running, || held.let_go());
    running.ends().with_code(143);
    assert_all_answered(&place, 2);
}

/// A connection that the server closes in a pause is not sent on after it.
#[test]
fn a_connection_that_was_closed_in_a_pause_is_not_used_again() {
    let (place, held) = (Place::new(), Held::default());
    let server = held.clone();
    let addr = serve(move |stream| {
        let fine = answer("200 OK", &[], "{}");
        server.come();
        if server.came.load(Ordering::SeqCst) > 1 {
            return stream.write_all(fine.as_bytes()).ok();
        }
        stream.write_all(fine.as_bytes()).ok()?;
        server.hold();
        None
    });
    let running = post(
        &place,
        &format!("http://{addr}"),
        "--rate 1/4s --take 2 --concurrency 1 --sync always",
    );
    let running = running.start();
    until("the first record", || {
        std::fs::read_to_string(place.path("out.jsonl")).is_ok_and(|text| text.ends_with('\n'))
    });
    while_stopped(&running, || held.let_go());
    running.ends().with_code(0);
    assert_eq!(each(&place.records("out.jsonl"), "_attempts"), [1, 1]);
    held.until_came(2);
}
