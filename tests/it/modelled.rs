//! `throng simulate`: the model of the server has the limits that the job says it has.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::Settings;

use crate::harness::{Place, Throng, throng};
use throng::internals::simulate::{ModelLimits, ModelRun};

/// Rows of three tenants, in virtual time and without a network.
fn simulate(place: &Place) -> Throng {
    let rows: String = (0..90).map(|id| format!("{id},t{}\n", id % 3)).collect();
    let input = place.file("rows.csv", &format!("id,tenant\n{rows}"));
    throng("simulate")
        .arg("--url", "http://model/{{ id }}")
        .arg("--input", &input)
        .flags("--latency 0")
}

/// What it says of a run with these flags.
#[track_caller]
fn says(throng: Throng, what: &[&str]) -> String {
    let ended = throng.exits(0);
    // However wide its columns are.
    let words: Vec<&str> = ended.stdout.split_whitespace().collect();
    let said = words.join(" ");
    for what in what {
        assert!(said.contains(what), "no {what:?} in: {said}");
    }
    ended.stderr
}

#[test]
fn a_profile_s_rates_are_the_server_s() {
    let place = Place::new();
    let github = simulate(&place).flags("--api github").arg("--header", "user-agent: me");
    let said = says(
        github,
        &[
            "a server with 5000/1h@reset and 900/1m and at most 100 in flight,",
            "90 in 1h, 90 of 900,",
        ],
    );
    assert!(said.contains("doesn't say when they end"), "{said}");
}

#[test]
fn a_burst_is_the_size_of_the_server_s_bucket() {
    let place = Place::new();
    // Less than a window's, and more than a bucket's rate.
    let small = simulate(&place).flags("--rate 30/10s --burst 3");
    says(small, &["30/10s and a burst of 3 of 30/10s,", "% 0 30 of 30, "]);
    let large = simulate(&place).flags("--rate bucket:10/10s --burst 60");
    says(large, &["bucket:10/10s with a burst of 60,", "30 s"]);
}

#[test]
fn each_key_has_the_limits_for_itself() {
    let place = Place::new();
    let per = simulate(&place).flags("--rate 30/1h").arg("--per", "{{ tenant }}");
    says(per, &["30/1h for each {{ tenant }},", " 0 s 0 s 0 30 of 30 90 0"]);
    let pool = simulate(&place)
        .flags("--rate 45/1h --keys a --keys b")
        .arg("--header", "x-key: {{ key }}");
    says(pool, &["45/1h for each of 2 API keys,", " 0 s 0 s 0 45 of 45 90 0"]);
    let job = place
        .file("job.toml", "limit.rate = [\"60/1h\", {rate = \"20/1s\", per = \"{{ tenant }}\"}]");
    says(
        simulate(&place).flags(&job).flags("--server counter:45/1h"),
        &["a server with counter:45/1h,"],
    );
    says(
        simulate(&place).flags(&job),
        &["60/1h and 20/1s for each {{ tenant }},", "60 of 60, 20 of 20"],
    );
}

#[test]
fn a_unit_costs_what_the_job_says() {
    let place = Place::new();
    let points = simulate(&place).arg("--rate", "bucket:10 points/1s").arg("--cost", "points=7");
    // (90 * 7 - 10) / 10
    says(points, &["bucket:10 points/1s,", "62 s"]);
}

#[test]
fn a_batch_is_one_request() {
    let place = Place::new();
    let batches = throng("simulate")
        .arg("--url", "http://model/{{ id | join(',') }}")
        .arg("--input", &place.file("rows.csv", "id\n1\n2\n3\n4\n5\n"))
        .flags("--latency 0 --rate 2/1h --batch 3 --each .[] --match id=.id");
    says(batches, &[" 0 s 0 2 of 2 5 0"]);
}

#[test]
fn what_is_not_as_with_the_real_server_is_said() {
    let place = Place::new();
    for (rate, flags, what) in [
        ("auto", "", "say with --server"),
        (
            "9/1s",
            "--page page --each .[]",
            "each list is taken to have 3 (--answer-pages), of 10 items each",
        ),
        ("9/1s", "--route {{id}}", "(limit.route) is not known"),
        (
            "90 tokens/1s",
            "--cost tokens=1 --settle tokens=.n",
            "settle its cost at 100 % of what limit.cost says (--settled)",
        ),
    ] {
        let said = says(simulate(&place).arg("--rate", rate).flags(flags), &[]);
        assert!(said.contains(what), "{said}");
    }
}

/// A job with limits of several clients, in several units, and smaller bursts.
fn any_job(random: &mut StdRng) -> Value {
    let rate = |random: &mut StdRng| {
        let units = random.random_range(8..20);
        let unit = *["", " points"].choose(random).unwrap();
        let period = random.random_range(300..4_000);
        let kind = *["", "bucket:", "counter:"].choose(random).unwrap();
        let mut rate = json!({ "rate": format!("{kind}{units}{unit}/{period}ms") });
        if random.random_bool(0.3) {
            rate["burst"] = random.random_range(3..12).into();
        }
        if random.random_bool(0.4) {
            rate["per"] = (*["{{ tenant }}", "{{ request.path }}"].choose(random).unwrap()).into();
        }
        rate
    };
    let rates: Vec<Value> = (0..random.random_range(1..4)).map(|_| rate(random)).collect();
    let has_points = rates.iter().any(|rate| rate.to_string().contains("points"));
    let mut limit = json!({ "rate": rates });
    let mut headers = json!({});
    if has_points {
        limit["cost"] = json!({"points": "id % 3"});
    }
    if random.random_bool(0.3) {
        limit["keys"] = json!(["a", "b", "c"]);
        headers = json!({"x-key": "{{ key }}"});
    }
    if random.random_bool(0.3) {
        limit["in-flight"] = random.random_range(1..9).into();
    }
    let rows: Vec<Value> = (0..random.random_range(1..60))
        .map(|id| json!({"id": id, "tenant": format!("Łódź {}", id % 4)}))
        .collect();
    json!({
        "input": {"list": rows},
        "request": {"url": "http://model/{{ id % 5 }}", "headers": headers},
        "limit": limit,
        "workers": {"count": random.random_range(1..4)},
    })
}

#[test]
fn a_server_as_the_plan_takes_it_to_be_refuses_nothing() {
    let long = std::env::var_os("THRONG_LONG").is_some();
    for seed in (0..300).step_by(if long { 1 } else { 6 }) {
        let mut random = StdRng::seed_from_u64(seed);
        let job = any_job(&mut random).to_string();
        let plan = Plan::new(&Job::parse("job.json", &job).unwrap(), &|_| None).unwrap();
        let server = Settings {
            limits: ModelLimits::of(&plan).remove(0).limits,
            latency: *["0", "lognormal:200ms:0.9", "uniform:1ms:3s"]
                .map(|latency| latency.parse().unwrap())
                .choose(&mut random)
                .unwrap(),
            faults: ["500=5%", "drop=5%"].choose(&mut random).unwrap().parse().unwrap(),
            seed,
            ..Settings::default()
        };
        let simulation = ModelRun::new(plan, &[server], 1.0).unwrap();
        assert_eq!(simulation.servers[0].refused, 0, "{seed}: {job}: {simulation:?}");
    }
}
