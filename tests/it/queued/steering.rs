//! Workers that join and leave, runs that end and go on, and jobs that are steered.

use super::{Machines, end, kill};
use crate::harness::{throng, until};

#[test]
fn a_worker_that_is_ended_finishes_what_it_has_begun_and_hands_back_the_rest() {
    let machines = Machines::new(300, "150/1s", "20ms");
    let collector = machines.collector().start();
    let first = machines.workers(1);
    machines.until_requests(60);
    let said = end(first).remove(0).stderr;
    assert!(said.contains("rows of out-") && !said.contains("came too late"), "{said}");
    let second = machines.workers(1);
    collector.ends().with_code(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 300, "no row was asked for twice");
    end(second);
}

#[test]
fn a_run_that_was_ended_goes_on_with_what_the_workers_have_done() {
    let machines = Machines::new(400, "150/1s", "20ms");
    let collector = machines.collector().start();
    let workers = machines.workers(2);
    machines.until_requests(60);
    collector.signal("-INT");
    collector.ends().with_code(130);
    let job = machines.job();
    let status = |word: &str| {
        let status = throng("status").operand(&machines.redis.url()).operand(&job).exits(0).stdout;
        assert!(status.contains(word), "{status}");
    };
    status("stopped: its collector was ended; --resume goes on");
    let after = machines.requests();
    machines.collector().flags("--resume").exits(0);
    assert!(after < 400, "{after}");
    machines.is_whole();
    assert_eq!(machines.requests(), 400, "no row was asked for twice");
    end(workers);
}

#[test]
fn a_run_that_was_killed_goes_on_with_what_the_workers_have_done_meanwhile() {
    let machines = Machines::new(400, "200/1s", "20ms");
    let collector = machines.collector().start();
    let workers = machines.workers(2);
    machines.until_requests(60);
    kill(collector);
    let before = machines.requests();
    machines.until_requests(before + 60);
    machines.collector().flags("--resume").exits(0);
    machines.is_whole();
    assert_eq!(machines.requests(), 400, "no row was asked for twice");
    end(workers);
}

#[test]
fn a_paused_job_sends_nothing_until_it_is_resumed_and_a_cancelled_one_ends_its_run() {
    let machines = Machines::new(2_000, "200/1s", "5ms");
    let collector = machines.collector().start();
    let workers = machines.workers(2);
    machines.until_requests(20);
    let job = machines.job();
    let steer = |word: &str| {
        let url = machines.redis.url();
        throng(word).operand(&url).operand(&job).exits(0);
    };
    steer("pause");
    let mut before = 0;
    until("a pause", || {
        let now = machines.requests();
        std::thread::sleep(std::time::Duration::from_millis(500));
        before = machines.requests();
        now == before
    });
    assert!(before < 2_000);
    steer("resume");
    machines.until_requests(before + 20);
    steer("cancel");
    let ended = collector.ends().with_code(3);
    ended.says("the job was cancelled");
    end(workers);
}

#[test]
fn a_job_is_stored_without_secrets_and_a_worker_without_them_says_what_a_run_says() {
    let machines = Machines::new(20, "100/1s", "0");
    let key = "k-0123456789abcdef";
    let header =
        |throng: crate::harness::Throng| throng.arg("--header", "x-api-key: {{ env.KEY }}");
    let without = header(machines.collector()).exits(2).stderr;
    let collector = header(machines.collector()).env("KEY", key).start();
    until("the job", || !machines.redis.ask(&["KEYS", "*work*"]).is_empty());
    let said = machines.worker().exits(2).stderr;
    let sentence = |text: &str| text.lines().find(|it| it.contains("KEY")).unwrap().to_owned();
    assert_eq!(sentence(&said), sentence(&without));
    let plan = machines.redis.ask(&["HGETALL", &format!("throng:{{{}}}:plan", machines.job())]);
    assert!(plan.contains("{{ env.KEY }}") && !plan.contains(key), "{plan}");
    let worker = machines.worker().env("KEY", key).start();
    collector.ends().with_code(0);
    machines.is_whole();
    end(vec![worker]);
    let literal = machines.collector().arg("--header", &format!("x-api-key: {key}"));
    let literal = literal.flags("--overwrite").exits(2);
    literal.says("request.headers.x-api-key holds a key, which the store would keep");
    assert!(!literal.stderr.contains(key), "{}", literal.stderr);
}
