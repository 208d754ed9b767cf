//! However a run ends in good order, its account of the limits is closed: the next run
//! waits for nothing that was never sent. Whatever it has to wait for, it says.

use std::path::Path;

use crate::disks::with_room;
use crate::harness::{Place, Throng, plain_mock, symbols, throng, until};
use crate::recorder::{Recorder, answer};

/// This command of a job with 20 rows under a limit of 10.
fn job(command: &str, place: &Place, server: &str) -> Throng {
    throng(command)
        .quotes(server)
        .arg("--input", &place.file("rows.csv", &symbols(20)))
        .arg("--output", &place.path("out.jsonl"))
        .flags("--rate 10/1m --workers 2 --concurrency 4 --allow-plain")
        .env("XDG_STATE_HOME", &place.path("state"))
}

/// Whether no run leases units of an account, as far as the files tell.
fn is_clean(place: &Place) -> bool {
    let accounts = std::fs::read_dir(place.path("state/throng/quotas/runs")).unwrap();
    accounts.count() == 0
}

/// A server that never answers.
fn never() -> Recorder {
    Recorder::answering(|_| {
        loop {
            std::thread::park();
        }
    })
}

#[test]
fn a_run_that_gets_no_token_closes_its_account() {
    let login = Recorder::answering(|_| answer("401 Unauthorized", &[], "{}"));
    for existing in ["--resume", "--overwrite"] {
        let (place, mock) = (Place::new(), plain_mock());
        job("run", &place, &mock.url()).flags("--take 3").exits(0);
        let refused = job("run", &place, &mock.url())
            .flags(existing)
            .flags("--auth kind=oauth2 --auth client-id=me")
            .arg("--auth", &format!("token-url={}/token", login.url()));
        refused.exits(3).says("no token could be had");
        assert!(is_clean(&place), "{existing}");
        let next = || job("plan", &place, &mock.url()).flags("--resume --take 6");
        let plan = next().exits(0);
        assert!(!plan.stdout.contains("waits"), "{}", plan.stdout);
    }
}

#[test]
fn a_run_whose_disk_is_full_closes_its_account() {
    let (place, mock) = (Place::new(), plain_mock());
    let many = place.file("many.csv", &symbols(5_000));
    let job = throng("run")
        .quotes(&mock.url())
        .arg("--input", &many)
        .arg("--output", &place.path("out.jsonl"))
        .env("XDG_STATE_HOME", &place.path("state"))
        // Records are much longer than what the account keeps of their requests.
        .flags("--rate 100000/1m --keep-body=all");
    with_room(job, 300_000).with_code(3).says("cannot be written");
    assert!(is_clean(&place));
}

#[test]
fn what_was_sent_without_a_record_still_counts() {
    let (place, server) = (Place::new(), never());
    let running = job("run", &place, &server.url()).start();
    until("requests", || server.came().len() == 8);
    running.signal("-INT");
    until("the first signal to be heard", || {
        running.stderr_so_far().contains("ends the run at once")
    });
    running.signal("-INT");
    running.ends().with_code(130);
    assert!(is_clean(&place) && !Path::new(&place.path("out.jsonl")).exists());
    // Of ten, eight were sent: the third of these waits for the first of those.
    let next = job("plan", &place, &server.url()).flags("--rate 8/1m");
    let plan = next.exits(0);
    assert!(plan.stdout.contains("earlier runs have used 8/1m up"), "{}", plan.stdout);
    assert!(plan.stdout.contains("so the first request waits"));
    let elsewhere = job("plan", &place, "http://127.0.0.1:1").flags("--rate 8/1m");
    assert!(!elsewhere.exits(0).stdout.contains("waits"));
}

#[test]
fn a_run_that_waits_for_one_that_was_killed_says_so_before_it_does() {
    let (place, server) = (Place::new(), never());
    job("run", &place, &plain_mock().url()).flags("--take 1").exits(0);
    let running = job("run", &place, &server.url()).flags("--overwrite").start();
    until("requests", || server.came().len() == 8);
    running.signal("-KILL");
    running.ends();
    let why = "requests of a run that was killed may still arrive: they count against 10/1m";
    let plan = job("plan", &place, &server.url()).flags("--overwrite");
    let plan = plan.exits(0);
    assert!(plan.stdout.contains(why), "{}", plan.stdout);
    let next = job("run", &place, &server.url()).flags("--overwrite").start();
    until("its word", || next.stderr_so_far().contains(why));
    next.signal("-INT");
    next.ends().with_code(130);
    assert!(server.came().len() <= 10, "it waited for all but the two that were left");
}

#[test]
fn a_quota_that_is_used_up_or_was_not_given_back_is_said() {
    let (place, server) = (Place::new(), never());
    let of_a_day =
        |command: &str| job(command, &place, &server.url()).flags("--overwrite --rate 1000/1d");
    let running = of_a_day("run").start();
    until("requests", || server.came().len() == 8);
    running.signal("-KILL");
    running.ends();
    let why = "requests of a run that was killed may still arrive: they count against 1000/1d";
    let plan = of_a_day("plan").exits(0);
    assert!(plan.stdout.contains(why), "{}", plan.stdout);
    let place = Place::new();
    let mock = plain_mock();
    let two = |command: &str| job(command, &place, &mock.url()).flags("--rate 2/1d");
    two("run").flags("--take 2").exits(0);
    let plan = two("plan").flags("--resume").exits(0);
    let why = "earlier runs have used 2/1d up, so the first request waits 1 d";
    assert!(plan.stdout.contains(why), "{}", plan.stdout);
    let plan = two("plan").flags("--resume --take 2").exits(0);
    assert!(!plan.stdout.contains("waits"), "nothing is left to do");
}
