//! `--rate auto`: a limit that nobody knows is found out while working, in virtual time.

use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::{Refusal, ServerLimit, Settings};

use crate::harness::{Place, mock, symbols, throng};
use throng::internals::simulate::ModelRun;

/// A job with this limit and this number of rows, against this server.
fn run(limit: &Value, rows: u64, server: &str, settings: Settings) -> ModelRun {
    let latency = "lognormal:50ms:0.4".parse().unwrap();
    run_over(limit, rows, server, Settings { latency, ..settings })
}

/// The same, with the latency of these settings.
fn run_over(limit: &Value, rows: u64, server: &str, settings: Settings) -> ModelRun {
    let list: Vec<Value> = (0..rows).map(|id| json!({ "id": id })).collect();
    let job = json!({
        "input": {"list": list},
        "request": {"url": "http://model/{{ id }}"},
        "limit": limit,
    });
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let plan = Plan::new(&job, &|_| None).unwrap();
    let server = Settings { limits: vec![server.parse().unwrap()], logs: true, ..settings };
    let model = ModelRun::new(plan, &[server], 1.0).unwrap();
    assert_eq!((model.run.ok, model.run.failed), (rows, 0), "{limit}: {model:?}");
    model
}

/// A server, as the mock has it, with the limit that is searched for.
struct Searched {
    auto: &'static str,
    server: &'static str,
    /// Whether refused requests count, and in which form the pause is told.
    settings: Settings,
}

fn searched(auto: &'static str, server: &'static str) -> Searched {
    Searched { auto, server, settings: Settings::default() }
}

/// Each kind of server.
fn each_kind() -> Vec<Searched> {
    let counts = Settings { refusals_count: true, ..Settings::default() };
    let bare = Settings { refusal: Refusal::Bare, ..Settings::default() };
    let date = Settings { refusal: Refusal::RetryAfterDate, ..Settings::default() };
    vec![
        searched("auto:100/1s", "40/1s"),
        searched("auto", "30/3s"),
        searched("auto", "22/5s"),
        searched("auto", "5/1s"),
        searched("auto:200/1s", "fixed:60/1s"),
        searched("auto", "fixed:30/3s"),
        searched("auto", "clock:30/3s"),
        searched("auto", "counter:30/3s"),
        searched("auto", "counter:40/1s"),
        searched("auto", "bucket:30/1s"),
        searched("auto", "bucket:10/1s:100"),
        searched("auto", "gcra:20/1s:20"),
        searched("auto", "gcra:5/1s:2"),
        Searched { settings: counts.clone(), ..searched("auto", "30/3s") },
        Searched { settings: counts, ..searched("auto", "counter:20/2s") },
        Searched { settings: bare.clone(), ..searched("auto", "30/3s") },
        Searched { settings: bare, ..searched("auto", "gcra:20/1s:20") },
        Searched { settings: date, ..searched("auto", "30/3s") },
    ]
}

/// Units in a second, and the period in seconds.
fn real(server: &str) -> (f64, f64) {
    let limit: ServerLimit = server.parse().unwrap();
    let period = limit.period.as_secs_f64();
    (f64::from(limit.units) / period, period)
}

/// The part of what the server allows that it took in from this second on.
fn share(model: &ModelRun, from: f64, per_second: f64) -> f64 {
    let accepted = model.arrivals.iter().filter(|it| !it.refused).map(|it| it.at.as_secs_f64());
    let accepted: Vec<f64> = accepted.filter(|at| *at >= from).collect();
    let until = accepted.iter().copied().fold(from, f64::max);
    accepted.len() as f64 / (until - from) / per_second
}

#[test]
fn each_kind_of_server_refuses_at_most_one_request_in_fifty() {
    let all = each_kind().into_iter().chain([
        searched("auto:2000/1m", "600/1m"),
        searched("auto", "300/1m"),
        searched("auto", "clock:50/10s"),
        searched("auto", "in-flight:5"),
    ]);
    for Searched { auto, server, settings } in all {
        let rows = 1_000;
        let model = run(&json!({"rate": auto}), rows, server, settings);
        let refused = model.servers[0].refused;
        assert!(refused <= rows / 50, "{auto} {server}: {refused} of {rows} refused");
    }
}

#[test]
fn after_twenty_periods_it_has_reached_nine_tenths_of_the_limit() {
    const SEEDS: u64 = 2;
    for Searched { auto, server, settings } in each_kind() {
        let (per_second, period) = real(server);
        let from = 20.0 * period;
        let rows = (45.0 * period * per_second) as u64;
        let mean = |of: &dyn Fn(&ModelRun) -> f64| {
            let runs = (0..SEEDS).map(|seed| {
                let settings = Settings { seed, ..settings.clone() };
                of(&run(&json!({"rate": auto}), rows, server, settings))
            });
            runs.sum::<f64>() / SEEDS as f64
        };
        let share = mean(&|model| share(model, from, per_second));
        assert!((0.9..=1.02).contains(&share), "{share} of {server}");
    }
}

/// Over a way there that takes from 5 to 80 ms, requests a gap T apart arrive T + 37.5 ms apart
/// at best if none may arrive too early: that of the one before is known by its answer, and that
/// of the next one isn't.
#[test]
fn where_requests_have_to_be_a_gap_apart_it_reaches_what_jitter_leaves() {
    const SEEDS: u64 = 3;
    let jitter = Settings {
        latency: "uniform:5ms:80ms".parse().unwrap(),
        there: 1.0,
        refusal: Refusal::Bare,
        ..Settings::default()
    };
    for (server, gap) in [("gcra:10/1s", 0.1), ("gcra:5/1s", 0.2)] {
        let (rows, per_second) = ((45.0 / gap) as u64, 1.0 / gap);
        let runs = (0..SEEDS).map(|seed| {
            let settings = Settings { seed, ..jitter.clone() };
            run_over(&json!({"rate": "auto"}), rows, server, settings)
        });
        let runs: Vec<ModelRun> = runs.collect();
        let share = runs.iter().map(|run| share(run, 20.0, per_second)).sum::<f64>() / SEEDS as f64;
        let best = gap / (gap + 0.0375);
        assert!(share >= 0.88 * best, "{share} of {server}, {best} at best");
        let refused: u64 = runs.iter().map(|run| run.servers[0].refused).sum();
        assert!(refused * 33 <= SEEDS * rows, "{refused} of {server}");
        let found = runs[0].run.limits[0].found.unwrap();
        assert!(found.wants_gaps, "{found:?}");
        // That is what the summary says to write: without a burst, counted from the answer.
        let tenths = (10.0 / found.per_unit.as_secs_f64()) as u64;
        let limit = json!({"rate": format!("gcra:{tenths}/10s")});
        let again = run_over(&limit, 100, server, jitter.clone());
        assert_eq!(again.servers[0].refused, 0, "{limit} of {server}");
    }
}

#[test]
fn the_pace_that_it_found_is_seldom_refused_next_time() {
    for server in ["30/3s", "fixed:60/1s", "bucket:20/1s:5", "gcra:20/1s:5"] {
        let (per_second, _) = real(server);
        let model = run(&json!({"rate": "auto"}), 2_000, server, Settings::default());
        let found = model.run.limits[0].found.unwrap();
        assert!(found.was_refused && found.is_settled, "{found:?}");
        let share = 1.0 / found.per_unit.as_secs_f64() / per_second;
        assert!((0.9..=1.02).contains(&share), "{share} of {server}");
        // The bound is of what was found, and not of the most that was to be tried.
        let bound = model.run.bound.as_ref().unwrap();
        assert!(bound.time >= found.per_unit * 1_999 && bound.time < model.run.took, "{bound:?}");
        let units = (60.0 / found.per_unit.as_secs_f64()) as u64;
        let limit = json!({"rate": format!("{units}/1m"), "shape": "spread"});
        let again = run(&limit, 1_000, server, Settings::default());
        assert!(again.servers[0].refused <= 2, "{} of {server}", again.servers[0].refused);
    }
}

#[test]
fn the_summary_says_what_to_write_next_time() {
    let server = mock(Settings { limits: vec!["50/1s".parse().unwrap()], ..Settings::default() });
    let place = Place::new();
    let ended = throng("run")
        .arg("--url", &format!("{}/echo/{{{{ symbol }}}}", server.url()))
        .arg("--input", &place.file("rows.csv", &symbols(30)))
        .arg("--summary-json", &place.path("summary.json"))
        .flags("--rate auto:400/1s")
        .exits(0);
    ended.says("was never refused, at 40 per second: the server may take more; next time: --rate 200/5s --shape spread");
    let limit = &place.json("summary.json")["limits"][0]["found"];
    assert_eq!(limit["next_time"], "--rate 200/5s --shape spread");
}

#[test]
fn it_stays_under_its_ceiling() {
    // This server would allow more, but counts in the same windows.
    let limit = json!({"rate": "auto:20/1s"});
    let simulation = run(&limit, 2_000, "100/1s", Settings::default());
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
    let note = "auto:100/1s is found out by exceeding it now and then";
    assert!(plan.stdout.contains(note), "{}", plan.stdout);
}
