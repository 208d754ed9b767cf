//! A hundred thousand seeded schedules of latencies, losses and refusals, judged
//! by what a server can know: when requests arrived. And the test of the test:
//! bugs that it must find.

use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::{Guard, Policy, Settings, Workload};

mod memory;
mod recovery;
mod remote;
mod servers;
mod shared;
mod world;

pub(crate) use servers::Rule;
use servers::Server;
use world::{Bug, LINGER, Run, World};

/// A job's limits, the server that has them, and a world between the two.
struct Case {
    settings: Settings,
    servers: Vec<Server>,
    world: World,
    requests: u32,
}

/// What kinds of limits a case is made of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Sliding,
    Clock,
    Reset,
    FirstUse,
    Counter,
    Bucket,
    Burst,
    InFlight,
    Total,
    Tokens,
    PerKey,
}

const ALL: [Kind; 11] = [
    Kind::Sliding,
    Kind::Clock,
    Kind::Reset,
    Kind::FirstUse,
    Kind::Counter,
    Kind::Bucket,
    Kind::Burst,
    Kind::InFlight,
    Kind::Total,
    Kind::Tokens,
    Kind::PerKey,
];

fn any_world(random: &mut StdRng) -> World {
    World {
        there: [1, 50, 1_000, 8_000][random.random_range(0..4)],
        back: [1, 50, 1_000, 8_000][random.random_range(0..4)],
        body: [0, 500][random.random_range(0..2)],
        connect: [0, 300][random.random_range(0..2)],
        lost: [0.0, 0.05, 0.3][random.random_range(0..3)],
        refused: [0.0, 0.05, 0.3][random.random_range(0..3)],
        unsent: [0.0, 0.1][random.random_range(0..2)],
        heavy: random.random_bool(0.3),
        acks: false,
        takes_in: (0, 0),
        resets: None,
        costs: 1,
        keys: 0,
        at_once: 0,
    }
}

/// A case of these kinds. The windows are the seed's.
fn case(seed: u64, kinds: &[Kind]) -> Case {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = any_world(&mut random);
    let mut settings = json!({"shape": "burst"});
    let (mut rates, mut servers) = (Vec::new(), Vec::new());
    for kind in kinds {
        let units = random.random_range(1..40u64);
        let millis = random.random_range(200..8_000u64);
        let period = millis * 1_000_000;
        let (mut unit, mut per_key) = (0, false);
        let (rate, rule) = match kind {
            Kind::Sliding => {
                (json!(format!("{units}/{millis}ms")), Rule::Sliding { most: units, period })
            }
            Kind::FirstUse => {
                (json!(format!("{units}/{millis}ms@first")), Rule::FirstUse { most: units, period })
            }
            Kind::Clock => {
                let skew = millis / 20;
                let most = i64::try_from(skew * 1_000_000).unwrap();
                let ahead = random.random_range(-most..=most);
                let rate = json!({"rate": format!("{units}/{millis}ms@clock"), "skew": format!("{skew}ms")});
                (rate, Rule::Fixed { most: units, period, ahead })
            }
            Kind::Reset => {
                world.resets = Some(period);
                (
                    json!(format!("{units}/{millis}ms@reset")),
                    Rule::Fixed { most: units, period, ahead: 0 },
                )
            }
            Kind::Counter => {
                let most = units + 4;
                let phase = random.random_range(0..period);
                (json!(format!("counter:{most}/{millis}ms")), Rule::Counter { most, period, phase })
            }
            Kind::Bucket => {
                let burst = random.random_range(1..50);
                let rule = Rule::Bucket { burst, per_unit: period / units };
                (json!({"rate": format!("bucket:{units}/{millis}ms"), "burst": burst}), rule)
            }
            Kind::Burst => {
                let burst = random.random_range(1..=units);
                let rule = Rule::Bucket { burst, per_unit: period / units };
                (json!({"rate": format!("{units}/{millis}ms"), "burst": burst}), rule)
            }
            Kind::InFlight => {
                settings["in-flight"] = json!(units);
                servers.push(server(Rule::Cap { most: units }, 0, false));
                continue;
            }
            Kind::Total => (json!(format!("{}/run", units * 3)), Rule::Total { most: units * 3 }),
            Kind::Tokens => {
                world.costs = units;
                unit = 1;
                settings["cost"] = json!({"tokens": "1"});
                (json!(format!("{units} tokens/{millis}ms")), Rule::Sliding { most: units, period })
            }
            Kind::PerKey => {
                world.keys = random.random_range(1..6);
                per_key = true;
                let rate = json!({"rate": format!("{units}/{millis}ms"), "per": "{{ tenant }}"});
                (rate, Rule::Sliding { most: units, period })
            }
        };
        rates.push(rate);
        servers.push(server(rule, unit, per_key));
    }
    settings["rate"] = json!(rates);
    Case {
        settings: serde_json::from_value(settings).unwrap(),
        servers,
        world,
        requests: random.random_range(1..120),
    }
}

fn server(rule: Rule, unit: usize, per_key: bool) -> Server {
    Server { rule, unit, per_key }
}

/// Any one to three kinds.
fn any_case(seed: u64) -> Case {
    let mut random = StdRng::seed_from_u64(seed ^ 0xCA5E);
    let some = random.random_range(1..=3);
    let kinds: Vec<Kind> = (0..some).map(|_| ALL[random.random_range(0..ALL.len())]).collect();
    // What stands for the whole run, or is told by the world, stands once.
    let once =
        |kind: &Kind| matches!(kind, Kind::InFlight | Kind::Tokens | Kind::Reset | Kind::PerKey);
    let mut seen = Vec::new();
    let kinds: Vec<Kind> = kinds
        .into_iter()
        .filter(|kind| {
            let name = format!("{kind:?}");
            let again = once(kind) && seen.contains(&name);
            seen.push(name);
            !again
        })
        .collect();
    case(seed, &kinds)
}

/// A limit, as a job writes it, against a server with this rule, in the seed's world.
pub(crate) fn assert_holds(seed: u64, rate: &Value, rule: Rule) {
    let mut random = StdRng::seed_from_u64(seed);
    let case = Case {
        settings: serde_json::from_value(json!({"shape": "burst", "rate": [rate]})).unwrap(),
        servers: vec![server(rule, 0, false)],
        world: any_world(&mut random),
        requests: random.random_range(1..120),
    };
    if let Err(why) = case.judge(seed, Bug::None) {
        panic!("seed {seed}, {rate}: {why}");
    }
}

impl Case {
    fn judge(self, seed: u64, bug: Bug) -> Result<(), String> {
        let policy = Policy::new(&self.settings, LINGER).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let run = Run::new(policy.limits(), self.world, bug, seed, self.requests);
        let arrivals = run.arrivals();
        self.servers.iter().try_for_each(|server| server.judge(&arrivals))
    }
}

/// All of these in a long test, a part of them otherwise.
fn some(seeds: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
    let long = std::env::var_os("THRONG_LONG").is_some();
    seeds.step_by(if long { 1 } else { 5 })
}

fn all_hold(seeds: std::ops::Range<u64>, case: impl Fn(u64) -> Case) {
    for seed in some(seeds) {
        if let Err(why) = case(seed).judge(seed, Bug::None) {
            panic!("seed {seed}: {why}");
        }
    }
}

// Two halves, so that two cores share them.

#[test]
fn strict_holds_whatever_the_world_does() {
    all_hold(0..40_000, any_case);
}

#[test]
fn strict_holds_for_every_other_seed_too() {
    all_hold(40_000..80_000, any_case);
}

#[test]
fn acked_holds_when_acknowledgements_come_after_arrivals() {
    all_hold(100_000..120_000, |seed| {
        let mut case = any_case(seed);
        case.settings.guard = Guard::Acked;
        case.world.acks = true;
        case
    });
}

#[test]
fn gcra_takes_what_a_bucket_that_holds_one_more_lets_through() {
    for seed in some(400_000..405_000) {
        let (units, burst) = (seed % 37 + 1, seed % 11);
        let rate = json!({"rate": format!("bucket:{units}/1s"), "burst": burst + 1});
        let interval = 1_000_000_000 / units;
        assert_holds(seed, &rate, Rule::Gcra { burst, interval });
    }
}

/// A server whose network stack has at once what its program takes in one by one: all
/// of the first window within five margins, and each within half a margin.
fn slow_program(seed: u64) -> Case {
    let mut case = case(seed, &[Kind::Sliding]);
    let rate = case.settings.rate[0].amount;
    let margin = (rate.period / 50).min(Duration::from_millis(20));
    let each = (margin * 5 / rate.units as u32).min(margin / 2);
    case.settings.guard = Guard::Acked;
    case.world = World {
        back: case.world.back,
        acks: true,
        takes_in: (each.as_micros() as u64, rate.units as usize),
        ..calm()
    };
    case
}

#[test]
fn acked_holds_where_the_program_takes_its_time_for_what_is_new() {
    all_hold(300_000..310_000, slow_program);
}

#[test]
fn sent_holds_while_the_way_there_varies_by_less_than_the_margin() {
    all_hold(200_000..205_000, |seed| {
        let kinds = [[Kind::Sliding], [Kind::Burst], [Kind::Clock]];
        let mut case = case(seed, &kinds[seed as usize % 3]);
        case.settings.guard = Guard::Sent;
        (case.world.there, case.world.lost) = (19, 0.0);
        case
    });
}

/// Seeds in which a planted bug is looked for.
const SEEDS: u64 = 100;

/// A bug, and cases in which it does harm.
fn found(bug: Bug, case: impl Fn(u64) -> Case) -> bool {
    (0..SEEDS).any(|seed| case(seed).judge(seed, bug).is_err())
}

#[test]
fn every_planted_bug_is_found() {
    let acked = |seed| {
        let mut case = case(seed, &[Kind::Sliding]);
        case.settings.guard = Guard::Acked;
        case.world.acks = true;
        case
    };
    for (bug, kind) in [
        (Bug::LostCountsAsAnswered, Kind::Sliding),
        (Bug::LostComesBack, Kind::Bucket),
        (Bug::RefusedComesBack, Kind::Sliding),
        (Bug::AnsweredWhenSent, Kind::Sliding),
        (Bug::AnsweredWhenSent, Kind::Bucket),
        (Bug::AnsweredWhenSent, Kind::Clock),
        (Bug::RetriesWithoutPermit, Kind::Sliding),
        (Bug::CostsOne, Kind::Tokens),
        (Bug::SettlesBeforeSending, Kind::Tokens),
        (Bug::FinishedAtHead, Kind::InFlight),
        (Bug::ReturnsSome, Kind::Total),
        (Bug::FastClock, Kind::Sliding),
        (Bug::ForgetsKeys, Kind::PerKey),
    ] {
        assert!(found(bug, |seed| case(seed, &[kind])), "{bug:?} of {kind:?}");
    }
    assert!(found(Bug::AckedWhenSent, acked));
    // A program that is slower than the pace at which it is sent to.
    let slower = |seed| {
        let mut case = slow_program(seed);
        case.world.takes_in.0 *= 4;
        case
    };
    assert!(found(Bug::None, slower));
}

/// Makes the client's policy another than the server's.
type Spoil = fn(&mut Case);

#[test]
fn every_wrong_policy_is_found() {
    let wrong: [(Kind, Spoil); 8] = [
        (Kind::Sliding, |case| case.settings.rate[0].amount.units += 1),
        (Kind::Sliding, |case| case.settings.rate[0].amount.period -= Duration::from_millis(20)),
        (Kind::Counter, |case| case.settings.rate[0].counting = Default::default()),
        (Kind::Counter, |case| case.settings.rate[0].amount.units += 1),
        (Kind::Burst, |case| case.settings.rate[0].details.burst = None),
        (Kind::Bucket, |case| case.settings.rate[0].details.burst = None),
        (Kind::Clock, |case| case.settings.rate[0].details.skew = Some(Duration::ZERO)),
        (Kind::InFlight, |case| case.settings.in_flight = None),
    ];
    for (kind, spoil) in wrong {
        let spoilt = |seed| {
            let mut case = case(seed, &[kind]);
            spoil(&mut case);
            case
        };
        assert!(found(Bug::None, spoilt), "{kind:?}");
    }
    let second_ignored = |seed| {
        let mut case = case(seed, &[Kind::Sliding, Kind::Sliding]);
        case.settings.rate.pop();
        case
    };
    assert!(found(Bug::None, second_ignored));
}

#[test]
fn no_kind_waits_longer_than_it_must() {
    for (rates, requests) in [
        (json!(["7/2s"]), 700),
        (json!(["5/1s", "100/1m"]), 1_000),
        (json!([{"rate": "bucket:10/1s", "burst": 20}]), 600),
        (json!([{"rate": "bucket:20/1s", "burst": 3}]), 600),
        (json!(["gcra:10/1s"]), 400),
        (json!(["counter:300/1m"]), 1_500),
        (json!(["100/10s@clock"]), 2_000),
        (json!(["20/300ms@clock"]), 2_000),
    ] {
        for millis in [0, 240] {
            let settings = json!({"rate": rates, "shape": "burst"});
            let settings: Settings = serde_json::from_value(settings).unwrap();
            let policy = Policy::new(&settings, LINGER).unwrap();
            let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
            let world = World { there: 0, ..calm() };
            let run =
                Run::new(policy.limits(), world, Bug::None, 1, requests).answering_after(millis);
            let took = run.makespan().as_secs_f64();
            let demand = Workload::requests(u64::from(requests));
            let bound = policy.bound(&demand, Duration::from_millis(millis), world::START).unwrap();
            let share = bound.time.as_secs_f64() / took;
            assert!((0.98..1.001).contains(&share), "{rates} {millis}: {took} of {bound:?}");
        }
    }
}

/// At any latency a counter lets through as much as a sliding window of one unit less, and the
/// units of the first period in one more.
#[test]
fn a_counter_needs_no_burst_for_the_latency() {
    for (units, millis) in [(30, 20), (30, 140), (30, 300), (30, 600), (30, 1_500), (4, 300)] {
        let settings = json!({"rate": [format!("counter:{units}/1s")]});
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let policy = Policy::new(&settings, LINGER).unwrap();
        let run = Run::new(policy.limits(), calm(), Bug::None, 1, 20 * units as u32)
            .answering_after(millis);
        let took = run.makespan().as_secs_f64();
        let per_second = (units - 1) as f64 / (1.0 + millis as f64 / 1_000.0);
        let expected = 19.0 * units as f64 / per_second + 1.0;
        assert!(took < expected * 1.06, "{units}, {millis} ms: {took} s of {expected} s");
    }
}

fn calm() -> World {
    World {
        there: 0,
        back: 0,
        body: 0,
        connect: 0,
        lost: 0.0,
        refused: 0.0,
        unsent: 0.0,
        heavy: false,
        acks: false,
        takes_in: (0, 0),
        resets: None,
        costs: 1,
        keys: 0,
        at_once: 0,
    }
}
