//! `throng simulate`: chains, pages, batches and settled costs, request by request.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::Settings;

use crate::harness::{Ended, Place, throng};
use throng::internals::simulate::{Answers, ModelLimits, ModelRun};

/// What a simulation says, its words apart by one space each.
fn words(ended: &Ended) -> String {
    let both = format!("{}\n{}", ended.stdout, ended.stderr);
    both.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_says(ended: &Ended, what: &[&str]) {
    let said = words(ended);
    for what in what {
        assert!(said.contains(what), "no {what:?} in: {said}");
    }
}

/// A job with these lines of TOML, whose URL is of any kind, in virtual time.
#[track_caller]
fn simulate(lines: &str, flags: &str) -> Ended {
    let place = Place::new();
    let job = place.file("job.toml", lines);
    throng("simulate").flags(&job).flags(flags).exits(0)
}

#[test]
fn every_step_of_a_chain_is_simulated() {
    let chain = |flags| throng("simulate").flags("examples/chain.toml").flags(flags).exits(0);
    // Three pages, and a request for each of their items.
    let usual = chain("");
    assert_says(
        &usual,
        &[
            "against a server with 50/1s,",
            " of 50 30 0 strict:",
            "strict: 33 requests for 30 records",
            "each list is taken to have 3 (--answer-pages), of 10 items each where the job doesn't say (--answer-items)",
            "the values that a step hands on are taken to be numbers, all different",
        ],
    );
    let longer = chain("--answer-pages 5 --answer-items 24 --latency 0");
    // All but the first page's items wait for no limit: 125 in three windows of 50.
    assert_says(&longer, &["125 requests for 120 records", " 2 s 0 50 of 50 120 0"]);
}

#[test]
fn a_step_with_limits_of_its_own_has_a_server_of_its_own() {
    let steps = "
        request.url = 'http://model/list'
        items.each = '.data[]'
        limit.rate = '5/1h'
        extract.id = '.key'
        [[step]]
        request.url = 'http://other/{{ id * 2 }}'
        limit.rate = '4/1s'
        ";
    assert_says(
        &simulate(steps, "--latency 0"),
        &[
            "a server with 5/1h, and for later steps one with 4/1s,",
            "2 s 0 1 of 5, 4 of 4 10 0",
            "11 requests for 10 records",
        ],
    );
}

#[test]
fn pages_are_turned_as_the_job_turns_them() {
    // The requests for three pages of ten items; a number alone ends with an empty page.
    for (pages, requests) in [
        ("pages.cursor = 'after=.meta.after'", 3),
        ("pages.cursor = 'page[after]=.meta.after'", 3),
        ("pages.next = '.links.next'", 3),
        ("pages.next = 'link'", 3),
        ("pages.page = 'page'", 4),
        ("pages.page = 'p=0'", 4),
        ("pages.offset = '$skip=10'", 4),
        ("pages.page = 'page'\npages.until = '.done'", 3),
        ("pages.offset = 'from=10'\npages.count = '.total / 10 | ceil'", 3),
        ("pages.page = 'page'\npages.max = 2", 2),
    ] {
        let job = format!("request.url = 'http://model/'\nitems.each = '.data[]'\n{pages}");
        let ended = simulate(&job, "");
        let records = if pages.contains("max") { 20 } else { 30 };
        let what = format!("strict: {requests} requests for {records} records");
        assert_says(&ended, &[&what]);
    }
    let joined = "request.url = 'http://model/{{ after or 0 }}'
        extract.names = '[.data[].name]'
        pages.cursor = 'after=.meta.after'";
    assert_says(&simulate(joined, ""), &["3 requests for 1 records"]);
}

#[test]
fn a_batch_is_one_request_and_each_of_its_rows_goes_on() {
    let batch = "
        input.list = [{id = 'a b'}, {id = 'c,d'}, {id = 7}, {id = 'ü'}, {id = 'e'}]
        request.url = 'http://model/{{ id | length }}'
        batch.size = 3
        items.each = '.data[]'
        items.match = 'id=.key'
        extract.price = '.price'
        ";
    assert_says(&simulate(batch, ""), &["2 requests for 5 records"]);
    let chain = format!("{batch}\n[[step]]\nrequest.url = 'http://model/{{{{ price }}}}'");
    assert_says(&simulate(&chain, ""), &["7 requests for 5 records", " 5 0"]);
    let odd = batch.replace("id = ", "'the id' = ").replace("'id=", "'the id=");
    let place = Place::new();
    let job = place.file("job.toml", &odd.replace("{{ id | length }}", ""));
    let ended = throng("simulate").flags(&job).exits(2);
    ended.says("name the field with letters, digits and _ alone");
}

#[test]
fn a_settled_cost_makes_room_for_others() {
    let rows: Vec<String> = (0..60).map(|id| format!("{{id = {id}}}")).collect();
    let job = format!(
        "input.list = [{}]
        request.url = 'http://model/{{{{ id }}}}'
        limit.rate = '1000 tokens/10s'
        limit.cost.tokens = '100'
        limit.settle.tokens = '.usage.total'",
        rows.join(", ")
    );
    let seconds = |flags: &str, most: u64| {
        let ended = simulate(&job, flags);
        assert_says(&ended, &[&format!(" 0 {most} of 1000 60 0")]);
        let said = words(&ended);
        let after = said.split("strict ").nth(1).unwrap();
        after.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!((50.0..51.0).contains(&seconds("--latency 0", 1_000)));
    // Nineteen requests have cost 50 each, and there must be room for 100 once more.
    let half = seconds("--latency 0 --settled 0.5", 950);
    assert!((30.0..31.0).contains(&half));
}

#[test]
fn the_same_seed_gives_the_same_output() {
    let chain = |seed: u64| {
        let flags =
            format!("--compare --fault 500=20% --seed {seed} --latency lognormal:250ms:0.6");
        let ended = throng("simulate").flags("examples/chain.toml").flags(&flags).exits(0);
        ended.stdout + &ended.stderr
    };
    assert_eq!(chain(7), chain(7));
    assert_ne!(chain(7), chain(8));
}

/// A job of one to three steps, with lists, pages and batches, and limits of any step.
fn any_job(random: &mut StdRng) -> Value {
    let rows: Vec<Value> = (0..random.random_range(1..8)).map(|id| json!({"id": id})).collect();
    let pages = [
        json!({}),
        json!({"cursor": "after=.after"}),
        json!({"next": ".next"}),
        json!({"page": "page"}),
        json!({"page": "page", "count": ".total"}),
        json!({"offset": "from=4"}),
    ];
    let mut rate =
        || format!("{}/{}ms", random.random_range(5..20), random.random_range(300..3_000));
    let rates = [rate(), rate()];
    let mut steps = Vec::new();
    for number in 1..random.random_range(1..4) {
        let mut step = json!({
            "request": {"url": "http://model/{{ id }}"},
            "extract": {format!("value{number}"): ".value"},
        });
        if random.random_bool(0.4) {
            step["limit"] = json!({"rate": [rates[1]], "in-flight": random.random_range(1..9)});
        }
        if random.random_bool(0.3) {
            step["batch"] = json!({"size": random.random_range(2..9)});
            step["items"] = json!({"each": ".data[]", "match": "id=.id"});
            step["request"]["url"] = "http://model/{{ id | join(',') }}".into();
        }
        steps.push(step);
    }
    json!({
        "input": {"list": rows},
        "request": {"url": "http://model/{{ id }}"},
        "items": {"each": ".data[]"},
        "pages": pages.choose(random).unwrap(),
        "extract": {"price": ".price"},
        "limit": {"rate": [rates[0]]},
        "workers": {"count": random.random_range(1..4)},
        "step": steps,
    })
}

#[test]
fn no_server_of_a_chain_refuses_anything_and_every_item_has_one_record() {
    let long = std::env::var_os("THRONG_LONG").is_some();
    for seed in (0..600).step_by(if long { 1 } else { 12 }) {
        let mut random = StdRng::seed_from_u64(seed);
        let tree = any_job(&mut random);
        let text = tree.to_string();
        let job = Job::parse("job.json", &text).unwrap();
        let rows = tree["input"]["list"].as_array().unwrap().len() as u64;
        let own = Plan::new(&job, &|_| None).unwrap();
        let answers = Answers { pages: 2, items: 4 };
        let limits = ModelLimits::of(&own);
        let job = answers.adapt_job(&job, &own).unwrap();
        let latency = ["0", "lognormal:200ms:0.9", "uniform:1ms:3s"].choose(&mut random);
        let server = |model: ModelLimits| Settings {
            limits: model.limits,
            latency: latency.unwrap().parse().unwrap(),
            seed,
            ..Settings::default()
        };
        let servers: Vec<Settings> = limits.into_iter().map(server).collect();
        let plan = Plan::new(&job, &|_| None).unwrap();
        let model = ModelRun::new(plan, &servers, 1.0).unwrap();
        let what = format!("seed {seed}: {text}: {model:?}");
        assert!(model.servers.iter().all(|server| server.refused == 0), "{what}");
        let lists = if text.contains("\"pages\":{}") { 1 } else { 2 };
        assert_eq!((model.run.ok, model.run.failed), (rows * lists * 4, 0), "{what}");
    }
}
