//! Inputs at URLs and in object stores.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::harness::{Ended, Place, Throng, each, run, throng};
use crate::objects::{Object, Objects};
use crate::recorder::{Recorder, json as answer};

const ROWS: &str = "id,name\n1,a\n2,b\n3,c\n";

/// A server that answers each request with its path.
fn api() -> Recorder {
    Recorder::answering(|came| answer(&json!({"path": came.line.split(' ').nth(1)}).to_string()))
}

/// A run over the rows of this input.
fn ask(input: &str, api: &Recorder) -> Throng {
    run()
        .arg("-i", input)
        .arg("--url", &format!("{}/{{{{ id }}}}", api.url()))
        .arg("-e", "path=.path")
        .flags("-w 1")
}

#[track_caller]
fn assert_all(ended: &Ended) {
    let mut records = ended.records();
    records.sort_by_key(|record| record["_row"].as_u64());
    assert_eq!(each(&records, "path"), ["/1", "/2", "/3"]);
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// The rows in a file of this name, as `convert` writes it.
fn converted(name: &str) -> Vec<u8> {
    let place = Place::new();
    place.file("rows.csv", ROWS);
    throng("convert").arg(&place.path("rows.csv"), &place.path(name)).exits(0);
    std::fs::read(place.path(name)).unwrap()
}

/// The environment of a user of S3, before this server.
fn with_s3(throng: Throng, server: &Objects) -> Throng {
    throng
        .env("AWS_ENDPOINT_URL", server.url())
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
        .env("AWS_REGION", "eu-central-1")
}

#[test]
fn a_url_is_an_input_of_each_format_by_its_name_or_its_type() {
    let (server, api) = (Objects::start(), api());
    let lines = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
    for (path, object) in [
        ("/rows.csv", Object::new(ROWS)),
        ("/a b/rows.csv.gz", Object::new(gzipped(ROWS)).with("content-encoding", "gzip")),
        ("/unnamed", Object::new(gzipped(ROWS)).with("content-encoding", "gzip")),
        ("/export", Object::new(ROWS).with("content-type", "text/csv; charset=utf-8")),
        ("/guessed", Object::new(lines).with("content-type", "application/octet-stream")),
        ("/rows.ndjson", Object::new(lines)),
        ("/rows.parquet", Object::new(converted("rows.parquet"))),
        (
            "/data",
            Object::new(converted("r.arrow"))
                .with("content-type", "application/vnd.apache.arrow.file"),
        ),
        ("/rows.sqlite", Object::new(converted("rows.sqlite"))),
    ] {
        server.put(path, object);
        let ended =
            ask(&format!("{}{}?sig=topsecret", server.url(), path.replace(' ', "%20")), &api)
                .exits(0);
        assert_all(&ended);
        assert!(!ended.stderr.contains("topsecret"), "{}", ended.stderr);
    }
    assert!(server.asked().iter().all(|asked| asked.target.ends_with("?sig=topsecret")));
}

#[test]
fn a_lost_connection_is_gone_on_with_where_it_broke() {
    let rows: String = (0..20_000).map(|id| format!("{id},name of {id}\n")).collect();
    let text = format!("id,name\n{rows}");
    for ignores_ranges in [false, true] {
        let (server, place) = (Objects::start(), Place::new());
        let whole = Object { ignores_ranges, ..Object::new(text.clone()) };
        let then = Some(Box::new(whole.clone()));
        server.put("/rows.csv", Object { cut_after: Some(100_000), then, ..whole });
        let url = format!("{}/rows.csv", server.url());
        throng("convert").arg(&url, &place.path("new.csv")).exits(0);
        assert!(place.read("new.csv") == text, "{ignores_ranges}");
        let asked = server.asked();
        let ranges: Vec<_> = asked[..2].iter().map(|it| it.headers.get("range")).collect();
        assert_eq!(ranges, [None, Some(&"bytes=100000-".to_owned())]);
    }
}

#[test]
fn what_a_url_does_not_give_is_told_with_what_to_do() {
    let api = api();
    for (head, said) in [
        ("404 Not Found\r\n", "404 Not Found: there is nothing at this URL"),
        ("403 Forbidden\r\n", "403 Forbidden: the server refuses it: a signed URL must be whole"),
        ("503 Service Unavailable\r\n", "503 Service Unavailable: try it again later"),
        (
            "302 Found\r\nlocation: ftp://x/\r\n",
            "redirects to \"ftp://x/\", where throng does not go",
        ),
        ("200 OK\r\ncontent-type: text/html\r\n", "a web page (text/html), not with rows"),
    ] {
        let head = head.to_owned();
        let server = Objects::refusing(move |_| Some((head.clone(), "<html>".into())));
        let ended = ask(&format!("{}/x?key=topsecret", server.url()), &api).exits(2);
        ended.says(said).says("/x?…: ");
        assert!(!ended.stderr.contains("topsecret"), "{}", ended.stderr);
    }
    ask("http://127.0.0.1:9/rows.csv", &api)
        .exits(2)
        .says("http://127.0.0.1:9/rows.csv: connect: ");
    ask("ftp://h/rows.csv", &api).exits(2).says("ftp:// is not read: ");
    assert!(api.came().is_empty());
}

#[test]
fn a_url_may_name_a_user_and_redirect() {
    let api = api();
    let server = Objects::refusing(|asked| {
        if asked.target == "/old" {
            return Some(("302 Found\r\nlocation: /rows.csv\r\n".into(), String::new()));
        }
        let is_known =
            asked.headers.get("authorization").map(String::as_str) == Some("Basic bWU6cCB3");
        (!is_known).then(|| ("401 Unauthorized\r\n".into(), String::new()))
    });
    server.put("/rows.csv", Object::new(ROWS));
    let url = server.url().replace("://", "://me:p%20w@");
    assert_all(&ask(&format!("{url}/old"), &api).exits(0));
    ask(&format!("{}/old", server.url()), &api).exits(2).says("401 Unauthorized: ");
}

#[test]
fn a_run_goes_on_with_an_object_and_tells_that_it_has_changed() {
    let (server, api) = (Objects::start(), api());
    for known in [true, false] {
        let place = Place::new();
        let object = |text: &str| {
            if known {
                Object::new(text)
            } else {
                Object { bytes: text.into(), ..Object::default() }
            }
        };
        server.put("/rows.csv", object(ROWS));
        let url = format!("{}/rows.csv", server.url());
        let ask = || ask(&url, &api).arg("-o", &place.path("out.jsonl"));
        ask().flags("--take 1").exits(0);
        ask().flags("--resume --take 2").exits(0);
        server.put("/rows.csv", object("id,name\n1,other\n2,b\n3,c\n4,d\n"));
        let said = format!("{url} is not the input that");
        ask()
            .flags("--resume")
            .exits(2)
            .says(&said)
            .says("1 are the same, 1 have other values now");
        server.put("/rows.csv", object(&format!("{ROWS}4,d\n")));
        ask().flags("--resume").exits(0);
        assert_eq!(place.records("out.jsonl").len(), 4);
    }
    let plan = throng("plan").arg("-i", &format!("{}/rows.csv", server.url()));
    let planned = plan.arg("--url", &format!("{}/{{{{ id }}}}", api.url())).exits(0);
    assert!(planned.stdout.contains("4 rows"), "{}", planned.stdout);
}

#[test]
fn an_object_of_s3_is_asked_for_with_a_signature() {
    let (server, api) = (Objects::start(), api());
    server.put("/bucket/dir/rows.csv", Object::new(ROWS));
    server.put("/bucket/rows.parquet", Object::new(converted("rows.parquet")));
    for path in ["dir/rows.csv", "rows.parquet"] {
        let ended = with_s3(ask(&format!("s3://bucket/{path}"), &api), &server).exits(0);
        assert_all(&ended);
        assert!(!ended.stderr.contains("wJalrXUtnFEMI"), "{}", ended.stderr);
    }
    for asked in server.asked() {
        let signed = asked.headers.get("authorization").unwrap();
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
        assert!(signed.contains("/eu-central-1/s3/aws4_request"), "{signed}");
    }
    let place = Place::new();
    place.file("credentials", "[work]\naws_access_key_id = OTHERKEY\naws_secret_access_key = s\n");
    let ended = ask("s3://bucket/dir/rows.csv", &api)
        .env("AWS_ENDPOINT_URL", server.url())
        .env("AWS_PROFILE", "work")
        .env("AWS_SHARED_CREDENTIALS_FILE", &place.path("credentials"))
        .exits(0);
    assert_all(&ended);
    let signed = server.asked().pop().unwrap().headers["authorization"].clone();
    assert!(signed.contains("Credential=OTHERKEY/"), "{signed}");
}

#[test]
fn what_an_object_store_does_not_give_is_told_with_what_to_do() {
    let api = api();
    for (head, body, said) in [
        ("404 Not Found\r\n", "<Code>NoSuchKey</Code>", "there is no such object"),
        ("404 Not Found\r\n", "<Code>NoSuchBucket</Code>", "there is no such bucket"),
        ("403 Forbidden\r\n", "<Code>SignatureDoesNotMatch</Code>", "check AWS_ACCESS_KEY_ID"),
        (
            "301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1\r\n",
            "<Code>PermanentRedirect</Code>",
            "the bucket is in another region: set AWS_REGION=eu-west-1",
        ),
    ] {
        let server = Objects::refusing(move |_| Some((head.into(), body.into())));
        let ended = with_s3(ask("s3://bucket/rows.csv", &api), &server).exits(2);
        ended.says("s3://bucket/rows.csv: ").says(said);
        assert!(!ended.stderr.contains("wJalrXUtnFEMI"), "{}", ended.stderr);
    }
    // No server gives this machine credentials.
    let no_one = "http://127.0.0.1:9";
    ask("s3://bucket/rows.csv", &api)
        .env("AWS_METADATA_ENDPOINT", no_one)
        .exits(2)
        .says("no credentials are found: set AWS_ACCESS_KEY_ID");
    ask("s3://bucket", &api).exits(2).says("the URL of an object is s3://BUCKET/PATH");
}

#[test]
fn objects_of_google_and_azure_are_asked_for_as_their_tools_do() {
    let (server, api) = (Objects::start(), api());
    server.put("/bucket/rows.csv", Object::new(ROWS));
    let ended = ask("gs://bucket/rows.csv", &api)
        .env("GOOGLE_BASE_URL", server.url())
        .env("GOOGLE_BEARER_TOKEN", "ya29.token")
        .exits(0);
    assert_all(&ended);
    assert_eq!(server.asked().pop().unwrap().headers["authorization"], "Bearer ya29.token");
    let ended = ask("az://bucket/rows.csv", &api)
        .env("AZURE_STORAGE_ENDPOINT", server.url())
        .env("AZURE_STORAGE_ACCOUNT", "me")
        .env("AZURE_STORAGE_KEY", "c2VjcmV0")
        .exits(0);
    assert_all(&ended);
    let signed = server.asked().pop().unwrap().headers["authorization"].clone();
    assert!(signed.starts_with("SharedKey me:"), "{signed}");
}

#[test]
fn an_object_that_changes_while_it_is_read_ends_the_run() {
    let (server, place) = (Objects::start(), Place::new());
    let rows: String = (0..40_000).map(|id| format!("{id}\n")).collect();
    let object = Object::new(format!("id\n{rows}"));
    let then = Some(Box::new(Object::new("id\n1\n")));
    server.put("/rows.csv", Object { cut_after: Some(100_000), then, ..object });
    let url = format!("{}/rows.csv", server.url());
    let ended = throng("convert").arg(&url, &place.path("new.csv")).ends();
    assert_ne!(ended.code, Some(0));
    ended.says("it has changed since it was checked: run again");
}
