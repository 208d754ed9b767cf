//! `--rate auto`: a limit that nobody knows is found out while working, in virtual time.

use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::Settings;

use crate::harness::{Place, symbols, throng};
use throng::internals::simulate::ModelRun;

const ROWS: u64 = 2_000;

fn run(rate: &str, server: &str) -> ModelRun {
    let rows: Vec<Value> = (0..ROWS).map(|id| json!({ "id": id })).collect();
    let job = json!({
        "input": {"list": rows},
        "request": {"url": "http://model/{{ id }}"},
        "limit": {"rate": rate},
    });
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let plan = Plan::new(&job, &|_| None).unwrap();
    let server = Settings {
        limits: vec![server.parse().unwrap()],
        latency: "lognormal:50ms:0.4".parse().unwrap(),
        ..Settings::default()
    };
    ModelRun::new(plan, &[server], 1.0).unwrap()
}

#[test]
fn it_comes_near_the_server_s_limit_and_is_seldom_refused() {
    for (rate, server, units, seconds) in [
        ("auto:100/1s", "40/1s", 40.0, 1.0),
        ("auto", "bucket:30/1s", 30.0, 1.0),
        ("auto:200/1s", "fixed:60/1s", 60.0, 1.0),
        ("auto:2000/1m", "600/1m", 600.0, 60.0),
    ] {
        let simulation = run(rate, server);
        let what = format!("{rate} {server}: {simulation:?}");
        assert_eq!((simulation.run.ok, simulation.run.failed), (ROWS, 0), "{what}");
        let share =
            simulation.run.ok as f64 / simulation.run.took.as_secs_f64() / (units / seconds);
        assert!((0.6..=1.02).contains(&share), "{share} of {what}");
        assert!(simulation.servers[0].refused <= ROWS / 50, "{what}");
        let learnt = simulation.run.limits[0].learnt.unwrap() as f64 / units;
        assert!((0.7..=1.2).contains(&learnt), "{learnt} of {what}");
    }
}

#[test]
fn it_stays_under_its_ceiling() {
    // This server would allow more, but counts in the same windows.
    let simulation = run("auto:20/1s", "100/1s");
    assert_eq!(simulation.servers[0].refused, 0);
    assert_eq!(simulation.run.limits[0].learnt, Some(20));
    assert!(simulation.servers[0].windows[0].most <= 20, "{simulation:?}");
}

#[test]
fn the_plan_says_how_it_works() {
    let place = Place::new();
    let input = place.file("rows.csv", &symbols(3));
    let plan = throng("plan")
        .arg("--url", "http://localhost/{{ symbol }}")
        .arg("--input", &input)
        .flags("--rate auto")
        .exits(0);
    let note = "auto:100/1s is found out by being refused now and then";
    assert!(plan.stdout.contains(note), "{}", plan.stdout);
}
