//! Requests through the batch endpoints of providers: each row is paid for once, whatever
//! happens to the run, and ends as a single request would.

use std::collections::BTreeMap;

use serde_json::json;
use throng_mock::{BatchFaults, Mock, Settings};

use crate::harness::{Place, Throng, assert_one_record_per_row, each, mock, run, throng, until};

/// A mock whose batches go like this.
fn provider(batches: &str) -> Mock {
    let batches: BatchFaults = batches.parse().unwrap();
    mock(Settings { batches, ..Settings::default() })
}

/// The providers whose dialects the mock speaks.
const APIS: [&str; 4] = ["openai", "anthropic", "gemini", "mistral"];

/// A job of rows with the prompts `p0`, `p1`, ..., through the batch endpoint of a provider.
struct BatchJob<'a> {
    api: &'a str,
    rows: usize,
    /// The keys of `[batch]`.
    batch: &'a str,
    rest: &'a str,
}

impl BatchJob<'_> {
    fn file(&self, place: &Place, server: &str) -> String {
        let rows = (0..self.rows).fold("prompt\n".to_owned(), |text, n| text + &format!("p{n}\n"));
        let input = place.file("rows.csv", &rows);
        let (path, answer) = match self.api {
            "anthropic" => ("v1/messages", ".content[0].text"),
            "gemini" => ("v1beta/models/m:generateContent", ".candidates[0].content.parts[0].text"),
            _ => ("v1/chat/completions", ".choices[0].message.content"),
        };
        let body = match self.api {
            "gemini" => r#"contents = [{ parts = [{ text = "{{ prompt }}" }] }]"#,
            _ => {
                r#"model = "m", max_tokens = 9, messages = [{ role = "user", content = "{{ prompt }}" }]"#
            }
        };
        let BatchJob { api, batch, rest, .. } = self;
        let text = format!(
            r#"
            batch-api = "{api}"
            [input]
            file = "{input}"
            [request]
            method = "POST"
            url = "{server}/{path}"
            json = {{ {body} }}
            [batch]
            every = "50ms"
            {batch}
            [extract]
            answer = '{answer}'
            [limit]
            linger = "1s"
            {rest}
            "#
        );
        place.file("job.toml", &text)
    }

    fn run(&self, place: &Place, mock: &Mock) -> Throng {
        let job = self.file(place, &mock.url());
        run().flags(&format!("{job} --progress none")).arg("--output", &place.path("out.jsonl"))
    }
}

/// Checks that each of these rows has its answer, and was paid for once.
fn assert_each_paid_once(place: &Place, mock: &Mock, rows: usize) {
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, rows);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["answer"], format!("You asked: p{n}"), "{record}");
        assert_eq!((&record["_ok"], &record["_status"]), (&json!(true), &json!(200)));
    }
    let counts = mock.batches();
    let once =
        |paid: &BTreeMap<String, u64>| paid.len() == rows && paid.values().all(|it| *it == 1);
    assert!(once(&counts.paid) && once(&counts.prompts), "{} paid", counts.paid.len());
    assert!(!std::fs::exists(place.path("out.jsonl.batches")).unwrap(), "the log is left");
}

/// Thousands of rows, of which a tenth expires in each batch, are paid for once although the run
/// is killed twice.
fn survives_crashes(api: &str) {
    let (place, mock) = (Place::new(), provider("time=400ms,expired=10%,failed=2%"));
    const ROWS: usize = 5_000;
    let rest = "[retry]\nretries = 9";
    let job = BatchJob { api, rows: ROWS, batch: "size = 500", rest };
    let running = job.run(&place, &mock).start();
    until("some submissions", || mock.batches().submitted >= 3);
    running.signal("-KILL");
    running.ends();
    let running = job.run(&place, &mock).flags("--resume").start();
    until("some records", || place.read("out.jsonl").lines().count() > 1_000);
    running.signal("-KILL");
    running.ends();
    let ended = job.run(&place, &mock).flags("--resume").exits(0);
    assert_each_paid_once(&place, &mock, ROWS);
    let counts = mock.batches();
    assert!(counts.expired >= 400 && counts.failed >= 50, "{}, {}", counts.expired, counts.failed);
    assert!(ended.stderr.contains("submitted, 0 in progress"), "{}", ended.stderr);
    let attempts = each(&place.records("out.jsonl"), "_attempts");
    assert!(attempts.iter().any(|it| it == 2), "rows that expired have had two batches");
}

#[test]
fn rows_of_openai_s_batches_are_paid_for_once_although_the_run_is_killed() {
    survives_crashes("openai");
}

#[test]
fn rows_of_anthropic_s_batches_are_paid_for_once_although_the_run_is_killed() {
    survives_crashes("anthropic");
}

#[test]
fn what_expires_at_gemini_and_mistral_is_asked_for_again_and_paid_once() {
    // A batch of Gemini's that expires has no results, and a job of Mistral's some.
    for (api, faults) in [("gemini", "expired=4%,failed=5%"), ("mistral", "expired=10%,failed=5%")]
    {
        let (place, mock) = (Place::new(), provider(&format!("time=100ms,{faults}")));
        let job = BatchJob { api, rows: 200, batch: "size = 10", rest: "[retry]\nretries = 9" };
        job.run(&place, &mock).exits(0);
        assert_each_paid_once(&place, &mock, 200);
        let counts = mock.batches();
        assert!(counts.expired >= 10 && counts.failed > 0, "{api}: {} expired", counts.expired);
    }
}

#[test]
fn a_submission_whose_answer_is_lost_is_found_and_not_repeated() {
    for api in APIS {
        let (place, mock) = (Place::new(), provider("lost=60%,time=100ms"));
        let job = BatchJob { api, rows: 60, batch: "size = 10", rest: "" };
        job.run(&place, &mock).exits(0);
        assert_each_paid_once(&place, &mock, 60);
        assert_eq!(mock.batches().submitted, 6);
    }
}

#[test]
fn ctrl_c_leaves_batches_at_the_provider_and_a_resume_collects_them() {
    let (place, mock) = (Place::new(), provider("time=3s"));
    let job = BatchJob { api: "openai", rows: 40, batch: "size = 10", rest: "" };
    let running = job.run(&place, &mock).start();
    let log = place.path("out.jsonl.batches");
    until("all ids in the log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.matches("\"id\"").count() == 4)
    });
    running.signal("-INT");
    let ended = running.ends().with_code(130);
    ended.says("batches go on at the provider, which --resume collects");
    let other = job.run(&place, &mock).flags("--resume -q a=b").exits(2);
    other.says("4 batches of 40 rows");
    let ended = job.run(&place, &mock).flags("--resume").exits(0);
    ended.says("4 batches of 40 rows submitted before: collected");
    assert_each_paid_once(&place, &mock, 40);
    assert_eq!(mock.batches().submitted, 4);
}

#[test]
fn a_row_ends_as_the_record_of_a_single_request() {
    for api in APIS {
        let (place, mock) = (Place::new(), provider("time=0s"));
        let job = BatchJob { api, rows: 3, batch: "", rest: "" };
        job.run(&place, &mock).exits(0);
        let of = |name: &str| {
            let mut records = place.records(name);
            for record in &mut records {
                let record = record.as_object_mut().unwrap();
                record.remove("_ms");
            }
            records
        };
        let batched = of("out.jsonl");
        let text = place.read("job.toml").replace(&format!("batch-api = \"{api}\""), "");
        let single = place.file("single.toml", &text.replace("every = \"50ms\"", ""));
        let out = place.path("single.jsonl");
        run().flags(&format!("{single} --progress none")).arg("--output", &out).exits(0);
        let mut singles = of("single.jsonl");
        singles.sort_by_key(|record| record["_row"].as_u64());
        assert_eq!(batched, singles);
    }
}

#[test]
fn a_request_that_the_provider_refuses_fails_its_row_and_is_not_repeated() {
    let (place, mock) = (Place::new(), provider("time=0s"));
    let job = BatchJob { api: "openai", rows: 4, batch: "", rest: "" };
    job.run(&place, &mock).ends();
    let text = place.read("job.toml").replace("messages = [", "questions = [");
    let job = place.file("job.toml", &text);
    mock.reset();
    let ended = run()
        .flags(&format!("{job} --progress none --overwrite"))
        .arg("--output", &place.path("out.jsonl"))
        .exits(1);
    let records = place.records("out.jsonl");
    assert_eq!(each(&records, "_error"), ["status 400"; 4]);
    assert!(records[0]["_detail"].as_str().unwrap().contains("messages is missing"));
    assert_eq!((mock.batches().submitted, mock.batches().failed), (1, 4));
    ended.says("1 batch submitted, 0 in progress, 1 completed");
}

#[test]
fn a_queue_that_is_full_is_waited_for() {
    let (place, mock) = (Place::new(), provider("queue=25,time=200ms"));
    let job = BatchJob { api: "openai", rows: 60, batch: "size = 10", rest: "" };
    job.run(&place, &mock).exits(0);
    assert_each_paid_once(&place, &mock, 60);
    // The job's own bound keeps the queue from being full: each row has about 25 tokens.
    mock.reset();
    let job = BatchJob { batch: "size = 10\ntokens = 550", ..job };
    job.run(&place, &mock).flags("--overwrite").exits(0);
    assert_eq!(mock.batches().submitted, 6);
}

#[test]
fn every_request_to_the_provider_keeps_the_limit() {
    let limits = vec!["sliding:4/1s".parse().unwrap()];
    let batches = "time=200ms".parse().unwrap();
    let mock = mock(Settings { limits, batches, ..Settings::default() });
    let place = Place::new();
    let rest = "rate = ['4/1s', '100 tokens/1s']\ncost = { tokens = '50' }";
    let job = BatchJob { api: "openai", rows: 30, batch: "size = 10", rest };
    job.run(&place, &mock).exits(0);
    assert_each_paid_once(&place, &mock, 30);
    let judgement = mock.judgement();
    assert_eq!((judgement.refused, judgement.windows[0].most <= 4), (0, true), "{judgement:?}");
    assert!(judgement.requests >= 3 * 4);
}

#[test]
fn a_plan_tells_the_batches_and_what_no_batch_can_do() {
    let (place, mock) = (Place::new(), provider("time=0s"));
    let job = BatchJob { api: "openai", rows: 25, batch: "size = 10", rest: "" };
    let file = job.file(&place, &mock.url());
    let ended = throng("plan").flags(&file).exits(0);
    assert!(
        ended.stdout.contains("3 batches to openai, each of at most 10 rows"),
        "{}",
        ended.stdout
    );
    for (flags, why) in [
        ("--each .a[]", "items.each (--each) makes many records"),
        ("--next link", "pages go on with the answer"),
        ("-X PUT", "POST requests only"),
        ("--idempotency-key auto", "looked for at the provider"),
        ("--batch 50001", "openai takes at most 50000"),
        ("--batch-api azure", "openai, anthropic, gemini, mistral"),
    ] {
        let ended = throng("plan").flags(&file).flags(flags).exits(2);
        assert!(ended.stderr.contains(why), "{flags}: {}", ended.stderr);
    }
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn answers_are_billed_once_and_a_budget_is_not_passed() {
    let (place, mock) = (Place::new(), provider("expired=30%"));
    let rest = "[price]\nrequests = '0.01'\n[retry]\nretries = 9";
    let job = BatchJob { api: "openai", rows: 60, batch: "size = 20", rest };
    let summary = place.path("summary.json");
    job.run(&place, &mock).arg("--summary-json", &summary).exits(0);
    assert!(mock.batches().expired > 0);
    assert_eq!(place.json("summary.json")["bill"]["usd"], json!(0.6));
    let place = Place::new();
    mock.reset();
    let ended = job.run(&place, &mock).flags("--budget 0.5usd").exits(3);
    ended.says("budget");
    assert!(mock.batches().prompts.len() <= 50, "{:?}", mock.batches());
}
