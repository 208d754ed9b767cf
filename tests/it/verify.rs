//! `throng verify`: a results file proves that a limit was kept, or doesn't.

use serde_json::json;
use throng_mock::Settings;

use crate::harness::{Ended, Place, mock, plain_mock, run, symbols, throng, until};

/// A run of 60 rows against this limit, and what it wrote.
fn done(place: &Place, output: &str, limit: Option<&str>, flags: &str) -> String {
    let server = mock(Settings {
        limits: limit.iter().map(|limit| limit.parse().unwrap()).collect(),
        latency: "lognormal:20ms:0.6".parse().unwrap(),
        ..Settings::default()
    });
    let output = place.path(output);
    run()
        .quotes(&server.url())
        .arg("--input", &place.file("rows.csv", &symbols(60)))
        .arg("--output", &output)
        .flags(flags)
        .exits(0);
    assert_eq!(server.judgement().refused, 0);
    output
}

fn verify(file: &str, flags: &str) -> Ended {
    throng("verify").flags(file).flags(flags).ends()
}

#[test]
fn a_run_proves_its_own_limits_in_every_format() {
    let place = Place::new();
    for output in ["out.jsonl", "out.csv"] {
        let file = done(&place, output, Some("10/500ms"), "--rate 10/500ms --rate 100/run");
        let ended = verify(&file, "").with_code(0);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let end = "of 10 in any 500ms, whatever happened on the way (60 requests of this run)";
        assert!(lines[0].starts_with("10/500ms: at most "), "{lines:?}");
        assert!(lines[0].ends_with(end), "{lines:?}");
        assert!(lines[1].starts_with("100/run: at most 60 of 100 in all"));
        // What it did not keep it can't prove.
        let ended = verify(&file, "--rate 10/500ms --rate 9/500ms").with_code(1);
        assert!(ended.stdout.contains("9/500ms: NOT PROVEN: up to 10"));
        verify(&file, "--rate bucket:10/500ms --rate 20/1s@clock").with_code(0);
        verify(&file, "--rate bucket:8/500ms").with_code(1);
    }
}

#[test]
fn times_are_of_today_and_one_for_each_request() {
    let place = Place::new();
    done(&place, "out.jsonl", Some("10/500ms"), "--rate 10/500ms");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    for record in place.records("out.jsonl") {
        let arrived: Vec<[f64; 2]> = serde_json::from_value(record["_arrived"].clone()).unwrap();
        let [from, to] = arrived[0];
        assert_eq!(record["_attempts"], arrived.len());
        assert!(from < to && to < now.as_secs_f64() && now.as_secs_f64() - from < 600.0);
    }
}

#[test]
fn a_doctored_file_is_found_out() {
    let place = Place::new();
    let file = done(&place, "out.jsonl", Some("10/500ms"), "--rate 10/500ms");
    let mut records = place.records("out.jsonl");
    // As if the last row had been asked for as well when each of the first ones was.
    let busiest = (0..60).map(|row| records[row]["_arrived"][0].clone());
    records[59]["_arrived"] = busiest.take(11).collect();
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    place.file("out.jsonl", &text);
    let ended = verify(&file, "").with_code(1);
    assert!(ended.stdout.contains("NOT PROVEN"), "{}", ended.stdout);
}

#[test]
fn each_key_has_the_limit_for_itself() {
    let place = Place::new();
    let record = |row: usize, tenant: &str, from: f64| json!({"tenant": tenant, "_row": row, "_ok": true, "_arrived": [[from, from + 0.1]]});
    let rows = [("a", 0.0), ("b", 0.0), ("a", 0.9), ("b", 1.2), ("a", 1.2)];
    let rows = rows.iter().enumerate();
    let text: String = rows
        .map(|(row, (tenant, from))| format!("{}\n", record(row, tenant, 1e9 + from)))
        .collect();
    let file = place.file("out.jsonl", &text);
    verify(&file, "--rate 3/1s").with_code(0);
    verify(&file, "--rate 2/1s").with_code(1);
    let per = |rate: &str| {
        throng("verify").flags(&file).arg("--rate", rate).arg("--per", "{{ tenant }}").ends()
    };
    let ended = per("2/1s").with_code(0);
    let said = "2/1s: at most 2 of 2 in any 1s for \"a\", the most of 2 keys";
    assert!(ended.stdout.starts_with(said), "{}", ended.stdout);
    per("1/1s").with_code(1);
}

#[test]
fn a_copy_and_a_record_that_was_cut_off_are_named() {
    let place = Place::new();
    let file = done(&place, "out.jsonl", None, "--rate 100/1s");
    let text = place.read("out.jsonl");
    let copy = place.file("copy.jsonl", &text);
    let ended = verify(&format!("{file} {copy}"), "-r 100/1s").with_code(2);
    ended.says("begin with the same record: one is a copy of the other");
    let torn = place.file("torn.jsonl", &text[..text.len() - 20]);
    verify(&torn, "-r 100/1s").with_code(2).says("go on with it (--resume), or delete the line");
    let damaged = place.file("damaged.jsonl", &format!("{{\n{text}"));
    let ended = verify(&damaged, "-r 100/1s").with_code(2);
    assert!(!ended.stderr.contains("--resume"), "{}", ended.stderr);
}

#[test]
fn what_can_t_tell_is_an_error_that_says_why() {
    let place = Place::new();
    let good = r#"{"_row": 0, "_arrived": [[1.0e9, 1.1e9]]}"#;
    for (name, text, flags, why) in [
        ("a.jsonl", good, "", "give them with -r N/PERIOD"),
        (
            "a.jsonl",
            "{\"_row\": 0}",
            "-r 1/1s",
            "record 1: it has no _arrived: records have that where",
        ),
        (
            "a.jsonl",
            &format!("{good}\n{{\"id\": 0}}"),
            "-r 1/1s",
            "record 2: it has no _row: is this a results file?",
        ),
        ("a.jsonl", &format!("{good}\n{{\"_ro"), "-r 1/1s", "line 2"),
        (
            "a.jsonl",
            r#"{"_row": 0, "_arrived": [[1.1e9, 1e9]]}"#,
            "-r 1/1s",
            "is not [[from, to], ...]",
        ),
        ("a.jsonl", r#"{"_row": 0, "_arrived": []}"#, "-r 1/1s", "record 1: its _arrived is empty"),
        (
            "a.jsonl",
            r#"{"_row": 0, "_attempts": 2, "_arrived": [[1e9, 1e9]]}"#,
            "-r 1/1s",
            "record 1: it has 2 attempts (_attempts), and times of 1 (_arrived)",
        ),
        (
            "a.jsonl",
            r#"{"_row": 0, "_arrived": [[1e12, 1e12]]}"#,
            "-r 1/1s",
            "1000000000000.0 in its _arrived is no second of this century",
        ),
        ("a.csv", "_row,_arrived\n0,soon", "-r 1/1s", "is not [[from, to], ...]"),
        ("a.csv", "_row,_arrived\n", "-r 1/1s", "has no records"),
        ("a.jsonl", good, "-r 3/1s@reset", "-r 3/1s checks all windows"),
        ("a.jsonl", good, "-r 90tokens/1s", "is not a whole number"),
        ("a.jsonl", good, "-r 1/1s --per {{tenant}}", "record 1: the row has no field \"tenant\""),
    ] {
        let file = place.file(name, text);
        verify(&file, flags).with_code(2).says(why);
    }
    verify(&place.path("none.jsonl"), "").with_code(2).says("there is no file");
    let twice = place.file("b.jsonl", good);
    verify(&format!("{twice} {twice}"), "-r 1/1s").with_code(2).says("b.jsonl is given twice");
    let file = place.file("a.jsonl", good);
    let tokens = throng("verify").flags(&file).arg("-r", "90 tokens/1m");
    tokens.exits(2).says("doesn't say how many tokens its requests cost");
}

/// The lines of a proof that was made.
#[track_caller]
fn proven(ended: Ended) -> Vec<String> {
    let ended = ended.with_code(0);
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn limits_of_each_key_are_known_from_the_run() {
    let place = Place::new();
    let file = done(&place, "out.jsonl", None, "--rate 10/500ms --per {{symbol}}");
    let lines = proven(verify(&file, ""));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("10/500ms: at most 1 of 10 in any 500ms for \"S"), "{lines:?}");
    assert!(lines[0].contains(", the most of 60 keys, "), "{lines:?}");
    verify(&file, "-r 10/500ms --per {{symbol}}").with_code(0);
    // What an older version has left beside it.
    let sidecar =
        r#"{"identity": {"input": null, "parts": [], "limits": "1/500ms per {{symbol}}"}}"#;
    place.file("out.jsonl.throng", sidecar);
    assert!(proven(verify(&file, ""))[0].starts_with("1/500ms: at most 1 of 1 in any 500ms"));
}

#[test]
fn two_runs_together_break_a_limit_that_each_of_them_keeps() {
    let place = Place::new();
    let server = plain_mock();
    for output in ["a.jsonl", "b.jsonl"] {
        let run = run().quotes(&server.url()).files(&place, 20, output).flags("--rate 20/10s");
        // Runs of two machines know nothing of each other.
        run.env("XDG_STATE_HOME", &place.path(&format!("state of {output}"))).exits(0);
    }
    let (a, b) = (place.path("a.jsonl"), place.path("b.jsonl"));
    for file in [&a, &b] {
        assert!(proven(verify(file, ""))[0].starts_with("20/10s: at most 20 of 20 in any 10s"));
    }
    let ended = verify(&format!("{a} {b}"), "").with_code(1);
    let said = "20/10s: NOT PROVEN: up to 40 can have come in any 10s, where 20 are allowed, at ";
    assert!(ended.stdout.starts_with(said), "{}", ended.stdout);
    assert!(ended.stdout.contains("(40 requests of 2 runs together)"), "{}", ended.stdout);
    let lines = proven(verify(&format!("{a} {b}"), "--rate 40/10s"));
    let said = "40/10s: at most 40 of 40 in any 10s, whatever happened on the way (40 requests of 2 runs together)";
    assert_eq!(lines, [said]);
}

#[test]
fn two_runs_that_share_a_limit_prove_it_together() {
    let place = Place::new();
    let limits = vec!["20/500ms".parse().unwrap()];
    let server = mock(Settings { limits, ..Settings::default() });
    let start = |output: &str| {
        let run = run().quotes(&server.url()).files(&place, 30, output);
        run.flags("--rate 20/500ms").env("XDG_STATE_HOME", &place.path("state")).start()
    };
    for run in [start("a.jsonl"), start("b.jsonl")] {
        run.ends().with_code(0);
    }
    assert_eq!(server.judgement().refused, 0);
    let both = format!("{} {}", place.path("a.jsonl"), place.path("b.jsonl"));
    let lines = proven(verify(&both, ""));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with("(60 requests of 2 runs together)"), "{lines:?}");
}

#[test]
fn each_key_counts_in_all_files_by_the_template_of_its_run() {
    let place = Place::new();
    let at = |row: usize, name: &str, from: f64| json!({name: "a", "_row": row, "_attempts": 1, "_arrived": [[from, from]]});
    let file = |output: &str, name: &str, from: f64| {
        let text = format!("{}\n{}\n", at(0, name, from), at(1, name, from));
        let rates = format!(r#"[{{"limit": {{"rate": "3/1s", "per": "{{{{ {name} }}}}"}}}}]"#);
        let sidecar = format!(
            r#"{{"records": 2, "identity": {{"input": null, "parts": [], "limits": "3/1s per x", "rows": 3, "rates": {rates}}}}}"#
        );
        place.file(&format!("{output}.throng"), &sidecar);
        place.file(output, &text)
    };
    let (a, b) = (file("a.jsonl", "tenant", 1.7e9), file("b.jsonl", "customer", 1.7e9 + 0.9));
    let lines = proven(verify(&a, ""));
    assert_eq!(
        lines,
        [
            "3/1s: at most 2 of 3 in any 1s, whatever happened on the way (2 requests of this run)"
                .to_owned(),
            format!("{a}: 1 of 3 rows have no record; what was sent for them is not counted"),
        ]
    );
    let ended = verify(&format!("{a} {b}"), "").with_code(1);
    assert!(ended.stdout.contains("NOT PROVEN: up to 4 "), "{}", ended.stdout);
    // Of one run's template, the other run's rows know nothing.
    let ended = throng("verify").flags(&format!("{a} {b} -r 3/1s")).arg("--per", "{{ tenant }}");
    ended.exits(2).says("b.jsonl, record 1: ").says("tenant");
}

#[test]
fn counters_and_tokens_are_proven_and_their_bursts_known() {
    let place = Place::new();
    let file = done(&place, "out.jsonl", Some("counter:30/500ms"), "--rate counter:30/500ms");
    let lines = proven(verify(&file, ""));
    assert!(lines[0].starts_with("counter:30/500ms: at most "), "{lines:?}");
    assert!(lines[0].contains(" of 30 by a counter over 500ms, "), "{lines:?}");
    verify(&file, "--rate counter:8/500ms").with_code(1);

    let file = done(&place, "out.csv", None, "--rate bucket:40/500ms --burst 5");
    let lines = proven(verify(&file, ""));
    assert!(lines[0].contains(" of 5 at once, at 40 in 500ms"), "{lines:?}");

    let server = plain_mock();
    let run = run().quotes(&server.url()).files(&place, 30, "costly.jsonl");
    run.arg("--rate", "90 tokens/500ms").arg("--cost", "tokens=10").exits(0);
    let file = place.path("costly.jsonl");
    let lines = proven(verify(&file, ""));
    assert!(lines[0].starts_with("90 tokens/500ms: at most "), "{lines:?}");
    assert!(lines[0].contains(" of 90 tokens in any 500ms, "), "{lines:?}");
    let less = throng("verify").flags(&file).arg("--rate", "80 tokens/500ms").exits(1);
    assert!(less.stdout.contains("up to 90 can have come"), "{}", less.stdout);
    throng("verify").flags(&file).arg("--rate", "9 pages/1s").exits(2).says("how many pages");
}

#[test]
fn a_cost_counts_as_it_was_settled() {
    let place = Place::new();
    let server = plain_mock();
    let run = run().quotes(&server.url()).files(&place, 10, "out.jsonl");
    let run = run.arg("--rate", "900 tokens/1s").arg("--cost", "tokens=90");
    run.arg("--settle", "tokens=.quoteResponse.result | length * 7").exits(0);
    let lines = proven(verify(&place.path("out.jsonl"), ""));
    assert!(lines[0].starts_with("900 tokens/1s: at most 70 of 900 tokens in any 1s"), "{lines:?}");
}

#[test]
fn a_run_that_was_killed_proves_what_it_has_recorded() {
    let place = Place::new();
    let server = plain_mock();
    let run = run().quotes(&server.url()).files(&place, 60, "out.jsonl");
    let running = run.flags("--rate 10/500ms --sync always").start();
    let records = || std::fs::read_to_string(place.path("out.jsonl")).unwrap_or_default();
    until("some records", || records().lines().count() >= 20);
    running.signal("-KILL");
    running.ends();
    let lines = proven(verify(&place.path("out.jsonl"), ""));
    assert!(lines[0].starts_with("10/500ms: at most 10 of 10 in any 500ms"), "{lines:?}");
    assert!(lines[1].contains(" of 60 rows have no record; "), "{lines:?}");
}

#[test]
fn each_key_of_a_pool_and_each_host_has_the_limit_for_itself() {
    let place = Place::new();
    let server = plain_mock();
    let ask = |output: &str| run().quotes(&server.url()).files(&place, 40, output);
    let pool = ask("pool.jsonl").arg("--header", "x-api-key: {{ key }}");
    let pool = pool.arg("--keys", "{{ env.ONE }}").arg("--keys", "{{ env.TWO }}");
    pool.env("ONE", "first-s3cret").env("TWO", "second-s3cret").flags("--rate 10/500ms").exits(0);
    let lines = proven(verify(&place.path("pool.jsonl"), ""));
    assert!(lines[0].contains(", the most of 2 keys, "), "{lines:?}");
    for name in ["pool.jsonl", "pool.jsonl.throng"] {
        assert!(!place.read(name).contains("s3cret"), "{name}");
    }
    ask("host.jsonl").flags("--rate 20/500ms").arg("--per", "{{ request.host }}").exits(0);
    let lines = proven(verify(&place.path("host.jsonl"), ""));
    assert!(lines[0].starts_with("20/500ms: at most 20 of 20 in any 500ms"), "{lines:?}");
}

#[test]
fn records_that_are_missing_are_known_and_rows_without_one_are_counted() {
    let place = Place::new();
    let server = plain_mock();
    let run = run().quotes(&server.url()).files(&place, 60, "out.jsonl").flags("--rate 40/run");
    run.exits(3);
    let file = place.path("out.jsonl");
    let lines = proven(verify(&file, ""));
    assert!(lines[0].starts_with("40/run: at most 40 of 40 in all, "), "{lines:?}");
    let without = "20 of 60 rows have no record; what was sent for them is not counted";
    assert_eq!(lines[1], format!("{file}: {without}"));
    let text = place.read("out.jsonl");
    let (first, rest) = text.split_once('\n').unwrap();
    place.file("out.jsonl", rest);
    let missing = "has 39 records, and its run wrote 40: the times of the missing ones";
    verify(&file, "").with_code(2).says(missing);
    let twice = [first, first, rest].join("\n");
    place.file("out.jsonl", &twice.repeat(2));
    verify(&file, "").with_code(2).says("and its run had 60: some stand there twice");
}

#[test]
fn attempts_that_sent_nothing_have_no_time_and_rows_of_a_batch_share_one() {
    let place = Place::new();
    let server = plain_mock();
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let rows = format!("url\n{}/echo/1\nhttp://127.0.0.1:1/\n", server.url());
    let run_ = run().arg("--url", "{{ url }}").arg("--input", &place.file("rows.csv", &rows));
    let run_ = run_.flags("--rate 10/1s --retries 1 --allow-host 127.0.0.1:1 --allow-host");
    let run_ = run_.flags(&format!("127.0.0.1:{port}")).arg("--output", &place.path("out.jsonl"));
    run_.exits(1);
    assert_eq!(place.records("out.jsonl")[1]["_arrived"], json!([[], []]));
    let lines = proven(verify(&place.path("out.jsonl"), ""));
    assert!(lines[0].ends_with("(1 request of this run)"), "{lines:?}");

    let ids = (0..9).fold("id\n".to_owned(), |text, n| text + &format!("A{n}\n"));
    let batches = run().arg("--url", &format!("{}/batch", server.url()));
    let batches = batches.arg("--query", "ids={{ id | join(',') }}").flags("--batch 3");
    let batches = batches.flags("--each .found[] --match id=.id --extract price=.price");
    let batches = batches.arg("--input", &place.file("ids.csv", &ids)).flags("--rate 10/1s");
    batches.arg("--output", &place.path("batches.jsonl")).exits(0);
    let lines = proven(verify(&place.path("batches.jsonl"), ""));
    assert!(lines[0].ends_with("(3 requests of this run)"), "{lines:?}");
}

#[test]
fn limits_of_earlier_steps_can_t_be_verified() {
    let place = Place::new();
    let server = plain_mock();
    let url = server.url();
    let job = |limit: &str| {
        format!(
            "[input]\nlist = [{{id = 1}}]\n[request]\nurl = \"{url}/list/5?size=5\"\n\
             [items]\neach = \".items[]\"\n[limit]\nrate = \"9/1s\"\n[extract]\nitem = \".id\"\n\
             [[step]]\n{limit}[step.request]\nurl = \"{url}/detail/{{{{ item }}}}\"\n"
        )
    };
    let file = place.path("out.jsonl");
    let go = |limit: &str| {
        let job = place.file("job.toml", &job(limit));
        throng("run").flags(&job).flags("--overwrite --output").flags(&file).exits(0);
    };
    go("");
    verify(&file, "").with_code(2).says("have the requests of its job's last step alone");
    go("limit = {rate = \"8/1s\"}\n");
    let ended = verify(&file, "").with_code(0);
    ended.says("not checked: the records of ");
    assert!(ended.stdout.starts_with("8/1s: at most 5 of 8 in any 1s"), "{}", ended.stdout);
    // Where the limit is given, the sentence says what is missing.
    go("");
    let records = place.read("out.jsonl");
    let other = place.file("other.jsonl", records.lines().nth(1).unwrap());
    for (others, scope) in [
        ("", "(5 requests of the last step of this run; those of the steps before it are not in"),
        (&*other, "(6 requests of 2 runs together; those of steps before a job's last one are not"),
    ] {
        let lines = proven(verify(&file, &format!("{others} --rate 9/1s")));
        assert!(lines[0].contains(scope), "{lines:?}");
    }
}
