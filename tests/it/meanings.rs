//! The table of answers: what each row of it makes of an answer, by flags and by a job file.

use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{Ended, Place, Throng, each, plain_mock, run, throng};
use crate::verdicts::record;

/// Asks for this path with one row, whose `id` is `only`.
fn ask(mock: &Mock, path: &str, rule: &str, flags: &str) -> Ended {
    let place = Place::new();
    let input = place.file("rows.csv", "id\nonly\n");
    run()
        .arg("--url", &format!("{}{}", mock.url(), escaped(path)))
        .arg("--input", &input)
        .arg("--answer", rule)
        .flags(flags)
        .ends()
}

/// The path as a URL may have it.
fn escaped(path: &str) -> String {
    path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")
}

/// Twelve rows, of which two get the status of `CODE`.
fn twelve(place: &Place, mock: &Mock, output: &str, code: &str) -> Throng {
    run().files(place, 12, output).with_two_statuses(&mock.url(), code)
}

/// Records in the order of their lines.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn missing_rows_are_done_without_a_value_in_every_format() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "out.db"] {
        let (place, mock) = (Place::new(), plain_mock());
        let summary = place.path("summary.json");
        let ask = || {
            let rule = "404 = missing";
            twelve(&place, &mock, output, "404").arg("--answer", rule).arg("-s", "count(path)")
        };
        let ended = ask().arg("--summary-json", &summary).exits(0);
        ended.says("12 rows: 12 ok (2 missing), 0 failed").says("count(path)  10");
        let summary = place.json("summary.json");
        assert_eq!((&summary["ok"], &summary["missing"]), (&json!(12), &json!(2)), "{output}");
        assert_eq!(summary["failures"], json!([]));
        assert_eq!(mock.judgement().requests, 12);
        // Neither is asked again, whatever is done about failures.
        for flags in ["--resume", "--retry-failed"] {
            ask().flags(flags).exits(0).says("12 more done before");
        }
        assert_eq!(mock.judgement().requests, 12, "{output}");
        let results = place.path(output);
        let report = throng("report").flags(&results).arg("-s", "count(path)").exits(0);
        let shown = report.stdout + &report.stderr;
        assert!(shown.contains("12 ok (2 missing), 0 failed"), "{shown}");
        assert!(shown.contains("count(path)  10"), "{shown}");
        let table = place.path("table.jsonl");
        throng("convert").flags(&format!("{results} {table}")).exits(0);
        let mut missing: Vec<Value> = lines(&place.read("table.jsonl"))
            .into_iter()
            .filter(|it| it["_error"] == "missing")
            .collect();
        missing.sort_by_key(|record| record["symbol"].to_string());
        assert_eq!(each(&missing, "symbol"), ["S3", "S9"], "{output}");
        for record in missing {
            assert!([json!(true), json!("true")].contains(&record["_ok"]), "{record}");
            assert_eq!(record["_detail"], "status 404: {}");
            assert!(record["path"].is_null() || record["path"] == "", "{record}");
        }
    }
}

#[test]
fn a_status_that_is_to_be_retried_is_no_refusal() {
    let mock = plain_mock();
    for status in [404, 429] {
        mock.reset();
        let (place, path) = (Place::new(), format!("/flaky/1/{status}?status={status}"));
        let summary = place.path("summary.json");
        let flags = format!("--summary-json {summary}");
        let rule = format!("{status} = retry 10ms");
        let ended = ask(&mock, &path, &rule, &flags).with_code(0);
        ended.says("1 retry, 0 refused (429)");
        assert_eq!(record(&ended)["_attempts"], 2);
        assert_eq!(mock.judgement().requests, 2);
        assert_eq!(place.json("summary.json")["refused"], 0);
    }
}

#[test]
fn a_retry_holds_up_no_other_row() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "path\nflaky/1/a?status=429\necho/1\necho/2\necho/3\n");
    let ended = run()
        .arg("--url", &format!("{}/{{{{ path | safe }}}}", mock.url()))
        .arg("--input", &input)
        .arg("--answer", "429 = retry 1s")
        .flags("--workers 1 --concurrency 2 --rate 100/1s")
        .exits(0);
    assert_eq!(each(&lines(&ended.stdout), "_row"), [1, 2, 3, 0]);
}

#[test]
fn retries_end_with_the_number_that_is_allowed() {
    let mock = plain_mock();
    let ended = ask(&mock, "/status/404", "404 = retry 1ms", "--retries 2").with_code(1);
    assert_eq!(record(&ended)["_error"], "status 404");
    assert_eq!(mock.judgement().requests, 3);
}

#[test]
fn a_post_is_sent_again_where_a_rule_says_that_nothing_was_done() {
    let (place, mock) = (Place::new(), plain_mock());
    let path = "/flaky/1/a?status=500";
    let flags = format!("--method POST --output {}", place.path("out.jsonl"));
    ask(&mock, path, "500 = retry 1ms", &flags).with_code(0);
    assert_eq!(mock.judgement().requests, 2);
}

#[test]
fn a_rule_fails_rows_at_once_also_with_a_200() {
    let mock = plain_mock();
    let path = r#"/status/200?body={"error":"no+quota"}"#;
    for (path, rule, kind) in
        [("/status/500", "500 = fail", "status 500"), (path, "200 .error = fail", "status 200")]
    {
        mock.reset();
        let ended = ask(&mock, path, rule, "").with_code(1);
        assert_eq!(record(&ended)["_error"], kind);
        assert_eq!(mock.judgement().requests, 1);
    }
    let ended = ask(&mock, path, "200 .error = fail", "").with_code(1);
    assert_eq!(record(&ended)["_detail"], r#"{"error":"no quota"}"#);
}

#[test]
fn a_rule_with_a_name_names_the_failure_and_the_rows_to_retry() {
    let (place, mock) = (Place::new(), plain_mock());
    let path = r#"/status/200?body={"error":"no+quota"}"#;
    let input = place.file("rows.csv", "id\nonly\n");
    let ask = |flag: &str| {
        run()
            .arg("--url", &format!("{}{}", mock.url(), escaped(path)))
            .arg("--input", &input)
            .arg("--output", &place.path("out.jsonl"))
            .arg("--answer", "200 .error = fail no quota left")
            .arg(flag, "--quiet")
            .exits(1)
            .says("1 of 1 row failed: rule no quota left (1)");
        mock.judgement().requests
    };
    assert_eq!(ask("--overwrite"), 1);
    assert_eq!(place.records("out.jsonl")[0]["_error"], "rule no quota left");
    assert_eq!(ask("--retry-failed=rule another"), 1, "that row failed by another rule");
    assert_eq!(ask("--retry-failed=rule no quota left"), 2);
}

#[test]
fn an_error_s_body_has_values_where_it_is_ok() {
    let mock = plain_mock();
    let path = r#"/status/404?body={"a":7}"#;
    let ended = ask(&mock, path, "404 = ok", "--extract a=.a").with_code(0);
    let record = record(&ended);
    assert_eq!((&record["a"], &record["_status"]), (&json!(7), &json!(404)));
}

#[test]
fn a_refusal_by_a_rule_waits_and_uses_no_retry_up() {
    let mock = plain_mock();
    let flags = "--retries 0 --extract tries=.tries";
    let ended = ask(&mock, "/flaky/1/a?status=403", "403 = refusal 10ms", flags).with_code(0);
    ended.says("1 refused (not by 429)");
    assert_eq!(record(&ended)["tries"], 2);
}

#[test]
fn an_answer_stops_the_run_which_is_resumed_later() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = |code: &str| {
        twelve(&place, &mock, "out.jsonl", code)
            .arg("--answer", "402 = stop")
            .flags("--mode sync --workers 1")
    };
    let ended = ask("402").exits(3);
    ended.says(
        "stopped: the server answered status 402: {}; a rule ends the run (answer 1: 402 = stop)",
    );
    assert_eq!(each(&place.records("out.jsonl"), "_row"), [0, 1, 2]);
    assert_eq!(mock.judgement().requests, 4);
    ask("200").flags("--resume").exits(0);
    assert_eq!(place.records("out.jsonl").len(), 12);
    assert_eq!(mock.judgement().requests, 13);
}

#[test]
fn pages_end_at_an_answer_and_a_list_without_any_is_empty_or_missing() {
    let mock = plain_mock();
    for (broken, meaning, ids, errors) in
        [(20, "end", 20, 0), (20, "missing", 20, 0), (0, "end", 1, 0), (0, "missing", 1, 1)]
    {
        let path = format!("/list/100?size=10&broken={broken}");
        let flags = "--page page --each .items[] --extract number=.id";
        let ended = ask(&mock, &path, &format!("500 = {meaning}"), flags).with_code(0);
        let records = lines(&ended.stdout);
        assert_eq!(records.len(), ids, "{meaning}: {}", ended.stdout);
        assert!(records.iter().all(|record| record["_ok"] == true));
        let missing = records.iter().filter(|record| record["_error"] == "missing");
        assert_eq!(missing.count(), errors, "{meaning}");
    }
    // Pages in parallel, too.
    let flags = "--page page --page-count .pages --each .items[] --extract number=.id";
    let ended = ask(&mock, "/list/100?size=10&broken=50", "500 = end", flags).with_code(0);
    assert_eq!(ended.stdout.lines().count(), 50);
}

#[test]
fn headers_body_and_row_choose_the_rule_and_the_first_one_counts() {
    let mock = plain_mock();
    for (path, rule, error) in [
        ("/status/403?retry_after=7", "403 Retry-After: 7* = missing", "missing"),
        ("/status/403?retry_after=17", "403 Retry-After: 7* = missing", "status 403"),
        (r#"/status/200?body={"a":null}"#, ".a == null = missing", "missing"),
        (r#"/status/200?body={"a":1}"#, ".a == null = missing", ""),
        ("/status/200?body=Busy", "test(\"Busy\") = missing", "missing"),
        ("/status/404", "$status == 404 and $row.id == \"only\" = missing", "missing"),
        ("/status/404", "$headers[\"content-type\"] == \"text/html\" = missing", "status 404"),
        ("/status/404?x=1", "$url | test(\"x=1\") = missing", "missing"),
    ] {
        let ended = ask(&mock, path, rule, "");
        let found = record(&ended)["_error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(found, error, "{path} {rule}");
    }
    let first = ask(&mock, "/status/404", "4xx = missing", "--answer 404=fail").with_code(0);
    assert_eq!(record(&first)["_error"], "missing");
}

#[test]
fn values_items_and_pages_read_the_head_of_the_answer_and_the_row() {
    let mock = plain_mock();
    let place = Place::new();
    let input = place.file("rows.csv", "id\nonly\n");
    let ask =
        |path: &str| run().arg("--url", &format!("{}{path}", mock.url())).arg("--input", &input);
    let values = |throng: Throng| {
        throng
            .arg("-e", "status=$status")
            .arg("-e", "type=$headers[\"content-type\"]")
            .arg("-e", "url=$url | test(\"x=1\")")
            .arg("-e", "own=$row.id + \"!\"")
    };
    let assert_read = |record: &Value| {
        let found = ["status", "type", "url", "own"].map(|name| record[name].clone());
        assert_eq!(found, [json!(200), json!("application/json"), json!(true), json!("only!")]);
    };
    assert_read(&record(&values(ask("/echo?x=1")).exits(0)));
    // In each record of an item, and of pages that a program ends.
    let listed =
        ask("/list/30?size=10&x=1").flags("--page page").arg("--each", ".items[] + {s: $status}");
    let ended = values(listed.arg("--until", "$url | test(\"page=2\")")).exits(0);
    let records = lines(&ended.stdout);
    assert_eq!(records.len(), 20);
    records.iter().for_each(assert_read);
    // And of a batch.
    let batch = ask("/batch?x=1&ids={{ id | join(',') }}")
        .flags("--batch 5 --match id=.id --each .found[]");
    assert_read(&record(&values(batch).exits(0)));
    // Where there is no answer, a program that names one is wrong.
    let wrong = ask("/echo").arg("--rate", "9 tokens/1s").flags("--cost tokens=1");
    wrong.arg("--settle", "tokens=$status").exits(2).says("undefined");
}

#[test]
fn a_job_s_rules_come_after_those_of_flags() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = place.file(
        "job.toml",
        &format!(
            r#"
            [input]
            list = [{{ code = 404 }}, {{ code = 410 }}, {{ code = 500 }}, {{ code = 502 }}]
            [request]
            url = "{}/status/{{{{ code }}}}"
            [retry]
            retries = 1
            [[answer]]
            status = ["404", 410]
            then = "missing"
            [[answer]]
            status = "5xx"
            then = "fail"
            "#,
            mock.url()
        ),
    );
    let ended = run().flags(&job).arg("--answer", "410,502 = ok").exits(1);
    let records = ended.records();
    let errors = [json!("missing"), Value::Null, json!("status 500"), Value::Null];
    assert_eq!(each(&records, "_error"), errors);
    assert_eq!(each(&records, "_attempts"), [1, 1, 1, 1]);
}

#[test]
fn a_step_of_a_chain_has_rules_of_its_own() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = place.file(
        "job.toml",
        &format!(
            r#"
            [input]
            list = [{{ id = "7" }}, {{ id = "nothing" }}]
            [request]
            url = "{url}/echo/{{{{ id }}}}"
            [extract]
            path = ".path"
            [[step]]
            request.url = "{url}/detail/{{{{ id }}}}"
            extract.price = ".price"
            answer = [{{ status = 404, then = "missing" }}]
            "#,
            url = mock.url()
        ),
    );
    let ended = run().flags(&job).exits(0);
    ended.says("2 rows: 2 ok (1 missing), 0 failed");
    let records = ended.records();
    assert_eq!(each(&records, "_error"), [Value::Null, json!("missing")]);
    assert_eq!(records[1]["price"], Value::Null);
    assert_eq!(records[1]["path"], "/echo/nothing");
}

#[test]
fn a_wrong_rule_is_an_error_before_anything_is_sent() {
    let mock = plain_mock();
    for (rule, why) in [
        ("404", "the last word is one of ok, retry, missing, end, fail, refusal, stop"),
        ("44 = missing", "\"44\" is no HTTP status"),
        (".a[ = missing", "answer 1 (--answer): "),
        ("404 = end", "ends a list of pages, and the job has none"),
    ] {
        ask(&mock, "/status/404", rule, "").with_code(2).says(why);
    }
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn only_the_failures_that_are_chosen_are_asked_for_again() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "parts"] {
        let (place, mock) = (Place::new(), plain_mock());
        let ask = |first: &str, second: &str| {
            let code = "{% if symbol == 'S3' %}{{ env.A }}{% elif symbol == 'S9' %}{{ env.B }}{% else %}200{% endif %}";
            let throng = run()
                .files(&place, 12, output)
                .arg("--url", &format!("{}/status/{code}?{{{{ symbol }}}}", mock.url()))
                .arg("--extract", "a?=.a")
                .flags("--retries 0 --env-public A --env-public B")
                .env("A", first)
                .env("B", second);
            if output == "parts" { throng.flags("--parts=5") } else { throng }
        };
        ask("500", "404").exits(1);
        assert_eq!(mock.judgement().requests, 12);
        ask("200", "200").flags("--retry-failed=500,timeout").exits(1).says("11 ok, 1 failed");
        assert_eq!(mock.judgement().requests, 13, "{output}");
        ask("200", "200").flags("--retry-failed=5xx").exits(1);
        assert_eq!(mock.judgement().requests, 13, "{output}");
        ask("200", "200").flags("--retry-failed=4xx").exits(0).says("12 ok, 0 failed");
        assert_eq!(mock.judgement().requests, 14, "{output}");
        let wrong = ask("200", "200").flags("--retry-failed=timeuot").exits(2);
        wrong.says("\"timeuot\" is no kind of failure");
    }
}
