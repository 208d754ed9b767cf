//! Batches: many rows in one request, each with its own part of the answer.

use std::fs;

use serde_json::{Value, json};
use throng_mock::{Mock, Settings, price};

use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, mock, plain_mock, run, throng,
};

use crate::recorder::{self, Recorder};

fn ids(ids: impl Iterator<Item = String>) -> String {
    ids.fold("id\n".to_owned(), |text, id| text + &id + "\n")
}

fn batches(mock: &Mock, query: &str, input: &str) -> Throng {
    run()
        .arg("--url", &format!("{}/batch{query}", mock.url()))
        .arg("--input", input)
        .flags("--each .found[] --match id=.id --extract price=.price")
}

#[test]
fn a_batch_of_50_with_3_unknown_ids_gives_47_results_and_3_failures() {
    let (place, mock) = (Place::new(), plain_mock());
    let id = |n| {
        if n % 20 == 7 { format!("nope{n}") } else { format!("A{n}") }
    };
    let input = place.file("ids.csv", &ids((0..50).map(id)));
    let ended = batches(&mock, "", &input)
        .arg("--query", "ids={{ id | join(',') }}")
        .flags("--batch 50")
        .exits(1);
    let records = ended.records();
    assert_one_record_per_row(&records, 50);
    assert_eq!(mock.judgement().requests, 1);
    for record in &records {
        let id = record["id"].as_str().unwrap();
        if id.starts_with("nope") {
            assert_eq!(
                (&record["_error"], &record["price"]),
                (&json!("missing item"), &Value::Null)
            )
        } else {
            assert_eq!(record["price"], price(id))
        }
    }
    assert_eq!(records.iter().filter(|record| record["_ok"] == true).count(), 47);
    ended.says("missing item  3 rows");
}

/// A server of the price of each day: `?items=A:mon,B:tue`.
fn daily(item: impl Fn(&str, &str) -> Value + Send + Sync + 'static) -> Recorder {
    Recorder::answering(move |came| {
        let (_, asked) = came.line.split_once("items=").unwrap();
        let asked = asked.split(' ').next().unwrap().replace("%3A", ":").replace("%2C", ",");
        let items = asked.split(',').filter_map(|it| it.split_once(':'));
        let items: Vec<Value> = items.map(|(id, day)| item(id, day)).collect();
        recorder::json(&json!({ "found": items }).to_string())
    })
}

fn by_day(server: &Recorder, place: &Place, rows: &str) -> Throng {
    let input = place.file("rows.csv", &format!("id,day,note\n{rows}"));
    let template =
        "{% for one in id %}{{ one }}:{{ day[loop.index0] }}{{ ',' if not loop.last }}{% endfor %}";
    run()
        .arg("--url", &server.url())
        .arg("--query", &format!("items={template}"))
        .arg("--input", &input)
        .flags("--each .found[] --match id=.id --extract price=.price --batch 10 --mode sync --workers 1")
}

#[test]
fn rows_of_one_key_that_ask_for_different_things_each_get_their_own() {
    let (place, server) =
        (Place::new(), daily(|id, day| json!({"id": id, "price": format!("{id}-{day}")})));
    let rows = "A,mon,1\nB,mon,2\nA,tue,3\nA,mon,4\nA,wed,5\n";
    let ended = by_day(&server, &place, rows).exits(0);
    let records = ended.records();
    assert_one_record_per_row(&records, 5);
    for record in &records {
        let (id, day) = (record["id"].as_str().unwrap(), record["day"].as_str().unwrap());
        assert_eq!(record["price"], format!("{id}-{day}"), "{record}");
    }
    // Rows that ask for the same are asked for together.
    assert_eq!(server.came().len(), 3);
}

#[test]
fn two_items_for_one_row_fail_it_by_name() {
    let (place, server) = (
        Place::new(),
        Recorder::answering(|_| {
            let items =
                json!([{"id": "A", "price": 1}, {"id": "B", "price": 2}, {"id": "A", "price": 3}]);
            recorder::json(&json!({ "found": items }).to_string())
        }),
    );
    let records = by_day(&server, &place, "A,mon,1\nB,mon,2\n").exits(1).records();
    assert_eq!(each(&records, "_error"), [json!("several items"), Value::Null]);
    assert!(records[0]["_detail"].as_str().unwrap().contains("2 items for id \"A\""));
}

#[test]
fn an_item_that_no_row_takes_is_said() {
    let (place, server) =
        (Place::new(), daily(|id, _| json!({"id": id.replace('X', "Y"), "price": 1})));
    let ended = by_day(&server, &place, "A,mon,1\nX,mon,2\n").exits(1);
    assert_eq!(each(&ended.records(), "_error"), [Value::Null, json!("missing item")]);
    ended.says("warning: items of batches that no row took: 1");
    ended.says("in the batch of row 0");
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_the_next_ones_are_smaller() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("ids.csv", &ids((0..100).map(|n| format!("A{n}"))));
    let ended = batches(&mock, "?most=13", &input)
        .arg("--json", r#"{"ids": "{{ id }}"}"#)
        .flags("--batch 50 --workers 1 --mode sync --resend-unknown")
        .exits(0);
    assert_one_record_per_row(&ended.records(), 100);
    let judgement = mock.judgement();
    // 50 and 25 are too many, 13 are not: seven of 13 and a last one of nine, after a split.
    assert_eq!(judgement.answers["413"], 2, "{judgement:?}");
    assert!(judgement.requests <= 12, "{judgement:?}");
    let attempts = each(&ended.records(), "_attempts");
    assert_eq!(attempts[0], 3, "it was part of three requests");
}

#[test]
fn a_named_status_means_too_large_as_well() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("ids.csv", &ids((0..3).map(|n| format!("A{n}"))));
    let ask = |flags: &str| {
        run()
            .arg("--url", &format!("{}/status/400?x={{{{ id | join(',') }}}}", mock.url()))
            .arg("--input", &input)
            .flags("--each .found[] --match id=.id --extract price=.price --batch 3 --workers 1")
            .flags(flags)
            .exits(1)
            .records()
    };
    assert_eq!(each(&ask(""), "_attempts"), [1, 1, 1]);
    mock.reset();
    let records = ask("--too-large 400");
    // Down to one row, which then has failed.
    assert_eq!(mock.judgement().requests, 5);
    assert_eq!(each(&records, "_error"), ["status 400"; 3]);
}

#[test]
fn a_resume_asks_only_for_rows_without_a_record() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("ids.csv", &ids((0..40).map(|n| format!("A{n}"))));
    let ask = || {
        batches(&mock, "", &input)
            .arg("--query", "ids={{ id | join(',') }}")
            .arg("--output", &place.path("out.csv"))
            .flags("--batch 10 --mode sync --workers 1")
    };
    ask().exits(0);
    let whole = place.read("out.csv");
    let kept: Vec<&str> = whole.split_inclusive('\n').take(14).collect();
    fs::write(place.path("out.csv"), kept.concat()).unwrap();
    mock.reset();
    ask().flags("--resume").exits(0);
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.symbols.len()), (3, 27));
    assert_eq!(place.read("out.csv").lines().count(), 41);
}

#[test]
fn every_attempt_of_every_batch_passes_the_gate() {
    let settings = Settings {
        limits: vec!["10/300ms".parse().unwrap()],
        latency: "lognormal:10ms:1".parse().unwrap(),
        faults: "500=10%,429=5%".parse().unwrap(),
        ..Settings::default()
    };
    let mock = mock(settings);
    let place = Place::new();
    let input = place.file("ids.csv", &ids((0..300).map(|n| format!("A{n}"))));
    let ended = batches(&mock, "?most=7", &input)
        .arg("--query", "ids={{ id | join(',') }}")
        .flags("--batch 20 --rate 10/300ms --retries 9")
        .exits(0);
    assert_one_record_per_row(&ended.records(), 300);
    let judgement = mock.judgement();
    assert!(judgement.windows[0].most <= 10, "{judgement:?}");
}

#[test]
fn the_plan_shows_a_batch_and_counts_batches() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("ids.csv", &ids((0..7).map(|n| format!("A{n}"))));
    let plan = |query: &str| {
        let flags = "--each .found[] --match id=.id --batch 2 --rate 1/1s";
        throng("plan")
            .arg("--url", &format!("{}/batch", mock.url()))
            .arg("--query", query)
            .arg("--input", &input)
            .flags(flags)
            .exits(0)
            .stdout
    };
    let shown = plan("ids={{ id | join(',') }}");
    assert!(shown.contains("/batch?ids=A0%2CA1\n"), "{shown}");
    assert!(shown.contains("row 0 and those after it, up to 2 in one request:"), "{shown}");
    // Four requests, a second apart.
    assert!(shown.contains("at least 3 s"), "{shown}");
    let failing = plan("ids=x{{ id }}");
    assert!(
        failing.contains("this row will fail") && failing.contains("{{ x | join(',') }}"),
        "{failing}"
    );
}

#[test]
fn what_a_batch_lacks_is_said_before_anything_is_sent() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("ids.csv", "id\nA\n");
    for (flags, message) in [
        ("--batch 5", "a batch needs items.each"),
        ("--batch 5 --each .a[] --match idd=.id", "did you mean \"id\"?"),
        ("--each .a[] --match id=.id", "there are no batches"),
        ("--batch 5 --each .a[] --match id=.id --next link", "leave one of them out"),
    ] {
        let ended = run()
            .arg("--url", &format!("{}/batch", mock.url()))
            .arg("--query", "ids={{ id | join(',') }}")
            .arg("--input", &input)
            .flags(flags)
            .exits(2);
        ended.says(message);
    }
    let requests = place.file("requests.jsonl", "{\"url\": \"/batch?ids=A\"}\n");
    run()
        .arg("--url", &mock.url())
        .arg("--input", &requests)
        .flags("--format requests --batch 5 --each .found[] --match id=.id")
        .exits(2)
        .says("each row is one already");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn embeddings_are_matched_by_their_index_and_lists_by_position() {
    let server = Recorder::answering(|came| {
        let asked: Value = serde_json::from_slice(&came.body).unwrap();
        let texts = asked["input"].as_array().unwrap();
        let length = |text: &Value| text.as_str().unwrap().len();
        let by_index = texts.iter().enumerate().rev();
        let data: Vec<Value> = by_index
            .map(|(index, text)| json!({ "index": index, "embedding": [length(text), index] }))
            .collect();
        let vectors: Vec<Value> = texts.iter().map(|text| json!([length(text)])).collect();
        recorder::json(&json!({ "data": data, "vectors": vectors }).to_string())
    });
    let place = Place::new();
    let input = place.file("texts.csv", "text\na\nbb\na\nccc\n");
    let ask = |flags: &str| {
        let ended = run()
            .flags("-X POST --url")
            .flags(&server.url())
            .arg("--json", r#"{"input": "{{ text }}"}"#)
            .arg("--input", &input)
            .flags("--batch 3")
            .flags(flags)
            .exits(0);
        let mut records = ended.records();
        records.sort_by_key(|record| record["_row"].as_u64());
        each(&records, "e")
    };
    let by_index = ask("--each .data[] --match :index=.index -e e=.embedding");
    assert_eq!(by_index, [json!([1, 0]), json!([2, 1]), json!([1, 2]), json!([3, 0])]);
    let by_position = ask("--each .vectors[] --match :position -e e=.[0]");
    assert_eq!(by_position, [1, 2, 1, 3]);
    let by_fraction = ask("--each .data[] --match :index=.index+0.0 -e e=.embedding");
    assert_eq!(by_fraction, by_index);
    assert_eq!(server.came().len(), 6);
}
