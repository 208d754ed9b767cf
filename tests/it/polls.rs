//! Jobs that a request submits: polled until they are done, and submitted once, whatever
//! happens to the run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{
    Place, Throng, assert_one_record_per_row, each, plain_mock, run, throng, until,
};
use crate::recorder;

/// A job whose rows `K0`, `K1`, ... submit jobs to the mock by POST.
struct PollJob<'a> {
    rows: usize,
    /// The query of the submissions.
    submit: &'a str,
    /// The keys of `[poll]`.
    poll: &'a str,
    /// What comes after it.
    rest: &'a str,
}

/// Ends a run once its `rows` jobs are in the log, before any of them is polled.
fn leave(throng: Throng, place: &Place, output: &str, rows: usize) {
    let log = place.path(&format!("{output}.polls"));
    let running = throng.start();
    until("all jobs in the log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == rows)
    });
    running.signal("-INT");
    running.ends().with_code(130);
}

const DONE: &str = r#"until = '.status == "done"'
failed = 'select(.status == "failed") | .error.message'
every = "10ms""#;

const PRICE: &str = "[extract]\nprice = '.price'";

impl PollJob<'_> {
    fn file(&self, place: &Place, server: &str) -> String {
        let rows = (0..self.rows).fold("id\n".to_owned(), |text, n| text + &format!("K{n}\n"));
        let input = place.file("rows.csv", &rows);
        let PollJob { submit, poll, rest, .. } = self;
        let text = format!(
            r#"
            [input]
            file = "{input}"
            [request]
            method = "POST"
            url = "{server}/jobs?{submit}"
            json = {{ key = "{{{{ id }}}}" }}
            [poll]
            {poll}
            {rest}
            "#
        );
        place.file("job.toml", &text)
    }

    fn run(&self, place: &Place, mock: &Mock) -> Throng {
        self.run_with(place, mock, 3)
    }

    fn run_with(&self, place: &Place, mock: &Mock, concurrency: usize) -> Throng {
        let job = self.file(place, &mock.url());
        run()
            .flags(&format!("{job} --workers 2 --concurrency {concurrency} --progress none"))
            .arg("--output", &place.path("out.jsonl"))
    }
}

/// Number of requests by the part of their symbol before the colon, and the most for one key.
fn counts(mock: &Mock) -> BTreeMap<String, (u64, u64)> {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (symbol, count) in mock.judgement().symbols {
        let kind = symbol.split_once(":").map_or("other", |(kind, _)| kind);
        let (all, most) = counts.entry(kind.to_owned()).or_default();
        *all += count;
        *most = (*most).max(count);
    }
    counts
}

#[test]
fn a_job_is_polled_until_it_is_done_and_its_result_is_fetched() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = PollJob {
        rows: 20,
        submit: "polls=2",
        poll: &format!("{DONE}\nsubmitted = {{ job = '.id' }}\nurl = '/jobs/{{{{ job }}}}'"),
        rest: &format!(
            "[extract]\nprice = '.price'\n[[step]]\n[step.request]\nurl = '{}/jobs/{{{{ job }}}}/result'\n[step.extract]\nfetched = '.price'",
            mock.url()
        ),
    };
    job.run(&place, &mock).exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 20);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["job"], format!("K{n}.1"));
        for value in ["price", "fetched"] {
            assert_eq!(record[value], json!(throng_mock::price(&format!("K{n}"))), "{record}");
        }
    }
    let counts = counts(&mock);
    assert_eq!((counts["submit"], counts["poll"], counts["fetch"]), ((20, 1), (60, 3), (20, 1)));
    assert!(!std::fs::exists(place.path("out.jsonl.polls")).unwrap(), "nothing is left to poll");
}

#[test]
fn without_more_the_location_of_a_202_is_polled_until_another_status_comes() {
    let (place, mock) = (Place::new(), plain_mock());
    let job =
        PollJob { rows: 3, submit: "polls=1&running=202", poll: "every = '10ms'", rest: PRICE };
    job.run(&place, &mock).exits(0);
    assert_eq!(each(&place.records("out.jsonl"), "_status"), [200; 3]);
    assert_eq!(counts(&mock)["poll"], (6, 2));
}

#[test]
fn thousands_of_jobs_are_submitted_once_although_the_run_is_killed_again_and_again() {
    let (place, mock) = (Place::new(), plain_mock());
    const ROWS: usize = 5_000;
    let job = PollJob { rows: ROWS, submit: "polls=1&ms=500", poll: DONE, rest: PRICE };
    let mut chance = StdRng::seed_from_u64(7);
    for kill in 0.. {
        let how = if kill == 0 { "" } else { "--resume" };
        let running = job.run_with(&place, &mock, 50).flags(how).start();
        if kill < 8 {
            let enough = mock.judgement().requests + chance.random_range(200..900);
            until("some requests", || mock.judgement().requests > enough);
            running.signal("-KILL");
            running.ends();
            continue;
        }
        // Rows that were sent when the run was killed may have been done.
        running.ends().with_code(1);
        break;
    }
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    let (submitted, most) = counts(&mock)["submit"];
    assert_eq!(most, 1, "a job was submitted twice");
    let symbols = mock.judgement().symbols;
    let mut doubtful = 0;
    for record in &records {
        let id = record["id"].as_str().unwrap();
        if record["_ok"] == true {
            assert_eq!(record["price"], json!(throng_mock::price(id)), "{record}");
            assert_eq!(symbols[&format!("submit:{id}")], 1, "{record}");
        } else {
            assert_eq!(record["_error"], "outcome unknown", "{record}");
            doubtful += 1;
        }
    }
    // No more than were in flight at the kills.
    assert!(doubtful <= 8 * 100, "{doubtful} of {submitted}");
    assert!(submitted as usize >= ROWS - doubtful);
}

#[test]
fn a_row_that_waits_holds_no_slot_and_is_left_for_the_next_run() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = PollJob { rows: 300, submit: "ms=3600000", poll: DONE, rest: PRICE };
    let slow = PollJob { poll: &DONE.replace("10ms", "1h"), ..job };
    let submitted = || counts(&mock).get("submit").copied().unwrap_or_default();
    let running = slow.run(&place, &mock).start();
    until("all submissions", || submitted() == (300, 1));
    assert!(mock.judgement().most_in_flight <= 6, "{:?}", mock.judgement());
    running.signal("-INT");
    let ended = running.ends().with_code(130);
    assert!(
        ended
            .stderr
            .contains("jobs that were submitted and are not done, which --resume polls again"),
        "{}",
        ended.stderr
    );
    assert_eq!(place.read("out.jsonl"), "");
    // The next run polls all of them at once, and submits none.
    let running = slow.run(&place, &mock).flags("--resume").start();
    until("all polls", || counts(&mock).get("poll") == Some(&(300, 1)));
    running.signal("-INT");
    let ended = running.ends().with_code(130);
    assert!(
        ended.stderr.contains("300 jobs were submitted before and not done"),
        "{}",
        ended.stderr
    );
    assert_eq!(submitted(), (300, 1));
}

#[test]
fn a_job_that_fails_is_submitted_again_and_one_that_takes_too_long_only_polled_again() {
    let (place, mock) = (Place::new(), plain_mock());
    let failing = PollJob { rows: 3, submit: "polls=0&fail=1", poll: DONE, rest: PRICE };
    failing.run(&place, &mock).exits(1);
    let records = place.records("out.jsonl");
    assert_eq!(each(&records, "_error"), ["job failed"; 3]);
    assert_eq!(records[1]["_detail"], "K1 cannot be done");
    failing.run(&place, &mock).flags("--retry-failed").exits(1);
    assert_eq!(counts(&mock)["submit"], (6, 2));

    mock.reset();
    let place = Place::new();
    let poll = format!("{DONE}\ntimeout = '20ms'");
    let late = PollJob { rows: 3, submit: "polls=9", poll: &poll, rest: PRICE };
    late.run(&place, &mock).exits(1);
    let records = place.records("out.jsonl");
    assert_eq!(each(&records, "_error"), ["poll timeout"; 3]);
    let detail = records[0]["_detail"].as_str().unwrap();
    assert!(detail.contains("poll.timeout") && detail.contains("running"), "{detail}");
    late.run(&place, &mock).flags("--resume").exits(1);
    let patient = PollJob { poll: DONE, ..late };
    patient.run(&place, &mock).flags("--retry-failed").exits(0);
    assert_eq!(counts(&mock)["submit"], (3, 1));
    assert!(!std::fs::exists(place.path("out.jsonl.polls")).unwrap());
}

#[test]
fn the_server_s_retry_after_goes_before_the_job_s_pause() {
    let (place, mock) = (Place::new(), plain_mock());
    let poll = DONE.replace("10ms", "1h");
    let job = PollJob { rows: 1, submit: "polls=1&retry_after=1", poll: &poll, rest: PRICE };
    job.run(&place, &mock).flags("--deadline 30s").exits(0);
    assert_eq!(counts(&mock)["poll"], (2, 2));
}

#[test]
fn a_time_that_no_clock_can_count_is_cut_at_the_end_of_the_job_and_does_no_harm() {
    let (place, mock) = (Place::new(), plain_mock());
    let years = "300000000000years";
    let submit = format!("polls=0&retry_after={years}");
    let poll = format!("{DONE}\ntimeout = '200ms'");
    let asked = PollJob { rows: 2, submit: &submit, poll: &poll, rest: PRICE };
    asked.run(&place, &mock).exits(0);
    assert_eq!(counts(&mock)["poll"], (2, 1));

    let place = Place::new();
    let poll = format!("{DONE}\ntimeout = '{years}'");
    let patient = PollJob { rows: 2, submit: "polls=1", poll: &poll, rest: PRICE };
    patient.run(&place, &mock).exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), 2);
}

#[test]
fn a_key_in_the_address_of_the_polls_is_not_sent_over_a_network_in_clear() {
    let (place, mock) = (Place::new(), plain_mock());
    let poll =
        "submitted = { job = '.id' }\nurl = 'http://jobs.example/{{ job }}?key={{ env.KEY }}'";
    let job = PollJob { rows: 1, submit: "", poll, rest: PRICE };
    let ended = job.run(&place, &mock).env("KEY", "k-12345678").exits(2);
    ended.says("a secret would go to jobs.example over http://");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn jobs_that_wait_are_polled_by_a_job_that_reads_them_otherwise_and_submitted_again_by_another_request()
 {
    for (resume, submit, poll, submitted) in [
        ("--resume=changed", "polls=0", DONE.replace("\"done\"", "(\"done\")"), (3, 1)),
        ("--resume=changed", "polls=0&other=1", DONE.to_owned(), (6, 2)),
    ] {
        let (place, mock) = (Place::new(), plain_mock());
        let slow = DONE.replace("10ms", "1h");
        let job = PollJob { rows: 3, submit: "polls=0", poll: &slow, rest: PRICE };
        leave(job.run(&place, &mock), &place, "out.jsonl", 3);
        let changed = PollJob { submit, poll: &poll, ..job };
        let ended = changed.run(&place, &mock).exits(2);
        ended.says("has no records yet, and 3 jobs that were submitted in another way");
        ended.says("--resume=changed ");
        let ended = changed.run(&place, &mock).flags(resume).exits(0);
        assert_eq!(counts(&mock)["submit"], submitted, "{}", ended.stderr);
        assert_one_record_per_row(&place.records("out.jsonl"), 3);
        let is_again = ended.stderr.contains("3 jobs were submitted in another way");
        assert_eq!(is_again, submitted.0 > 3, "{}", ended.stderr);
    }
}

#[test]
fn parts_without_a_record_go_on_with_the_jobs_that_were_submitted() {
    let (place, mock) = (Place::new(), plain_mock());
    let slow = DONE.replace("10ms", "1h");
    let job = PollJob { rows: 3, submit: "polls=0", poll: &slow, rest: PRICE };
    let file = job.file(&place, &mock.url());
    let go = || run().flags(&format!("{file} --parts=9")).arg("--output", &place.path("out"));
    leave(go(), &place, "out", 3);
    let ended = go().exits(0);
    assert_eq!(counts(&mock)["submit"], (3, 1), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(place.path("out")).unwrap().count(), 1);
}

/// Each row's answer to its submission gives a cookie and the address of its job, whose polls say
/// that it is not done until `is_done`.
fn jobs_at(address: &'static str, is_done: Arc<AtomicBool>) -> recorder::Recorder {
    recorder::Recorder::answering(move |came| {
        let head = [("location", address), ("set-cookie", "sid=s3cret-session-1; Path=/")];
        if came.line.starts_with("POST") {
            recorder::answer("202 Accepted", &head, "{}")
        } else if is_done.load(Ordering::SeqCst) {
            recorder::json("{\"price\": 1}")
        } else {
            recorder::answer("202 Accepted", &[], "{}")
        }
    })
}

#[test]
fn a_job_whose_address_has_a_secret_is_in_no_log_and_has_a_record() {
    for (address, project, is_secret) in [
        ("/projects/123456/jobs/1", "123456", false),
        ("/projects/k3y-of-a-project-1/jobs/1", "k3y-of-a-project-1", true),
        ("/jobs/1;jsessionid=s3cret-session-1", "123456", true),
    ] {
        let (place, is_done) = (Place::new(), Arc::new(AtomicBool::new(false)));
        let server = jobs_at(address, is_done.clone());
        let text = format!(
            "cookies = 'row'\n[input]\nlist = ['a']\n[request]\nmethod = 'POST'\n\
             url = '{}/projects/{{{{ env.PROJECT }}}}/jobs'\n[poll]\nevery = '10ms'\n{PRICE}",
            server.url()
        );
        let job = place.file("job.toml", &text);
        let go =
            || run().flags(&job).env("PROJECT", project).arg("--output", &place.path("out.jsonl"));
        let running = go().start();
        until("a poll", || server.came().len() > 1);
        running.signal("-INT");
        let ended = running.ends().with_code(130);
        let log = std::fs::read_to_string(place.path("out.jsonl.polls")).unwrap_or_default();
        let records = place.records("out.jsonl");
        for text in [&log, &ended.stderr, &place.read("out.jsonl")] {
            assert!(!text.contains("s3cret") && !text.contains("k3y"), "{text}");
        }
        assert_eq!(log.contains(address), !is_secret, "{log} {}", ended.stderr);
        if is_secret {
            assert_eq!(each(&records, "_error"), ["interrupted"]);
            assert!(
                records[0]["_detail"].as_str().unwrap().contains("has a secret"),
                "{records:?}"
            );
        } else {
            assert!(records.is_empty(), "{records:?}");
        }
        is_done.store(true, Ordering::SeqCst);
        go().flags("--resume").exits(i32::from(is_secret));
        let submissions = server.came().iter().filter(|it| it.line.starts_with("POST")).count();
        assert_eq!((submissions, place.records("out.jsonl").len()), (1, 1));
    }
}

#[test]
fn another_host_is_polled_without_the_job_s_headers_and_only_if_it_is_allowed() {
    let (mock, other) = (plain_mock(), plain_mock());
    let place = Place::new();
    let text = format!(
        "[request]\nmethod = 'POST'\nurl = '{}/redirect/202?to={}/echo'\nheaders = {{ x-note = 'mine' }}\n[poll]\nevery = '10ms'\n[extract]\nnote = '.headers[\"x-note\"]'\nmethod = '.method'",
        mock.url(),
        other.url().replace("127.0.0.1", "localhost"),
    );
    let job = place.file("job.toml", &text);
    let ended = run().flags(&job).exits(1);
    let record: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(record["_error"], "connect", "{record}");
    let note = text.replace("\nnote = ", "\n'note?' = ");
    let job = place.file("job.toml", &note);
    let ended = run().flags(&job).flags("--allow-private").exits(0);
    let record: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&record["note"], &record["method"]), (&Value::Null, &json!("GET")), "{record}");
    let ended = run().flags(&job).flags("--allow-host api.example").exits(1);
    let record: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(record["_error"], "nothing to poll", "{record}");
}

#[test]
fn without_a_file_each_job_that_is_left_has_a_record_with_its_address() {
    let (place, mock) = (Place::new(), plain_mock());
    let poll = DONE.replace("10ms", "1h");
    let job = PollJob { rows: 3, submit: "", poll: &poll, rest: PRICE };
    let running = run().flags(&job.file(&place, &mock.url())).start();
    until("all submissions", || counts(&mock).get("submit") == Some(&(3, 1)));
    // The last answer may be on its way.
    thread::sleep(Duration::from_millis(100));
    running.signal("-INT");
    let ended = running.ends().with_code(130);
    let records = crate::harness::records(&ended.stdout);
    assert_eq!(each(&records, "_error"), ["interrupted"; 3]);
    assert!(records[2]["_detail"].as_str().unwrap().ends_with("/jobs/K2.1"), "{records:?}");
}

#[test]
fn a_tried_row_shows_each_poll_and_a_simulation_polls_each_job_once() {
    let (place, mock) = (Place::new(), plain_mock());
    let poll = format!("{DONE}\nsubmitted = {{ job = '.id' }}\nurl = '/jobs/{{{{ job }}}}'");
    let job = PollJob { rows: 3, submit: "polls=2", poll: &poll, rest: PRICE };
    let file = job.file(&place, &mock.url());
    let tried = throng("try").flags(&file).exits(0);
    for shown in [
        "  job: \"K0.1\"\n",
        "\npolls\n  1: not done, status 200: {",
        "\n  2: not done, status 200: {",
        "\npoll 3\n",
        "/jobs/K0.1\n",
        "\nvalues\n  price: ",
        "the row is ok",
    ] {
        assert!(tried.stdout.contains(shown), "no {shown:?} in {}", tried.stdout);
    }
    assert_eq!(counts(&mock)["poll"], (3, 3));
    let failing = PollJob { submit: "polls=0&fail=1", ..job };
    let tried = throng("try").flags(&failing.file(&place, &mock.url())).exits(1);
    assert!(
        tried.stdout.contains("the row fails, job failed: K0 cannot be done"),
        "{}",
        tried.stdout
    );

    mock.reset();
    let simulated = throng("simulate").flags(&failing.file(&place, &mock.url())).exits(0);
    let said = format!("{}{}", simulated.stdout, simulated.stderr);
    assert!(said.contains("each job is taken to be done when it is polled first"), "{said}");
    assert!(said.contains("6 requests"), "{said}");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn a_later_step_that_polls_submits_each_job_once_across_a_kill() {
    let (place, mock) = (Place::new(), plain_mock());
    let rows = (0..40).fold("id\n".to_owned(), |text, n| text + &format!("K{n}\n"));
    let (input, url) = (place.file("rows.csv", &rows), mock.url());
    let text = format!(
        "[input]\nfile = '{input}'\n[request]\nurl = '{url}/detail/{{{{ id }}}}'\n[extract]\nname = '.name'\n\
         [[step]]\n[step.request]\nmethod = 'POST'\nurl = '{url}/jobs?ms=300'\njson = {{ key = '{{{{ id }}}}' }}\n\
         [step.poll]\n{DONE}\n[step.extract]\nprice = '.price'"
    );
    let job = place.file("job.toml", &text);
    let go =
        || run().flags(&job).flags("--concurrency 4").arg("--output", &place.path("out.jsonl"));
    let running = go().start();
    until("some jobs", || counts(&mock).get("submit").is_some_and(|(all, _)| *all > 20));
    running.signal("-KILL");
    running.ends();
    let ended = go().flags("--resume").ends();
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 40);
    let ok = records.iter().filter(|record| record["_ok"] == true).count();
    assert!(ok >= 40 - 8, "{}", ended.stderr);
    assert_eq!(counts(&mock)["submit"].1, 1);
}

#[test]
fn a_plan_shows_the_polls_and_names_what_is_wrong() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = PollJob { rows: 3, submit: "", poll: DONE, rest: PRICE };
    let file = job.file(&place, &mock.url());
    let plan = throng("plan").flags(&file).exits(0);
    let line = "poll      GET the address that each answer names, every 10ms, until .status == \"done\", for up to 1h; the polls come on top of the time above";
    assert!(plan.stdout.contains(line), "{}", plan.stdout);
    for (poll, rest, why) in [
        ("until = '.x ='", PRICE, "poll.until"),
        ("every = '0s'", PRICE, "poll.every is 0"),
        ("url = '/jobs/{{ jobb }}'\nsubmitted = { job = '.id' }", PRICE, "did you mean \"job\"?"),
        ("submitted = { id = '.id' }", PRICE, "poll.submitted.id has the name of a field"),
        (
            DONE,
            "[pages]\npage = 'page'\ncount = '.pages'\n[extract]\nx = '.x'",
            "the pages of a job with [poll] follow its last answer",
        ),
        (
            DONE,
            "[batch]\nsize = 9\n[items]\neach='.[]'\nmatch='id=.id'\n[extract]\nx='.x'",
            "[poll] submits a job for each row",
        ),
        ("untill = '.x'", PRICE, "until"),
    ] {
        let job = PollJob { rows: 3, submit: "", poll, rest };
        let ended = throng("plan").flags(&job.file(&place, &mock.url())).exits(2);
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
    }
    assert_eq!(mock.judgement().requests, 0);
}

/// A server whose jobs are done at the second poll, with three pages of results by a cursor or by
/// a link, and a file.
fn results() -> recorder::Recorder {
    let polls = AtomicUsize::new(0);
    recorder::Recorder::answering(move |came| {
        let target = came.line.split(' ').nth(1).unwrap();
        let page = |number: u32| {
            let items: Vec<u32> = (number * 2..number * 2 + 2).collect();
            let next = (number < 2).then(|| format!("p{}", number + 1));
            let link = next.as_ref().map(|next| format!("/results/{next}"));
            json!({"state": "done", "items": items, "next": next, "link": link}).to_string()
        };
        if came.line.starts_with("POST") {
            return recorder::answer("202 Accepted", &[("location", "/job/7?view=full")], "{}");
        }
        match target.rsplit_once('p') {
            Some((_, number)) => recorder::json(&page(number.parse().unwrap())),
            None if polls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
                recorder::json(r#"{"state": "running"}"#)
            }
            None => recorder::json(&page(0)),
        }
    })
}

/// The job of two rows before such a server, with these parts.
fn job_of(server: &recorder::Recorder, parts: &str) -> String {
    format!(
        "[input]\nlist = ['a', 'b']\n[request]\nmethod = 'POST'\nurl = '{}/jobs'\n[poll]\nevery = '5ms'\nuntil = '.state == \"done\"'\n{parts}",
        server.url()
    )
}

#[test]
fn pages_follow_the_last_answer_of_a_job() {
    for (pages, second) in [
        ("cursor = 'after=.next'", "GET /job/7?view=full&after=p1 HTTP/1.1"),
        ("next = '.link'", "GET /results/p1 HTTP/1.1"),
    ] {
        for (parts, expected) in [
            ("[items]\neach = '.items[]'\n[extract]\nn = '.'", json!([0, 1, 2, 3, 4, 5])),
            ("[extract]\nn = '.items'", json!([[0, 1, 2, 3, 4, 5]])),
        ] {
            let (place, server) = (Place::new(), results());
            let job = job_of(&server, &format!("[pages]\n{pages}\n{parts}"));
            let ended = run().flags(&place.file("job.toml", &job)).flags("-w 1 -c 1").exits(0);
            let records = ended.records();
            let of_first = records.iter().filter(|record| record["_row"] == 0).cloned();
            let of_first: Vec<Value> = of_first.collect();
            assert_eq!(json!(each(&of_first, "n")), expected, "{pages} {parts}");
            let lines: Vec<String> = server.came().into_iter().map(|came| came.line).collect();
            assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), 2);
            assert!(lines.iter().any(|line| line == second), "{lines:?}");
        }
    }
}

#[test]
fn the_last_answer_of_a_job_is_saved() {
    let (place, server) = (Place::new(), results());
    let save = format!("save = '{}'\n", place.path("out/{{ line }}.json"));
    let job = save + &job_of(&server, "[extract]\nn = '.items[1]'");
    let ended = run().flags(&place.file("job.toml", &job)).flags("-w 1 -c 1").exits(0);
    for record in ended.records() {
        let name = record["line"].as_str().unwrap();
        assert_eq!(record["_file"], place.path(&format!("out/{name}.json")));
        assert_eq!(place.json(&format!("out/{name}.json"))["items"], json!([0, 1]));
        assert_eq!(record["n"], 1, "{record}");
    }
}
