//! Runs on several machines, which have nothing in common but a store of their limits, by the API's
//! count: no window over the limit, and nothing refused.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use throng_mock::{Mock, Settings};
use throng_redis::{Address, LimitValues, NewValue};

use crate::harness::{
    Place, Running, Throng, assert_never_over, assert_they_hold, mock, repetitions, run, symbols,
    throng, until, until_requests,
};
use crate::queued::redis::Redis;
use crate::recorder::{Recorder, answer, json};

/// Machines that share an account, the store of their limits, and an API that counts.
struct Machines {
    place: Place,
    mock: Mock,
    redis: Redis,
}

impl Machines {
    fn new(limits: &[&str]) -> Machines {
        Machines::with(limits, Settings::default())
    }

    fn with(limits: &[&str], settings: Settings) -> Machines {
        let settings = Settings {
            limits: limits.iter().map(|limit| limit.parse().unwrap()).collect(),
            latency: "20ms".parse().unwrap(),
            ..settings
        };
        let machines =
            Machines { place: Place::new(), mock: mock(settings), redis: Redis::start() };
        machines.place.file("rows.csv", &symbols(100_000));
        machines
    }

    /// A run on the machine with this number.
    fn run(&self, rate: &str, machine: usize, rows: usize) -> Throng {
        self.joins(run().quotes(&self.mock.url()), machine)
            .arg("--input", &self.place.path("rows.csv"))
            .arg("--take", &rows.to_string())
            .arg("--rate", rate)
    }

    /// Has a run share its limits through the store.
    fn joins(&self, run: Throng, machine: usize) -> Throng {
        run.env("XDG_STATE_HOME", &self.place.path(&format!("state{machine}")))
            .arg("--output", &self.place.path(&format!("{machine}.jsonl")))
            .arg("--share", &self.redis.url())
            .flags("--workers 1 --concurrency 64 --timeout 500ms --linger 100ms")
    }

    fn runs(&self, rate: &str, machines: usize, rows: usize) -> Vec<Running> {
        (0..machines).map(|machine| self.run(rate, machine, rows).start()).collect()
    }

    /// Waits until this number of runs lease units of this limit.
    fn until_lease(&self, runs: usize, rate: &str) {
        until("runs that lease", || {
            let shown = throng("limit").flags("show").operand(&self.redis.url()).exits(0);
            shown.stdout.contains(rate) && shown.stdout.contains(&format!("leased by {runs} runs"))
        });
    }

    /// Number of records that the machine with this number has.
    fn records(&self, machine: usize) -> u64 {
        let path = self.place.path(&format!("{machine}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().count() as u64
    }

    fn requests(&self) -> u64 {
        self.mock.judgement().requests
    }
}

#[test]
fn four_machines_keep_one_limit_through_redis_and_each_has_a_part_of_it() {
    for (rate, part) in [("22/1s", 5), ("1000/1s", 250)] {
        let machines = Machines::new(&[rate]);
        // They go on until all are seen, however late a busy machine begins the last one.
        let runs = machines.runs(rate, 4, 100_000);
        machines.until_lease(4, rate);
        let records = || (0..4).map(|machine| machines.records(machine));
        until("a part for each", || records().all(|records| records >= part));
        runs.iter().for_each(|run| run.signal("-INT"));
        runs.into_iter().map(Running::ends).for_each(|ended| drop(ended.with_code(130)));
        assert_never_over(&machines.mock);
        assert_eq!(machines.requests(), records().sum::<u64>());
    }
}

#[test]
fn tenants_and_tokens_are_counted_over_all_machines() {
    let partition = Some("query:symbols".parse().unwrap());
    let machines = Machines::with(&["20/1s"], Settings { partition, ..Settings::default() });
    let rows: String = (0..100).map(|row| format!("S{}\n", row % 3)).collect();
    machines.place.file("rows.csv", &format!("symbol\n{rows}"));
    let tenants = |machine| machines.run("20/1s", machine, 100).arg("--per", "{{ symbol }}");
    assert_they_hold(&machines.mock, (0..2).map(|machine| tenants(machine).start()).collect());

    let machines = Machines::new(&["2000 tokens/1s", "25/1s"]);
    let prompt =
        |n: u64| serde_json::json!({ "prompt": format!("question {n}"), "max": 40 + n * 37 % 241 });
    let rows: String = (0..30).map(|n| format!("{}\n", prompt(n))).collect();
    let input = machines.place.file("rows.jsonl", &rows);
    let tokens = |machine| {
        let run = run().arg("--url", &format!("{}/v1/chat/completions", machines.mock.url()));
        machines
            .joins(run, machine)
            .arg("--json", r#"{"prompt": "{{ prompt }}", "max_tokens": "{{ max }}"}"#)
            .arg("--input", &input)
            .arg("--rate", "2000 tokens/1s")
            .flags("--rate 25/1s --cost tokens=max")
            .arg("--settle", "tokens=.usage.total_tokens")
    };
    assert_they_hold(&machines.mock, (0..2).map(|machine| tokens(machine).start()).collect());
}

#[test]
fn a_store_that_is_killed_or_stands_still_breaks_no_limit() {
    let mut machines = Machines::new(&["40/1s"]);
    let runs = machines.runs("40/1s", 2, repetitions(80, 1_000));
    for step in 1..=repetitions(1, 10) as u64 {
        until_requests(&machines.mock, 40 * step);
        machines.redis.restart();
        until_requests(&machines.mock, 40 * step + 20);
        machines.redis.signal("-STOP");
        // Longer than a lease.
        thread::sleep(Duration::from_millis(1_200));
        machines.redis.signal("-CONT");
    }
    assert_they_hold(&machines.mock, runs);
}

#[test]
fn a_store_that_is_emptied_breaks_no_limit_by_those_who_know_it_nor_by_those_who_are_new() {
    let machines = Machines::new(&["40/1s"]);
    let mut runs = machines.runs("40/1s", 2, repetitions(60, 1_000));
    for step in 1..=repetitions(1, 10) as u64 {
        until_requests(&machines.mock, 40 * step);
        machines.redis.ask(&["FLUSHALL"]);
        runs.push(machines.run("40/1s", 1 + step as usize, 20).start());
    }
    assert_they_hold(&machines.mock, runs);
}

#[test]
fn a_run_that_is_killed_or_sleeps_beyond_its_lease_breaks_no_limit() {
    let machines = Machines::new(&["40/1s"]);
    let runs = machines.runs("40/1s", 2, repetitions(100, 1_000));
    for step in 1..=repetitions(1, 10) as u64 {
        until_requests(&machines.mock, 40 * step);
        let beside = machines.run("40/1s", 1 + step as usize, 1_000).start();
        until_requests(&machines.mock, 40 * step + 40);
        beside.signal("-STOP");
        until_requests(&machines.mock, 40 * step + 60);
        beside.signal("-CONT");
        beside.signal("-KILL");
        beside.ends();
    }
    assert_they_hold(&machines.mock, runs);
}

#[test]
fn a_pause_that_the_api_asks_one_machine_for_is_kept_by_the_others() {
    let refused: Arc<Mutex<Option<Instant>>> = Arc::default();
    let later: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let noted = later.clone();
    let api = Recorder::answering(move |came| {
        let mut refused = refused.lock().unwrap();
        match *refused {
            Some(refused) => noted.lock().unwrap().push(refused.elapsed()),
            None if came.line.contains("S3") => {
                *refused = Some(Instant::now());
                return answer("429 Too Many Requests", &[("retry-after", "3")], "");
            }
            None => {}
        }
        json("{}")
    });
    let machines = Machines::new(&[]);
    let begin = |machine, rows: &str| {
        let input = machines.place.file(&format!("{machine}.csv"), rows);
        let run = run().arg("--url", &format!("{}/{{{{ symbol }}}}", api.url()));
        let run = machines.joins(run, machine).arg("--input", &input);
        run.flags("--rate 20/1s").start()
    };
    let rows: String = (0..1_000).map(|row| format!("T{row}\n")).collect();
    let other = begin(1, &format!("symbol\n{rows}"));
    until("requests of the other machine", || api.came().len() >= 5);
    begin(0, &symbols(4)).ends().with_code(0);
    let of_later = || later.lock().unwrap().clone();
    until("requests after the pause", || {
        of_later().iter().any(|after| *after > Duration::from_millis(3_500))
    });
    other.signal("-KILL");
    other.ends();
    // The other machine hears of it by its next exchange.
    let in_pause = Duration::from_millis(1_500)..Duration::from_millis(2_900);
    let after = of_later();
    assert!(!after.iter().any(|after| in_pause.contains(after)), "{after:?}");
}

#[test]
fn a_store_that_throws_values_away_or_is_none_is_told_before_anything_is_sent() {
    let machines = Machines::new(&["40/1s"]);
    let run = || machines.run("40/1s", 0, 5);
    machines.redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    run().exits(2).says("CONFIG SET maxmemory-policy noeviction");
    let shared = |url: &str| {
        let place = &machines.place;
        let throng =
            crate::harness::run().quotes(&machines.mock.url()).files(place, 5, "out.jsonl");
        throng.arg("--share", url).flags("--rate 40/1s").exits(2)
    };
    shared("redis://127.0.0.1:1").says("the store redis://127.0.0.1:1: ");
    let refused = shared("redis://:hush@127.0.0.1:1");
    refused.says("set THRONG_REDIS_PASSWORD");
    assert!(!refused.stderr.contains("hush"), "{}", refused.stderr);
    assert_eq!(machines.requests(), 0);
}

#[test]
fn a_run_says_that_a_store_does_not_know_what_was_used_and_until_when_it_waits_for_that() {
    let machines = Machines::new(&["20/1s"]);
    machines.run("20/1s", 1, 1).exits(0);
    machines.redis.ask(&["FLUSHALL"]);
    let events = machines.place.path("events.jsonl");
    let run = machines.run("20/1s", 0, 3).flags("--progress none");
    let ended = run.arg("--events", &events).exits(0);
    let said = "the store of the shared limits does not know what was used of 20/1s before";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    ended.says("throng: nothing is sent until ");
    ended.says(
        " all of it counted as used, since the store of the shared limits did not know what was",
    );
    let events = machines.place.read("events.jsonl");
    let events = events.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut events: Vec<serde_json::Value> = events.collect();
    events.retain(|event| event["unknown_use"].is_object());
    let first = &events[0]["unknown_use"];
    assert_eq!(first["limit"], "20/1s");
    // The lease and a second to send, the timeout, linger and the period.
    let left = first["ends_in_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 3.7, "{first}");
    assert!(events.iter().all(|event| event["requests"]["sent"] == 0), "{events:?}");
}

#[test]
fn a_store_whose_memory_is_full_breaks_no_limit_and_runs_go_on_once_it_has_room() {
    let machines = Machines::new(&["40/1s"]);
    let runs = machines.runs("40/1s", 2, 60);
    machines.until_lease(2, "40/1s");
    // Less than the server takes for itself.
    machines.redis.ask(&["CONFIG", "SET", "maxmemory", "1000"]);
    let refused = || {
        let errors = machines.redis.ask(&["INFO", "errorstats"]);
        let count = errors.split("errorstat_OOM:count=").nth(1);
        count.map_or(0, |count| count.split_whitespace().next().unwrap().parse().unwrap())
    };
    until("exchanges that the store has refused", || refused() >= 8);
    let begun = machines.run("40/1s", 2, 5).exits(2);
    begun.says("used memory > 'maxmemory'");
    machines.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_they_hold(&machines.mock, runs);
    assert_eq!(machines.requests(), 120);
}

#[test]
fn a_change_that_was_made_of_what_a_store_has_forgotten_since_is_refused() {
    let redis = Redis::start();
    let address = Address::parse(&redis.url(), None).unwrap();
    let (mut early, mut late) = (LimitValues::new(&address), LimitValues::new(&address));
    let new = |version: &str| NewValue {
        account: "lab".into(),
        before: String::new(),
        version: version.into(),
        value: version.into(),
        kept: Duration::from_secs(60),
    };
    let (memory, values) = late.read(&["lab"]).unwrap();
    assert_eq!(values, [(String::new(), Vec::new())]);
    redis.ask(&["FLUSHALL"]);
    // As before, the account has no value: but it may have had one meanwhile.
    let (new_memory, conflicts) = late.commit(&memory.id, &[new("late-1")]).unwrap();
    assert_ne!(new_memory.id, memory.id);
    assert_eq!(conflicts, [Some((String::new(), Vec::new()))]);
    let (_, conflicts) = early.commit(&new_memory.id, &[new("early-1")]).unwrap();
    assert_eq!(conflicts, [None]);
    // What another has changed since is answered in its place.
    let (_, conflicts) = late.commit(&new_memory.id, &[new("late-2")]).unwrap();
    assert_eq!(conflicts, [Some(("early-1".into(), b"early-1".to_vec()))]);
}
