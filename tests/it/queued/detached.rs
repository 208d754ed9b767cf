//! Jobs that are submitted by one command and collected by another.

use std::time::Duration;

use throng_redis::{Address, Claimed, Commit, JobQueue, NewChunk, Outcome, Room};

use super::redis::Redis;
use super::{Machines, end, kill};
use crate::harness::{Throng, symbols, throng, until};

impl Machines {
    /// The command that submits the rows.
    fn submitter(&self, name: &str) -> Throng {
        let input = self.place.file("rows.csv", &symbols(self.rows));
        let submit = throng("submit").quotes(&self.mock.url()).arg("--input", &input);
        let submit = submit.arg("--rate", self.rate).arg("--on", &self.redis.url());
        submit.arg("--summarize", "mean(price)").arg("--name", name)
    }

    /// The command that collects the records.
    fn collect(&self, name: &str) -> Throng {
        let collect = throng("collect").operand(&self.redis.url()).operand(name);
        let collect = collect.arg("--summary-json", &self.place.path("summary.json"));
        collect.arg("--output", &self.place.path("out.jsonl")).flags("--progress none")
    }

    fn waiting_chunks(&self, name: &str) -> u64 {
        let waiting = self.redis.ask(&["XLEN", &format!("throng:{{{name}}}:work")]);
        waiting.parse().unwrap_or(0)
    }
}

#[test]
fn a_job_is_submitted_and_collected_by_commands_that_may_end_before_its_rows_do() {
    let machines = Machines::new(600, "300/1s", "5ms");
    let submitted = machines.submitter("quotes").exits(0);
    assert_eq!(submitted.stdout, "quotes\n");
    submitted.says("600 rows of quotes are in redis://");
    machines.submitter("quotes").exits(2).says("`throng collect redis://");
    machines.collector().arg("--name", "quotes").exits(2).says("throng submit");
    let workers = machines.workers(2);
    machines.until_requests(100);
    let first = machines.collect("quotes").start();
    let file = machines.place.path("out.jsonl");
    let has_some = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("_row"));
    until("a record", has_some);
    kill(first);
    let records = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    let before = records();
    let second = machines.collect("quotes").start();
    until("more records", || records() > before);
    second.signal("-INT");
    second.ends().with_code(130).says("workers go on");
    machines.collect("quotes").exits(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 600, "no row was asked for twice");
    assert_eq!(machines.place.json("summary.json")["ok"], 600);
    machines.collect("quotes").exits(2).says("the job quotes in redis://");
    end(workers);
}

#[test]
fn a_submission_that_was_killed_goes_on_and_submits_each_row_once() {
    let machines = Machines::new(3_000, "5000/1s", "0");
    let submitter = || machines.submitter("quotes").flags("--chunk 1");
    let first = submitter().start();
    until("a chunk", || machines.waiting_chunks("quotes") > 10);
    machines.redis.signal("-STOP");
    kill(first);
    machines.redis.signal("-CONT");
    let before = machines.waiting_chunks("quotes");
    assert!(before < 3_000, "{before}");
    let status = throng("status").operand(&machines.redis.url()).operand("quotes").exits(0).stdout;
    assert!(status.contains("not all rows are submitted"), "{status}");
    submitter().exits(0).says("goes on");
    assert_eq!(machines.waiting_chunks("quotes"), 3_000);
    let workers = machines.workers(2);
    machines.collect("quotes").exits(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 3_000, "no row was asked for twice");
    end(workers);
}

#[test]
fn a_store_takes_no_more_rows_and_workers_no_more_chunks_than_there_is_room_for() {
    let redis = Redis::start();
    let mut queue = JobQueue::new(&Address::parse(&redis.url(), None).unwrap(), "j");
    queue.create(&[("state", "running")]).unwrap();
    let new = |chunk| NewChunk { chunk, numbers: "0", rows: &[b'r'; 60], end: 1 };
    let room = Room { each: 0, least: 9, bytes: 100 };
    assert_eq!(queue.submit(new(1), room), Ok(Outcome::Done));
    assert_eq!(queue.submit(new(1), room), Ok(Outcome::Done), "it is there already");
    assert_eq!(queue.submit(new(2), room), Ok(Outcome::Full));
    let lease = Duration::from_secs(9);
    let claim = |queue: &mut JobQueue, most| queue.claim("w", lease, most, 5, &[]).unwrap();
    let Claimed::Chunk(chunk) = claim(&mut queue, 50) else { panic!("a chunk waits") };
    let commit = Commit {
        lease: (chunk.chunk, chunk.token),
        done: &[1],
        is_last: true,
        records: &[b'x'; 60],
        about: "",
        ok: 1,
        failed: 0,
    };
    assert_eq!(queue.finish("w", &commit), Ok(Outcome::Done));
    assert_eq!(queue.submit(new(2), room), Ok(Outcome::Done));
    assert_eq!(claim(&mut queue, 50), Claimed::Full);
    let batches = queue.batches("0", 9, Duration::from_millis(1)).unwrap();
    queue.collected("c", lease, &[batches[0].id.clone()]).unwrap();
    assert!(matches!(claim(&mut queue, 50), Claimed::Chunk(_)));
}

#[test]
fn rows_that_a_store_has_lost_are_an_error_and_asked_for_by_a_run() {
    let machines = Machines::new(30, "100/1s", "0");
    machines.submitter("quotes").flags("--chunk 10").exits(0);
    machines.redis.ask(&["XDEL", "throng:{quotes}:work", "2-0"]);
    let workers = machines.workers(1);
    machines.collect("quotes").exits(3).says("10 rows of the job quotes are neither");
    assert_eq!(machines.place.json("summary.json")["requests"], 20);
    throng("cancel").operand(&machines.redis.url()).operand("quotes").exits(0);
    let rest = machines.collector().flags("--resume").arg("--summarize", "mean(price)");
    rest.exits(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 30);
    end(workers);
}
