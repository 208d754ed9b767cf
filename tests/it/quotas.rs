//! Quotas: limits with long periods are kept by the server's count, however often
//! throng is killed, and however many of it run at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use throng_mock::{Mock, Settings};

use crate::harness::{
    Place, Running, Throng, assert_one_record_per_row, mock, run, symbols, throng, until,
};

const ROWS: usize = 60;
const RATE: &str = "25/1d";

fn server() -> Mock {
    mock(Settings {
        limits: vec![RATE.parse().unwrap()],
        latency: "20ms".parse().unwrap(),
        ..Settings::default()
    })
}

/// This command of a job with more rows than a day allows.
fn job(command: &str, place: &Place, mock: &Mock, output: &str) -> Throng {
    let input = place.path("rows.csv");
    if !Path::new(&input).exists() {
        place.file("rows.csv", &symbols(ROWS));
    }
    throng(command)
        .quotes(&mock.url())
        .arg("--input", &input)
        .arg("--output", &place.path(output))
        .arg("--rate", RATE)
        .arg("--header", "x-api-key: {{ env.KEY }}")
        .env("KEY", "a-key-of-mine")
        .env("XDG_STATE_HOME", &place.path("state"))
        .flags("--workers 2 --concurrency 4")
}

fn start(place: &Place, mock: &Mock, output: &str) -> Running {
    job("run", place, mock, output).flags("--overwrite").start()
}

/// Its progress tells of rows that wait for the limit, and of none that goes.
fn waits_at_the_gate(running: &Running) {
    until("rows at the gate", || running.stderr_so_far().contains("0 in flight · 8 waiting"));
}

/// What `throng plan` says is left.
fn left(place: &Place, mock: &Mock, output: &str) -> u64 {
    let plan = job("plan", place, mock, output).flags("--overwrite").exits(0);
    let line = plan.stdout.lines().find(|line| line.starts_with("quota"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[2..7], ["of", "25", "requests", "left", "of"], "{words:?}");
    words[1].parse().unwrap()
}

fn quotas(place: &Place) -> Vec<PathBuf> {
    let entries =
        |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
    let accounts = entries(PathBuf::from(place.path("state/throng/quotas")));
    let paths = accounts.flat_map(entries);
    paths.filter(|path| path.extension().is_some_and(|end| end == "limit")).collect()
}

#[test]
fn killed_at_noon_and_started_again_the_day_s_quota_holds() {
    let (place, mock) = (Place::new(), server());
    assert_eq!(left(&place, &mock, "out.jsonl"), 25);
    for requests in [5, 12, 25] {
        let running = start(&place, &mock, "out.jsonl");
        // Those that were killed may have been in flight, and count as used.
        until("some requests, or no quota", || {
            mock.judgement().requests >= requests || left(&place, &mock, "out.jsonl") == 0
        });
        running.signal("-KILL");
        running.ends();
    }
    until("the end of what was kept", || left(&place, &mock, "out.jsonl") == 0);
    let before = mock.judgement().requests;
    let running = start(&place, &mock, "last.jsonl");
    waits_at_the_gate(&running);
    running.signal("-INT");
    running.ends().with_code(130);
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.refused), (before, 0));
    assert!((15..=25).contains(&judgement.requests), "{judgement:?}");
}

#[test]
fn two_at_once_share_it_and_a_third_gets_what_they_leave() {
    let (place, mock) = (Place::new(), server());
    let both = ["a.jsonl", "b.jsonl"].map(|output| start(&place, &mock, output));
    until("all of it used", || left(&place, &mock, "c.jsonl") == 0);
    until("all of it sent", || mock.judgement().requests == 25);
    let third = start(&place, &mock, "c.jsonl");
    waits_at_the_gate(&third);
    for running in both.iter().chain([&third]) {
        running.signal("-INT");
    }
    for running in both.into_iter().chain([third]) {
        running.ends().with_code(130);
    }
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.refused), (25, 0));
    assert_eq!(judgement.windows[0].most, 25);
}

#[test]
fn what_a_run_does_not_use_is_left_to_the_next() {
    let (place, mock) = (Place::new(), server());
    let few = |output, rows| {
        let job = job("run", &place, &mock, output).arg("--take", rows);
        job.exits(0);
    };
    few("a.jsonl", "10");
    assert_eq!(left(&place, &mock, "b.jsonl"), 15);
    few("b.jsonl", "15");
    assert_eq!(left(&place, &mock, "c.jsonl"), 0);
    assert_eq!((mock.judgement().requests, mock.judgement().refused), (25, 0));
    assert_one_record_per_row(&place.records("b.jsonl"), 15);
    assert_eq!(quotas(&place).len(), 1);
    let runs = fs::read_dir(place.path("state/throng/quotas/runs")).unwrap();
    assert_eq!(runs.count(), 0, "runs that have ended leave no file");
}

#[test]
fn another_key_is_another_account_and_the_file_does_not_tell_it() {
    let (place, mock) = (Place::new(), server());
    let take = |key: &str, output: &str| {
        let job = job("run", &place, &mock, output).env("KEY", key);
        job.flags("--take 3").exits(0);
    };
    take("a-key-of-mine", "a.jsonl");
    take("another-one", "b.jsonl");
    assert_eq!(left(&place, &mock, "c.jsonl"), 22);
    assert_eq!(quotas(&place).len(), 2);
    for path in quotas(&place) {
        let text = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned() + path.to_str().unwrap();
        assert!(!text.contains("a-key-of-mine") && !text.contains("another-one"), "{text}");
        assert!(text.contains("25/1d") && text.contains("127.0.0.1"), "{text}");
    }
}

#[test]
fn each_key_of_a_pool_and_of_a_scope_has_its_own() {
    let (place, mock) = (Place::new(), crate::harness::plain_mock());
    let input = place.file("rows.csv", &symbols(12));
    let ask = |flags: &[[&str; 2]], output: &str| {
        let job = run()
            .quotes(&mock.url())
            .arg("--input", &input)
            .arg("--output", &place.path(output))
            .arg("--rate", "6/1d")
            .env("XDG_STATE_HOME", &place.path("state"));
        let job = flags.iter().fold(job, |job, [flag, value]| job.arg(flag, value));
        job.exits(0);
    };
    let pool = [["--keys", "one-key"], ["--keys", "two-key"], ["--query", "key={{ key }}"]];
    ask(&pool, "pool.jsonl");
    assert_eq!(quotas(&place).len(), 2);
    ask(&[["--per", "{{ symbol }}"]], "scope.jsonl");
    assert_eq!(quotas(&place).len(), 14);
    assert_eq!(mock.judgement().requests, 24);
}

#[test]
fn what_can_not_be_read_stops_it_before_anything_is_sent() {
    let (place, mock) = (Place::new(), server());
    job("run", &place, &mock, "a.jsonl").flags("--take 1").exits(0);
    let [path] = &quotas(&place)[..] else {
        panic!("one quota");
    };
    for text in ["{\"kept\":", "{}", "[]"] {
        fs::write(path, text).unwrap();
        for command in ["run", "plan"] {
            let ended = job(command, &place, &mock, "b.jsonl").exits(2);
            ended.says("keeps the use of a limit for all runs of the account, and it is damaged");
            ended.says(path.file_name().unwrap().to_str().unwrap());
        }
    }
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    job("run", &place, &mock, "b.jsonl").exits(2).says("and it is no regular file");
    fs::remove_dir(path).unwrap();
    std::os::unix::fs::symlink("/dev/null", path).unwrap();
    job("run", &place, &mock, "b.jsonl").exits(2).says("and it is no regular file");
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/nonexistent/file", path).unwrap();
    job("run", &place, &mock, "b.jsonl").exits(2).says("and can't be used: No such file");
    fs::remove_file(path).unwrap();
    // To open a pipe would wait for a writer.
    let other = path.with_file_name("other.limit");
    assert!(Command::new("mkfifo").arg(&other).status().unwrap().success());
    let ended = job("run", &place, &mock, "b.jsonl").exits(2);
    ended.says("other.limit keeps the use of a limit for all runs of the account, and it is no");
    fs::remove_file(other).unwrap();
    let nowhere = job("run", &place, &mock, "b.jsonl").env("XDG_STATE_HOME", "");
    nowhere.exits(2).says("neither HOME nor XDG_STATE_HOME is set");
    let file = place.file("file", "");
    let not_there = job("run", &place, &mock, "b.jsonl").env("XDG_STATE_HOME", &file);
    not_there.exits(2).says("set XDG_STATE_HOME to another directory");
    assert_eq!(mock.judgement().requests, 1);
}

#[test]
fn one_that_is_damaged_meanwhile_stops_the_run() {
    let (place, mock) = (Place::new(), crate::harness::plain_mock());
    let input = place.file("rows.csv", &symbols(5_000));
    let ask = run().quotes(&mock.url()).arg("--input", &input);
    let ask = ask.arg("--rate", "5000/1d").flags("--mode sync");
    let ask = ask.env("XDG_STATE_HOME", &place.path("state"));
    let running = ask.start();
    until("a request", || mock.judgement().requests > 0);
    let path = quotas(&place)[0].clone();
    until("its end", || {
        fs::write(&path, "?").unwrap();
        crate::signals::has_ended(&running)
    });
    let ended = running.ends().with_code(3);
    ended.says("keeps the use of a limit for all runs of the account, and it is damaged");
}

#[test]
fn a_run_that_shares_no_limit_leaves_nothing_on_the_disk() {
    let (place, mock) = (Place::new(), server());
    let input = place.file("rows.csv", &symbols(3));
    let ask = run().quotes(&mock.url()).arg("--input", &input).flags("--share none");
    let ask = ask.arg("--rate", "100/10m").env("XDG_STATE_HOME", &place.path("state"));
    ask.exits(0);
    assert!(!Path::new(&place.path("state")).exists());
}

#[test]
fn a_total_for_the_run_begins_anew_with_each_and_may_be_raised() {
    let (place, mock) = (Place::new(), crate::harness::plain_mock());
    let input = place.file("rows.csv", &symbols(30));
    let ask = |rate: &str| {
        let job = run().quotes(&mock.url()).arg("--input", &input);
        job.arg("--output", &place.path("out.jsonl")).arg("--rate", rate)
    };
    ask("10/run").exits(3).says("10/run").says("used up");
    assert_eq!(place.records("out.jsonl").len(), 10);
    ask("50/run").flags("--resume").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), 30);
    assert_eq!(mock.judgement().requests, 30);
}

#[test]
fn a_plan_counts_what_tenants_and_keys_of_a_pool_have_used() {
    let (place, mock) = (Place::new(), mock(Settings::default()));
    let rows: String = (0..12).map(|n| format!("{n},t{}\n", n % 3)).collect();
    let input = place.file("rows.csv", &format!("id,tenant\n{rows}"));
    let job = |command: &str, limit: &[&str]| {
        let url = format!("{}/echo/{{{{ id }}}}", mock.url());
        let job = throng(command).arg("--url", &url).arg("--input", &input);
        let job = job.env("XDG_STATE_HOME", &place.path("state"));
        let job = job.env("ONE", "a-key-of-mine").env("TWO", "another-key-of-mine");
        limit.chunks(2).fold(job, |job, words| job.arg(words[0], words[1]))
    };
    let tenants = ["--rate", "5/1d", "--per", "{{ tenant }}"];
    let keys = ["--rate", "8/10m", "--keys", "{{ env.ONE }}", "--keys", "{{ env.TWO }}"];
    let keys = [&keys[..], &["--header", "x-api-key: {{ key }}"]].concat();
    // A little of the wait may be over by the time of the plan.
    let (day, minutes) = (["1 d", "23 h 59 m"], ["10 m", "59"]);
    for (limit, takes, waits) in [(&tenants[..], "7", day), (&keys[..], "12", minutes)] {
        let least = || {
            let shown = job("plan", limit).exits(0).stdout;
            let line = shown.lines().find(|line| line.starts_with("time ")).map(str::to_owned);
            line.unwrap_or(shown)
        };
        assert!(least().contains("at least 0 s for 12 rows"), "{}", least());
        job("run", limit).arg("--take", takes).exits(0);
        // A tenant has 2 left, and wants 4; the keys have 4 left, and 12 rows are to be done.
        let line = least();
        assert!(waits.iter().any(|it| line.contains(&format!("at least {it}"))), "{line}");
    }
}
