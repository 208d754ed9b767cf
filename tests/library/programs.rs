//! The programs under `examples/`, and a service that runs jobs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde_json::{Value, json};
use throng::{Job, JobHandle};
use throng_mock::Settings;

use crate::api::server;

/// What an example prints.
fn run(name: &str, arguments: &[&str]) -> String {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_throng"));
    program.set_file_name("examples");
    let output = Command::new(program.join(name)).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("cargo test --examples builds {name}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server of quotes.
fn quotes() -> throng_mock::Mock {
    throng_mock::Mock::start(Settings::default(), "127.0.0.1:0").unwrap()
}

#[test]
fn an_example_has_both_hooks() {
    let server = quotes();
    let text = run("hooks", &[&server.url()]);
    assert_eq!(text.lines().count(), 3, "{text}");
    for symbol in ["AAPL", "MSFT", "GOOG"] {
        let line = format!("\"{symbol}\": {}", throng_mock::price(symbol));
        assert!(text.contains(&line), "{line}: {text}");
    }
}

#[test]
fn an_example_shares_a_limiter_with_another_client() {
    let limits = vec!["sliding:20/500ms".parse().unwrap()];
    let server = server(Settings { limits, ..Settings::default() });
    let text = run("shared_limiter", &[&server.url()]);
    assert!(text.starts_with("10 by hand, 30 by the job\n"), "{text}");
    let judgement = server.judgement();
    assert_eq!((judgement.requests, judgement.refused), (40, 0));
}

#[test]
fn an_example_streams_into_arrow() {
    let text = run("arrow", &[&quotes().url()]);
    assert!(text.starts_with("symbol: Utf8, price: Float64, name: Utf8, _row: Int64"), "{text}");
    assert!(text.ends_with("\n1000 rows\n"), "{text}");
}

#[test]
fn an_example_has_a_sink_of_its_own() {
    let text = run("sink", &[&quotes().url()]);
    assert_eq!(text, "the table is complete\n500 of 500 rows are in the table\n");
}

#[test]
fn an_example_shows_its_progress_and_goes_on_after_its_end() {
    let server = server(Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jsonl").display().to_string();
    let text = run("progress", &[&server.url(), &output]);
    assert!(text.contains("cancelled after "), "{text}");
    assert!(text.ends_with(&format!("3000 rows are in {output}\n")), "{text}");
    let lines = std::fs::read_to_string(&output).unwrap().lines().count();
    assert_eq!(lines, 3000);
}

/// The jobs of a service, by their number.
type Jobs = Arc<Mutex<HashMap<u32, JobHandle>>>;

async fn begin(State(jobs): State<Jobs>, Path(id): Path<u32>, text: String) -> Json<Value> {
    let job = throng::JobBuilder::parse("job.toml", &text).sandboxed();
    // The service trusts this address.
    match job.set("network.allow-private", true).build() {
        Ok(plan) => {
            jobs.lock().unwrap().insert(id, plan.run_to(|_| Ok(())));
            Json(json!({ "began": id }))
        }
        Err(error) => Json(json!({ "wrong": error.to_string() })),
    }
}

async fn look(State(jobs): State<Jobs>, Path(id): Path<u32>) -> Json<throng::Progress> {
    Json(jobs.lock().unwrap()[&id].progress())
}

async fn report(State(jobs): State<Jobs>, Path(id): Path<u32>) -> Json<Value> {
    let job = jobs.lock().unwrap()[&id].clone();
    Json(json!(job.await.unwrap().rows.ok))
}

#[tokio::test]
async fn a_service_begins_jobs_and_tells_of_them() {
    let api = server(Settings::default());
    let routes = axum::Router::new()
        .route("/{id}", post(begin).get(look))
        .route("/{id}/report", get(report))
        .with_state(Jobs::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = format!("http://{}", listener.local_addr().unwrap());
    let serves = tokio::spawn(async move { axum::serve(listener, routes).await });
    // The client is throng too: a job in the runtime of the service.
    let ask = async |method: http::Method, path: &'static str, body: String| {
        let make =
            move |_: &Value| http::Request::builder().method(&method).uri(path).body(body.clone());
        let job = Job::builder().rows([json!({})]).url(&service).request(make);
        let mut records = job.extract("answer", ".").build().unwrap().into_stream();
        let record = futures::StreamExt::next(&mut records).await.unwrap().unwrap();
        record.row.fields["answer"].clone()
    };
    let text = format!(
        "request.url = '{}/{{{{ id }}}}'\ninput.list = [{{ id = 1 }}, {{ id = 2 }}]",
        api.url()
    );
    assert_eq!(ask(http::Method::POST, "/7", text).await, json!({ "began": 7 }));
    let wrong = ask(http::Method::POST, "/8", "secrets.a = 'command:id'".to_owned()).await;
    assert!(wrong["wrong"].as_str().is_some_and(|why| why.contains("sandboxed")), "{wrong}");
    assert_eq!(ask(http::Method::GET, "/7/report", String::new()).await, 2);
    assert_eq!(ask(http::Method::GET, "/7", String::new()).await["done"], 2);
    serves.abort();
}
