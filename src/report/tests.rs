//! Reports as text and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::metrics::Warning;
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::tally::{Aggregate, Tally};

#[test]
fn a_good_run_has_a_report_of_a_few_lines() {
    let records: Vec<Record> = (0..500).map(|row| record(row, Ok(vec![json!(row)]))).collect();
    let report = Report {
        pace: pace(),
        limits: vec![limit()],
        ..Report::of(&tally(&records, &["mean(price)", "count(price) by symbol"]))
    };
    let text = report.text(Color::Never);
    assert_eq!(
        text,
        "500 rows: 500 ok, 0 failed\n\
         118.2 s, bound 117.5 s (22/5s), 99.4 %\n\
         500 requests (4.23 per second), 0 retries, 0 refused (429)\n\
         limit 22/5s (strict): at most 22 can have arrived in any 5 s\n\
         latency: p50 350 ms, p90 549 ms, p99 594 ms, max 599 ms\n\n\
         \x20 mean(price)  249.5  of 500 values\n\
         count(price) by symbol\n\
         \x20 ANTE  250  of 250 values\n\
         \x20 RIV   250  of 250 values\n"
    );
}

#[test]
fn a_bound_that_the_latency_causes_says_so() {
    let pace = pace().map(|pace| RateReport { at_a_time: Some(1), ..pace });
    let text = Report { pace, ..Report::default() }.text(Color::Never);
    let expected = "bound 117.5 s (22/5s and the latency, at most 1 in flight), 99.4 %";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_limit_that_other_runs_share_is_no_broken_promise() {
    let limits = vec![LimitReport { used_before: 12, other_runs: 3, ..limit() }];
    let report = Report { pace: pace(), limits, ..Report::default() };
    let text = report.text(Color::Never);
    for line in [
        "118.2 s, bound 117.5 s for a run alone (22/5s, shared with 3 other runs)\n",
        "can have arrived in any 5 s; 12 used before this run; shared with 3 other runs\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let report = Report { sharing: Some(SharingReport::None), ..Report::default() };
    let text = report.text(Color::Never);
    assert!(text.contains("\nlimits: this run's alone (--share none)"), "{text}");
}

#[test]
fn the_bound_of_a_search_is_of_the_pace_that_it_found() {
    let found = |is_settled| FoundLimit {
        per_second: 29.6,
        was_refused: true,
        is_settled,
        is_named: false,
        next_time: "--rate 148/5s --shape spread".into(),
    };
    let text = |found| {
        let limits = vec![LimitReport { found: Some(found), ..limit() }];
        Report { pace: pace(), limits, ..Report::default() }.text(Color::Never)
    };
    let expected = "bound 117.5 s (22/5s at 29.6 per second, as it found), 99.4 %";
    assert!(text(found(true)).contains(expected), "{}", text(found(true)));
    let unknown = "118.2 s, bound unknown while 22/5s is searched for\n";
    assert!(text(found(false)).contains(unknown), "{}", text(found(false)));
}

#[test]
fn failures_have_examples() {
    let failure = |row| Failure::new(FailureKind::Timeout, format!("no answer to {row}"));
    let records: Vec<Record> = (0..3).map(|row| record(row, Err(failure(row)))).collect();
    let text = Report::of(&tally(&records, &[])).text(Color::Never);
    assert!(text.starts_with("3 rows: 0 ok, 3 failed\n3 requests, 0 retries"), "{text}");
    assert!(
        text.contains("timeout  3 rows  100 %\n  row 0 (RIV): timeout: no answer to 0\n"),
        "{text}"
    );
}

#[test]
fn a_stopped_run_names_the_reason_and_the_way_to_continue() {
    let ending = RunEnding {
        output: Some("out.jsonl".into()),
        stopped: Some("disk full".into()),
        resume: Some("throng run job.toml --resume".into()),
        ..RunEnding::default()
    };
    let mut report = Report {
        ending,
        limits: vec![LimitReport { lost: 1, most_in_window: 23, ..limit() }],
        ..Report::default()
    };
    report.rows =
        RowReport { rows: 1200, ok: 1197, missing: 0, failed: 3, skipped: 1200, skipped_failed: 3 };
    report.this_run = Some(RunFigures::default());
    let text = report.text(Color::Never);
    for line in [
        "1,200 rows: 1,197 ok, 3 failed (this run 0: 0 ok, 0 failed; 1,200 more done before, of which 3 failed)\nstopped: disk full\n",
        "at most 23 can have arrived in any 5 s, MORE THAN IT ALLOWS; 1 request without an answer",
        "\nrecords: out.jsonl\nto continue: throng run job.toml --resume\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_figures_of_this_run_stand_beside_those_of_all_records() {
    let of = |rows: std::ops::Range<u64>| -> Vec<Record> {
        let failure = || Failure::new(FailureKind::Tls, "x");
        let outcome =
            |row: u64| if row.is_multiple_of(5) { Err(failure()) } else { Ok(vec![json!(row)]) };
        rows.map(|row| record(row, outcome(row))).collect()
    };
    let aggregates = ["mean(price)", "max(price)", "count(price) by symbol"];
    let (earlier, run) = (tally(&of(0..6), &aggregates), tally(&of(6..11), &aggregates));
    let report = Report::of(&run).with_earlier(&run, Some(earlier));
    assert_eq!(report.rows_of_this_run(), 5);
    let text = report.text(Color::Never);
    assert!(text.starts_with("11 rows: 8 ok, 3 failed (this run 5: 4 ok, 1 failed)\n"), "{text}");
    for line in [
        "  mean(price)  5  of 8 values  this run 7.5 of 4\n",
        "  max(price)   9  of 8 values\n",
        "  tls  3 rows  100 %  this run 1\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!((&json["ok"], &json["this_run"]["ok"]), (&json!(8), &json!(4)));
    assert_eq!(json["aggregates"]["mean(price)"]["value"], 5);
    assert_eq!(json["this_run"]["aggregates"]["mean(price)"]["value"], 7.5);
    let alone = Report::of(&run).with_earlier(&run, None);
    assert_eq!(alone, Report::of(&run));
}

#[test]
fn each_guard_promises_what_it_proves_and_no_more() {
    let line = |limit| {
        let report = Report { limits: vec![limit], ..Report::default() };
        let text = report.text(Color::Never);
        text.lines().find(|line| line.starts_with("limit")).unwrap().to_owned()
    };
    let under = |guard: &str, most| LimitReport {
        guard: guard.into(),
        most_in_window: most,
        margin_seconds: Some(0.02),
        ..limit()
    };
    assert_eq!(
        line(under("sent", 26)),
        "limit 22/5s (sent): at most 22 sent in any 5 s; 26 can have arrived in one, which this guard does not rule out; margin 0.02 s"
    );
    assert_eq!(
        line(under("acked", 22)),
        "limit 22/5s (acked): at most 22 can have reached the server's network stack in any 5 s; margin 0.02 s"
    );
    let single = LimitReport { units_allowed: 1, ..under("acked", 1) };
    assert!(line(single).contains("at most 1 can have reached"));
    let spaced = LimitReport { spacing_seconds: Some(0.25), ..limit() };
    assert!(line(spaced).ends_with("sent 0.25 s apart"));
}

#[test]
fn the_json_has_its_documented_names() {
    let records =
        [record(0, Ok(vec![json!(2.5)])), record(1, Err(Failure::new(FailureKind::Tls, "x")))];
    let report = Report {
        pace: pace(),
        limits: vec![limit()],
        ..Report::of(&tally(&records, &["mean(price)", "sum(price) by symbol"]))
    };
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let names: Vec<&str> = json.as_object().unwrap().keys().map(|name| &**name).collect();
    assert_eq!(
        names.join(" "),
        "rows ok failed skipped skipped_failed requests retries refused seconds best_possible_seconds bound_by advice \
         requests_per_second limits doubts latency_ms aggregates failures workers output stopped resume"
    );
    assert_eq!(json["seconds"], 118.235);
    assert_eq!(json["aggregates"]["mean(price)"]["value"], 2.5);
    assert_eq!(json["aggregates"]["sum(price) by symbol"]["groups"][0]["key"], "RIV");
    let example = json!({"row": 1, "label": "ANTE", "detail": "x"});
    assert_eq!(
        json["failures"][0],
        json!({"kind": "tls", "count": 1, "share": 1.0, "examples": [example]})
    );
}

#[test]
fn nothing_of_a_server_reaches_the_terminal_as_it_is() {
    let evil = "\u{1b}]0;x\u{7}\nok\u{202e}\t\r";
    let mut records = vec![record(0, Err(Failure::new(FailureKind::Other(evil.into()), evil)))];
    records.push(record(1, Ok(vec![evil.into()])));
    for record in &mut records {
        record.row.fields.insert("symbol".into(), evil.into());
    }
    let report = Report {
        ending: RunEnding {
            output: Some(evil.into()),
            stopped: Some(evil.into()),
            resume: Some(evil.into()),
            retry: Some(evil.into()),
            extract: Some(evil.into()),
        },
        limits: vec![LimitReport { rate: evil.into(), guard: evil.into(), ..limit() }],
        warnings: vec![Warning { message: "pages".into(), count: 1, example: evil.into() }],
        pace: pace(),
        ..Report::of(&tally(&records, &["count(price) by price", "min(\u{1b}\n)"]))
    };
    let text = report.text(Color::Never);
    let bad = |char: char| char != '\n' && (char.is_control() || char == '\u{202e}');
    assert!(!text.contains(bad), "{text:?}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("ok")), "{text}");
}

#[test]
fn an_anomaly_has_a_line_of_its_own() {
    let warning =
        Warning { message: "items that no row took".into(), count: 1_200, example: "row 7".into() };
    let report = Report { warnings: vec![warning], ..Report::default() };
    let line = "warning: items that no row took: 1,200, the first: row 7\n";
    assert!(report.text(Color::Never).contains(line));
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(
        json["warnings"],
        json!([{"what": "items that no row took", "count": 1200, "example": "row 7"}])
    );
}

#[test]
fn colours_are_written_only_on_request() {
    let report = Report::default();
    assert!(!report.text(Color::Never).contains('\u{1b}'));
    assert!(report.text(Color::Always).starts_with("\u{1b}[1m\u{1b}[32m0 rows"));
}

#[test]
fn each_worker_has_its_line() {
    let worker = |worker, answered| WorkerReport { worker, answered, seconds: 2.1512 };
    let report = Report { workers: vec![worker(1, 1), worker(2, 11)], ..Report::default() };
    assert_eq!(
        report.worker_lines(),
        ["worker 1: 1 request answered in 2.15 s", "worker 2: 11 requests answered in 2.15 s",]
    );
}

/// A row and how it ended.
fn record(number: u64, outcome: Result<Vec<Value>, Failure>) -> Record {
    let mut row = Row { number, ..Row::default() };
    let symbol = if number.is_multiple_of(2) { "RIV" } else { "ANTE" };
    row.fields.insert("symbol".into(), symbol.into());
    Record {
        row,
        outcome,
        kept: Vec::new(),
        body: None,
        status: None,
        attempts: 1,
        latency: Some(Duration::from_millis(100 + number)),
        arrived: Vec::new(),
        warning: None,
        saved: None,
        origin: None,
        target: None,
    }
}

/// The tally of these records, with this summary.
fn tally(records: &[Record], summary: &[&str]) -> Tally {
    let parse = |text: &&str| Aggregate::parse(text, text).unwrap();
    let aggregates: Vec<Aggregate> = summary.iter().map(parse).collect();
    let mut tally = Tally::new(&aggregates, &["price".to_owned()]);
    records.iter().for_each(|record| tally.add(record));
    tally
}

/// The report of a limit that was kept.
fn limit() -> LimitReport {
    LimitReport {
        rate: "22/5s".into(),
        guard: "strict".into(),
        units_allowed: 22,
        period_seconds: Some(5.0),
        most_in_window: 22,
        linger_seconds: 30.0,
        ..LimitReport::default()
    }
}

/// The report of a run near its best possible time.
fn pace() -> Option<RateReport> {
    Some(RateReport {
        seconds: 118.234_567,
        best_possible_seconds: Some(117.5),
        bound_by: Some("22/5s".into()),
        at_a_time: None,
        advice: None,
        requests_per_second: 4.228_9,
    })
}
