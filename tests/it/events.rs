//! The events of a run: what happened, and counters that agree with its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use throng::events::{Event, EventKind, Snapshot};
use throng::{Job, Plan, Run};

use crate::harness::Place;
use crate::recorder::{Came, Recorder, answer, json};

/// A row of each kind: one is refused first, one is sent again, one fails, the others are ok.
fn server() -> Recorder {
    let retried = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    Recorder::answering(move |came: &Came| {
        let first = |times: &AtomicUsize| times.fetch_add(1, Ordering::SeqCst) == 0;
        match came.line.split_whitespace().nth(1) {
            Some("/refused") if first(&refused) => {
                answer("429 Too Many Requests", &[("retry-after", "1")], "{}")
            }
            Some("/retried") if first(&retried) => {
                answer("503 Service Unavailable", &[], "the key s3cret is \u{9b}wrong")
            }
            Some("/absent") => answer("404 Not Found", &[], "{}"),
            _ => json("{}"),
        }
    })
}

fn run(place: &Place, server: &str) -> Run {
    let (output, state) = (place.path("out.jsonl"), place.path("state"));
    let job = format!(
        r#"
        input.list = [{{ id = "a" }}, {{ id = "refused" }}, {{ id = "retried" }}, {{ id = "absent" }}]
        request.url = "{server}/{{{{ id }}}}"
        request.headers = {{ x-api-key = "{{{{ env.KEY }}}}" }}
        limit.rate = "50/1s"
        limit.share = "none"
        output.file = "{output}"
        "#
    );
    let environment = |name: &str| match name {
        "KEY" => Some("s3cret".to_owned()),
        "XDG_STATE_HOME" => Some(state.clone()),
        _ => None,
    };
    Run::new(Plan::new(&Job::parse("job.toml", &job).unwrap(), &environment).unwrap())
}

fn last_snapshot(events: &[Arc<Event>]) -> &Snapshot {
    let snapshot = |event: &'_ Arc<Event>| matches!(event.kind, EventKind::Snapshot(_));
    match &events.iter().rfind(|event| snapshot(event)).unwrap().kind {
        EventKind::Snapshot(snapshot) => snapshot,
        _ => unreachable!(),
    }
}

#[test]
fn a_subscriber_gets_what_happened_and_counters_that_agree_with_the_report() {
    let (place, server) = (Place::new(), server());
    let run = run(&place, &server.url());
    let events = run.subscribe().unwrap();
    let subscriber = thread::spawn(move || events.collect::<Vec<_>>());
    let report = run.run().unwrap();
    let events = subscriber.join().unwrap();
    assert!(matches!(&events[0].kind, EventKind::RunStarted(it) if it.rows_to_do == Some(4)));
    let EventKind::RunEnded(ended) = &events.last().unwrap().kind else { panic!("{events:?}") };
    assert_eq!((ended.ok, ended.failed), (report.rows.ok, report.rows.failed));
    assert_eq!(ended.summary.as_ref().unwrap()["requests"], 6);
    let snapshot = last_snapshot(&events);
    assert_eq!((snapshot.rows.ok, snapshot.rows.failed), (3, 1));
    assert_eq!(
        (snapshot.rows.failures[0].kind.as_str(), snapshot.requests.sent),
        ("status 404", 6)
    );
    assert_eq!(snapshot.statuses, [(200, 3), (404, 1), (429, 1), (503, 1)].into());
    assert_eq!((snapshot.latency.count, snapshot.requests.in_flight), (6, 0));
    assert!(snapshot.latency.quantile(0.5).unwrap() <= snapshot.latency.quantile(1.0).unwrap());
    let (limit, peak) = (&snapshot.limits[0], report.limits[0].most_in_window);
    assert_eq!((limit.name.as_str(), limit.peak), ("50/1s", peak));
    let refused = events.iter().filter_map(|event| match &event.kind {
        EventKind::RequestRefused(it) => Some((it.status, it.pause.unwrap().as_secs())),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(429, 1)]);
    let retried = events.iter().find_map(|event| match &event.kind {
        EventKind::RequestRetried(it) => Some((it.row, it.kind.as_str(), it.detail.clone())),
        _ => None,
    });
    let (row, kind, detail) = retried.unwrap();
    assert_eq!((row, kind), (Some(2), "status 503"));
    assert!(!detail.contains("s3cret"), "{detail}");
    let failed = events.iter().filter_map(|event| match &event.kind {
        EventKind::RowFailed(it) => Some((it.row, it.label.as_str(), it.status, it.attempts)),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [(3, "absent", Some(404), 1)]);
    let is_pause =
        |kind: &EventKind| matches!(kind, EventKind::PauseStarted(_) | EventKind::PauseEnded);
    assert_eq!(events.iter().filter(|event| is_pause(&event.kind)).count(), 2);
    // Each reads back from its line as it was.
    for event in events.iter().map(|event| &**event) {
        let line = serde_json::to_string(event).unwrap();
        let back: Event = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), line);
    }
    assert!(run.subscribe().unwrap().next().is_none());
}

#[test]
fn a_run_that_can_t_begin_says_so_to_its_subscribers() {
    let place = Place::new();
    let run = run(&place, "http://127.0.0.1:1");
    let mut events = run.subscribe().unwrap();
    std::fs::create_dir(place.path("out.jsonl")).unwrap();
    let error = run.run().unwrap_err().to_string();
    assert!(matches!(&events.next().unwrap().kind, EventKind::RunStarted(_)));
    let event = events.last().unwrap();
    assert!(matches!(&event.kind, EventKind::RunEnded(it) if it.reason.as_ref() == Some(&error)));
}
