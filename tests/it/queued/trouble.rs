//! Stores that are not fit, or fail; workers that are late.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::redis::Redis;
use super::{Machines, end, kill};
use crate::harness::{assert_one_record_per_row, repetitions, throng, until};

#[test]
fn a_store_that_may_lose_a_job_is_refused_with_what_to_set() {
    let mut machines = Machines::new(5, "100/1s", "0");
    machines.redis = Redis::with(&["--appendonly", "no"]);
    machines.collector().exits(2).says("CONFIG SET appendonly yes");
    machines.redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let refused = machines.collector().flags("--volatile").exits(2);
    refused.says("CONFIG SET maxmemory-policy noeviction");
    machines.redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let workers = machines.workers(1);
    machines.collector().flags("--volatile").exits(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn a_store_that_is_not_there_is_an_error_that_names_it_without_its_password() {
    let machines = Machines::new(5, "100/1s", "0");
    let refused = machines.collector_on("redis://:hush@127.0.0.1:1").exits(3);
    refused.says("the store redis://127.0.0.1:1: ");
    assert!(!refused.stderr.contains("hush"), "{}", refused.stderr);
    let worker = throng("worker").operand("redis://:hush@127.0.0.1:1").exits(3);
    worker.says("the store redis://127.0.0.1:1: ");
    assert!(!worker.stderr.contains("hush"), "{}", worker.stderr);
}

#[test]
fn a_user_and_a_password_are_given_to_the_store() {
    let machines = Machines::new(5, "100/1s", "0");
    machines.redis.ask(&["ACL", "SETUSER", "lab", "on", ">hush", "~throng:*", "+@all"]);
    machines.redis.ask(&["ACL", "SETUSER", "default", "off"]);
    let url = machines.redis.url().replace("redis://", "redis://lab@");
    let worker =
        |password: &str| throng("worker").operand(&url).env("THRONG_REDIS_PASSWORD", password);
    worker("wrong").exits(2).says("refuses the user or the password");
    let workers = vec![worker("hush").start()];
    let collector = machines.collector_on(&url).env("THRONG_REDIS_PASSWORD", "hush");
    collector.exits(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn a_post_of_a_worker_that_was_killed_is_in_doubt_and_not_sent_again() {
    let machines = Machines::new(300, "150/1s", "100ms");
    let posts = machines.collector().arg("--data", "{{ symbol }}").flags("--lease 1s --chunk 50");
    let posts = posts.start();
    let first = machines.workers(1).remove(0);
    machines.until_requests(100);
    kill(first);
    let workers = machines.workers(1);
    let ended = posts.ends().with_code(1);
    ended.says("may be after a power cut");
    let records = machines.place.records("out.jsonl");
    assert_one_record_per_row(&records, 300);
    let in_doubt: Vec<_> = records.iter().filter(|it| it["_ok"] == false).collect();
    assert!(!in_doubt.is_empty());
    assert!(in_doubt.iter().all(|it| it["_error"] == "outcome unknown"), "{in_doubt:?}");
    let asked = machines.mock.judgement().symbols;
    assert!(asked.values().all(|asked| *asked == 1), "{asked:?}");
    end(workers);
}

#[test]
fn the_store_is_killed_three_times_and_each_row_has_one_record() {
    let rows = repetitions(900, 20_000);
    let mut machines = Machines::new(rows, "300/1s", "20ms");
    let collector = machines.collector().flags("--lease 2s --chunk 50").start();
    let workers = machines.workers(3);
    for part in 1..=3 {
        machines.until_requests(rows as u64 * part / 5);
        machines.redis.restart();
    }
    collector.ends().with_code(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn the_store_loses_the_last_chunks_and_records_and_each_row_has_one_record() {
    let mut machines = Machines::new(600, "300/1s", "20ms");
    let collector = machines.collector().flags("--lease 1s --chunk 20").start();
    let workers = machines.workers(2);
    machines.until_requests(100);
    machines.redis.keep_file("before");
    machines.until_requests(350);
    machines.redis.restart_with("before");
    collector.ends().with_code(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn the_store_stands_still_and_each_row_has_one_record() {
    let machines = Machines::new(600, "300/1s", "20ms");
    let collector = machines.collector().flags("--lease 1s --chunk 50").start();
    let workers = machines.workers(2);
    machines.until_requests(150);
    machines.redis.signal("-STOP");
    std::thread::sleep(Duration::from_secs(repetitions(2, 10) as u64));
    machines.redis.signal("-CONT");
    collector.ends().with_code(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn a_worker_that_sleeps_beyond_its_lease_hands_over_nothing_afterwards() {
    let machines = Machines::new(400, "200/1s", "500ms");
    let collector = machines.collector().flags("--lease 1s --chunk 50").start();
    let mut workers = machines.workers(2);
    // It waits for answers then.
    machines.until_requests(100);
    workers[0].signal("-STOP");
    // The other one does all rows.
    collector.ends().with_code(0);
    machines.is_whole();
    workers[0].signal("-CONT");
    let late = workers.remove(0);
    until("a word of the late one", || late.stderr_so_far().contains("came too late"));
    end(vec![late]);
    end(workers);
}

#[test]
fn a_worker_without_a_way_to_the_store_leaves_its_rows_to_others() {
    let machines = Machines::new(400, "200/1s", "20ms");
    let way = Way::to(machines.redis.port());
    let cut_off = throng("worker").operand(&way.url()).flags("--workers 1").start();
    let collector = machines.collector().flags("--lease 1s --chunk 50").start();
    machines.until_requests(50);
    way.drop_all();
    let workers = machines.workers(1);
    collector.ends().with_code(0);
    machines.is_whole();
    kill(cut_off);
    end(workers);
}

/// A way to a port that can drop all that passes, without closing a connection.
struct Way {
    port: u16,
    drops: Arc<AtomicBool>,
}

impl Way {
    fn to(port: u16) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way =
            Way { port: listener.local_addr().unwrap().port(), drops: Arc::new(false.into()) };
        let drops = way.drops.clone();
        thread::spawn(move || {
            for from in listener.incoming() {
                let from = from.unwrap();
                let to = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let back = (to.try_clone().unwrap(), from.try_clone().unwrap());
                for (from, to) in [(from, to), back] {
                    let drops = drops.clone();
                    thread::spawn(move || pass(from, to, &drops));
                }
            }
        });
        way
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn drop_all(&self) {
        self.drops.store(true, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, drops: &AtomicBool) {
    let mut bytes = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if !drops.load(Ordering::Relaxed) && to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}

#[test]
fn workers_that_have_nothing_in_common_but_the_store_share_their_limits() {
    let machines = Machines::new(400, "200/1s", "5ms");
    machines.collector().flags("--rate 50/run").exits(2).says("counts in one process");
    let elsewhere =
        |name: &str| machines.worker().env("XDG_STATE_HOME", &machines.place.path(name)).start();
    let workers = vec![elsewhere("one"), elsewhere("other")];
    machines.collector().exits(0);
    machines.is_whole();
    end(workers);
}
