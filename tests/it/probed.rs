//! `throng probe`: unknown limits of each kind, in virtual time, and one over a socket.

use std::time::Duration;

use serde_json::json;
use throng::Job;
use throng::internals::probe::{Bounds, FoundKind, ProbeResult, simulated};
use throng_mock::{LimitKind, Refusal, ServerLimit, Settings};

use crate::harness::{Place, mock, symbols, throng, until};
use throng::internals::simulate::ModelServers;

const SLIDING: [&str; 6] = ["22/5s", "100/1m", "10/1s", "50/10s", "300/15m", "7/3s"];
const FIXED: [&str; 6] =
    ["fixed:22/5s", "fixed:100/1m", "fixed:10/1s", "fixed:20/2s", "fixed:400/15m", "clock:50/10s"];
const BUCKETS: [&str; 6] = [
    "bucket:10/1s:20",
    "bucket:5/1s:50",
    "bucket:2/1s:40",
    "bucket:100/1m",
    "bucket:20/1s:100",
    "bucket:50/1s:30",
];

fn probe(limit: &str, server: Settings, refusals: u32) -> ProbeResult {
    probe_together(limit, server, refusals, 1)
}

fn probe_together(limit: &str, server: Settings, refusals: u32, concurrency: u64) -> ProbeResult {
    let latency = "uniform:3ms:5ms".parse().unwrap();
    probe_over(limit, Settings { latency, ..server }, refusals, concurrency)
}

/// A probe over a way of the server's latency.
fn probe_over(limit: &str, server: Settings, refusals: u32, concurrency: u64) -> ProbeResult {
    let job = json!({"request": {"url": "http://model/"}});
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let bounds =
        Bounds { refusals, requests: 5_000, time: Duration::from_secs(4_000), concurrency };
    let server = Settings { limits: vec![limit.parse().unwrap()], ..server };
    let start = || ModelServers::start([(server, Default::default())]);
    simulated(&job, bounds, 0, start).unwrap().found
}

#[track_caller]
fn assert_near(found: f64, real: f64, what: &str) {
    let share = found / real;
    assert!((0.9..=1.1).contains(&share), "{found} for {real}: {what}");
}

/// Amount, and units in a second.
fn real(limit: &str) -> (ServerLimit, f64, f64) {
    let limit: ServerLimit = limit.parse().unwrap();
    let most = limit.most_at_once();
    let rate = f64::from(limit.units) / limit.period.as_secs_f64();
    (limit, most.into(), rate)
}

#[test]
fn limits_of_each_kind_are_found_within_a_tenth_and_three_refusals() {
    for limit in SLIDING.iter().chain(&FIXED).chain(&BUCKETS) {
        let found = probe(limit, Settings::default(), 3);
        let what = format!("{limit}: {found:?}");
        let (real, amount, rate) = real(limit);
        let kinds =
            [(LimitKind::SLIDING, FoundKind::Sliding), (LimitKind::BUCKET, FoundKind::Bucket)];
        let kind = kinds.into_iter().find(|(kind, _)| *kind == real.kind);
        let kind = kind.map_or(FoundKind::Fixed, |(_, found)| found);
        assert_eq!(found.kind, kind, "{what}");
        assert!(found.refusals <= 3, "{what}");
        assert_near(found.amount.unwrap() as f64, amount, &what);
        match found.period {
            Some(period) => assert_near(period.as_secs_f64(), real.period.as_secs_f64(), &what),
            None => assert_near(found.per_second.unwrap(), rate, &what),
        }
        assert!(found.rate().unwrap().starts_with("--rate "), "{what}");
    }
}

/// The rate, in units a second, of what a probe says to write.
fn proposed(found: &ProbeResult) -> f64 {
    let rate = found.rate().unwrap_or_else(|| panic!("{found:?}"));
    let rate = rate.trim_start_matches("--rate ").split(' ').next().unwrap();
    real(rate).2
}

#[test]
fn no_rate_above_the_true_one_is_proposed_and_round_figures_are_found() {
    for limit in SLIDING.iter().chain(&FIXED).chain(&BUCKETS) {
        for seed in 0..10 {
            let server = Settings { seed, ..Settings::default() };
            let found = probe(limit, server, 3);
            let share = proposed(&found) / real(limit).2;
            assert!((0.9..=1.0 + 1e-9).contains(&share), "{share} of {limit}: {found:?}");
        }
    }
    for (limit, rate) in [("bucket:10/1s:20", "10/1s"), ("bucket:5/1s:50", "5/1s")] {
        let rate = format!("--rate bucket:{rate} ");
        let found = probe(limit, Settings::default(), 3).rate().unwrap();
        assert!(found.starts_with(&rate), "{found}");
    }
}

#[test]
fn no_burst_nor_rate_above_the_true_one_is_proposed_over_a_way_that_varies() {
    let (mut proposals, few) = (0, ["gcra:20/1s:21", "gcra:30/1s:10", "bucket:20/1s:21"]);
    for limit in FIXED.iter().chain(&BUCKETS).chain(&few) {
        for seed in 0..2 {
            let latency = "uniform:2ms:60ms".parse().unwrap();
            let found = probe_over(limit, Settings { seed, latency, ..Settings::default() }, 3, 1);
            let what = format!("seed {seed}, {limit}: {found:?}");
            if found.rate().is_none() {
                assert!(found.stopped.is_some(), "{what}");
                continue;
            }
            proposals += 1;
            let (_, amount, rate) = real(limit);
            assert!(found.amount.unwrap() as f64 <= amount, "{what}");
            assert!(proposed(&found) <= rate + 1e-9, "{what}");
        }
    }
    assert!(proposals > 12, "{proposals}");
}

#[test]
fn requests_at_a_time_reach_limits_that_one_after_the_other_does_not() {
    // One after the other: 250 a second.
    for limit in ["2000/1s", "fixed:1500/2s"] {
        let alone = probe(limit, Settings::default(), 3);
        assert_eq!(alone.amount, None, "{alone:?}");
        let found = probe_together(limit, Settings::default(), 3, 50);
        let share = proposed(&found) / real(limit).2;
        assert!((0.9..=1.0).contains(&share), "{share} of {limit}: {found:?}");
        assert!(found.refused_together < 150, "{found:?}");
    }
}

#[test]
fn whether_refusals_count_is_found_out_where_it_matters() {
    for limit in SLIDING {
        for refusals_count in [true, false] {
            let server = Settings { refusals_count, ..Settings::default() };
            let found = probe(limit, server, 3);
            assert_eq!(found.refusals_count, Some(refusals_count), "{limit}: {found:?}");
        }
    }
}

#[test]
fn what_is_not_told_in_seconds_is_not_taken_for_more_than_it_is() {
    for limit in SLIDING.iter().chain(&FIXED).chain(&BUCKETS) {
        for (refusal, refusals) in [(Refusal::RetryAfterDate, 3), (Refusal::Bare, 9)] {
            let server = Settings { refusal, ..Settings::default() };
            let found = probe(limit, server, refusals);
            let what = format!("{limit} {refusal:?}: {found:?}");
            let (_, amount, rate) = real(limit);
            assert!(found.refusals <= refusals, "{what}");
            if found.kind != FoundKind::Bucket || found.rate().is_none() {
                continue;
            }
            assert!(found.amount.unwrap() as f64 <= amount * 1.1, "{what}");
            let per_second = found.per_second.unwrap_or_else(|| {
                found.amount.unwrap() as f64 / found.period.unwrap().as_secs_f64()
            });
            assert!(per_second <= rate * 1.1, "{what}");
        }
    }
}

#[test]
fn a_probe_says_what_to_write_and_how_it_ends() {
    let server = mock(Settings {
        limits: vec!["20/1s".parse().unwrap()],
        api_key: Some("k".to_owned()),
        ..Settings::default()
    });
    let url = format!("{}/v6/finance/quote/?symbols=A", server.url());
    let probe = || throng("probe").flags(&url);
    let found = probe().arg("-H", "x-api-key: k").exits(0);
    found.says("at most 10000 requests, 3 refusals");
    // What exactly is found, tests in virtual time say.
    let rate = found.stdout.split_once("--rate ").map(|(_, rest)| rest);
    let rate = rate.and_then(|rest| rest.split_whitespace().next());
    let (_, _, per_second) = real(rate.unwrap());
    assert!(per_second <= 20.0, "{}", found.stdout);
    assert!(server.judgement().refused <= 3);
    probe().exits(2).says("an answer was 401");
    throng("probe").exits(2).says("give it a URL");
    let of_row = throng("probe").arg("--url", "http://h/{{ id }}").exits(2);
    of_row.says("write a value in the place of {{ id }}");
    // The window of this server may still be full of the first probe's requests.
    let unlimited = crate::harness::plain_mock();
    let url = format!("{}/v6/finance/quote/?symbols=A", unlimited.url());
    let few = throng("probe").flags(&url).flags("--max-requests 5").exits(1);
    assert!(few.stdout.contains("none of 5 requests was refused"), "{}", few.stdout);
}

#[test]
fn a_probe_of_a_server_that_fails_or_refuses_everything_says_so_and_sends_little() {
    for (fault, code, said) in [
        ("500=100%", 3, "5 answers in a row were 500 Internal Server Error: the server fails"),
        ("429=100%", 1, "every request was refused: the limit was used up before"),
    ] {
        let faults = fault.parse().unwrap();
        let server = mock(Settings { faults, ..Settings::default() });
        let flags = format!("{}/echo/1 --max-time 500ms", server.url());
        let ended = throng("probe").flags(&flags).exits(code);
        let all = ended.stdout.clone() + &ended.stderr;
        assert!(all.contains(said), "{all}");
        assert!(!all.contains("a limit, if there is one"), "{all}");
        let sent = server.judgement().requests;
        assert!((1..=5).contains(&sent), "{fault}: {sent}");
    }
    throng("probe").flags("http://127.0.0.1:1/ --max-requests 0").exits(2);
}

#[test]
fn an_interrupted_probe_says_what_it_has_learnt() {
    let server = mock(Settings { limits: vec!["5/1h".parse().unwrap()], ..Settings::default() });
    let place = Place::new();
    let state = place.path("state");
    let probe = throng("probe")
        .env("XDG_STATE_HOME", &state)
        .flags(&format!("{}/echo/1 --max-time 5h", server.url()))
        .start();
    until("the probe waits", || probe.stderr_so_far().contains("the next one in"));
    // Another one must not mistake these requests for a part of the limit.
    let other = throng("probe").env("XDG_STATE_HOME", &state);
    other.flags(&format!("{}/echo/1", server.url())).exits(2).says("runs on this account");
    probe.signal("-INT");
    let ended = probe.ends().with_code(130);
    assert!(ended.stdout.contains("5 until it refused one"), "{}", ended.stdout);
    assert!(ended.stdout.contains("it was interrupted"), "{}", ended.stdout);
}

#[test]
fn a_run_right_after_a_probe_counts_its_requests() {
    let server = mock(Settings { limits: vec!["20/3s".parse().unwrap()], ..Settings::default() });
    let place = Place::new();
    let state = place.path("state");
    let probe = throng("probe").env("XDG_STATE_HOME", &state);
    probe.flags(&format!("{}/echo/1", server.url())).exits(0);
    let before = server.judgement().refused;
    throng("run")
        .env("XDG_STATE_HOME", &state)
        .arg("--url", &format!("{}/echo/{{{{ symbol }}}}", server.url()))
        .arg("--input", &place.file("rows.csv", &symbols(30)))
        .flags("--rate 20/3s")
        .exits(0);
    assert_eq!(server.judgement().refused, before, "none of the run's requests is refused");
}

#[test]
fn the_gap_of_a_server_that_takes_one_at_a_time_is_found_from_above() {
    for limit in ["gcra:10/1s", "gcra:4/1s", "bucket:20/1s:1"] {
        for refusal in [Refusal::Bare, Refusal::RetryAfterSeconds] {
            let server = Settings { refusal, ..Settings::default() };
            let found = probe(limit, server, 4);
            let share = proposed(&found) / real(limit).2;
            assert!((0.7..=1.0).contains(&share), "{share} of {limit} {refusal:?}: {found:?}");
        }
    }
}
