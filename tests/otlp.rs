//! `--otlp`: the command before a collector that reads what comes.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed, and says where")]

#[path = "it/recorder.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod recorder;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use recorder::{Came, Recorder, answer, json};
use serde_json::Value;
use tempfile::TempDir;

const SECRET: &str = "s3cret-key";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A server that asks for a pause at first, and fails the row S2 with an echo of the secret.
fn api() -> Recorder {
    let has_paused = AtomicBool::new(false);
    Recorder::answering(move |came| {
        if !has_paused.swap(true, Ordering::Relaxed) {
            answer("429 Too Many Requests", &[("retry-after", "1")], "")
        } else if came.line.contains("S2") {
            answer("404 Not Found", &[], &format!("no S2 for {SECRET}"))
        } else {
            json("{}")
        }
    })
}

/// Runs five rows, of which one fails.
fn run(directory: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let server = api();
    std::fs::write(directory.join("rows.txt"), "S0\nS1\nS2\nS3\nS4\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.current_dir(directory).env_clear().env("XDG_STATE_HOME", directory).env("KEY", SECRET);
    command.args(["run", "-u", &format!("{}/{{{{ line }}}}", server.url()), "-i", "rows.txt"]);
    command.args(["-H", "x-api-key: {{ env.KEY }}", "-o", "out.jsonl", "--retries", "0"]);
    command.args(["--rate", "100/1s", "--progress", "none"]).args(flags);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The objects in the lists of this name, in all that came at a path.
fn objects(came: &[Came], path: &str, name: &str) -> Vec<Value> {
    let of_path = came.iter().filter(|it| it.line == format!("POST {path} HTTP/1.1"));
    let bodies = of_path.map(|it| serde_json::from_slice::<Value>(&it.body).unwrap());
    bodies.flat_map(|body| within(&body, name)).collect()
}

fn within(value: &Value, name: &str) -> Vec<Value> {
    let found = value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    found.into_iter().chain(inner.into_iter().flat_map(|it| within(it, name))).collect()
}

/// The value of an attribute as text.
fn attribute(object: &Value, name: &str) -> Option<String> {
    let attribute = object["attributes"].as_array()?.iter().find(|it| it["key"] == name)?;
    let value = attribute["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

fn nanoseconds(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

/// The newest value of a metric with this attribute.
fn value(metrics: &[Value], name: &str, with: (&str, &str)) -> Option<f64> {
    let metric = metrics.iter().rfind(|metric| metric["name"] == name)?;
    let points = within(metric, "dataPoints");
    let point = points.iter().find(|it| attribute(it, with.0).as_deref() == Some(with.1))?;
    point["asDouble"].as_f64()
}

#[test]
fn a_run_is_a_trace_and_metrics_without_secrets() {
    let (place, collector) = (TempDir::new().unwrap(), Recorder::start());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("{}/base", collector.url())),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer c0llector"),
        ("OTEL_SERVICE_NAME", "quotes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=data"),
        ("TRACEPARENT", &*format!("00-{TRACE}-{PARENT}-01")),
    ];
    let ended = run(place.path(), &variables, &["--otlp"]);
    assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    assert!(!stderr(&ended).contains("WARNING"), "{}", stderr(&ended));
    let came = collector.came();
    for it in &came {
        assert_eq!(it.header("authorization"), Some("Bearer c0llector"));
        assert!(!it.text().contains(SECRET), "{}", it.text());
        assert!(it.text().contains("\"quotes\"") && it.text().contains("\"team\""));
    }

    let spans = objects(&came, "/base/v1/traces", "spans");
    let run = named(&spans, "throng run")[0];
    assert_eq!((&run["traceId"], &run["parentSpanId"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!(attribute(run, "throng.rows.ok").as_deref(), Some("4"));
    assert_eq!(attribute(run, "throng.limits").as_deref(), Some("100/1s"));
    let pause = named(&spans, "pause")[0];
    assert_eq!(pause["parentSpanId"], run["spanId"]);
    assert!(nanoseconds(pause, "endTimeUnixNano") > nanoseconds(pause, "startTimeUnixNano"));
    let rows = named(&spans, "row");
    assert_eq!(rows.len(), 5);
    let failed = rows.iter().find(|row| attribute(row, "error.type").is_some()).unwrap();
    assert_eq!(attribute(failed, "throng.row").as_deref(), Some("2"));
    assert_eq!(attribute(failed, "http.response.status_code").as_deref(), Some("404"));
    // The one that was refused has been sent twice.
    let requests = named(&spans, "request");
    assert_eq!(requests.len(), 6);
    for request in requests {
        let row = rows.iter().find(|row| row["spanId"] == request["parentSpanId"]).unwrap();
        for (first, second) in [(row, request), (&run, row)] {
            let [first, second] = [first, second].map(|it| nanoseconds(it, "startTimeUnixNano"));
            assert!(first <= second);
        }
    }

    let metrics = objects(&came, "/base/v1/metrics", "metrics");
    assert_eq!(value(&metrics, "throng.rows", ("outcome", "ok")), Some(4.0));
    assert_eq!(value(&metrics, "throng.rows", ("outcome", "failed")), Some(1.0));
    assert_eq!(value(&metrics, "throng.responses", ("status", "404")), Some(1.0));
    assert_eq!(value(&metrics, "throng.limit_units", ("limit", "100/1s")), Some(100.0));
    let latency = metrics.iter().rfind(|it| it["name"] == "throng.request_duration").unwrap();
    assert_eq!(within(latency, "dataPoints")[0]["count"], 6);
}

#[test]
fn protobuf_is_the_default_and_a_collector_that_refuses_is_told_once() {
    let place = TempDir::new().unwrap();
    let collector = Recorder::answering(|_| answer("401 Unauthorized", &[], ""));
    let url = collector.url();
    let ended = run(place.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)], &["--otlp"]);
    assert_eq!(ended.status.code(), Some(1));
    let stderr = stderr(&ended);
    assert_eq!(stderr.matches("WARNING").count(), 1, "{stderr}");
    assert!(stderr.contains("answers 401 Unauthorized; the run goes on without it"), "{stderr}");
    let came = collector.came();
    assert_eq!(came.len(), 2, "{came:?}");
    for it in came {
        assert_eq!(it.header("content-type"), Some("application/x-protobuf"));
        assert!(!it.body.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    }
}

#[test]
fn a_collector_that_is_not_there_or_does_not_answer_holds_no_run() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for addr in [gone, silent.local_addr().unwrap()] {
        let place = TempDir::new().unwrap();
        let url = format!("http://user:{SECRET}@{addr}");
        let ended = run(place.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)], &["--otlp"]);
        assert_eq!(ended.status.code(), Some(1));
        let stderr = stderr(&ended);
        assert_eq!(stderr.matches("WARNING").count(), 1, "{stderr}");
        assert!(stderr.contains("4 ok, 1 failed") && !stderr.contains(SECRET), "{stderr}");
    }
}

#[test]
fn nothing_is_sent_unless_it_is_asked_for_and_what_can_t_be_obeyed_is_an_error() {
    let (place, collector) = (TempDir::new().unwrap(), Recorder::start());
    let url = collector.url();
    let ended = run(place.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)], &[]);
    assert_eq!((ended.status.code(), collector.came().len()), (Some(1), 0));
    let place = TempDir::new().unwrap();
    let ended = run(place.path(), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], &["--otlp"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("http/protobuf"), "{}", stderr(&ended));
    assert!(!place.path().join("out.jsonl").exists());
}
