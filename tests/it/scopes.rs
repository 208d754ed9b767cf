//! Whom the server's word concerns: in virtual time, with the server's log of arrivals.

use std::time::Duration;

use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::{Arrival, Partition, Settings};

use throng::internals::simulate::ModelRun;

const LATENCY: Duration = Duration::from_secs(2);

fn run(mut job: Value, paths: &[String], server: Settings) -> ModelRun {
    let rows: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    job["input"] = json!({ "list": rows });
    job["request"] = json!({
        "url": "http://model/{{ path }}",
        "headers": {"user-agent": "DiscordBot (https://example.com, 1)"}
    });
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let plan = Plan::new(&job, &|_| None).unwrap();
    let server = Settings { logs: true, ..server };
    ModelRun::new(plan, &[server], 1.0).unwrap()
}

fn server(limit: &str) -> Settings {
    Settings {
        limits: vec![limit.parse().unwrap()],
        partition: Some(Partition::Path),
        latency: "2s".parse().unwrap(),
        ..Settings::default()
    }
}

fn paths(path: &str, count: usize) -> Vec<String> {
    vec![path.to_owned(); count]
}

/// When those of this path arrived.
fn at(simulation: &ModelRun, path: &str) -> Vec<Duration> {
    let here = |arrival: &&Arrival| arrival.path == path;
    let arrivals = simulation.arrivals.iter().filter(here);
    arrivals.map(|arrival| arrival.at).collect()
}

#[test]
fn two_hundred_in_flight_when_a_pause_comes_and_none_is_sent_before_its_end() {
    // Two go first, and each that is taken in lets two more go.
    pause("burst", [2, 4, 8, 16]);
    // What our count can't explain spreads them, too.
    pause("auto", [1, 1, 1, 1]);
}

/// How many arrive at the first instants after it.
#[track_caller]
fn pause(shape: &str, first_instants: [usize; 4]) {
    let others = [paths("b", 150), paths("c", 150)].concat();
    let rows = [paths("a", 220), others, paths("a", 200)].concat();
    let job = json!({
        "limit": {"rate": "400/1m", "per": "{{ path }}", "shape": shape},
        "workers": {"count": 1, "concurrency": 220},
        // All are to be in flight before the first answer.
        "retry": {"brake": false},
    });
    let simulation = run(job, &rows, server("fixed:200/1m"));
    assert_eq!((simulation.run.ok, simulation.run.failed), (720, 0), "{simulation:?}");
    let refused: Vec<&Arrival> = simulation.arrivals.iter().filter(|a| a.refused).collect();
    // Those that were in flight, and no others.
    assert_eq!(refused.len(), 20);
    let [first, second, third] = ["/a", "/b", "/c"].map(|path| at(&simulation, path));
    assert_eq!(first[..220].iter().max(), first[..220].iter().min());
    // The window began with the first arrival; its end is told in whole seconds.
    let (heard, end) = (first[0] + LATENCY, first[0] + Duration::from_secs(60));
    let paused = |time: &&Duration| (heard..end).contains(*time);
    assert_eq!(first.iter().filter(paused).count(), 0);
    let others = second.iter().chain(&third).filter(paused).count();
    assert_eq!(others, 300, "other scopes go on");
    let after: Vec<Duration> = first.iter().copied().filter(|time| *time >= end).collect();
    let mut instants: Vec<usize> = after.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    instants.truncate(4);
    assert_eq!(instants, first_instants);
    let burst = |start: &Duration| {
        let within = |time: &&Duration| (*start..*start + Duration::from_secs(60)).contains(*time);
        after.iter().filter(within).count()
    };
    assert!(after.iter().map(burst).max() <= Some(200));
}

#[test]
fn only_the_server_knows_the_limits_of_routes_and_a_pause_of_one_is_no_other_s() {
    let channels: Vec<String> = (0..20).map(|channel| format!("channels/{channel}")).collect();
    let rows: Vec<String> = channels.iter().cycle().take(2_000).cloned().collect();
    let job = json!({"api": "discord", "limit": {"route": "{{ path }}"}});
    let discord = || Settings {
        dialect: Some("discord".parse().unwrap()),
        latency: "50ms".parse().unwrap(),
        ..server("fixed:5/5s")
    };
    let simulation = run(job, &rows, discord());
    assert_eq!((simulation.run.ok, simulation.run.stopped), (2_000, None));
    assert_eq!((simulation.servers[0].refused, simulation.servers[0].banned), (0, 0));
    // Each has twenty windows; the first of them begins with two.
    assert!(simulation.run.took < Duration::from_secs(120), "{:?}", simulation.run.took);
}

#[test]
fn a_refusal_that_concerns_all_closes_all() {
    let rows: Vec<String> = (0..200).map(|row| format!("p{}", row % 20)).collect();
    let closes = |closes: &str| {
        let job = json!({
            "limit": {"route": "{{ path }}", "rate": "1000/1s"},
            "refusal": [{"status": [429], "closes": closes, "pause": "1m"}],
        });
        let limits = vec!["fixed:30/1m".parse().unwrap()];
        let global = Settings {
            limits,
            partition: None,
            latency: "uniform:50ms:1s".parse().unwrap(),
            ..server("1/1s")
        };
        let simulation = run(job, &rows, global);
        assert_eq!(simulation.run.ok, 200);
        simulation.servers[0].refused
    };
    let (key, all) = (closes("key"), closes("run"));
    assert!(all < key, "{all} of all, {key} by key");
}

#[test]
fn a_larger_limit_counts_only_where_it_is_welcome() {
    let took = |loosen: bool| {
        let job = json!({"limit": {"rate": "100/1m", "loosen": loosen}});
        let openai = Settings {
            dialect: Some("x".parse().unwrap()),
            partition: None,
            latency: "100ms".parse().unwrap(),
            ..server("fixed:200/1m")
        };
        let simulation = run(job, &paths("a", 1_000), openai);
        assert_eq!((simulation.run.ok, simulation.servers[0].refused), (1_000, 0));
        assert!(simulation.run.limits[0].learnt == loosen.then_some(200));
        simulation.run.took.as_secs()
    };
    assert_eq!((took(false) / 60, took(true) / 60), (9, 4));
}

#[test]
fn what_the_body_says_is_left_is_left() {
    let job = json!({"api": "shopify-graphql", "limit": {"cost": {"points": "1"}}});
    // It has a tenth of what the job believes.
    let graphql = Settings {
        dialect: Some("shopify-graphql".parse().unwrap()),
        partition: None,
        latency: "50ms".parse().unwrap(),
        ..server("bucket:100/1s:900")
    };
    let simulation = run(job, &paths("a", 2_000), graphql);
    assert_eq!((simulation.run.ok, simulation.servers[0].refused), (2_000, 0), "{simulation:?}");
    assert_eq!(simulation.run.limits[0].learnt, Some(900));
}
