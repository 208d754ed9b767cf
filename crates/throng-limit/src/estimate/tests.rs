use std::time::Duration;

use jiff::Timestamp;

use super::{Estimate, SentRequests, UsedUnits, Workload};
use crate::config::{Guard, Policy, Settings};
use crate::time::Time;

fn bound(rates: &[&str], guard: Guard, rows: u64, millis: u64) -> Option<Estimate> {
    let settings = Settings {
        rate: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
        guard,
        ..Settings::default()
    };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    policy.bound(&Workload::requests(rows), Duration::from_millis(millis), Time::ZERO)
}

fn seconds(rates: &[&str], guard: Guard, rows: u64, millis: u64) -> f64 {
    let bound = bound(rates, guard, rows, millis).unwrap();
    (bound.time.as_secs_f64() * 1e6).round() / 1e6
}

#[test]
fn the_slowest_limit_binds() {
    let rates = ["22/5s", "1000/1m"];
    assert_eq!(seconds(&rates, Guard::Strict, 500, 0), 110.0);
    assert_eq!(seconds(&rates, Guard::Strict, 500, 250), 22.0 * 5.25 + 0.25);
    assert_eq!(seconds(&rates, Guard::Acked, 500, 250), 110.25);
    assert_eq!(seconds(&rates, Guard::Strict, 22, 0), 0.0);
    assert_eq!(bound(&[], Guard::Strict, 9, 0), None);
    assert_eq!(bound(&rates, Guard::Strict, 500, 0).unwrap().binds, "22/5s");
}

#[test]
fn what_the_longest_window_leaves_is_up_to_the_others() {
    let rates = ["5/1s", "100/1m"];
    // 4 full minutes, and 100 more at 5 a second
    assert_eq!(seconds(&rates, Guard::Strict, 500, 0), 4.0 * 60.0 + 19.0);
    assert_eq!(seconds(&["bucket:10/1s"], Guard::Strict, 110, 0), 10.0);
    assert_eq!(seconds(&["5000/run", "10/1s"], Guard::Strict, 20, 0), 1.0);
}

#[test]
fn a_bucket_leaks_from_the_first_answer_on_and_latency_binds_where_it_holds_little() {
    let seconds = |rate: &str, rows, millis| seconds(&[rate], Guard::Strict, rows, millis);
    // One at a time: each waits for the answer of the one before, and 0.1 s.
    assert_eq!(seconds("gcra:10/1s", 40, 50), 5.9);
    assert_eq!(seconds("gcra:10/1s", 1, 50), 0.05);
    // 10 at once, and from the first answer on one each 0.1 s.
    assert_eq!(seconds("bucket:10/1s", 110, 900), 11.8);
    // 10 in each 1.5 s: 10 answers in flight and 0.1 s.
    assert_eq!(seconds("bucket:10/1s", 101, 1_400), 16.4);
    assert_eq!(seconds("bucket:10/1s", 110, 1_400), 17.3);
    let at_a_time =
        |rate, guard, millis| bound(&[rate], guard, 40, millis).and_then(|bound| bound.at_a_time);
    assert_eq!(at_a_time("gcra:10/1s", Guard::Strict, 50), Some(1));
    assert_eq!(at_a_time("gcra:10/1s", Guard::Acked, 50), None);
    assert_eq!(at_a_time("gcra:10/1s", Guard::Strict, 0), None);
    assert_eq!(at_a_time("bucket:10/1s", Guard::Strict, 1_400), Some(10));
    assert_eq!(at_a_time("bucket:10/1s", Guard::Strict, 900), None);
}

#[test]
fn what_is_answered_beyond_an_edge_counts_in_the_next_window_too() {
    // Windows begin at whole seconds, and clocks may differ by 50 ms.
    let bound = |start, millis| {
        let settings =
            Settings { rate: vec!["20/1s@clock".parse().unwrap()], ..Settings::default() };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let start = Time::ZERO.after(Duration::from_millis(start));
        let bound = policy.bound(&Workload::requests(60), Duration::from_millis(millis), start);
        bound.unwrap().time.as_millis()
    };
    assert_eq!(bound(500, 100), 550 + 1_000 + 100);
    assert_eq!(bound(849, 100), 201 + 1_000 + 100);
    assert_eq!(bound(851, 100), 1_199 + 1_000 + 100);
    // What is sent at an edge is answered after the next one.
    assert_eq!(bound(50, 950), 2_000 + 2_000 + 950);
}

#[test]
fn what_is_answered_late_at_first_counts_in_the_next_window_too() {
    let settings = Settings { rate: vec!["20/1s@clock".parse().unwrap()], ..Settings::default() };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
    let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
    let bound = |guard, first: Option<u64>| {
        let demand = Workload { first_answer: first.map(at), ..Workload::requests(60) };
        let latency = Duration::from_millis(50);
        let bound = policy.under(guard).bound(&demand, latency, at(820)).unwrap();
        bound.time.as_millis()
    };
    // The window ends at 1 s, and clocks may differ by 50 ms.
    for (first, time) in [(None, 230), (Some(860), 230), (Some(940), 230), (Some(960), 1_230)] {
        assert_eq!(bound(Guard::Strict, first), time + 1_000 + 50, "{first:?}");
    }
    assert_eq!(bound(Guard::Acked, Some(960)), 230 + 1_000 + 50);
}

#[test]
fn costs_that_turned_out_otherwise_are_scaled() {
    let busiest = vec![Some(vec![4, 400]), None];
    let mut demand = Workload { units: vec![10, 1000], busiest, ..Workload::default() };
    demand.scale(1, 0.25);
    demand.scale(7, 0.5);
    assert_eq!(demand.units, [10, 250]);
    assert_eq!(demand.busiest, [Some(vec![4, 100]), None]);
}

#[test]
fn what_earlier_runs_have_used_comes_first() {
    let bound = |rate: &str, rows, used: &[(u64, u64)]| {
        let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let used = used.iter().map(|&(wait, units)| (Duration::from_secs(wait), units));
        let mut demand = Workload::requests(rows);
        let used = UsedUnits { units: used.collect(), wanted: Vec::new() };
        demand.used_before.insert(policy.rules()[0].name.clone(), vec![used]);
        policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap().time.as_secs_f64()
    };
    // 12 of 22 are free at once, 4 in 1 s, and 6 in 3 s.
    let used = [(1, 4), (3, 6)];
    for (rows, expected) in [(12, 0.0), (13, 1.0), (16, 1.0), (17, 3.0), (22, 3.0), (23, 5.0)] {
        assert_eq!(bound("22/5s", rows, &used), expected, "{rows}");
    }
    assert_eq!(bound("22/5s", 44, &used), 8.0);
    // They are used in the window that the run begins in.
    assert_eq!(bound("22/10s@clock", 12, &[(10, 10)]), 0.0);
    assert_eq!(bound("22/10s@clock", 13, &[(10, 10)]), 10.5);
    assert_eq!(bound("22/10s@clock", 35, &[(10, 10)]), 20.5);
    // 10 tokens come back in each second.
    assert_eq!(bound("bucket:10/1s", 5, &[(1, 10)]), 0.5);
    assert_eq!(bound("bucket:10/1s", 20, &[(1, 10)]), 2.0);
    assert_eq!(bound("bucket:10/1s", 1, &[(3, 10)]), 2.1);
    // Two that may arrive in 30 s hold their place, and no others up.
    assert_eq!(bound("bucket:10/1s", 8, &[(30, 2)]), 0.0);
    assert_eq!(bound("bucket:10/1s", 110, &[(30, 2)]), 10.2);
}

#[test]
fn requests_that_were_sent_a_while_ago_count_for_the_rest_of_their_period() {
    let used = |rate: &str, sent: &[(u64, u64)], millis: u64| {
        let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
        let sent: Vec<SentRequests> = sent
            .iter()
            .map(|&(millis, requests)| SentRequests { at: at(millis), requests })
            .collect();
        let used = policy.used_by(&sent, Duration::from_millis(250), at(millis));
        let used = used[&policy.rules()[0].name][0].units.clone();
        let in_millis = |(wait, units): (Duration, u64)| (wait.as_millis() as u64, units);
        used.into_iter().map(in_millis).collect::<Vec<_>>()
    };
    let sent = [(0, 20), (4_000, 2)];
    assert_eq!(used("22/5s", &sent, 4_100), [(1_150, 20), (5_150, 2)]);
    assert_eq!(used("22/5s", &sent, 6_000), [(3_250, 2)]);
    // Clocks may differ by a twentieth of the period.
    assert_eq!(used("22/5s@clock", &sent, 4_500), [(750, 20), (750, 2)]);
    assert_eq!(used("22/5s@clock", &sent, 5_300), []);
    // 10 of them have leaked in a second.
    assert_eq!(used("bucket:10/1s", &[(0, 15)], 1_000), [(500, 5)]);
    assert_eq!(used("bucket:10/1s", &[(0, 15)], 2_000), []);
}

#[test]
fn the_busiest_key_and_the_number_of_keys_decide() {
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "rate": ["10/1s", {"rate": "10/1m", "per": "{{ t }}"}],
        "keys": ["a", "b"],
    }))
    .unwrap();
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    let mut demand = Workload::requests(40);
    let time = |demand: &Workload| policy.bound(demand, Duration::ZERO, Time::ZERO).unwrap().time;
    assert_eq!(time(&demand).as_secs_f64(), 1.0);
    demand.busiest = vec![Some(vec![11])];
    assert_eq!(time(&demand).as_secs_f64(), 60.0);
}

#[test]
fn units_that_a_key_has_used_before_come_first() {
    let settings = serde_json::from_value(serde_json::json!({
        "rate": [{"rate": "10/1m", "per": "{{ t }}"}],
    }));
    let policy = Policy::new(&settings.unwrap(), Duration::ZERO).unwrap();
    // The busiest key asks for 10 and is new; another has used 8 of its 10.
    let mut demand = Workload { busiest: vec![Some(vec![10])], ..Workload::requests(20) };
    let used =
        |wanted| UsedUnits { units: vec![(Duration::from_secs(40), 8)], wanted: vec![wanted] };
    for (wanted, expected) in [(2, 0.0), (3, 40.0), (12, 60.0), (13, 100.0)] {
        demand.used_before.insert(policy.rules()[0].name.clone(), vec![used(wanted)]);
        let bound = policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap();
        assert_eq!(bound.time.as_secs_f64(), expected, "{wanted}");
    }
    // Half of the requests take half of each key's units.
    assert_eq!(demand.share(10).used_before[&policy.rules()[0].name][0].wanted, [6]);
}

#[test]
fn the_keys_of_a_pool_have_together_what_each_has_left() {
    let bound = |rate: &str, rows, used: &[&[(u64, u64)]]| {
        let settings = serde_json::json!({"rate": [rate], "keys": ["a", "b"]});
        let settings = serde_json::from_value(settings).unwrap();
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let of_key = |used: &&[(u64, u64)]| UsedUnits {
            units: used.iter().map(|&(wait, units)| (Duration::from_secs(wait), units)).collect(),
            wanted: Vec::new(),
        };
        let mut demand = Workload::requests(rows);
        let used = used.iter().map(of_key).collect();
        demand.used_before.insert(policy.rules()[0].name.clone(), used);
        policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap().time.as_secs_f64()
    };
    // 2 of 6 are free at once, one in 2 s, and three in 4 s.
    let used: [&[(u64, u64)]; 2] = [&[(4, 3)], &[(2, 1)]];
    for (rows, expected) in [(2, 0.0), (3, 2.0), (4, 4.0), (6, 4.0), (7, 5.0)] {
        assert_eq!(bound("3/5s", rows, &used), expected, "{rows}");
    }
    // A full bucket and one that is empty: 20 tokens come back in each second.
    let used: [&[(u64, u64)]; 2] = [&[(1, 10)], &[]];
    for (rows, expected) in [(10, 0.0), (20, 0.5), (30, 1.0)] {
        assert_eq!(bound("bucket:10/1s", rows, &used), expected, "{rows}");
    }
}
