//! Requests of every shape, as they arrive: bodies, lists, files, and ready-made ones.

use serde_json::json;

use crate::harness::{Place, Throng, each, run};
use crate::recorder::Recorder;

fn ask(place: &Place, recorder: &Recorder, rows: &str) -> Throng {
    let input = place.file("rows.jsonl", rows);
    run().arg("--url", &format!("{}/x", recorder.url())).arg("--input", &input)
}

#[test]
fn bodies_arrive_as_the_job_says() {
    let (place, recorder) = (Place::new(), Recorder::start());
    std::fs::create_dir(place.path("in")).unwrap();
    place.file("in/a.txt", "from a file");
    let file = format!("{}/in/{{{{ id }}}}.txt", place.path(""));
    let row = r#"{"id": "a", "n": 7, "tags": ["x y", "z"]}"#;
    for (flag, value, kind, body) in [
        (
            "--json",
            r#"{"id": "{{ id }}", "n": "{{ n }}", "tags": "{{ tags }}"}"#,
            "application/json",
            r#"{"id":"a","n":7,"tags":["x y","z"]}"#,
        ),
        ("--jq", "[.tags[] | {tag: .}]", "application/json", r#"[{"tag":"x y"},{"tag":"z"}]"#),
        ("--form", "tag={{ tags }}", "application/x-www-form-urlencoded", "tag=x%20y&tag=z"),
        ("--data", "id={{ id }}&q=1", "application/x-www-form-urlencoded", "id=a&q=1"),
        ("--body-file", &file, "application/octet-stream", "from a file"),
    ] {
        recorder.forget();
        ask(&place, &recorder, row).arg(flag, value).exits(0);
        let came = recorder.only();
        assert_eq!(came.line, "POST /x HTTP/1.1");
        assert_eq!(came.header("content-type"), Some(kind));
        assert_eq!(came.text(), body);
    }
    recorder.forget();
    ask(&place, &recorder, row)
        .arg("--multipart", "note=of {{ id }}")
        .arg("--multipart", &format!("file=@{file}"))
        .exits(0);
    let came = recorder.only();
    let boundary =
        came.header("content-type").unwrap().split_once("boundary=").unwrap().1.to_owned();
    assert_eq!(
        came.text(),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nof a\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nfrom a file\r\n\
         --{boundary}--\r\n"
        )
    );
}

#[test]
fn every_method_and_lists_in_the_query() {
    let (place, recorder) = (Place::new(), Recorder::start());
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        recorder.forget();
        ask(&place, &recorder, r#"{"ids": [1, "b c"]}"#)
            .arg("--method", method)
            .arg("--query", "id={{ ids }}")
            .arg("--query", "k=1")
            .arg("--query", "k=2&3")
            .flags("--timeout 5s")
            .exits(0);
        assert_eq!(recorder.only().line, format!("{method} /x?id=1&id=b%20c&k=1&k=2%263 HTTP/1.1"));
    }
}

#[test]
fn a_file_outside_of_the_folder_is_not_sent() {
    let (place, recorder) = (Place::new(), Recorder::start());
    std::fs::create_dir(place.path("in")).unwrap();
    place.file("secret.txt", "do not send");
    let file = format!("{}/in/{{{{ id }}}}.txt", place.path(""));
    let ended = ask(&place, &recorder, "{\"id\": \"../secret\"}\n{\"id\": \"absent\"}")
        .arg("--body-file", &file)
        .exits(1);
    let records = ended.records();
    assert_eq!(each(&records, "_error"), ["input", "input"]);
    assert!(records[0]["_detail"].as_str().unwrap().contains("can't lead out of the folder"));
    assert!(records[1]["_detail"].as_str().unwrap().contains("can't be read"));
    assert!(recorder.came().is_empty());
}

#[test]
fn ready_made_requests_bring_their_ids_back() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let rows = [
        json!({"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "n": 1}}),
        json!({"custom_id": "r-2", "method": "GET", "url": "/v1/models?x=1", "headers": {"x-own": "é"}}),
        json!({"custom_id": "r-3", "method": "PUT", "url": "/raw", "headers": {"Content-Type": "text/plain"}, "body": "a\nb"}),
    ];
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let input = place.file("batch.jsonl", &rows);
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--input", &input)
        .flags("--format requests --workers 1 --mode sync")
        .arg("--header", "authorization: Bearer {{ env.TOKEN }}")
        .env("TOKEN", "for-all-of-them")
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "custom_id"), ["r-1", "r-2", "r-3"]);
    assert!(
        records
            .iter()
            .all(|record| record.get("body").is_none() && record.get("headers").is_none())
    );
    let came = recorder.came();
    let lines: Vec<&str> = came.iter().map(|came| came.line.as_str()).collect();
    assert_eq!(
        lines,
        ["POST /v1/chat/completions HTTP/1.1", "GET /v1/models?x=1 HTTP/1.1", "PUT /raw HTTP/1.1"]
    );
    assert_eq!(came[0].text(), r#"{"model":"m","n":1}"#);
    assert_eq!(came[2].text(), "a\nb");
    assert!(came.iter().all(|came| came.header("authorization") == Some("Bearer for-all-of-them")));
}

#[test]
fn ready_made_requests_that_are_none_are_named() {
    let place = Place::new();
    let input = place.file("batch.jsonl", "{\"url\": \"/a\"}\n{\"method\": \"GET\"}\n");
    run()
        .arg("--url", "http://127.0.0.1:1")
        .arg("--input", &input)
        .flags("--format requests")
        .exits(2)
        .says("batch.jsonl, request 2: it has no \"url\"");
    let input = place.file("batch.jsonl", "{\"url\": \"/a\"}\n");
    run().arg("--input", &input).flags("--format requests --data x").exits(2).says(
        "request.data (--data) is given, but with input.format = \"requests\" each row has its own",
    );
}

#[test]
fn a_post_among_ready_made_requests_is_not_repeated() {
    let place = Place::new();
    let recorder = Recorder::answering(|_| crate::recorder::answer("500 No", &[], "{}"));
    let rows = "{\"url\": \"/p\", \"body\": {}}\n{\"url\": \"/g\"}\n";
    let input = place.file("batch.jsonl", rows);
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--input", &input)
        .flags("--format requests --retries 1")
        .exits(1);
    assert_eq!(each(&ended.records(), "_attempts"), [1, 2]);
}
