//! Jobs whose rows are done by workers of other processes, by way of a store.

use std::time::{Duration, Instant};

use throng_mock::{Mock, Settings};

use crate::harness::{
    Ended, Place, Running, Throng, assert_never_over, assert_one_record_per_row, mock, repetitions,
    run, throng, until_requests,
};
use redis::Redis;

mod billed;
mod detached;
pub mod redis;
mod servers;
mod several;
mod shared_input;
mod steering;
mod trouble;

/// A job with a store and an API that counts.
pub struct Machines {
    pub redis: Redis,
    pub place: Place,
    pub mock: Mock,
    rows: usize,
    rate: &'static str,
}

impl Machines {
    pub fn new(rows: usize, rate: &'static str, latency: &str) -> Machines {
        let settings = Settings {
            limits: vec![rate.parse().unwrap()],
            latency: latency.parse().unwrap(),
            ..Settings::default()
        };
        Machines { redis: Redis::start(), place: Place::new(), mock: mock(settings), rows, rate }
    }

    /// The run that submits, collects and writes.
    pub fn collector(&self) -> Throng {
        self.collector_on(&self.redis.url())
    }

    /// The run that does so by way of the store at this URL.
    pub fn collector_on(&self, url: &str) -> Throng {
        run()
            .quotes(&self.mock.url())
            .files(&self.place, self.rows, "out.jsonl")
            .arg("--rate", self.rate)
            .arg("--on", url)
            .arg("--summary-json", &self.place.path("summary.json"))
            .flags("--progress none --no-brake --timeout 1s --linger 200ms")
    }

    pub fn worker(&self) -> Throng {
        throng("worker").operand(&self.redis.url()).flags("--workers 1")
    }

    pub fn workers(&self, count: usize) -> Vec<Running> {
        (0..count).map(|_| self.worker().start()).collect()
    }

    pub fn requests(&self) -> u64 {
        self.mock.judgement().requests
    }

    /// Waits until the API was asked this often.
    pub fn until_requests(&self, requests: u64) {
        until_requests(&self.mock, requests);
    }

    /// Each row has one record, and the API's limit was kept.
    #[track_caller]
    pub fn is_whole(&self) {
        let records = self.place.records("out.jsonl");
        assert_one_record_per_row(&records, self.rows);
        assert!(records.iter().all(|record| record["_ok"] == true));
        assert_never_over(&self.mock);
    }

    /// The name of the one job.
    pub fn job(&self) -> String {
        let jobs = throng("jobs").operand(&self.redis.url()).exits(0).stdout;
        assert_eq!(jobs.lines().count(), 1, "{jobs}");
        jobs.split(':').next().unwrap().to_owned()
    }
}

pub fn kill(running: Running) {
    running.signal("-KILL");
    running.ends();
}

/// Ends workers, which finish what they have in flight.
#[track_caller]
pub fn end(workers: Vec<Running>) -> Vec<Ended> {
    workers.iter().for_each(|worker| worker.signal("-TERM"));
    workers.into_iter().map(|worker| worker.ends().with_code(0)).collect()
}

#[test]
fn workers_do_the_rows_of_a_run_and_each_row_has_one_record() {
    let machines = Machines::new(600, "400/1s", "5ms");
    let workers = machines.workers(2);
    machines
        .collector()
        .exits(0)
        .says("on each machine that is to do rows: throng worker redis://");
    machines.is_whole();
    assert_eq!(machines.requests(), 600, "none was sent twice");
    let summary = machines.place.json("summary.json");
    assert_eq!((&summary["ok"], &summary["requests"]), (&600.into(), &600.into()));
    let jobs = throng("jobs").operand(&machines.redis.url()).exits(0).stdout;
    assert!(jobs.contains(": done, 600 of 600 rows done, 0 failed"), "{jobs}");
    let keys = machines.redis.ask(&["KEYS", "*"]);
    let keys: Vec<&str> = keys.lines().filter(|key| !key.contains("{limits}")).collect();
    assert_eq!(keys.len(), 2, "nothing but the job's name and facts is left: {keys:?}");
    let said: Vec<String> = end(workers).into_iter().map(|it| it.stderr).collect();
    assert!(said.iter().all(|it| it.contains("rows of out-")), "both had rows: {said:?}");
}

#[test]
fn a_worker_is_killed_now_and_then_and_each_row_has_one_record() {
    let rows = repetitions(1_500, 20_000);
    let machines = Machines::new(rows, "500/1s", "20ms");
    let collector = machines.collector().flags("--lease 1s --chunk 50").start();
    let mut workers = machines.workers(4);
    let mut killed = 0;
    let (mut next, every) = (Instant::now(), Duration::from_millis(400));
    machines.until_requests(100);
    while machines.requests() < rows as u64 * 3 / 4 {
        if Instant::now() >= next {
            next = Instant::now() + every;
            kill(workers.remove(0));
            workers.push(machines.worker().start());
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    collector.ends().with_code(0);
    machines.is_whole();
    assert!(killed >= 3, "{killed}");
    let twice = machines.requests() - rows as u64;
    assert!(twice > 0 && twice < killed * 200, "{twice} rows were sent twice, {killed} kills");
    end(workers);
}
