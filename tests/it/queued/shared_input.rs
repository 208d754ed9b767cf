//! Jobs whose workers read their rows from an input that they reach themselves.

use std::fs;

use super::{Machines, end};
use crate::harness::{run, symbols, throng, until};
use crate::objects::{Object, Objects};

#[test]
fn workers_read_their_rows_from_a_shared_file_and_the_store_has_their_places_alone() {
    let machines = Machines::new(600, "400/1s", "0");
    let collector = machines.collector().flags("--shared-input --chunk 40").start();
    until("the chunks", || machines.redis.ask(&["KEYS", "*:work"]).contains("work"));
    let key = machines.redis.ask(&["KEYS", "*:work"]);
    until("the chunks", || machines.redis.ask(&["XLEN", &key]) == "15");
    let chunks = machines.redis.ask(&["XRANGE", &key, "-", "+"]);
    assert!(chunks.contains("560-599") && !chunks.contains("S5"), "{chunks}");
    let workers = machines.workers(2);
    collector.ends().with_code(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 600);
    end(workers);
}

#[test]
fn workers_read_their_rows_from_an_object_by_its_bytes() {
    let machines = Machines::new(60, "400/1s", "0");
    let objects = Objects::start();
    objects.put("/rows.csv", Object::new(symbols(60)));
    let url = format!("{}/rows.csv", objects.url());
    let job = throng("submit").quotes(&machines.mock.url()).arg("--input", &url);
    let job = job.arg("--rate", "400/1s").arg("--on", &machines.redis.url());
    job.flags("--name objects --shared-input --chunk 10").exits(0);
    let workers = machines.workers(1);
    let collect = throng("collect").operand(&machines.redis.url()).operand("objects");
    collect.arg("-o", &machines.place.path("out.jsonl")).exits(0);
    machines.is_whole();
    let is_part = |asked: &crate::objects::Asked| asked.headers.contains_key("range");
    assert!(objects.asked().iter().filter(|it| is_part(it)).count() >= 4);
    end(workers);
}

#[test]
fn a_shared_input_that_has_changed_or_is_not_reached_is_an_error_by_name() {
    let machines = Machines::new(30, "100/1s", "0");
    let collector = machines.collector().flags("--shared-input --chunk 10").start();
    until("a job", || !machines.redis.ask(&["KEYS", "*:work"]).is_empty());
    let key = machines.redis.ask(&["KEYS", "*:work"]);
    // It has read its input by then.
    until("the chunks", || machines.redis.ask(&["XLEN", &key]) == "3");
    let file = machines.place.path("rows.csv");
    fs::rename(&file, machines.place.path("away.csv")).unwrap();
    machines.worker().exits(2).says("rows.csv");
    fs::write(&file, symbols(31)).unwrap();
    machines.worker().exits(3).says("rows.csv has changed since its rows were submitted");
    assert_eq!(machines.requests(), 0);
    fs::rename(machines.place.path("away.csv"), &file).unwrap();
    let workers = machines.workers(1);
    collector.ends().with_code(0);
    machines.is_whole();
    end(workers);
    let pipe = run().quotes(&machines.mock.url()).arg("--input", "-").arg("--rate", "100/1s");
    let pipe = pipe.arg("--on", &machines.redis.url()).flags("--shared-input --format csv");
    pipe.with_stdin("symbol\nS0\n").ends().with_code(2).says("it is no text of lines");
}
