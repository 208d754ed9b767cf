//! Rows that go to the first target that is free, and on where it fails them: the targets' own
//! counts say who was asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use throng_mock::{Judgement, Mock, Settings};

use crate::gateway::{Gateway, Way};
use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, free_port, mock, plain_mock, run, symbols,
    throng, until,
};
use crate::recorder::{Recorder, answer, json as ok};

const ROWS: usize = 60;

/// A job that asks for quotes at two servers, with these further lines of its first target and of
/// its fallback.
fn job(place: &Place, rows: usize, servers: [&str; 2], first: &str, second: &str) -> String {
    let [a, b] =
        servers.map(|server| format!("{server}/v6/finance/quote/?symbols={{{{ symbol }}}}"));
    let (input, output) = (place.file("rows.csv", &symbols(rows)), place.path("out.jsonl"));
    let text = format!(
        r#"
        target = "first"
        input = {{ file = "{input}" }}
        output = {{ file = "{output}", existing = "resume-or-new" }}
        request.url = "{a}"
        extract.price = ".quoteResponse.result[0].regularMarketPreviousClose"
        {first}

        [[fallback]]
        name = "second"
        request.url = "{b}"
        {second}
        "#
    );
    place.file("job.toml", &text)
}

fn ask(place: &Place, job: &str) -> Throng {
    run().operand(job).arg("--summary-json", &place.path("summary.json"))
}

fn limited(limit: &str) -> Mock {
    mock(Settings { limits: vec![limit.parse().unwrap()], ..Settings::default() })
}

/// Checks that each limit was kept, as its server counts.
#[track_caller]
fn assert_kept(mock: &Mock) {
    let judgement = mock.judgement();
    for window in &judgement.windows {
        assert!(window.most <= u64::from(window.units), "{judgement:?}");
    }
}

/// Number of records by the target that they name.
fn by_target(records: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for target in each(records, "_target") {
        *counts.entry(target.as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn the_second_answers_while_the_first_is_out_and_the_first_again_once_it_is_back() {
    const ROWS: usize = 160;
    let (place, first, second) = (Place::new(), limited("40/400ms"), limited("10/500ms"));
    let gateway = Gateway::before(first.addr());
    let job = job(
        &place,
        ROWS,
        [&gateway.url(), &second.url()],
        "limit = { rate = \"40/400ms\", linger = \"100ms\" }\n\
         retry = { retries = 0, outage-after = \"100ms\", outage-failures = 3 }\n\
         send = { timeout = \"500ms\", connect-timeout = \"300ms\" }\n\
         workers = { count = 2, concurrency = 5 }",
        "limit.rate = \"10/500ms\"",
    );
    let running = ask(&place, &job).start();
    until("answers of the first", || first.judgement().requests >= 20);
    gateway.turn(Way::Refuse);
    until("answers of the second", || second.judgement().requests >= 20);
    gateway.turn(Way::Through);
    let before = first.judgement().requests;
    until("the first again", || first.judgement().requests >= before + 10);
    running.ends().with_code(0).says("rows ok by target: first");
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    let by_target = by_target(&records);
    assert_eq!(place.json("summary.json")["targets"], json!(by_target));
    assert_eq!(by_target["second"], second.judgement().requests, "no answer was lost");
    assert_eq!(by_target["first"] + by_target["second"], ROWS as u64);
    assert_kept(&first);
    assert_kept(&second);
}

#[test]
fn the_second_answers_once_the_quota_of_the_first_is_gone_and_its_limit_holds() {
    let (place, first, second) = (Place::new(), limited("10/1h"), limited("15/300ms"));
    let servers = [&*first.url(), &*second.url()];
    let second_limit = "limit.rate = \"15/300ms\"";
    ask(&place, &job(&place, ROWS, servers, "limit.rate = \"10/1h\"", second_limit)).exits(0);
    let records = place.records("out.jsonl");
    assert_eq!(by_target(&records), counts([("first", 10), ("second", 50)]));
    assert_one_record_per_row(&records, ROWS);
    assert_kept(&first);
    assert_kept(&second);
    assert_eq!((first.judgement().requests, second.judgement().requests), (10, 50));
}

#[test]
fn a_server_that_says_that_its_quota_is_gone_is_left_alone() {
    let (place, first, second) = (Place::new(), limited("10/1h"), plain_mock());
    let servers = [&*first.url(), &*second.url()];
    ask(&place, &job(&place, ROWS, servers, "workers.count = 1", "")).exits(0);
    let records = place.records("out.jsonl");
    assert_eq!(by_target(&records), counts([("first", 10), ("second", 50)]));
    let Judgement { refused, .. } = first.judgement();
    assert!(refused > 0, "it says when it takes requests again");
    assert_eq!(second.judgement().requests, 50);
}

#[test]
fn a_window_that_opens_soon_is_waited_for() {
    let (place, first, second) = (Place::new(), limited("20/300ms"), plain_mock());
    let servers = [&*first.url(), &*second.url()];
    ask(&place, &job(&place, ROWS, servers, "limit.rate = \"20/300ms\"", "")).exits(0);
    assert_eq!(first.judgement().requests, ROWS as u64);
    let (place, first) = (Place::new(), limited("20/300ms"));
    let servers = [&*first.url(), &*second.url()];
    let impatient = "after = \"10ms\"\nlimit.rate = \"1000/1s\"";
    ask(&place, &job(&place, ROWS, servers, "limit.rate = \"20/300ms\"", impatient)).exits(0);
    assert_eq!(first.judgement().requests + second.judgement().requests, ROWS as u64);
    assert!(second.judgement().requests > 0);
    assert_kept(&first);
}

#[test]
fn where_no_target_is_free_rows_wait_and_all_limits_hold() {
    let (place, first, second) = (Place::new(), limited("10/400ms"), limited("5/400ms"));
    let servers = [&*first.url(), &*second.url()];
    let second_limit = "after = \"10ms\"\nlimit.rate = \"5/400ms\"";
    ask(&place, &job(&place, ROWS, servers, "limit.rate = \"10/400ms\"", second_limit)).exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    let asked = [&first, &second].map(|mock| mock.judgement().requests);
    assert!(asked[0] + asked[1] == ROWS as u64 && asked[1] > 5, "{asked:?}");
    assert_kept(&first);
    assert_kept(&second);
}

#[test]
fn the_third_answers_where_one_is_out_and_another_has_no_quota_left() {
    let (place, second, third) = (Place::new(), limited("3/1h"), plain_mock());
    let out = format!("http://127.0.0.1:{}", free_port());
    let others = format!(
        "limit.rate = \"3/1h\"\n[[fallback]]\nname = \"third\"\nrequest.url = \"{}/v6/finance/quote/?symbols={{{{ symbol }}}}\"",
        third.url()
    );
    let job = job(&place, ROWS, [&out, &second.url()], QUICK, &others);
    ask(&place, &job).exits(0);
    let limits = place.json("summary.json")["limits"].clone();
    assert_eq!((&limits[0]["rate"], &limits[0]["target"]), (&json!("3/1h"), &json!("second")));
    let by_target = by_target(&place.records("out.jsonl"));
    assert_eq!(by_target, counts([("second", 3), ("third", ROWS as u64 - 3)]));
    assert_eq!((second.judgement().requests, third.judgement().requests), (3, ROWS as u64 - 3));
}

#[test]
fn a_run_ends_where_no_target_is_worth_waiting_for_and_resume_goes_on() {
    let (place, first, second) = (Place::new(), limited("10/1h"), plain_mock());
    let gateway = Gateway::before(second.addr());
    gateway.turn(Way::Refuse);
    let servers = [&*first.url(), &*gateway.url()];
    let job = job(&place, ROWS, servers, &format!("limit.rate = \"10/1h\"\n{QUICK}"), "");
    let ended = ask(&place, &job).flags("--max-wait 1s").exits(3);
    ended.says("no target is free: first: the next request would have to wait for 10/1h");
    let records = place.records("out.jsonl");
    assert!(records.len() == 10 && records.iter().all(|record| record["_ok"] == true));
    gateway.turn(Way::Through);
    ask(&place, &job).exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    assert_eq!(by_target(&records), counts([("first", 10), ("second", 50)]));
}

#[test]
fn two_runs_in_a_row_keep_the_limits_of_each_target_and_verify_proves_it() {
    let (place, first, second) = (Place::new(), limited("20/1h"), limited("50/1h"));
    let failing = Recorder::answering(|_| answer("404 Not Found", &[], "{}"));
    let servers = [&*failing.url(), &*first.url()];
    let others = format!(
        "on = \"404\"\nlimit.rate = \"20/1h\"\n[[fallback]]\nname = \"third\"\n\
         request.url = \"{}/v6/finance/quote/?symbols={{{{ symbol }}}}\"\nlimit.rate = \"50/1h\"",
        second.url()
    );
    let job = job(&place, 30, servers, "limit.rate = \"1000/1s\"", &others);
    let outputs = ["one.jsonl", "two.jsonl"].map(|name| place.path(name));
    let mut asked = Vec::new();
    for output in &outputs {
        ask(&place, &job).arg("-o", output).exits(0);
        asked.push([&first, &second].map(|mock| mock.judgement().requests));
    }
    assert_eq!(asked, [[20, 10], [20, 40]], "the second run knows what the first has used");
    assert!([&first, &second].iter().all(|mock| mock.judgement().refused == 0));
    assert_kept(&first);
    assert_kept(&second);
    let verify =
        |files: &[String]| files.iter().fold(throng("verify"), |it, file| it.operand(file));
    let proven = verify(&outputs).exits(0);
    for limit in ["20/1h of second: at most 20 of 20", "50/1h of third: at most 40 of 50"] {
        assert!(proven.stdout.contains(limit), "{}", proven.stdout);
    }
    assert!(proven.stdout.contains("(60 requests of 2 runs together)"), "{}", proven.stdout);
    // What is not kept is seen.
    let moved = place.read("two.jsonl").replace("\"_target\":\"third\"", "\"_target\":\"second\"");
    place.file("two.jsonl", &moved);
    let unproven = verify(&outputs).exits(1).stdout;
    assert!(unproven.contains("20/1h of second: NOT PROVEN: up to 50"), "{unproven}");
}

/// The target and the price of each record, by its symbol.
fn answers(records: &[Value], name: &str) -> BTreeMap<String, [Value; 2]> {
    let answer = |record: &Value| [record["_target"].clone(), record[name].clone()];
    records.iter().map(|record| (record["symbol"].to_string(), answer(record))).collect()
}

#[test]
fn a_kept_answer_of_any_target_is_not_asked_for_again_unless_its_question_changes() {
    let (place, first, second) = (Place::new(), failing("404 No"), plain_mock());
    let kept = format!("store = \"{}\"\nretry = {{ retries = 0 }}", place.path("answers"));
    let servers = [&*first.url(), &*second.url()];
    let job_of = |servers| job(&place, 6, servers, &kept, "on = \"404\"");
    let plain = job_of(servers);
    let asked = || (first.came().len(), second.judgement().requests);
    ask(&place, &plain).exits(0);
    let found = answers(&place.records("out.jsonl"), "price");
    assert_eq!((asked(), &found["\"S3\""][0]), ((6, 1), &json!("second")));
    let planned = throng("plan").operand(&plain).flags("--overwrite").exits(0).stdout;
    assert!(planned.contains("0 for 6 rows: 6 have their answer in"), "{planned}");
    ask(&place, &plain).flags("--overwrite --offline").exits(0);
    let again = place.records("out.jsonl");
    assert_eq!((asked(), answers(&again, "price")), ((6, 1), found));
    assert!(again.iter().all(|it| it["_stored"] == true && it["_attempts"] == 0), "{again:?}");
    let text = place.read("job.toml");
    // Other values of the same answers, though the first would answer now.
    let renamed = place.file("renamed.toml", &text.replace("extract.price", "extract.cost"));
    ask(&place, &renamed).flags("--overwrite --offline").exits(0);
    assert_eq!((asked(), place.records("out.jsonl").len()), ((6, 1), 6));
    // The fallback would be asked in another way.
    let at = text.rfind("/v6").unwrap();
    let changed = format!("{}/v7{}", &text[..at], &text[at + 3..]);
    ask(&place, &place.file("fallback.toml", &changed)).flags("--overwrite").ends();
    assert_eq!(asked(), (7, 2), "S3 alone");
    let changed = text.replacen("/v6", "/v7", 1);
    ask(&place, &place.file("question.toml", &changed)).flags("--overwrite").ends();
    assert_eq!(asked(), (13, 3), "all of them");
}

#[test]
fn rows_with_the_same_question_are_asked_for_once_whoever_answers() {
    let (place, first, second) = (Place::new(), limited("10/1h"), limited("30/500ms"));
    let servers = [&*first.url(), &*second.url()];
    let job = job(
        &place,
        0,
        servers,
        "limit.rate = \"10/1h\"\ndedupe = true\nworkers = { count = 2, concurrency = 5 }",
        "limit = { rate = \"30/500ms\", linger = \"100ms\" }",
    );
    let rows: Vec<String> = (0..200).map(|n| format!("S{}", n % 120)).collect();
    place.file("rows.csv", &format!("symbol\n{}\n", rows.join("\n")));
    let running = ask(&place, &job).start();
    until("some answers", || second.judgement().requests >= 40);
    running.signal("-KILL");
    running.ends();
    ask(&place, &job).exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 200);
    let mut by_symbol = BTreeMap::new();
    for record in &records {
        let answer = [record["_target"].clone(), record["price"].clone()];
        let known = by_symbol.entry(record["symbol"].to_string()).or_insert(answer.clone());
        assert_eq!(*known, answer, "{record}");
    }
    let asked = first.judgement().requests + second.judgement().requests;
    assert!((120..=130).contains(&asked), "{asked}: those in flight at the kill alone again");
    assert_kept(&first);
    assert_kept(&second);
}

/// Outages are seen soon.
const QUICK: &str = "retry = { retries = 0, outage-after = \"100ms\", outage-failures = 3 }\n\
                     send.connect-timeout = \"300ms\"\nworkers = { count = 2, concurrency = 5 }";

/// A server that fails S3 with this status.
fn failing(status: &'static str) -> Recorder {
    Recorder::answering(move |came| {
        if came.line.contains("=S3 ") { answer(status, &[], "{}") } else { quote() }
    })
}

fn quote() -> String {
    ok(r#"{"quoteResponse": {"result": [{"regularMarketPreviousClose": 1}]}}"#)
}

/// The record of S3, where a first server fails it.
fn failed_row(status: &'static str, first: &str, second: &str) -> (Value, usize) {
    let (place, failing, other) = (Place::new(), failing(status), Recorder::answering(|_| quote()));
    let servers = [&*failing.url(), &*other.url()];
    ask(&place, &job(&place, 6, servers, first, second)).ends();
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 6);
    let others = records.iter().filter(|record| record["symbol"] != "S3");
    assert!(others.clone().all(|record| record["_target"] == "first"));
    let found = records.iter().find(|record| record["symbol"] == "S3").unwrap();
    (found.clone(), other.came().len())
}

#[test]
fn a_row_that_another_server_may_answer_goes_on_and_others_do_not() {
    const ONCE: &str = "retry = { retries = 0 }";
    const POST: &str = "retry = { retries = 0 }\nrequest.method = \"POST\"";
    const REPEATABLE: &str =
        "retry = { retries = 0, unknown = \"resend\" }\nrequest.method = \"POST\"";
    for (status, first, second, goes_on) in [
        ("500 Oops", ONCE, "", true),
        ("403 Forbidden", ONCE, "", true),
        ("404 Not Found", ONCE, "", false),
        ("422 Wrong", ONCE, "", false),
        ("404 Not Found", ONCE, "on = \"404,410\"", true),
        ("500 Oops", POST, "", false),
        ("401 Who", POST, "", true),
        ("500 Oops", REPEATABLE, "", true),
    ] {
        let (record, asked) = failed_row(status, first, second);
        let is_on = (record["_target"] == "second", asked == 1);
        assert_eq!(is_on, (goes_on, goes_on), "{status}, {first}, {second}: {record}");
        assert_eq!((&record["_ok"], &record["_attempts"]), (&json!(goes_on), &json!(1 + asked)));
    }
    // A rule of the job that calls an answer a failure decides.
    let rule = format!("{ONCE}\nanswer = [{{ status = 500, then = \"fail\" }}]");
    assert_eq!(failed_row("500 Oops", &rule, "").1, 0);
}

/// A server that fails each row.
fn failing_all(status: &'static str) -> Recorder {
    Recorder::answering(move |_| answer(status, &[], "{}"))
}

/// No row is tried again at its target, however many fail.
const AT_ONCE: &str = "retry = { retries = 0, brake = false }";

#[test]
fn a_row_that_one_target_has_failed_waits_for_the_limit_of_the_next() {
    let (place, second) = (Place::new(), limited("5/300ms"));
    let servers = [&*failing_all("500 Oops").url(), &*second.url()];
    let second_limit = "after = \"10ms\"\nlimit.rate = \"5/300ms\"";
    ask(&place, &job(&place, 20, servers, AT_ONCE, second_limit)).exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 20);
    assert_eq!(by_target(&records), counts([("second", 20)]));
    assert_eq!(second.judgement().requests, 20, "each was asked for once");
    assert_kept(&second);
}

#[test]
fn a_row_that_one_target_has_failed_waits_for_one_that_comes_back_as_long_as_it_may() {
    let (place, first, second) = (Place::new(), failing_all("404 Not Found"), limited("3/1h"));
    let gateway = Gateway::before(second.addr());
    gateway.turn(Way::Refuse);
    let servers = [&*first.url(), &*gateway.url()];
    let soon =
        "retry = { retries = 0, brake = false, outage-after = \"100ms\", outage-failures = 3 }";
    let job = job(&place, 6, servers, soon, "on = \"404\"\nlimit.rate = \"3/1h\"");
    let events = place.path("events.jsonl");
    let running = ask(&place, &job).flags("--max-wait 30s").arg("--events", &events).start();
    // Before an outage is known, an answer to one row would be the failure of the others.
    let has = |text: &str| std::fs::read_to_string(&events).is_ok_and(|it| it.contains(text));
    until("the outage of the second", || has("\"breaker_opened\""));
    until("the rows at the first", || first.came().len() == 6);
    gateway.turn(Way::Through);
    running.ends().with_code(1);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 6);
    assert_eq!((by_target(&records)["second"], first.came().len()), (3, 6));
    let failed = records.iter().find(|record| record["_ok"] == false).unwrap();
    assert_eq!((&failed["_target"], &failed["_error"]), (&json!("first"), &json!("status 404")));
    assert!(failed["_detail"].as_str().unwrap().ends_with("; second was not free"), "{failed}");
    assert_kept(&second);
}

#[test]
fn a_row_that_fails_everywhere_says_so_and_a_refused_key_is_given_up() {
    let place = Place::new();
    let no_key = Recorder::answering(|_| answer("401 Unauthorized", &[], "{}"));
    let second = failing("500 Oops");
    let servers = [&*no_key.url(), &*second.url()];
    let job = job(&place, ROWS, servers, "workers.count = 1\nretry = { retries = 0 }", "");
    ask(&place, &job).exits(1).says("first has refused the credentials of 20 rows");
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    let failed = records.iter().find(|record| record["symbol"] == "S3").unwrap();
    assert_eq!((&failed["_target"], &failed["_error"]), (&json!("second"), &json!("status 500")));
    assert!(
        failed["_detail"].as_str().unwrap().ends_with("before that, first: status 401"),
        "{failed}"
    );
    // Those that were in flight when it was known.
    assert!(no_key.came().len() < ROWS, "{}", no_key.came().len());
}

#[test]
fn kills_and_resumes_leave_each_row_one_record_and_both_limits_hold() {
    let (place, first, second) = (Place::new(), limited("20/1h"), limited("40/500ms"));
    let servers = [&*first.url(), &*second.url()];
    let job = job(
        &place,
        300,
        servers,
        "limit.rate = \"20/1h\"\nworkers = { count = 2, concurrency = 5 }",
        "limit = { rate = \"40/500ms\", linger = \"100ms\" }",
    );
    for asked in [40, 120] {
        let running = ask(&place, &job).start();
        until("some answers", || second.judgement().requests >= asked);
        running.signal("-KILL");
        running.ends();
    }
    ask(&place, &job).exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 300);
    let by_target = by_target(&records);
    assert_eq!(place.json("summary.json")["targets"], json!(by_target));
    // A kill may lose all that the first one has answered.
    let of_first = by_target.get("first").copied().unwrap_or_default();
    assert!(of_first <= 20 && of_first + by_target["second"] == 300, "{by_target:?}");
    assert!(first.judgement().requests <= 20);
    assert_kept(&first);
    assert_kept(&second);
}

#[test]
fn each_target_has_a_price_and_an_answer_that_fails_the_check_goes_on() {
    let completion = |text: &'static str| {
        Recorder::answering(move |_| ok(&json!({"text": text, "usage": {"n": 10}}).to_string()))
    };
    let (place, cheap, dear) = (Place::new(), completion("no"), completion("yes"));
    let job = place.file(
        "job.toml",
        &format!(
            r#"
            price = {{ tokens = "1/1k" }}
            budget = "5usd"
            check = '.text == "yes"'
            input.list = [{{ q = "a" }}, {{ q = "b" }}]
            request = {{ url = "{}/chat", json = {{ model = "small", prompt = "{{{{ q }}}}" }} }}
            limit = {{ cost = {{ tokens = "20" }}, settle = {{ tokens = ".usage.n" }} }}
            retry.unknown = "resend"
            extract.text = ".text"

            [[fallback]]
            request = {{ url = "{}/chat", json.model = "large" }}
            limit.rate = "1000/1s"
            price.tokens = "10/1k"
            "#,
            cheap.url(),
            dear.url()
        ),
    );
    let planned = throng("plan").operand(&job).exits(0).stdout;
    let target = format!("{}/chat, under 1000/1s, at tokens 10/1k", dear.url());
    assert!(planned.contains(&target) && planned.contains("; by 127.0.0.1:"), "{planned}");
    let ended = ask(&place, &job).exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "text"), ["yes", "yes"]);
    assert_eq!(each(&records, "_target"), [dear.addr().to_string(), dear.addr().to_string()]);
    let asked = dear.came().into_iter().map(|came| serde_json::from_str(&came.text()).unwrap());
    let mut asked: Vec<Value> = asked.collect();
    asked.sort_by_key(|body| body["prompt"].to_string());
    assert_eq!(each(&asked, "prompt"), ["a", "b"]);
    assert_eq!(each(&asked, "model"), ["large", "large"]);
    let bill = &place.json("summary.json")["bill"];
    // 2 times 10 tokens of each, at 0.001 and at 0.01 dollars.
    assert_eq!((&bill["usd"], &bill["units"]["tokens"]["units"]), (&json!(0.22), &json!(40)));
}

#[test]
fn a_target_gets_its_own_key_and_never_that_of_another() {
    let (place, no_key) = (Place::new(), Recorder::answering(|_| answer("401 Who", &[], "{}")));
    let second = Recorder::answering(|_| quote());
    let job = job(
        &place,
        3,
        [&no_key.url(), &second.url()],
        "request.headers = { authorization = \"Bearer {{ env.FIRST_KEY }}\", accept = \"*/*\" }\n\
         request.query.sig = \"{{ env.FIRST_KEY }}\"",
        "request.headers.x-api-key = \"{{ env.SECOND_KEY }}\"",
    );
    let keys = |throng: Throng| {
        throng.env("FIRST_KEY", "first-key-1234").env("SECOND_KEY", "second-key-5678")
    };
    let planned = keys(throng("plan").operand(&job)).exits(0).stdout;
    keys(ask(&place, &job).flags("--allow-plain")).exits(0);
    assert_eq!(second.came().len(), 3);
    for came in second.came() {
        assert_eq!(came.header("x-api-key"), Some("second-key-5678"));
        assert!(!format!("{came:?}").contains("first-key"), "{came:?}");
    }
    assert!(no_key.came().iter().all(|came| !format!("{came:?}").contains("second-key")));
    assert!(!planned.contains("-key-"), "{planned}");
    assert!(!place.read("out.jsonl").contains("-key-"));
}

#[test]
fn what_a_fallback_can_not_do_is_said() {
    let place = Place::new();
    let servers = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    for (first, second, said) in [
        ("items.each = \".items[]\"", "", "pages (--next, --page, --offset) and items"),
        ("save = \"{{ symbol }}.json\"", "", "[[fallback]]: save (--save)"),
        (
            "request.method = \"POST\"\nsend.follow = 1",
            "",
            "send.follow (--follow) goes on with a request that must not be sent twice",
        ),
        ("", "extract.other = \".x\"", "fallback 1: extract has other names than the job's"),
        ("", "[[fallback]]\nname = \"first\"", "two targets are called \"first\""),
        ("", "after = \"soon\"", "line"),
        ("", "wait = \"1s\"", "unknown field `wait`"),
        (
            "request.json = { key = \"{{ env.FIRST_KEY }}\" }",
            "",
            "fallback 1: request.json has a secret of the job, which would go to another server",
        ),
    ] {
        let job = job(&place, 3, servers, first, second);
        ask(&place, &job).env("FIRST_KEY", "first-key-1234").exits(2).says(said);
    }
}
