//! Answers that are kept: a request is asked for once, whatever happens to its run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng_mock::{Mock, Settings};

use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, mock, plain_mock, repetitions, run, symbols,
};

/// A run that asks for prices, and keeps the answers in this place.
fn quotes(place: &Place, mock: &Mock, rows: usize, output: &str) -> Throng {
    run()
        .quotes(&mock.url())
        .files(place, rows, output)
        .arg("--store", &place.path("store"))
        .flags("--progress none --concurrency 20")
}

fn requests(mock: &Mock) -> u64 {
    mock.judgement().requests
}

#[test]
fn an_answer_that_was_kept_is_not_asked_for_again() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock, 30, "first.jsonl").exits(0);
    assert_eq!(requests(&mock), 30);
    let ended = quotes(&place, &mock, 40, "second.csv")
        .arg("--summary-json", &place.path("summary.json"))
        .flags("--rate 1000/1s")
        .exits(0);
    ended.says("40 rows: 40 ok, 0 failed").says("10 requests").says("30 answers from the store");
    assert_eq!(requests(&mock), 40);
    let summary = place.json("summary.json");
    assert_eq!((&summary["requests"], &summary["stored"]), (&json!(10), &json!(30)));
    let prices = |name: &str| {
        let records = place.records(name);
        let told = records.iter().map(|it| (it["symbol"].to_string(), it["price"].to_string()));
        told.collect::<BTreeMap<_, _>>()
    };
    quotes(&place, &mock, 40, "third.jsonl").exits(0);
    assert_eq!(requests(&mock), 40, "the third run asks for nothing");
    for (symbol, price) in prices("first.jsonl") {
        assert_eq!(prices("third.jsonl")[&symbol], price);
    }
    let record = &place.records("third.jsonl")[0];
    let told = ["_ok", "_status", "_attempts", "_ms", "_stored"].map(|name| record[name].clone());
    assert_eq!(told, [json!(true), json!(200), json!(0), Value::Null, json!(true)]);
    let csv = place.read("second.csv");
    assert!(csv.lines().next().unwrap().ends_with("_ms,_arrived,_stored,_body"), "{csv}");
    assert_eq!(csv.matches(",true,").count(), 40 + 30, "_ok of all, _stored of 30: {csv}");
    for (name, mode) in [("store", 0o700), ("store/answers.db", 0o600)] {
        let mode_of = fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode_of & 0o777, mode, "{name}");
    }
}

#[test]
fn a_changed_program_reads_what_is_there_and_a_changed_template_asks_for_what_changed() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock, 20, "first.jsonl").exits(0);
    let offline = |output: &str| {
        quotes(&place, &mock, 20, output)
            .flags("--offline --extract name=.quoteResponse.result[0].longName")
    };
    offline("second.jsonl").exits(0);
    assert_eq!(requests(&mock), 20);
    let names = each(&place.records("second.jsonl"), "name");
    assert!(names.iter().all(Value::is_string), "{names:?}");
    let other = |output: &str| {
        let template = "{% if symbol in ['S3', 'S9'] %}de{% else %}en{% endif %}";
        quotes(&place, &mock, 20, output).arg("--query", &format!("lang={template}"))
    };
    other("third.jsonl").exits(0);
    assert_eq!(requests(&mock), 40);
    let changed = "{% if symbol in ['S3'] %}de{% else %}en{% endif %}";
    quotes(&place, &mock, 20, "fourth.jsonl").arg("--query", &format!("lang={changed}")).exits(0);
    assert_eq!(requests(&mock), 41);
}

#[test]
fn without_a_kept_answer_a_row_fails_offline_and_a_later_run_can_ask() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock, 3, "first.jsonl").exits(0);
    let ended = quotes(&place, &mock, 50, "second.jsonl").flags("--offline").exits(1);
    ended.says("50 rows: 3 ok, 47 failed").says("not stored");
    assert_eq!(requests(&mock), 3, "nothing is sent, and the brake does not end the run");
    let records = place.records("second.jsonl");
    let failed = records.iter().find(|record| record["_ok"] == false).unwrap();
    assert_eq!((&failed["_error"], &failed["_attempts"]), (&json!("not stored"), &json!(0)));
    assert!(failed["_detail"].as_str().unwrap().contains("has no answer to this request"));
    quotes(&place, &mock, 50, "second.jsonl").flags("--retry-failed").exits(0);
    assert_eq!(requests(&mock), 50);
    for (flags, says) in [
        ("--offline", "store.offline (--offline) says how answers are kept"),
        ("--store-age 3d", "store.age (--store-age)"),
        ("--store-size 3GB", "store.size (--store-size)"),
        ("--store x --store-size 3kB", "give at least 1MiB"),
        ("--store x --save y/{{symbol}}", "save (--save) keeps the answers in files"),
    ] {
        run().quotes(&mock.url()).files(&place, 3, "o.jsonl").flags(flags).exits(2).says(says);
    }
}

#[test]
fn failures_are_not_kept_and_rows_that_are_missing_are() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |output: &str, flags: &str| {
        run()
            .with_two_statuses(&mock.url(), "404")
            .files(&place, 12, output)
            .arg("--store", &place.path("store"))
            .flags("--progress none")
            .flags(flags)
    };
    ask("a.jsonl", "").exits(1);
    ask("b.jsonl", "").exits(1);
    assert_eq!(requests(&mock), 12 + 2, "a 404 is asked for again");
    ask("c.jsonl", "--answer=404=missing").exits(0);
    ask("d.jsonl", "--answer=404=missing").exits(0);
    assert_eq!(requests(&mock), 14 + 2, "that there is nothing is kept");
    let records = place.records("d.jsonl");
    let missing: Vec<&Value> = records.iter().filter(|it| it["_error"] == "missing").collect();
    assert_eq!(missing.len(), 2);
    assert!(missing.iter().all(|it| it["_stored"] == true && it["_status"] == 404));
    // By other rules what is kept may be no answer any more.
    ask("e.jsonl", "").exits(1);
    assert_eq!(requests(&mock), 16 + 2);
}

#[test]
fn no_secret_is_in_the_store_and_another_key_finds_the_same_answers() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |output: &str, key: &str| {
        run()
            .arg(
                "--url",
                &format!("{}/echo/1?n={{{{ symbol }}}}&key={{{{ env.KEY }}}}", mock.url()),
            )
            .arg("--header", "x-api-key: {{ env.KEY }}")
            .arg("--header", "x-row: {{ symbol }} {{ env.KEY }}")
            .arg("--extract", "echo=.")
            .files(&place, 5, output)
            .arg("--store", &place.path("store"))
            .flags("--progress none --allow-plain --sync end")
            .env("KEY", key)
    };
    ask("a.jsonl", "canary-4711-first").exits(0);
    let before = requests(&mock);
    ask("b.jsonl", "canary-4711-other").exits(0);
    assert_eq!(requests(&mock), before);
    for entry in fs::read_dir(place.path("store")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(6).any(|part| part == b"canary");
        assert!(!found, "{}", path.display());
    }
    let echoed = place.read("b.jsonl");
    assert!(echoed.contains("***") && !echoed.contains("canary"), "{echoed}");
}

/// The heads of the requests that a server of one document was asked.
type Heads = Arc<Mutex<Vec<String>>>;

/// A server of one document with this ETag, which says when the client has it.
fn server_with_etags(etag: &Arc<Mutex<&'static str>>, heads: &Heads) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, etag, heads) = (listener.local_addr().unwrap(), etag.clone(), heads.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (etag, heads) = (*etag.lock().unwrap(), heads.clone());
            thread::spawn(move || answer_with_etag(stream.ok()?, etag, &heads));
        }
    });
    addr
}

fn answer_with_etag(mut stream: TcpStream, etag: &str, heads: &Heads) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let has_it = head.contains(&format!("if-none-match: {etag}"));
    heads.lock().unwrap().push(head);
    let body = format!("{{\"version\": {etag}}}");
    let answer = if has_it {
        format!("HTTP/1.1 304 Not Modified\r\netag: {etag}\r\nconnection: close\r\n\r\n")
    } else {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\netag: {etag}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    stream.write_all(answer.as_bytes()).ok()
}

#[test]
fn an_answer_past_its_age_is_renewed_if_the_server_says_that_it_holds() {
    let (place, heads) = (Place::new(), Heads::default());
    let etag = Arc::new(Mutex::new("\"1\""));
    let server = server_with_etags(&etag, &heads);
    let ask = |output: &str, flags: &str| {
        run()
            .arg("--url", &format!("http://{server}/{{{{ symbol }}}}"))
            .arg("--extract", "version=.version")
            .files(&place, 1, output)
            .arg("--store", &place.path("store"))
            .flags("--progress none")
            .flags(flags)
    };
    let head = |n: usize| heads.lock().unwrap()[n].clone();
    let asked = || heads.lock().unwrap().len();
    ask("a.jsonl", "").exits(0);
    assert!(!head(0).contains("if-none-match"));
    ask("b.jsonl", "--store-age 1h").exits(0);
    assert_eq!(asked(), 1, "it is fresh");
    ask("c.jsonl", "--store-age 1ms").exits(0);
    assert!(head(1).contains("if-none-match: \"1\""), "{}", head(1));
    let record = &place.records("c.jsonl")[0];
    let told = ["version", "_status", "_attempts", "_stored"].map(|name| record[name].clone());
    assert_eq!(told, [json!("1"), json!(200), json!(1), json!(true)]);
    let ended = ask("d.jsonl", "--store-age 1ms --offline").exits(1);
    ended.says("has no answer to this request that may be used");
    *etag.lock().unwrap() = "\"2\"";
    ask("e.jsonl", "--store-age 1ms").exits(0);
    assert!(head(2).contains("if-none-match: \"1\""), "{}", head(2));
    let record = &place.records("e.jsonl")[0];
    assert_eq!((&record["version"], &record["_stored"]), (&json!("2"), &json!(false)));
    ask("f.jsonl", "--store-age 1h").exits(0);
    assert_eq!((asked(), &place.records("f.jsonl")[0]["version"]), (3, &json!("2")));
}

#[test]
fn a_store_stays_below_its_size_and_drops_the_oldest_answers() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |output: &str, flags: &str| {
        run()
            .arg("--url", &format!("{}/file/{{{{ symbol }}}}?size=20000", mock.url()))
            .files(&place, 200, output)
            .arg("--store", &place.path("store"))
            .flags("--answer-format bytes --keep-body=none --store-size 1MiB -w 1 -c 1 --no-brake")
            .flags(flags)
    };
    ask("a.jsonl", "").exits(0).says("answers that were removed");
    let size = fs::metadata(place.path("store/answers.db")).unwrap().len();
    assert!((600_000..=1_048_576).contains(&size), "{size} bytes");
    let beside = fs::metadata(place.path("store/answers.db-wal")).map_or(0, |it| it.len());
    assert_eq!(beside, 0, "the file has all");
    ask("b.jsonl", "--offline").exits(1);
    let found = each(&place.records("b.jsonl"), "_ok");
    let kept = found.iter().rev().take_while(|ok| **ok == true).count();
    assert!((25..=52).contains(&kept), "{kept} answers of 20,000 bytes are kept");
    let gone = found[..200 - kept].iter().all(|ok| ok == false);
    assert!(gone, "the oldest are gone, and no other: {found:?}");
    assert_eq!(requests(&mock), 200);
}

#[test]
fn an_answer_past_its_age_that_can_t_be_renewed_is_removed_and_asked_for_again() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock, 20, "a.jsonl").exits(0);
    quotes(&place, &mock, 20, "b.jsonl").flags("--store-age 1h").exits(0);
    assert_eq!(requests(&mock), 20);
    quotes(&place, &mock, 10, "c.jsonl").flags("--store-age 1ms").exits(0);
    assert_eq!(requests(&mock), 30);
    let ended = quotes(&place, &mock, 20, "d.jsonl").flags("--offline").exits(1);
    ended.says("20 rows: 10 ok, 10 failed");
}

#[test]
fn kills_at_any_moment_and_cuts_at_any_byte_leave_answers_that_are_right_or_none() {
    const ROWS: usize = 300;
    let mut chance = StdRng::seed_from_u64(26);
    let mock = mock(Settings { latency: "2ms".parse().unwrap(), ..Settings::default() });
    let place = Place::new();
    run().quotes(&mock.url()).files(&place, ROWS, "right.jsonl").flags("--progress none").exits(0);
    let prices = |name: &str| {
        let records = place.records(name);
        let pair = |it: &Value| (it["symbol"].to_string(), it["price"].to_string());
        records.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    let right = prices("right.jsonl");
    mock.reset();
    for round in 0..repetitions(12, 100) {
        let output = format!("{round}.jsonl");
        let running = quotes(&place, &mock, ROWS, &output).start();
        thread::sleep(Duration::from_millis(chance.random_range(0..250)));
        running.signal("-KILL");
        running.ends();
        // What a crash of the machine may leave of the newest answers.
        let log = place.path("store/answers.db-wal");
        if let Ok(size) = fs::metadata(&log).map(|data| data.len())
            && round % 2 == 0
            && size > 0
        {
            let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
            file.set_len(chance.random_range(0..size)).unwrap();
        }
        let offline = format!("offline-{round}.jsonl");
        quotes(&place, &mock, ROWS, &offline).flags("--offline").ends();
        assert_one_record_per_row(&place.records(&offline), ROWS);
        for record in place.records(&offline).iter().filter(|record| record["_ok"] == true) {
            assert_eq!(right[&record["symbol"].to_string()], record["price"].to_string());
        }
    }
    quotes(&place, &mock, ROWS, "last.jsonl").exits(0);
    assert_eq!(prices("last.jsonl"), right);
}

#[test]
fn an_entry_that_was_changed_on_the_disk_is_asked_for_again() {
    let (place, mock) = (Place::new(), plain_mock());
    quotes(&place, &mock, 60, "a.jsonl").exits(0);
    let path = place.path("store/answers.db");
    let before = fs::read(&path).unwrap();
    let mut chance = StdRng::seed_from_u64(9);
    for round in 0..repetitions(6, 60) {
        let mut damaged = before.clone();
        for _ in 0..20 {
            // The first pages are those of the database itself.
            let at = chance.random_range(3 * 4_096..damaged.len());
            damaged[at] ^= 1 << chance.random_range(0..8);
        }
        fs::write(&path, &damaged).unwrap();
        let output = format!("{round}.jsonl");
        let ended = quotes(&place, &mock, 60, &output).ends();
        if ended.code == Some(2) {
            ended.says("store.dir (--store)");
            continue;
        }
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let price = |name: &str, symbol: &Value| {
            let records = place.records(name);
            records.iter().find(|it| it["symbol"] == *symbol).unwrap()["price"].clone()
        };
        for symbol in each(&place.records(&output), "symbol") {
            assert_eq!(price(&output, &symbol), price("a.jsonl", &symbol));
        }
    }
}

#[test]
fn two_runs_use_a_store_at_a_time() {
    let (place, mock) =
        (Place::new(), mock(Settings { latency: "1ms".parse().unwrap(), ..Settings::default() }));
    let runs: Vec<_> = (0..3)
        .map(|n| {
            let output = format!("{n}.jsonl");
            let first = n * 100;
            let rows: String =
                (first..first + 200).fold("symbol\n".into(), |text, n| format!("{text}S{n}\n"));
            let input = place.file(&format!("{n}.csv"), &rows);
            run()
                .quotes(&mock.url())
                .arg("--input", &input)
                .arg("--output", &place.path(&output))
                .arg("--store", &place.path("store"))
                .flags("--progress none --concurrency 20")
                .start()
        })
        .collect();
    for run in runs {
        run.ends().with_code(0);
    }
    mock.reset();
    quotes(&place, &mock, 400, "all.jsonl").flags("--offline").exits(0);
    assert_eq!(requests(&mock), 0);
    assert_one_record_per_row(&place.records("all.jsonl"), 400);
}

#[test]
fn each_page_is_kept_by_its_own_request() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |output: &str, flags: &str| {
        run()
            .arg("--url", &format!("{}/list/40?size=10&of={{{{ symbol }}}}", mock.url()))
            .flags("--each .items[] --extract id=.id --page page --progress none")
            .files(&place, 2, output)
            .arg("--store", &place.path("store"))
            .flags(flags)
    };
    ask("a.jsonl", "").exits(0);
    let asked = requests(&mock);
    assert!(asked > 4, "{asked}");
    ask("b.jsonl", "--offline").exits(0);
    assert_eq!(requests(&mock), asked);
    let ids = |name: &str| each(&place.records(name), "id").len();
    assert_eq!(ids("a.jsonl"), ids("b.jsonl"));
    assert!(place.records("b.jsonl").iter().all(|record| record["_stored"] == true));
}

#[test]
fn a_job_file_names_the_directory_alone_or_a_table() {
    let (place, mock) = (Place::new(), plain_mock());
    place.file("rows.csv", &symbols(3));
    for (before, after) in
        [("store = \"kept\"", ""), ("", "[store]\ndir = \"kept\"\nage = \"30d\"\nsize = \"20MiB\"")]
    {
        let url = format!("{}/v6/finance/quote/?symbols={{{{ symbol }}}}", mock.url());
        let request = format!("[input]\nfile = \"rows.csv\"\n[request]\nurl = {url:?}");
        let job = place.file("job.toml", &format!("{before}\n{request}\n{after}\n"));
        for flags in ["--progress none", "--progress none --offline"] {
            run().operand(&job).flags(flags).in_directory(&place.path("")).exits(0);
        }
        assert_eq!(requests(&mock), 3);
    }
    assert!(fs::exists(place.path("kept/answers.db")).unwrap());
}
