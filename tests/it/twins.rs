//! Rows whose requests are equal: they are asked for once, and each has its record.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng_mock::{Mock, Settings};

use crate::harness::{
    Place, Throng, assert_one_record_per_row, mock, plain_mock, repetitions, run, throng, until,
};

/// A table of rows with their numbers, of which 40 % ask for what another row asks for.
fn rows(count: usize) -> String {
    let distinct = count * 6 / 10;
    (0..count).fold("id,symbol\n".to_owned(), |text, n| {
        // Twins stand beside one another, and far apart.
        let symbol = if n < distinct { n } else { (n * 7_919) % distinct };
        text + &format!("{n},S{symbol}\n")
    })
}

fn quotes(place: &Place, mock: &Mock, count: usize, output: &str) -> Throng {
    run()
        .quotes(&mock.url())
        .arg("--input", &place.file("rows.csv", &rows(count)))
        .arg("--output", &place.path(output))
        .flags("--dedupe --progress none --workers 2 --concurrency 20")
}

/// Runs to its end, however long it takes.
fn finishes(throng: Throng) {
    let status = throng.flags("--quiet").command().status().unwrap();
    assert!(status.success(), "{status}");
}

/// The symbol and the price of each row must be those of all rows with this symbol.
fn assert_twins_agree(records: &[Value], count: usize) {
    assert_one_record_per_row(records, count);
    let mut prices = BTreeMap::new();
    let by_row: BTreeMap<u64, &Value> =
        records.iter().map(|it| (it["_row"].as_u64().unwrap(), it)).collect();
    for record in records {
        let price = prices.entry(record["symbol"].to_string()).or_insert(record["price"].clone());
        assert_eq!(*price, record["price"], "{record}");
        if let Some(asked) = record["_same_as"].as_u64() {
            assert_eq!(by_row[&asked]["symbol"], record["symbol"], "{record}");
            assert_eq!(record["_attempts"], 0, "{record}");
        }
    }
}

/// Checks that each symbol was asked for once, but for this number of times.
fn assert_asked_once(mock: &Mock, distinct: usize, more: u64) {
    let judgement = mock.judgement();
    assert_eq!(judgement.symbols.len(), distinct);
    let again = judgement.requests - distinct as u64;
    assert!(again <= more, "{again} requests were sent again, where {more} were in flight");
}

#[test]
fn rows_with_equal_requests_are_asked_for_once_and_each_has_its_record() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = quotes(&place, &mock, 1_000, "out.jsonl")
        .arg("--summary-json", &place.path("summary.json"))
        .exits(0);
    ended.says("600 requests").says("400 requests not sent, since equal ones were");
    assert_asked_once(&mock, 600, 0);
    let records = place.records("out.jsonl");
    assert_twins_agree(&records, 1_000);
    let same = records.iter().filter(|record| record["_same_as"].is_u64()).count();
    assert_eq!((same, &place.json("summary.json")["shared"]), (400, &json!(400)));
    assert!(!fs::exists(place.path("out.jsonl.asked")).unwrap(), "the run is done");
    let piped = run()
        .quotes(&mock.url())
        .flags("--dedupe --progress none -i - --format csv")
        .with_stdin(&rows(100))
        .ends()
        .with_code(0);
    assert_one_record_per_row(&piped.records(), 100);
    assert_eq!(mock.judgement().requests, 660);
}

#[test]
fn a_row_that_waits_for_an_answer_has_no_slot() {
    let slow = mock(Settings { latency: "300ms".parse().unwrap(), ..Settings::default() });
    let place = Place::new();
    // All twins of the first row come before the others, and there are two slots.
    let twins = (0..500).fold("symbol\n".to_owned(), |text, _| text + "S0\n");
    let input = place.file("rows.csv", &(twins + "S1\nS2\nS3\n"));
    let started = Instant::now();
    run()
        .quotes(&slow.url())
        .arg("--input", &input)
        .arg("--output", &place.path("out.csv"))
        .flags("--dedupe --progress none --workers 1 --concurrency 2 --no-brake")
        .exits(0);
    assert_eq!((slow.judgement().requests, slow.judgement().most_in_flight), (4, 2));
    assert!(started.elapsed() < Duration::from_secs(30));
    let csv = place.read("out.csv");
    assert_eq!(csv.lines().count(), 504);
    assert!(csv.lines().next().unwrap().contains("_same_as"), "{csv}");
}

#[test]
fn the_twins_of_a_row_that_fails_fail_alike_and_a_resume_asks_once() {
    let (place, mock) = (Place::new(), plain_mock());
    let path = "{% if n == '1' %}status/{{ env.CODE }}{% else %}echo/1{% endif %}";
    let input = place.file("rows.csv", "id,n\n0,0\n1,1\n2,1\n3,1\n4,0\n");
    let ask = |code: &str, flags: &str| {
        run()
            .arg("--url", &format!("{}/{path}?{{{{ n }}}}", mock.url()))
            .flags("--extract path?=.path --dedupe --progress none --env-public CODE")
            .flags(flags)
            .arg("--input", &input)
            .arg("--output", &place.path("out.jsonl"))
            .env("CODE", code)
    };
    ask("404", "").exits(1);
    assert_eq!(mock.judgement().requests, 2);
    let records = place.records("out.jsonl");
    let failed: Vec<&Value> = records.iter().filter(|it| it["_ok"] == false).collect();
    assert_eq!(failed.len(), 3);
    assert!(failed.iter().all(|it| it["_error"] == "status 404" && it["_status"] == 404));
    let twins: Vec<&&Value> = failed.iter().filter(|it| it["_same_as"].is_u64()).collect();
    assert_eq!(twins.len(), 2);
    let detail = twins[0]["_detail"].as_str().unwrap();
    assert!(detail.contains(" asked for the same: "), "{detail}");
    ask("404", "--retry-failed").exits(1);
    assert_eq!(mock.judgement().requests, 3, "it is asked for once more");
    assert_one_record_per_row(&place.records("out.jsonl"), 5);
}

/// Kills a run of these rows so often at random moments, and lets it come to its end.
fn killed(count: usize, kills: usize, latency: &str, within: Duration) {
    let mock = mock(Settings { latency: latency.parse().unwrap(), ..Settings::default() });
    let (place, mut chance) = (Place::new(), StdRng::seed_from_u64(40));
    let mut done = 0;
    for round in 0..kills {
        let resume = if round == 0 { "" } else { "--resume" };
        let running = quotes(&place, &mock, count, "out.jsonl").flags(resume).start();
        // Of a run that is killed before, nothing is to be resumed.
        until("its results", || fs::exists(place.path("out.jsonl")).unwrap());
        thread::sleep(within.mul_f64(chance.random_range(0.1..1.0)));
        running.signal("-KILL");
        if running.ends().code == Some(0) {
            break;
        }
        done += 1;
    }
    finishes(quotes(&place, &mock, count, "out.jsonl").flags("--resume"));
    assert!(done > 0, "no run was killed");
    assert_twins_agree(&place.records("out.jsonl"), count);
    // Two workers with 20 requests each are in flight at a kill.
    assert_asked_once(&mock, count * 6 / 10, done * 40);
    assert!(!fs::exists(place.path("out.jsonl.asked")).unwrap());
}

#[test]
fn kills_cost_no_more_than_the_requests_in_flight() {
    killed(2_000, 5, "5ms", Duration::from_millis(700));
}

#[test]
fn a_hundred_thousand_rows_cost_sixty_thousand_requests_also_under_kills() {
    let count = repetitions(4_000, 100_000);
    let kills = repetitions(2, 12);
    killed(count, kills, "1ms", Duration::from_millis(repetitions(1_500, 12_000) as u64));
    let (place, mock) = (Place::new(), plain_mock());
    finishes(quotes(&place, &mock, count, "out.jsonl"));
    assert_asked_once(&mock, count * 6 / 10, 0);
    assert_twins_agree(&place.records("out.jsonl"), count);
}

#[test]
fn another_program_over_a_hundred_thousand_answers_asks_for_none() {
    let count = repetitions(2_000, 100_000);
    let (place, mock) = (Place::new(), plain_mock());
    let store = place.path("store");
    finishes(quotes(&place, &mock, count, "out.jsonl").arg("--store", &store));
    let asked = mock.judgement().requests;
    let again = quotes(&place, &mock, count, "names.jsonl").arg("--store", &store);
    finishes(again.flags("--offline --extract name=.quoteResponse.result[0].longName"));
    assert_eq!(mock.judgement().requests, asked);
    assert_one_record_per_row(&place.records("names.jsonl"), count);
}

#[test]
fn pages_and_chains_are_asked_for_once_and_what_can_t_be_says_why() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "id,list\n0,a\n1,a\n2,b\n3,a\n");
    run()
        .arg("--url", &format!("{}/list/30?size=10&of={{{{ list }}}}", mock.url()))
        .flags("--each .items[] --extract item=.id --page page --dedupe --progress none")
        .arg("--input", &input)
        .arg("--output", &place.path("pages.jsonl"))
        .exits(0);
    let records = place.records("pages.jsonl");
    assert_eq!(records.len(), 4 * 30);
    let asked = mock.judgement().requests;
    let sent: u64 = records.iter().map(|it| it["_attempts"].as_u64().unwrap()).sum();
    assert_eq!((asked, sent), (2 * 4, 2 * 4), "two lists of three pages and an empty one");
    for (flags, why) in [
        ("--batch 5 --each .x[] --match id=.id", "asks for many rows at once"),
        ("--save y/{{symbol}}", "writes it to the file of the row that asked"),
        ("--render cat", "before they ask, and render (--render) makes them"),
    ] {
        let throng = run().arg("--input", &input).flags("--dedupe").flags(flags);
        let throng = if flags.contains("render") {
            throng
        } else {
            throng.arg("--url", &format!("{}/echo/{{{{ list }}}}", mock.url()))
        };
        throng.exits(2).says(why);
    }
}

#[test]
fn a_plan_counts_the_requests_and_has_the_time_and_the_money_of_these() {
    let (place, mock) = (Place::new(), plain_mock());
    let (input, store) = (place.file("rows.csv", &rows(1_000)), place.path("store"));
    let planned = |flags: &str| {
        let plan = throng("plan").quotes(&mock.url()).arg("--input", &input);
        plan.flags("--rate 100/1s --price requests=0.01 --budget 4usd").flags(flags).exits(0).stdout
    };
    let plan = planned("--dedupe");
    for said in [
        "requests  600 for 1000 rows: 400 are the same as another (--dedupe)\n",
        "at least 5 s for 600 requests;",
        "$6.00 for 600 requests: $0.01 per request ",
        "enough for 400 of 600 requests\n",
    ] {
        assert!(plan.contains(said), "no {said:?} in {plan}");
    }
    assert!(planned("").contains("$10.00 for 1000 rows: $0.01 per row "), "every row asks");
    quotes(&place, &mock, 1_000, "first.jsonl").arg("--store", &store).flags("--take 300").exits(0);
    let same = "400 are the same as another (--dedupe), 300 have their answer in";
    for (flags, said) in [
        ("--dedupe", format!("requests  300 for 1000 rows: {same} {store}\n")),
        ("--dedupe", "$3.00 for 300 requests".to_owned()),
        ("--dedupe --store-age 1ms", "requests  600 for 1000 rows: 400 are".to_owned()),
        ("--dedupe --offline", "requests  0 for 1000 rows: ".to_owned()),
        ("--dedupe --offline", "; 300 have no answer and fail (--offline)\n".to_owned()),
        ("--dedupe --offline", "nothing for 0 requests".to_owned()),
    ] {
        let plan = planned(&format!("{flags} --store {store}"));
        assert!(plan.contains(&said), "no {said:?} in {plan}");
    }
    assert_eq!(mock.judgement().requests, 300, "a plan sends nothing");
}
