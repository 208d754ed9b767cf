//! The whole engine in virtual time, over thousands of seeds: jobs with several
//! limits of every kind, networks of every temper. The judge is the
//! model of the server, which knows only arrivals.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng::internals::simulate::with_token_buckets;
use throng_mock::Settings;

use throng::internals::simulate::ModelRun;

/// A job, and the server that it will meet.
struct Case {
    job: Value,
    server: Settings,
    rows: u64,
}

impl Case {
    /// Any limits, latencies, losses, timeouts and refusals.
    fn any(seed: u64) -> Case {
        let mut random = StdRng::seed_from_u64(seed);
        let rates: Vec<String> =
            (0..random.random_range(1..=3)).map(|_| any_rate(&mut random)).collect();
        let mut limits: Vec<_> = rates.iter().map(|rate| rate.parse().unwrap()).collect();
        let mut limit = json!({ "rate": rates });
        if random.random_bool(0.2) {
            let most = random.random_range(1..8);
            limit["in-flight"] = most.into();
            limits.push(format!("in-flight:{most}").parse().unwrap());
        }
        let latency = ["0", "120ms", "lognormal:200ms:0.6", "lognormal:80ms:1.6", "uniform:1ms:3s"];
        let faults = ["429=5%", "500=5%", "drop=5%", "cut=5%"];
        let some = random.random_range(0..3);
        let faults: Vec<&str> = faults.sample(&mut random, some).copied().collect();
        let rows = random.random_range(1..60);
        Case {
            job: json!({
                "limit": limit,
                "send": {"timeout": *["30s", "1500ms"].choose(&mut random).unwrap()},
                "workers": {"count": random.random_range(1..4)},
                "retry": {"max-refusals": 1000},
            }),
            server: Settings {
                limits,
                latency: latency.choose(&mut random).unwrap().parse().unwrap(),
                there: *[0.0, 0.5, 1.0].choose(&mut random).unwrap(),
                faults: if faults.is_empty() {
                    Default::default()
                } else {
                    faults.join(",").parse().unwrap()
                },
                seed,
                ..Settings::default()
            },
            rows,
        }
    }

    fn simulate(mut self) -> ModelRun {
        let rows: Vec<Value> = (0..self.rows).map(|id| json!({ "id": id })).collect();
        self.job["input"] = json!({ "list": rows });
        self.job["request"] = json!({ "url": "http://model/{{ id }}" });
        let job = Job::parse("job.json", &self.job.to_string()).unwrap();
        let plan = Plan::new(&job, &|_| None).unwrap();
        ModelRun::new(plan, &[self.server], 1.0).unwrap()
    }
}

/// A limit in words that mean the same to the job and to the server.
fn any_rate(random: &mut StdRng) -> String {
    let units = random.random_range(1..25);
    let millis = random.random_range(200..6_000);
    let seconds = [1, 2, 5, 10].choose(random).unwrap();
    match random.random_range(0..8) {
        0..4 => format!("{units}/{millis}ms"),
        4 => format!("bucket:{units}/{millis}ms"),
        // Fewer than four are less than an estimate from two windows can keep.
        5 => format!("counter:{}/{millis}ms", units + 3),
        6 => format!("{units}/{millis}ms@first"),
        _ => format!("{units}/{seconds}s@clock"),
    }
}

/// All of these seeds in a long test, a part of them otherwise.
fn hold(seeds: std::ops::Range<u64>) {
    let long = std::env::var_os("THRONG_LONG").is_some();
    for seed in seeds.step_by(if long { 1 } else { 10 }) {
        let case = Case::any(seed);
        let (job, rows) = (case.job.to_string(), case.rows);
        let simulation = case.simulate();
        let what = format!("seed {seed}: {job}: {simulation:?}");
        assert_eq!(simulation.servers[0].refused, 0, "{what}");
        assert_eq!(simulation.run.ok + simulation.run.failed, rows, "{what}");
        assert_eq!(simulation.run.sent.in_flight, 0, "{what}");
        for limit in &simulation.run.limits {
            assert!(limit.most <= limit.units, "{what}");
        }
    }
}

// Two halves, so that two cores share them.

#[test]
fn no_server_of_any_kind_refuses_anything() {
    hold(0..5_000);
}

#[test]
fn no_server_refuses_anything_for_other_seeds_either() {
    hold(5_000..10_000);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 7] {
        let [first, second] = [(); 2].map(|()| format!("{:?}", Case::any(seed).simulate()));
        assert_eq!(first, second);
    }
}

#[test]
fn where_the_limit_binds_the_run_takes_no_longer_than_it_must() {
    for (rates, rows) in [
        (json!(["22/5s"]), 500),
        (json!(["100/1s"]), 3_000),
        (json!(["5/1s", "100/1m"]), 600),
        (json!([{"rate": "bucket:10/1s", "burst": 20}]), 600),
        (json!([{"rate": "bucket:20/1s", "burst": 3}]), 600),
        (json!(["gcra:2/1s"]), 200),
        (json!(["counter:300/1m"]), 1_500),
    ] {
        for latency in ["0", "50ms", "250ms"] {
            let case = Case {
                job: json!({"limit": {"rate": rates, "shape": "burst"}}),
                server: Settings { latency: latency.parse().unwrap(), ..Settings::default() },
                rows,
            };
            let simulation = case.simulate();
            let bound = simulation.run.bound.unwrap().time.as_secs_f64();
            let share = bound / simulation.run.took.as_secs_f64();
            assert!((0.99..1.001).contains(&share), "{rates} {latency}: {share}");
        }
    }
}

#[test]
fn acked_loses_nothing_to_slow_answers_and_no_less_than_strict_to_a_slow_way() {
    let seconds = |guard: &str, there| {
        let case = Case {
            job: json!({"limit": {"rate": "20/6s", "guard": guard}}),
            server: Settings {
                limits: vec!["20/6s".parse().unwrap()],
                latency: "3s".parse().unwrap(),
                there,
                ..Settings::default()
            },
            rows: 100,
        };
        let simulation = case.simulate();
        let counted = (simulation.servers[0].refused, simulation.servers[0].windows[0].most);
        assert_eq!(counted, (0, 20), "{guard} {there}");
        simulation.run.took.as_secs_f64()
    };
    // Four windows, and an answer.
    assert!((39.0..39.5).contains(&seconds("strict", 0.0)));
    assert!((27.0..27.5).contains(&seconds("acked", 0.0)));
    // Half of it is the way there, and an acknowledgement takes as long back.
    assert!((39.0..39.5).contains(&seconds("acked", 0.5)));
}

#[test]
fn days_begin_at_midnight_in_their_zone() {
    let case = |zone: &str| Case {
        job: json!({"limit": {"rate": format!("25/1d@{zone}")}, "retry": {"max-wait": "2d"}}),
        server: Settings {
            limits: vec!["clock:25/1d".parse().unwrap()],
            latency: "lognormal:200ms:0.6".parse().unwrap(),
            ..Settings::default()
        },
        rows: 60,
    };
    let there = case("UTC").simulate();
    let days = there.run.took.as_secs_f64() / 86_400.0;
    assert_eq!((there.servers[0].refused, there.run.ok), (0, 60));
    assert!((2.0..2.001).contains(&days), "{days}");
    // Midnight is eight hours later there: a server that counts by UTC refuses.
    assert!(case("America/Los_Angeles").simulate().servers[0].refused > 0);
}

#[test]
fn a_token_bucket_breaks_what_strict_keeps() {
    let case = || Case {
        job: json!({"limit": {"rate": "22/5s"}}),
        server: Settings {
            limits: vec!["22/5s".parse().unwrap()],
            latency: "lognormal:250ms:0.6".parse().unwrap(),
            ..Settings::default()
        },
        rows: 300,
    };
    let strict = case().simulate();
    assert_eq!((strict.servers[0].refused, strict.servers[0].windows[0].most), (0, 22));
    let Case { mut job, server, .. } = case();
    job["input"] = json!({"list": vec![json!({"id": 1}); 300]});
    job["request"] = json!({"url": "http://model/{{ id }}"});
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let plan = Plan::new(&job, &|_| None).unwrap();
    let bucket = ModelRun::new(with_token_buckets(plan), &[server], 1.0).unwrap();
    assert!(bucket.servers[0].refused > 0, "{bucket:?}");
    assert!(bucket.servers[0].windows[0].most > 22, "{bucket:?}");
}
