//! Rows with several records, and rows that are known by a field of theirs.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::{Machines, end, kill};
use crate::harness::{Throng, assert_one_record_per_row, run};

/// Number of items of each row, and of pages that they stand on.
const ITEMS: usize = 5;
const PAGES: u64 = 3;

/// A run whose rows have a list each.
fn lists(machines: &Machines) -> Throng {
    let url = format!("{}/list/{ITEMS}?size=2&row={{{{ symbol }}}}", machines.mock.url());
    run()
        .arg("--url", &url)
        .files(&machines.place, machines.rows, "out.jsonl")
        .arg("--each", ".items[]")
        .arg("--rate", machines.rate)
        .arg("--on", &machines.redis.url())
        .flags("--extract id=.id --next link --no-brake --timeout 1s --linger 200ms")
        .flags("--progress none --lease 1s --chunk 10")
}

/// Each row has each of its items once, in their order, and the last one is marked.
#[track_caller]
fn assert_items(records: &[Value], rows: usize) {
    let mut by_row: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for record in records {
        by_row.entry(record["_row"].as_u64().unwrap()).or_default().push(record);
    }
    assert_eq!(by_row.len(), rows);
    for (row, items) in by_row {
        let numbers: Vec<_> = items.iter().map(|it| it["_item"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4], "row {row}");
        let is_right =
            |it: &&Value| it["_ok"] == true && it["id"] == it["_item"].to_string().as_str();
        assert!(items.iter().all(is_right), "row {row}");
        let last: Vec<_> = items.iter().map(|it| it["_last"] == true).collect();
        assert_eq!(last, [false, false, false, false, true], "row {row}");
    }
}

#[test]
fn each_row_has_all_of_its_records_once_whoever_is_killed_in_between() {
    let machines = Machines::new(80, "200/1s", "20ms");
    let collector = lists(&machines).start();
    let mut workers = machines.workers(2);
    machines.until_requests(50);
    kill(workers.remove(0));
    workers.extend(machines.workers(1));
    machines.until_requests(100);
    kill(collector);
    machines.until_requests(150);
    lists(&machines).flags("--resume").exits(0);
    assert_items(&machines.place.records("out.jsonl"), 80);
    let judged = machines.mock.judgement();
    assert_eq!(judged.refused, 0, "{judged:?}");
    assert!(judged.requests >= 80 * PAGES, "a row that was cut off is asked for anew");
    end(workers);
}

#[test]
fn a_row_of_which_a_file_has_some_records_gets_the_rest() {
    let machines = Machines::new(6, "200/1s", "0");
    let workers = machines.workers(1);
    lists(&machines).exits(0);
    let path = machines.place.path("out.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let part: Vec<&str> = whole.lines().take(13).collect();
    fs::write(&path, part.join("\n") + "\n").unwrap();
    lists(&machines).flags("--resume").exits(0);
    assert_items(&machines.place.records("out.jsonl"), 6);
    assert_eq!(machines.requests(), (6 + 4) * PAGES);
    end(workers);
}

#[test]
fn rows_that_are_known_by_a_field_go_on_where_they_stand_now() {
    let machines = Machines::new(300, "200/1s", "20ms");
    let keyed = || machines.collector().flags("--key symbol");
    let collector = keyed().start();
    let workers = machines.workers(2);
    machines.until_requests(60);
    kill(collector);
    machines.until_requests(120);
    let input = machines.place.path("rows.csv");
    let text = fs::read_to_string(&input).unwrap();
    keyed().flags("--resume").exits(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 300, "no row was asked for twice");
    // Rows in another order, of which one is new.
    let mut rows: Vec<&str> = text.lines().skip(1).collect();
    rows.reverse();
    let changed = format!("symbol\nNEW\n{}\n", rows.join("\n"));
    let again = machines.collector().flags("--key symbol --resume");
    fs::write(&input, changed).unwrap();
    again.exits(0);
    assert_one_record_per_row(&machines.place.records("out.jsonl"), 301);
    assert_eq!(machines.requests(), 301);
    end(workers);
    let pipe = run().quotes(&machines.mock.url()).arg("--input", "-").arg("--rate", "100/1s");
    let pipe = pipe.arg("--on", &machines.redis.url()).flags("--format csv --key symbol");
    pipe.with_stdin("symbol\nS0\n").ends().with_code(2).says("give them in a file");
}
