//! Runs of a program: streams, sinks, handles, and the file that a later run goes on with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use throng::{Fields, Job, Progress, Record, RowSource};
use throng_mock::Settings;

use crate::api::{Item, id, job, server};

const PATH: &str = "/items/{{ id }}";

#[tokio::test]
async fn a_run_in_a_runtime_is_a_stream() {
    let server = server(Settings::default());
    let plan = job(&server, 500).url(server.url() + PATH).build().unwrap();
    let mut records = plan.into_stream();
    let mut ids = BTreeSet::new();
    while let Some(record) = records.next().await {
        assert!(ids.insert(id(&record.unwrap())));
    }
    assert_eq!(ids, (0..500).collect());
    let report = records.handle().clone().await.unwrap();
    assert_eq!((report.rows.ok, report.rows.failed), (500, 0));
}

#[tokio::test]
async fn rows_may_be_a_stream_of_the_programs_own_runtime() {
    let server = server(Settings::default());
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    let rows = futures::stream::poll_fn(move |context| receive.poll_recv(context));
    let plan = Job::builder().rows_stream(rows).url(server.url() + PATH).build().unwrap();
    let sends = async move {
        for id in 0..20 {
            tokio::time::sleep(Duration::from_micros(100)).await;
            send.send(Item { id }).await.unwrap();
        }
    };
    let (count, ()) = tokio::join!(plan.into_stream().count(), sends);
    assert_eq!(count, 20);
}

#[test]
fn rows_of_a_stream_need_no_runtime() {
    let server = server(Settings::default());
    let rows = futures::stream::iter((0..9).map(|id| Item { id }));
    let plan = Job::builder().rows_stream(rows).url(server.url() + PATH).build().unwrap();
    assert_eq!(plan.into_stream().blocking().count(), 9);
}

#[test]
fn a_sink_that_is_slow_holds_the_limiter_up() {
    const ROWS: u64 = 6_000;
    let server = server(Settings::default());
    let (let_go, gone) = std::sync::mpsc::channel::<()>();
    let mut written = 0;
    let plan = job(&server, ROWS).url(server.url() + PATH).build().unwrap();
    let run = plan.run_to(move |records: Vec<Record>| {
        if written == 0 {
            gone.recv()?;
        }
        written += records.len() as u64;
        Ok(())
    });
    // The requests that are sent grow until the run is held up, or all are.
    let (mut sent, mut unchanged) = (0, 0);
    while unchanged < 40 && sent < ROWS {
        std::thread::sleep(Duration::from_millis(5));
        let now = run.progress().sent;
        unchanged = if now == sent && now > 0 { unchanged + 1 } else { 0 };
        sent = now;
    }
    assert!(sent < 2_000, "{sent} requests were sent while the sink took nothing");
    let_go.send(()).unwrap();
    assert_eq!(run.wait().unwrap().rows.ok, ROWS);
}

#[test]
fn a_sink_that_fails_ends_the_run_and_says_why() {
    let server = server(Settings::default());
    let plan = job(&server, 5_000).url(server.url() + PATH).build().unwrap();
    let error = plan.run_to(|_| Err("the table is locked".into())).wait().unwrap_err();
    assert_eq!(error.to_string(), "the program's sink has failed: the table is locked");
    assert!(server.judgement().requests < 2_000);
}

#[test]
fn a_stream_that_is_dropped_ends_its_run() {
    let server = server(Settings::default());
    let plan = job(&server, 20_000).url(server.url() + PATH).build().unwrap();
    let stream = plan.into_stream();
    let handle = stream.handle().clone();
    assert_eq!(stream.blocking().take(3).count(), 3);
    let report = handle.wait().unwrap();
    assert!(report.rows.rows < 5_000, "{}", report.rows.rows);
}

#[tokio::test]
async fn a_stream_of_a_run_that_cannot_begin_ends_with_the_reason() {
    let server = server(Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let plan = || {
        let rows = (0..).map(|id| Item { id });
        let job = Job::builder().rows(rows).url(server.url() + PATH).output(&path).resume();
        job.build().unwrap()
    };
    let (first, second, third) = (plan(), plan(), plan());
    let mut writes = first.into_stream();
    writes.next().await.unwrap().unwrap();
    // The first one has the file.
    let records: Vec<_> = second.into_stream().collect().await;
    let [Err(error)] = &records[..] else { panic!("{records:?}") };
    assert!(error.to_string().contains("is in use: process"), "{error}");
    let waits = tokio::task::spawn_blocking(|| third.into_stream().blocking().count());
    assert_eq!(waits.await.unwrap(), 1);
}

#[test]
fn a_source_that_fails_ends_the_run_and_names_the_row() {
    struct Broken(u64);
    impl RowSource for Broken {
        fn next_row(&mut self) -> Option<Result<Fields, throng::BoxError>> {
            self.0 += 1;
            Some(match self.0 {
                3 => Err("the cursor is closed".into()),
                id => Ok(Fields::from_iter([("id".to_owned(), id.into())])),
            })
        }
    }
    let server = server(Settings::default());
    let plan = Job::builder().rows_from(Broken(0)).url(server.url() + PATH).build().unwrap();
    let error = plan.run_to(|_| Ok(())).wait().unwrap_err().to_string();
    assert!(error.contains("the program's rows, row 3: the cursor is closed"), "{error}");
}

#[test]
fn a_run_that_was_cancelled_goes_on_by_the_keys_of_its_rows() {
    let server = server(Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let plan = |rows: Vec<u64>| {
        Job::builder()
            .rows(rows.into_iter().map(|id| Item { id }))
            .url(server.url() + PATH)
            .output(&path)
            .resume()
            .row_key("id")
            .concurrency(4)
            .build()
            .unwrap()
    };
    let stream = plan((0..2_000).collect()).into_stream();
    let handle = stream.handle().clone();
    let first: Vec<u64> = stream.blocking().take(10).map(|record| id(&record.unwrap())).collect();
    handle.wait().unwrap();
    assert_eq!(first.len(), 10);
    let before = std::fs::read_to_string(&path).unwrap().lines().count();
    assert!((10..1_900).contains(&before), "{before} records");
    // The rows come in another order.
    plan((0..2_000).rev().collect()).run_to(|_| Ok(())).wait().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let ids = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["id"].as_u64().unwrap()
    });
    let ids: Vec<u64> = ids.collect();
    assert_eq!(ids.len(), 2_000);
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), (0..2_000).collect());
}

#[test]
fn the_progress_can_be_watched_to_the_end() {
    let server = server(Settings::default());
    let plan = job(&server, 300).url(server.url() + PATH).build().unwrap();
    let run = plan.run_to(|_| Ok(()));
    let seen: Vec<Progress> = run.watch(Duration::from_millis(1)).collect();
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.failed, last.sent, last.in_flight), (300, 0, 300, 0));
    assert!(seen.windows(2).all(|pair| pair[0].done <= pair[1].done));
    let written = serde_json::to_value(last).unwrap();
    assert_eq!(written["done"], 300);
}

#[test]
fn a_run_is_cancelled_from_anywhere() {
    let server = server(Settings::default());
    let made = Arc::new(AtomicU64::new(0));
    let rows = made.clone();
    let endless = std::iter::repeat_with(move || Item { id: rows.fetch_add(1, Ordering::Relaxed) });
    let plan = Job::builder().rows(endless).url(server.url() + PATH).build().unwrap();
    let run = plan.run_to(|_| Ok(()));
    while run.progress().done < 100 {
        std::thread::yield_now();
    }
    run.cancel();
    let report = run.wait().unwrap();
    assert!(report.rows.ok >= 100 && run.is_over());
    assert!(made.load(Ordering::Relaxed) >= report.rows.rows);
}
