//! Hooks in place of templates and of `extract`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use serde_json::{Value, json};
use throng::{Answer, Batches, Job, Processed, Row, RowError, RowRequest};
use throng_mock::Settings;

use crate::api::{Item, failure, id, job, records, server};

fn get(item: &Item) -> Result<Request<&'static str>, http::Error> {
    Request::get(format!("/items/{}", item.id)).body("")
}

#[test]
fn a_hook_makes_each_request_and_another_the_values_of_each_answer() {
    let server = server(Settings::default());
    let job = job(&server, 40)
        .request(|item: &Item| {
            let method = if item.id < 20 { Method::GET } else { Method::PUT };
            Request::builder().method(method).uri(format!("/items/{}", item.id)).body("a body")
        })
        .on_response(|item: Item, answer: Answer| async move {
            let url = answer.url.path().to_owned();
            Ok(json!({ "double": 2 * item.id, "path": url, "status": answer.status.as_u16() }))
        });
    let records = records(job);
    assert_eq!(records.len(), 40);
    for (id, record) in records {
        let fields = Value::from(record.row.fields);
        let path = format!("/items/{id}");
        assert_eq!(fields, json!({"id": id, "double": 2 * id, "path": path, "status": 200}));
    }
    assert_eq!(server.judgement().requests, 40);
}

#[test]
fn a_hook_may_ask_for_another_attempt_until_the_retries_are_used_up() {
    let server = server(Settings::default());
    let calls = Arc::new(AtomicU64::new(0));
    let of_hook = calls.clone();
    let job = job(&server, 3).request(get).retries(2).on_response(move |item: Item, _| {
        of_hook.fetch_add(1, Ordering::Relaxed);
        async move {
            match item.id {
                0 => Ok(json!({ "n": 1 })),
                _ => Err(RowError::retry("it is not there yet").after(std::time::Duration::ZERO)),
            }
        }
    });
    let records = records(job);
    assert!(records[&0].is_ok());
    for id in [1, 2] {
        let (kind, detail) = failure(&records[&id]);
        assert_eq!((kind.as_str(), detail), ("hook failed", "it is not there yet"));
        assert_eq!(records[&id].attempts, 3);
    }
    assert_eq!((calls.load(Ordering::Relaxed), server.judgement().requests), (7, 7));
}

#[test]
fn a_hook_that_fails_or_panics_fails_its_row_alone() {
    let server = server(Settings::default());
    let job = job(&server, 4)
        .request(|item: &Item| match item.id {
            3 => Err(RowError::failed("there is no item 3")),
            _ => Ok(RowRequest::from(get(item)?)),
        })
        .on_response(|item: Item, answer: Answer| async move {
            match item.id {
                0 => Ok(json!({ "length": answer.body.len() })),
                1 => panic!("on purpose"),
                _ => Ok(json!({ "n": "no number".parse::<u8>()? })),
            }
        });
    let records = records(job);
    assert!(records[&0].is_ok());
    assert_eq!(failure(&records[&1]).1, "the hook panicked: on purpose");
    assert_eq!(failure(&records[&2]).1, "invalid digit found in string");
    let (kind, detail) = failure(&records[&3]);
    assert_eq!((kind.as_str(), detail), ("input", "there is no item 3"));
    assert_eq!(server.judgement().requests, 3);
}

#[test]
fn a_hook_that_blocks_has_its_own_threads_and_gets_rows_in_batches() {
    let server = server(Settings::default());
    let (sizes, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (rows, largest) = (sizes.clone(), most.clone());
    let hook = Batches::new(1, 8, move |batch: Vec<(Row, Answer)>| {
        rows.fetch_add(batch.len() as u64, Ordering::Relaxed);
        largest.fetch_max(batch.len() as u64, Ordering::Relaxed);
        // Others wait meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(5));
        batch.iter().map(|(row, _)| Ok(Processed::from_iter([("n", row.number.into())]))).collect()
    });
    let records = records(job(&server, 100).request(get).response_hook(hook.unwrap()));
    assert!(records.values().all(|it| it.row.fields["n"] == it.row.number));
    assert_eq!((records.len(), sizes.load(Ordering::Relaxed)), (100, 100));
    let most = most.load(Ordering::Relaxed);
    assert!((2..=8).contains(&most), "{most} rows at a time");
}

#[test]
fn a_hook_may_make_several_records_of_an_answer() {
    let server = server(Settings::default());
    let plan = job(&server, 3)
        .request(get)
        .on_response_many(|item: Item, _| async move {
            Ok((0..item.id).map(|n| json!({ "n": n })).collect::<Vec<_>>())
        })
        .build()
        .unwrap();
    let mut found: Vec<_> = plan
        .into_stream()
        .blocking()
        .map(|record| {
            let record = record.unwrap();
            let item = record.row.item.unwrap();
            (id(&record), item.number, record.row.fields.get("n").cloned(), item.last)
        })
        .collect();
    found.sort_by_key(|(id, number, ..)| (*id, *number));
    let n = |n: u64| Some(Value::from(n));
    #[rustfmt::skip]
    let wanted = [
        (0, None, None, true),
        (1, Some(0), n(0), true),
        (2, Some(0), n(0), false), (2, Some(1), n(1), true),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn named_values_stand_in_columns_and_a_missing_one_fails_its_row() {
    let server = server(Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    let report = job(&server, 2)
        .request(get)
        .on_response(|item: Item, _| async move {
            Ok(if item.id == 0 { json!({ "a": 7, "b": null }) } else { json!({ "b": 1 }) })
        })
        .values(["a", "b?"])
        .output(&path)
        .set("output.order", "input")
        .build()
        .unwrap()
        .spawn()
        .wait()
        .unwrap();
    assert_eq!((report.rows.ok, report.rows.failed), (1, 1));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("id,a,b,_row,_ok,"), "{text}");
    assert!(lines[1].starts_with("0,7,,0,true,200,"), "{text}");
    assert!(lines[2].starts_with("1,,,1,false,200,missing a,"), "{text}");
}

#[test]
fn the_headers_of_the_job_are_those_of_a_hooks_request_unless_it_has_its_own() {
    let server = server(Settings::default());
    let echo = |of: &'static str| {
        move |_: &Item| Request::get("/headers").header("throng-items", of).body("")
    };
    let with = |job: throng::JobBuilder| {
        records(job.header("throng-items", "2").on_response(|_: Item, answer: Answer| async move {
            let body: Value = answer.json()?;
            let items = body["items"].as_array().map_or(0, Vec::len);
            Ok(json!({ "items": items }))
        }))
    };
    let own = with(job(&server, 1).request(echo("3")));
    assert_eq!(own[&0].row.fields["items"], 3);
    let of_job = with(job(&server, 1).request(|_: &Item| Request::get("/headers").body("")));
    assert_eq!(of_job[&0].row.fields["items"], 2);
}

#[test]
fn a_hooks_request_goes_to_no_host_that_the_job_does_not_name() {
    let (server, other) = (server(Settings::default()), server(Settings::default()));
    let url = other.url();
    let job = job(&server, 1).request(move |_: &Item| Request::get(format!("{url}/x")).body(""));
    let records = records(job.extract("a?", ".a"));
    let (kind, detail) = failure(&records[&0]);
    assert!(kind == "input" && detail.contains("is not allowed"), "{detail}");
    assert_eq!(other.judgement().requests, 0);
    let open = Job::builder()
        .rows([Item { id: 1 }])
        .request(|_: &Item| Request::get("https://api.example/").body(""))
        .bearer("secret")
        .build();
    let error = open.err().unwrap().to_string();
    assert!(error.contains("name the hosts that may"), "{error}");
}

#[test]
fn hooks_and_what_they_stand_for_exclude_each_other() {
    let server = server(Settings::default());
    let hook = |_: Item, _: Answer| async { Ok(json!({})) };
    for (job, why) in [
        (job(&server, 1).on_response(hook).extract("a", ".a"), "extract does too"),
        (job(&server, 1).on_response(hook).set("items.each", ".a"), "leave out items"),
        (
            job(&server, 1).request(get).set("pages.next", ".a").extract("a", ".a"),
            "leave out pages",
        ),
        (job(&server, 1).request(get).json(json!({})), "a hook makes the requests"),
        (job(&server, 1).set("input.file", "a.csv"), "and the program gives rows"),
    ] {
        let error = job.build().err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}
