//! Pages and items: every way to the next page, what fails, and what a resume does.

use std::fs;

use serde_json::{Value, json};
use throng_mock::{Mock, Settings};

use crate::harness::{Ended, Place, Throng, each, mock, plain_mock, run};
use crate::recorder::{Recorder, answer};

fn list(mock: &Mock, query: &str) -> Throng {
    run()
        .arg("--url", &format!("{}/list/{query}", mock.url()))
        .flags("--extract id=.id --extract price=.price")
}

fn items(mock: &Mock, query: &str, flags: &str) -> Ended {
    list(mock, query).arg("--each", ".items[]").flags(flags).ends()
}

/// The records of row 0 are these many items, in their order, the last one marked.
#[track_caller]
fn assert_items(ended: &Ended, count: usize) {
    let records: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<Value> = (0..count).map(|n| json!(n)).collect();
    let ids: Vec<Value> = (0..count).map(|n| json!(n.to_string())).collect();
    assert_eq!(each(&records, "_item"), numbers, "{}", ended.stderr);
    assert_eq!(each(&records, "id"), ids);
    let last: Vec<bool> = records.iter().map(|record| record["_last"] == true).collect();
    assert!(last[..count - 1].iter().all(|last| !last) && last[count - 1]);
}

#[test]
fn every_way_to_the_next_page_gives_each_item_once() {
    for (flags, pages) in [
        ("--next link", 4),
        ("--next .next", 4),
        ("--cursor cursor=.cursor", 4),
        // Until an empty page, or one that says so.
        ("--page page", 5),
        ("--page page --until .more|not", 4),
        ("--offset offset=10", 5),
        ("--page page --page-count .pages", 4),
        ("--offset offset=10 --page-count .pages --workers 1", 4),
        ("--page page --page-count .pages --mode sync", 4),
    ] {
        let mock = plain_mock();
        let ended = items(&mock, "35?size=10", flags).with_code(0);
        assert_items(&ended, 35);
        let judgement = mock.judgement();
        assert_eq!(judgement.requests, pages, "{flags}");
        assert!(judgement.symbols.values().all(|times| *times == 1), "{flags}");
    }
}

#[test]
fn a_bound_ends_the_pages_in_good_order() {
    let mock = plain_mock();
    for flags in ["--next link", "--page page", "--page page --page-count .pages"] {
        let ended = items(&mock, "35?size=10", &format!("{flags} --max-pages 2")).with_code(0);
        assert_items(&ended, 20);
    }
}

#[test]
fn a_cursor_may_stand_in_the_body_of_a_post() {
    let mock = plain_mock();
    let ended = list(&mock, "25")
        .arg("--each", ".items[]")
        .arg("--json", r#"{"size": 10, "cursor": "{{ cursor }}"}"#)
        .flags("--cursor cursor=.cursor")
        .exits(0);
    assert_items(&ended, 25);
    assert_eq!(mock.judgement().requests, 3);
}

#[test]
fn without_items_one_record_has_the_values_of_all_pages() {
    let mock = plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/list/5?size=2", mock.url()))
        .arg("--extract", "ids=[.items[].id]")
        .arg("--extract", "total=.total")
        .flags("--next link")
        .exits(0);
    let records = ended.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["ids"], json!(["0", "1", "2", "3", "4"]));
    assert_eq!(records[0]["total"], json!([5, 5, 5]));
    assert_eq!((&records[0]["_attempts"], &records[0]["_ok"]), (&json!(3), &json!(true)));
    assert!(records[0].get("_item").is_none());
}

#[test]
fn a_page_that_fails_fails_its_row_and_loses_nothing_before_it() {
    for flags in ["--next link", "--page page --page-count .pages"] {
        let mock = plain_mock();
        let ended =
            items(&mock, "40?size=10&broken=20", &format!("{flags} --retries 0")).with_code(1);
        let records = ended.records();
        assert_eq!(records.len(), 21, "{flags}");
        assert!(records[..20].iter().all(|record| record["_ok"] == true));
        let failure = &records[20];
        assert_eq!(failure["_error"], "status 500");
        assert_eq!((&failure["_item"], &failure["_last"]), (&json!(20), &json!(true)));
    }
    let mock = plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/list/5?size=2&broken=4", mock.url()))
        .arg("--extract", "ids=[.items[].id]")
        .flags("--next link --retries 0")
        .exits(1);
    assert_eq!(ended.records()[0]["ids"], json!(["0", "1", "2", "3"]));
    assert_eq!(ended.records()[0]["_error"], "status 500");
}

#[test]
fn a_row_without_items_has_one_record_too() {
    let mock = plain_mock();
    let ended = items(&mock, "0", "--next link").with_code(0);
    let record = &ended.records()[0];
    assert_eq!(
        (&record["_item"], &record["_last"], &record["_ok"]),
        (&Value::Null, &json!(true), &json!(true))
    );
}

#[test]
fn an_item_without_its_value_fails_alone() {
    let mock = plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/list/3", mock.url()))
        .arg("--each", ".items[]")
        .arg("--extract", r#"x=if .id == "1" then null else .id end"#)
        .exits(1);
    let errors = each(&ended.records(), "_error");
    assert_eq!(errors, [Value::Null, json!("missing x"), Value::Null]);
}

fn rows(place: &Place, mock: &Mock) -> Throng {
    let input = place.file("rows.csv", "total\n35\n0\n25\n");
    run()
        .arg("--url", &format!("{}/list/{{{{ total }}}}?size=10", mock.url()))
        .arg("--each", ".items[]")
        .arg("--input", &input)
        .flags("--extract id=.id --next link --mode sync --workers 1 --keep-body none")
}

#[test]
fn a_row_cut_off_in_the_middle_goes_on_and_no_item_is_lost_or_doubled() {
    for name in ["out.jsonl", "out.csv"] {
        let (place, mock) = (Place::new(), plain_mock());
        let output = place.path(name);
        rows(&place, &mock).arg("--output", &output).exits(0);
        let whole = place.read(name);
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        // Cut in the first row, between rows, and in the last one, torn or not.
        for (kept, most) in [(12, 8), (36, 4), (37, 4), (50, 3)] {
            mock.reset();
            fs::write(&output, lines[..kept].concat() + &lines[kept][..7]).unwrap();
            rows(&place, &mock).arg("--output", &output).flags("--resume").exits(0);
            let again: Vec<String> = records_of(&place.read(name));
            assert_eq!(again, records_of(&whole), "{name} {kept}");
            // Finished rows are not asked again.
            assert!(mock.judgement().requests <= most, "{name} {kept}");
        }
    }
}

/// What stands there apart from the attempts and the time that it took: an item that was
/// missing has the attempts of the page that was asked for again.
fn records_of(text: &str) -> Vec<String> {
    let mut records: Vec<String> = text
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(mut record) => {
                record["_ms"] = Value::Null;
                record["_attempts"] = Value::Null;
                record.to_string()
            }
            Err(_) => line.rsplitn(3, ',').last().unwrap().to_owned(),
        })
        .collect();
    records.sort();
    records
}

#[test]
fn retry_failed_asks_for_the_page_of_a_failed_item() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("out.jsonl");
    rows(&place, &mock).arg("--output", &output).exits(0);
    let whole = place.read("out.jsonl");
    let failed = whole.replacen(
        "\"_item\":5,\"_last\":false,\"_ok\":true",
        "\"_item\":5,\"_last\":false,\"_ok\":false",
        1,
    );
    fs::write(&output, failed).unwrap();
    mock.reset();
    rows(&place, &mock).arg("--output", &output).flags("--retry-failed").exits(0);
    assert_eq!(mock.judgement().requests, 1);
    assert_eq!(records_of(&place.read("out.jsonl")), records_of(&whole));
}

#[test]
fn every_attempt_of_every_page_passes_the_gate() {
    let settings = Settings {
        limits: vec!["20/300ms".parse().unwrap()],
        latency: "lognormal:10ms:1".parse().unwrap(),
        faults: "500=10%,429=5%".parse().unwrap(),
        ..Settings::default()
    };
    let mock = mock(settings);
    let place = Place::new();
    let input = place.file("rows.csv", &("total\n".to_owned() + &"50\n".repeat(8)));
    let ended = run()
        .arg("--url", &format!("{}/list/{{{{ total }}}}?size=10", mock.url()))
        .arg("--each", ".items[]")
        .arg("--input", &input)
        .flags("--extract id=.id --page page --page-count .pages --rate 20/300ms --retries 9")
        .exits(0);
    assert_eq!(ended.records().len(), 400);
    let judgement = mock.judgement();
    assert!(judgement.windows[0].most <= 20, "{judgement:?}");
    let attempts: u64 =
        ended.records().iter().map(|record| record["_attempts"].as_u64().unwrap()).sum();
    assert_eq!(attempts, judgement.requests);
}

#[test]
fn a_next_page_elsewhere_gets_nothing_that_is_the_job_s() {
    let (home, away) = (plain_mock(), plain_mock());
    let echo = format!("{}/echo", away.url());
    let body = json!({"next": echo, "items": [1]}).to_string();
    let ended = run()
        .arg("--url", &format!("{}/status/200", home.url()))
        .flags("--query body={{line}} --format lines --input -")
        .arg("--header", "x-key: {{ env.KEY }}")
        .arg("--header", "x-mine: private")
        .env("KEY", "canary-7")
        .arg("--extract", "headers?=.headers")
        .flags("--next .next")
        .with_stdin(&body)
        .ends()
        .with_code(0);
    let seen = ended.records()[0]["headers"].to_string();
    assert!(seen.contains("user-agent"), "the other server was asked: {seen}");
    assert!(!seen.contains("canary") && !seen.contains("x-mine"), "{seen}");
}

#[test]
fn a_next_page_leads_only_to_hosts_that_are_allowed_and_to_no_private_address() {
    let inside = Recorder::start();
    let port = inside.addr().port();
    let elsewhere = format!("http://elsewhere.example:{port}/next");
    for (next, flags, arrives, why) in [
        ("link", "", false, "which is private"),
        (".next", "", false, "which is private"),
        ("link", "--allow-private", true, ""),
        (".next", "--allow-private --allow-host other.example", false, "--allow-host"),
        ("link", "--allow-private --allow-host *.example", false, "--allow-host"),
    ] {
        let (link, body) = (
            format!("<{elsewhere}>; rel=\"next\""),
            json!({"next": elsewhere, "items": [{"id": 1}]}).to_string(),
        );
        let first = Recorder::answering(move |_| answer("200 OK", &[("link", &link)], &body));
        inside.forget();
        let ended = run()
            .arg("--url", &first.url())
            .arg("--header", "x-key: {{ env.KEY }}")
            .env("KEY", "canary-7")
            .flags("--each .items[] --extract id=.id --retries 0 --next")
            .flags(next)
            .flags(&format!("--resolve elsewhere.example:{port}:127.0.0.1"))
            .flags(flags)
            .ends();
        let failure = ended.records().pop().unwrap();
        assert_eq!(inside.came().len(), usize::from(arrives), "{next} {flags}");
        assert!(!format!("{:?}", inside.came()).contains("canary"));
        let detail = failure["_detail"].as_str().unwrap_or_default();
        assert!(detail.contains(why), "{next} {flags}: {failure}");
        // The page before it has its item all the same.
        assert_eq!(ended.records()[0]["id"], 1);
    }
}

#[test]
fn what_makes_no_sense_is_said_before_anything_is_sent() {
    let mock = plain_mock();
    for (flags, message) in [
        ("--next link", "nothing says what to keep of the pages"),
        ("--page page --extract id=.id", "nothing says where the pages end"),
        ("--each .items[", "items.each (--each): "),
        ("--max-pages 3", "nothing says how to turn them"),
    ] {
        let ended = run().arg("--url", &format!("{}/list/3", mock.url())).flags(flags).exits(2);
        ended.says(message);
    }
    assert_eq!(mock.judgement().requests, 0);
}
