//! Bodies that are not what they should be, and programs that don't end: each fails its
//! row by its name, nothing of it is lost in silence, and the run goes on.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{Place, raw_server, run, until};

/// How many answers there were to `/endless`.
static ENDLESS: AtomicUsize = AtomicUsize::new(0);

/// A server that answers each path with a status, a type and a body of its own.
fn server() -> SocketAddr {
    raw_server(converse)
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    if path == "endless" {
        ENDLESS.fetch_add(1, Ordering::Relaxed);
    }
    let (status, kind, body) = answer(path.split('?').next()?);
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

fn answer(path: &str) -> (u16, &'static str, Vec<u8>) {
    const JSON: &str = "application/json";
    const LATIN: &str = "application/json; charset=ISO-8859-1";
    let utf16 = "\u{feff}{\"a\": 1}".encode_utf16();
    match path {
        "bytes" => (200, "application/octet-stream", (0..=255).cycle().take(1024).collect()),
        "pdf" => (200, "application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec()),
        "latin1" => (200, LATIN, b"{\"a\": 1, \"name\": \"Caf\xe9 Zo\xeb\"}".to_vec()),
        "unnamed" => (200, JSON, b"{\"a\": \"Caf\xe9\"}".to_vec()),
        "ascii" => (200, LATIN, b"{\"a\": 1}".to_vec()),
        "utf16" => (200, JSON, utf16.flat_map(u16::to_le_bytes).collect()),
        "mark" => (200, JSON, b"\xef\xbb\xbf{\"a\": 1}".to_vec()),
        "stream" => (200, "application/x-ndjson", b"{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n".to_vec()),
        "junk" => (200, JSON, b"{\"a\": 1} oops {\"a\": 2}".to_vec()),
        "spaces" => (200, JSON, b" {\"a\": 1}\r\n\t ".to_vec()),
        "twice" => (200, JSON, b"{\"a\": 2, \"a\": 1}".to_vec()),
        "items" => (200, JSON, b"\xef\xbb\xbf{\"items\": [{\"a\": 1}], \"next\": null}".to_vec()),
        "broken" => (500, "application/octet-stream", vec![0x89, b'P', 0, 0xff]),
        "gone" => (404, JSON, b"\xef\xbb\xbf{\"error\": \"gone\"}".to_vec()),
        _ => (200, JSON, b"{\"a\": 1, \"n\": 1000000000000}".to_vec()),
    }
}

/// The records of one row for each of these paths.
fn records(paths: &[&str], flags: &str, code: i32) -> Vec<Value> {
    let (place, addr) = (Place::new(), server());
    let input = place.file("paths.txt", &paths.join("\n"));
    let throng = run().flags(flags).flags("--retries 0 --progress none");
    let throng = throng.arg("--url", &format!("http://{addr}/{{{{ line }}}}"));
    let mut records = throng.arg("--input", &input).exits(code).records();
    records.sort_by_key(|record| record["_row"].as_u64());
    records
}

#[test]
fn an_answer_has_one_verdict_however_the_program_is_spelt() {
    let kinds = [
        ("stream", json!("missing a")),
        ("junk", json!("not json")),
        ("bytes", json!("not text")),
        ("pdf", json!("not text")),
        ("latin1", Value::Null),
        ("utf16", Value::Null),
        ("ascii", Value::Null),
        ("mark", Value::Null),
        ("spaces", Value::Null),
        ("twice", Value::Null),
    ];
    let paths = kinds.clone().map(|(path, _)| path);
    let fast = records(&paths, "-e a=.a", 1);
    let slow = records(&paths, "-e a=.a|tonumber", 1);
    for (place, (path, kind)) in kinds.into_iter().enumerate() {
        for records in [&fast, &slow] {
            let record = &records[place];
            assert_eq!(record["_error"], kind, "{path}");
            assert_eq!(record["a"], if kind.is_null() { json!(1) } else { Value::Null }, "{path}");
        }
        if kind != "missing a" {
            assert_eq!(fast[place]["_detail"], slow[place]["_detail"], "{path}");
        }
    }
    for (place, words) in [
        (0, "the answer is a list of 3 documents"),
        (2, "1024 bytes"),
        (3, "byte 10 is 0xe2"),
        (3, "\"application/pdf\"; answer = \"bytes\""),
    ] {
        let detail = fast[place]["_detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn a_body_that_is_no_text_is_never_kept_as_one() {
    for flags in ["", "--keep-body", "--keep-body -e a?=.a"] {
        let records = records(&["bytes", "unnamed", "mark", "broken"], flags, 1);
        for record in &records[..2] {
            assert_eq!(
                (&record["_error"], &record["_body"]),
                (&json!("not text"), &Value::Null),
                "{flags}"
            );
        }
        let kept = records[2]["_body"].as_str();
        assert_eq!(kept, Some("{\"a\": 1}"), "{flags}");
        assert_eq!(records[3]["_error"], "status 500");
        let detail = records[3]["_detail"].as_str().unwrap();
        assert!(detail.contains("4 bytes") && !detail.contains('\u{fffd}'), "{detail}");
    }
}

#[test]
fn items_and_pages_are_read_after_a_byte_order_mark() {
    let records = records(&["items"], "--each .items[] -e a=.a --cursor c=.next", 0);
    assert_eq!((&records[0]["a"], records.len()), (&json!(1), 1));
}

#[test]
fn a_program_that_takes_too_much_fails_its_row_by_name() {
    let addr = server();
    for (flag, program, key) in [
        ("--extract", "deep?=def f: 1 + f; f", "extract.deep"),
        ("--extract", "long=.n as $n | \"xxxx\" * $n", "extract.long"),
        ("--each", "def f: 1 + f; f", "items.each"),
        ("--settle", "requests=def f: 1 + f; f", "requests"),
    ] {
        let throng = run().arg("--url", &format!("http://{addr}/one"));
        let throng = throng.flags("--rate 1000/s --progress none");
        let ended = throng.arg(flag, program).exits(1);
        let records = ended.records();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["_error"], "jq too long", "{program}");
        let detail = records[0]["_detail"].as_str().unwrap();
        assert!(detail.contains(key), "{detail}");
    }
}

#[test]
fn programs_that_reach_out_are_refused_with_the_plan() {
    for (flag, program, key) in [
        ("--extract", "a=halt", "extract.a (--extract)"),
        ("--extract", "a=.a, halt_error", "extract.a (--extract)"),
        ("--extract", "a=env|tostring", "extract.a (--extract)"),
        ("--each", "inputs", "items.each (--each)"),
        ("--settle", "requests=debug", "limit.settle (--settle)"),
        ("--next", ".a | halt(0)", "pages.next (--next)"),
        ("--jq", "$ENV", "request.jq (--jq)"),
    ] {
        let throng = run().arg("--url", "http://127.0.0.1:9/x");
        let throng = throng.flags("--rate 1000/s");
        let ended = throng.arg(flag, program).exits(2);
        ended.says(key).says("is left out of jq here");
    }
}

#[test]
fn endless_programs_do_not_keep_a_run_that_is_asked_to_end() {
    let (place, addr) = (Place::new(), server());
    let rows = vec!["endless"; 200].join("\n");
    let input = place.file("paths.txt", &rows);
    let throng = run().arg("--url", &format!("http://{addr}/{{{{ line }}}}"));
    let throng = throng.arg("--extract", "a=until(false; .)");
    let throng = throng.flags("--workers 1 --concurrency 100 --grace 0s --progress none");
    let output = place.path("out.jsonl");
    let running = throng.arg("--input", &input).arg("--output", &output).start();
    until("programs run", || ENDLESS.load(Ordering::Relaxed) >= 20);
    running.signal("-TERM");
    running.signal("-TERM");
    running.ends().with_code(143);
    let records = place.records("out.jsonl");
    let kinds = ["jq too long", "interrupted"];
    assert!(records.iter().all(|record| kinds.contains(&record["_error"].as_str().unwrap())));
}
