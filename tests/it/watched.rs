//! Runs that are watched: by a file of events, by Prometheus, by a log in JSON, and by commands
//! that they run.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::gateway::{Gateway, Way};
use crate::harness::{Place, Running, Throng, plain_mock, run, until};
use crate::recorder::{Recorder, answer, json};

/// The values of the lines of a text.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows of which one fails with a text that a terminal would obey, and that echoes a secret.
fn hostile(place: &Place) -> Throng {
    let server = Recorder::answering(|came| {
        if came.line.contains("S2") {
            answer("404 Not Found", &[], "no \u{9b}31m\u{1b}[31m for s3cret-key")
        } else {
            json("{}")
        }
    });
    let url = format!("{}/{{{{ symbol }}}}", server.url());
    run()
        .arg("--url", &url)
        .arg("--header", "x-api-key: {{ env.KEY }}")
        .env("KEY", "s3cret-key")
        .files(place, 5, "out.jsonl")
        .flags("--rate 100/1s --retries 0")
}

#[test]
fn events_are_lines_of_json_without_secrets_that_a_terminal_may_show() {
    let place = Place::new();
    hostile(&place).arg("--events", &place.path("events.jsonl")).exits(1);
    let text = place.read("events.jsonl");
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text}");
    assert!(!text.contains("s3cret-key"), "{text}");
    let events = lines(&text);
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("run_started", "run_ended"));
    let failed = events.iter().find(|event| event["event"] == "row_failed").unwrap();
    assert_eq!((&failed["row"], &failed["label"]), (&2.into(), &"S2".into()));
    assert!(failed["detail"].as_str().unwrap().contains("no \u{9b}31m"), "{failed}");
    let snapshot = events.iter().rfind(|event| event["event"] == "snapshot").unwrap();
    assert_eq!((&snapshot["rows"]["ok"], &snapshot["rows"]["failed"]), (&4.into(), &1.into()));
    assert_eq!(snapshot["statuses"]["404"], 1);
    let ended = events.last().unwrap();
    assert_eq!((&ended["outcome"], &ended["summary"]["rows"]), (&"finished".into(), &5.into()));
}

/// Whether a value has the names that the schema of an object has, and no others.
fn assert_names(schema: &Value, object: &Value) {
    let (known, names) = (schema["properties"].as_object().unwrap(), object.as_object().unwrap());
    for (name, value) in names {
        assert!(known.contains_key(name), "{name} is not in the schema: {object}");
        if value.is_object() && known[name]["properties"].is_object() {
            assert_names(&known[name], value);
        }
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(names.contains_key(name.as_str().unwrap()), "{name} is missing: {object}");
    }
}

#[test]
fn the_schema_of_events_has_each_of_their_fields() {
    let place = Place::new();
    let events = place.path("events.jsonl");
    let run =
        hostile(&place).arg("--events", &events).arg("--summarize", "count(symbol) by symbol");
    run.exits(1);
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/events.schema.json")).unwrap();
    let kinds = schema["oneOf"].as_array().unwrap();
    for event in lines(&place.read("events.jsonl")) {
        let is_its = |kind: &&Value| kind["properties"]["event"]["const"] == event["event"];
        assert_names(kinds.iter().find(is_its).unwrap(), &event);
        for limit in event["limits"].as_array().into_iter().flatten() {
            assert_names(&schema["$defs"]["limit"], limit);
        }
    }
    // The page has all kinds, too.
    let page = include_str!("../../docs/monitoring.md");
    for kind in kinds {
        let name = kind["properties"]["event"]["const"].as_str().unwrap();
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_full_disk_of_the_events_is_said_once_and_stops_no_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let quotes = run().quotes(&mock.url()).files(&place, 9, "out.jsonl");
    let ended = quotes.flags("--rate 100/1s --events /dev/full").exits(0);
    let said = "the events can't be written to /dev/full (--events): No space left on device";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    ended.says("the run goes on without them").says("9 ok");
}

#[test]
fn events_go_to_a_file_of_their_own() {
    let (place, mock) = (Place::new(), plain_mock());
    for (flags, says) in [
        ("--events out.jsonl", "the events and the records are the same file"),
        ("--events rows.csv", "the events and the input are the same file"),
        ("--events a.json --summary-json a.json", "are the same file, a.json"),
        ("--events a.html --report a.html", "are the same file, a.html"),
        ("--events nowhere/events.jsonl", "can't be written to nowhere/events.jsonl (--events)"),
        ("--output - --events -", "would both go to standard output"),
    ] {
        let quotes = run().quotes(&mock.url()).files(&place, 3, "out.jsonl");
        let quotes = quotes.in_directory(&place.path(".")).flags("--rate 9/1s");
        let quotes = if flags.starts_with("--output") {
            let input = place.path("rows.csv");
            run().quotes(&mock.url()).arg("--input", &input).flags("--rate 9/1s")
        } else {
            quotes
        };
        quotes.flags(flags).exits(2).says(says);
    }
    assert_eq!(mock.judgement().requests, 0);
}

/// The body at a URL of this machine.
fn get(url: &str) -> String {
    let (addr, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {addr}\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

/// The address of the metrics, as the run says it.
fn metrics_url(running: &Running) -> String {
    let said = || {
        let stderr = running.stderr_so_far();
        let (_, url) = stderr.split_once("metrics at ")?;
        url.split_once('\n').map(|(url, _)| url.to_owned())
    };
    until("the address of the metrics", || said().is_some());
    said().unwrap()
}

/// The families of a page, as Prometheus's own client reads them.
fn parsed(page: &str) -> Vec<Value> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut python = Command::new(format!("{root}/target/servers/bin/python"))
        .arg(format!("{root}/tests/servers/parse_metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{page}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The value of the sample with this name and this part of its labels.
fn value(families: &[Value], name: &str, label: &str) -> f64 {
    let samples = families.iter().flat_map(|family| family["samples"].as_array().unwrap());
    let found: Vec<f64> = samples
        .filter(|sample| sample[0] == name && sample[1].to_string().contains(label))
        .map(|sample| sample[2].as_f64().unwrap())
        .collect();
    assert_eq!(found.len(), 1, "{name} {label}: {found:?}");
    found[0]
}

#[test]
fn prometheus_reads_the_metrics_and_the_board_asks_for_no_others() {
    let (place, mock) = (Place::new(), plain_mock());
    let quotes = run().quotes(&mock.url()).files(&place, 9, "out.jsonl");
    let running = quotes.flags("--rate 3/1h --metrics 127.0.0.1:0").start();
    let url = metrics_url(&running);
    until("three rows", || get(&url).contains("throng_rows_total{outcome=\"ok\"} 3\n"));
    let page = get(&url);
    let families = parsed(&page);
    assert_eq!(value(&families, "throng_rows_expected", ""), 9.0);
    assert_eq!(value(&families, "throng_responses_total", "\"200\""), 3.0);
    assert_eq!(value(&families, "throng_requests_total", ""), 3.0);
    assert_eq!(value(&families, "throng_request_duration_seconds_count", ""), 3.0);
    assert_eq!(value(&families, "throng_request_duration_seconds_bucket", "+Inf"), 3.0);
    assert_eq!(value(&families, "throng_limit_peak_units", "3/1h"), 3.0);
    assert_eq!(value(&families, "throng_limit_used_units", "3/1h"), 3.0);
    assert_eq!(value(&families, "throng_limit_period_seconds", "3/1h"), 3600.0);
    for family in &families {
        let name = family["name"].as_str().unwrap();
        assert!(name.starts_with("throng_") && family["help"] != "", "{family}");
        assert_eq!(
            family["type"] == "counter",
            page.contains(&format!(" {name}_total ")),
            "{name}"
        );
    }
    let names: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let board = include_str!("../../docs/grafana.json");
    let asked: BTreeSet<&str> = board
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| word.starts_with("throng_"))
        .collect();
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
        assert!(names.contains(name) || names.contains(family.unwrap_or("")), "{name}");
    }
    running.signal("-INT");
    running.ends().with_code(130);
}

#[test]
fn a_port_that_is_taken_is_an_error_before_the_run_begins() {
    let (place, mock) = (Place::new(), plain_mock());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let quotes = || run().quotes(&mock.url()).files(&place, 3, "out.jsonl").flags("--rate 9/1s");
    let ended = quotes().arg("--metrics", &port).exits(2);
    ended.says(&format!("can't be served at 127.0.0.1:{port} (--metrics): Address already in use"));
    ended.says("give this one another port");
    quotes().arg("--metrics", "nowhere").exits(2).says("such as 127.0.0.1:9464");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
#[cfg(not(feature = "otlp"))]
fn a_build_without_open_telemetry_names_the_feature() {
    let (place, mock) = (Place::new(), plain_mock());
    let quotes = run().quotes(&mock.url()).files(&place, 3, "out.jsonl").flags("--rate 9/1s");
    quotes.flags("--otlp").exits(2).says("build it with --features otlp");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn the_end_of_a_run_is_told_to_a_command_in_its_environment_and_on_its_standard_input() {
    let (place, told) = (Place::new(), Place::new());
    let command = format!(
        "echo \"$THRONG_EVENT $THRONG_OUTCOME $THRONG_OK $THRONG_FAILED $THRONG_ROWS_TO_DO\"; cat > {}",
        told.path("event.json")
    );
    let ended = hostile(&place).env("PATH", "/usr/bin:/bin").arg("--notify", &command).exits(1);
    ended.says("run_ended finished 4 1 5");
    assert_eq!(ended.stdout, "");
    let event: Value = serde_json::from_str(&told.read("event.json")).unwrap();
    assert_eq!((&event["event"], &event["ok"]), (&"run_ended".into(), &4.into()));
}

#[test]
fn a_command_that_fails_or_is_slow_holds_no_run() {
    let place = Place::new();
    let ended = hostile(&place).arg("--notify", "exit 7").exits(1);
    ended.says("WARNING: the command of --notify failed: exit status: 7");
    let slow = "exec sleep 30 < /dev/null > /dev/null 2> /dev/null";
    let slow =
        hostile(&place).flags("--overwrite").env("PATH", "/usr/bin:/bin").arg("--notify", slow);
    slow.exits(1).says("the command of --notify still runs, and is left alone");
}

#[test]
fn a_stall_and_a_server_that_is_out_are_told_to_a_command() {
    let (place, mock) = (Place::new(), plain_mock());
    let told = place.path("told");
    let command = format!("echo \"$THRONG_MESSAGE\" >> {told}");
    let quotes = run().quotes(&mock.url()).files(&place, 9, "out.jsonl");
    let stalled = quotes.arg("--notify", &command).flags("--rate 3/1h --stall-after 100ms").start();
    let has = |text: &str| std::fs::read_to_string(&told).is_ok_and(|told| told.contains(text));
    until("a stall", || has("no row has ended for") && has("bound by 3/1h"));
    stalled.signal("-INT");
    stalled.ends().with_code(130);
    until("the end", || has("the run was interrupted: 3 rows ok, 0 failed"));
    let gateway = Gateway::before(mock.addr());
    let out = run().quotes(&gateway.url()).files(&place, 60, "other.jsonl");
    let out = out.flags("--rate 10/500ms --outage-after 200ms --outage-failures 3 --retries 0");
    let out = out.arg("--notify", &command).arg("--events", &place.path("events.jsonl")).start();
    until("some records", || place_has(&place, "other.jsonl"));
    gateway.turn(Way::Refuse);
    until("the outage", || has(" is out: connection refused"));
    gateway.turn(Way::Through);
    out.ends().with_code(0);
    let events = place.read("events.jsonl");
    assert!(events.contains("\"breaker_opened\"") && events.contains("\"breaker_closed\""));
}

fn place_has(place: &Place, records: &str) -> bool {
    std::fs::read_to_string(place.path(records)).is_ok_and(|text| text.contains('\n'))
}

#[test]
fn all_that_is_said_can_be_json() {
    let place = Place::new();
    let ended = hostile(&place).flags("--log-format json").exits(1);
    let said = lines(&ended.stderr);
    for line in &said {
        let is_complete = ["time", "level", "message"].iter().all(|name| line[name].is_string());
        assert!(is_complete, "{line}");
    }
    assert!(!ended.stderr.contains("s3cret-key"), "{}", ended.stderr);
    let last = said.iter().find(|line| line["message"] == "the run has ended").unwrap();
    assert_eq!((&last["level"], &last["summary"]["failed"]), (&"info".into(), &1.into()));
    let wrong = hostile(&place).flags("--log-format json").exits(2);
    assert_eq!(lines(&wrong.stderr)[0]["level"], "error");
}
