//! What a run costs in money: the bill is the server's own, and a budget is never passed.

use serde_json::{Value, json};
use throng_mock::{Mock, Settings};

use crate::harness::{Place, Throng, mock, plain_mock, run, throng, until};

/// Dollars of a token of a prompt, and of an answer.
const PRICES: [f64; 2] = [0.15e-6, 0.60e-6];

/// A job of this number of prompts.
pub fn prompts(place: &Place, mock: &Mock, rows: usize) -> String {
    let row = |n: usize| {
        let prompt = format!("What is {n}? {}", "x".repeat(n % 50));
        json!({ "prompt": prompt, "max": 40 + n % 60 }).to_string() + "\n"
    };
    let input = place.file("prompts.jsonl", &(0..rows).map(row).collect::<String>());
    place.file(
        "job.toml",
        &format!(
            r#"
            price = {{ input_tokens = "0.15/1M", output_tokens = "0.60/1M" }}
            [input]
            file = "{input}"
            [request]
            url = "{}/v1/chat/completions"
            json = {{ max_tokens = "{{{{ max }}}}", messages = [{{ role = "user", content = "{{{{ prompt }}}}" }}] }}
            [limit.cost]
            input_tokens = "prompt | length / 4 + 1"
            output_tokens = "max"
            [limit.settle]
            input_tokens = ".usage.prompt_tokens"
            output_tokens = ".usage.completion_tokens"
            [retry]
            unknown = "resend"
            retries = 8
            [extract]
            text = ".choices[0].message.content"
            [output]
            file = "{}"
            existing = "resume-or-new"
            "#,
            mock.url(),
            place.path("out.jsonl")
        ),
    )
}

fn ask(place: &Place, job: &str) -> Throng {
    run().operand(job).arg("--summary-json", &place.path("summary.json"))
}

/// What the mock has billed.
pub fn billed(mock: &Mock) -> f64 {
    let usage = mock.judgement().usage;
    usage.prompt_tokens as f64 * PRICES[0] + usage.completion_tokens as f64 * PRICES[1]
}

pub fn bill(place: &Place) -> Value {
    place.json("summary.json")["bill"].clone()
}

fn is_near(bill: &Value, billed: f64) -> bool {
    (bill.as_f64().unwrap() - billed).abs() < 1e-11
}

#[test]
fn the_bill_is_the_server_s_also_after_errors_and_refusals() {
    let faults = "500=10%,429=3%".parse().unwrap();
    let (place, mock) = (Place::new(), mock(Settings { faults, ..Settings::default() }));
    let job = prompts(&place, &mock, 200);
    let planned = throng("plan").operand(&job).exits(0);
    let planned = planned.stdout.lines().find(|line| line.starts_with("price")).unwrap().to_owned();
    assert!(planned.contains("for 200 rows: $0.00002"), "{planned}");
    let events = place.path("events.jsonl");
    let ended = ask(&place, &job).arg("--events", &events).flags("--max-wait 60s").exits(0);
    let bill = bill(&place);
    assert!(is_near(&bill["usd"], billed(&mock)), "{bill} and not {}", billed(&mock));
    assert_eq!(bill["unsettled_requests"], 0);
    let usage = mock.judgement().usage;
    assert_eq!(bill["units"]["output_tokens"]["units"], usage.completion_tokens);
    ended.says("bill: $0.00").says("input_tokens");
    let events = place.read("events.jsonl");
    let last = events.lines().rfind(|line| line.contains("\"snapshot\"")).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert!(last["bill"]["usd"].as_f64().unwrap() <= bill["usd"].as_f64().unwrap(), "{last}");
}

#[test]
fn a_budget_is_never_passed_by_four_workers_kills_and_resumes() {
    let latency = "uniform:0ms:20ms".parse().unwrap();
    let (place, mock) = (Place::new(), mock(Settings { latency, ..Settings::default() }));
    let job = prompts(&place, &mock, 3_000);
    // What is in flight at a kill is billed, and may not have arrived. The budget is enough for
    // some 470 answers: the kills come long before its end.
    let ask = |budget: f64, at_a_time: u32| {
        let flags = format!("-w 4 -c {at_a_time} --budget {budget}usd");
        ask(&place, &job).flags(&flags)
    };
    let budget = 0.02;
    for after in [150, 300] {
        let running = ask(budget, 1).start();
        until("some answers", || mock.judgement().usage.answers >= after);
        running.signal("-KILL");
        running.ends();
    }
    // The disk knows the most that a run which was killed can have spent.
    let report = || throng("report").operand(&place.path("out.jsonl")).ends().stderr;
    assert!(report().contains("\nbill: at most $0.0"), "{}", report());
    ask(budget, 1).exits(3).says("the budget of $0.02 (budget or --budget) is used up");
    assert!(billed(&mock) <= budget, "{}", billed(&mock));
    assert!(billed(&mock) >= budget * 0.9, "{}", billed(&mock));
    // What is left is too little for one row; each worker may have a cheaper one.
    let before = mock.judgement().requests;
    ask(budget, 1).exits(3);
    assert!(mock.judgement().requests <= before + 4, "a budget that is used up goes on");
    assert!(billed(&mock) <= budget, "{}", billed(&mock));
    ask(1.0, 10).exits(0);
    let (total, billed) = (bill(&place)["total_usd"].as_f64().unwrap(), billed(&mock));
    assert!(billed <= total && total <= billed * 1.01, "{total} and not {billed}");
    let spent = format!("bill: ${total:.5}");
    assert!(report().contains(&spent[..11]), "no {spent} in {}", report());
    let page = place.path("report.html");
    let report = throng("report").operand(&place.path("out.jsonl")).arg("--html", &page);
    report.arg("--summary-json", &place.path("later.json")).exits(0);
    assert_eq!(place.json("later.json")["spent"]["usd"].as_f64(), Some(total));
    assert!(place.read("report.html").contains("of all runs"), "the page has the bill");
    assert_eq!(place.records("out.jsonl").len(), 3_000);
}

#[test]
fn estimates_that_are_too_low_pass_a_budget_by_one_request_at_most() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = prompts(&place, &mock, 300);
    let ended = ask(&place, &job)
        .flags("--budget 0.003usd --cost output_tokens=1 --cost input_tokens=1 -w 4")
        .exits(3);
    ended.says("requests that cost more than limit.cost (--cost) says");
    assert!(billed(&mock) <= 0.003, "{}", billed(&mock));
}

#[test]
fn requests_have_a_price_and_what_is_not_answered_is_an_estimate() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask_into = |output: &str, path: &str, flags: &str| {
        let url = format!("{}/{path}", mock.url());
        run()
            .files(&place, 4, output)
            .arg("--url", &url)
            .arg("--summary-json", &place.path("summary.json"))
            .flags("--price requests=0.002 --overwrite --no-brake --retries 0")
            .flags(flags)
    };
    let ask = |path: &str, flags: &str| ask_into("out.jsonl", path, flags);
    ask("echo?{{symbol}}", "").exits(0).says("bill: $0.008");
    assert_eq!(bill(&place)["usd"], 0.008);
    // What the server says to be an error is not billed.
    ask("status/404?{{symbol}}", "").exits(1);
    assert_eq!(bill(&place)["usd"], 0.0);
    ask("slow/60000?{{symbol}}", "--timeout 200ms").exits(1).says("is an estimate, for 4 requests");
    let last = bill(&place);
    assert_eq!((&last["usd"], &last["unsettled_requests"]), (&json!(0.008), &json!(4)));
    // A file that is made at the end begins anew, too.
    for _ in 0..2 {
        ask_into("out.parquet", "echo?{{symbol}}", "").exits(0);
        assert_eq!(bill(&place)["total_usd"], 0.008);
    }
}

#[test]
fn a_profile_has_the_published_prices_of_a_model() {
    let (place, mock) = (Place::new(), plain_mock());
    let flags = format!(
        "--api openai --price model=gpt-5.4-nano --url {}/v1/chat/completions --json",
        mock.url()
    );
    let body = r#"{"max_tokens": 50, "messages": [{"role": "user", "content": "{{ symbol }}"}]}"#;
    let ask = |throng: Throng| throng.flags(&flags).operand(body).files(&place, 20, "out.jsonl");
    let planned = ask(throng("plan")).exits(0).stdout;
    for said in [
        "(input_tokens 0.20/1M, output_tokens 1.25/1M)",
        "output_tokens are estimated by length (auto)",
        "the prices of gpt-5.4-nano are those of https://developers.openai.com/api/docs/pricing, read on 2026-11-28",
    ] {
        assert!(planned.contains(said), "no {said:?} in {planned}");
    }
    ask(run()).arg("--summary-json", &place.path("summary.json")).exits(0);
    let usage = mock.judgement().usage;
    let paid = usage.prompt_tokens as f64 * 0.20e-6 + usage.completion_tokens as f64 * 1.25e-6;
    assert!(is_near(&bill(&place)["usd"], paid), "{} and not {paid}", bill(&place));
}

#[test]
fn a_price_or_a_budget_that_can_not_be_kept_is_an_error() {
    for (flags, said) in [
        ("--price tokens=0.15/1M", "nothing says how many tokens a request costs"),
        ("--budget 5usd", "nothing has a price"),
        ("--price requests=cheap", "write dollars per units, such as 0.15/1M"),
        (
            "--price tokens=1/1M --settle tokens=.n --budget 5usd",
            "nothing says how many tokens a request may cost",
        ),
        ("--price requests=1 --budget 5eur", "is no number of dollars"),
        ("--price model=gpt-6-luna", "takes the prices of a profile: give api (--api)"),
        ("--api openai --price model=gpt-0", "has no prices of the model \"gpt-0\""),
        ("--api mistral --price model=x", "it has none"),
    ] {
        let job = run().flags("--url http://127.0.0.1:9/{{line}} -i /dev/null").flags(flags);
        job.exits(2).says(said);
    }
}
