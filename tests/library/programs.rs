//! A service that runs jobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde_json::{Value, json};
use throng::{Job, JobHandle};
use throng_mock::Settings;

use crate::api::server;

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
