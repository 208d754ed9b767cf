//! Servers that refuse, and what is made of it: one that takes less than the job says
//! is seldom asked for more; where others used a part of it, all of it is used again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::{LINGER, Policy, some};
use crate::{Acquired, Availability, Cost, End, Guard, LimitSet, Time};

/// When a run begins.
const START: Time = Time::from_nanos(7_000_000_000);

/// How a server counts.
#[derive(Debug, Clone, Copy)]
enum Count {
    /// No window of the period holds more than `most`.
    Sliding,
    /// At most `burst` at once, and `most` in a period.
    Bucket { burst: usize },
    /// Two fixed windows make an estimate.
    Counter,
}

/// A server that takes `most` in a period, by its own count, and refuses the rest.
struct Server {
    count: Count,
    most: usize,
    period: Duration,
    taken: VecDeque<Time>,
}

impl Server {
    /// Whether it takes a request that arrives now.
    fn takes(&mut self, now: Time) -> bool {
        let memory = self.period * 2;
        while self.taken.front().is_some_and(|then| now.since(*then) >= memory) {
            self.taken.pop_front();
        }
        let takes = match self.count {
            Count::Sliding => self.between(now.before(self.period), now) < self.most,
            Count::Bucket { burst } => self.level(now) <= burst as f64 - 1.0,
            Count::Counter => self.weighed(now) <= self.most as f64 - 1.0,
        };
        self.taken.extend(takes.then_some(now));
        takes
    }

    fn is_almost_full(&self, now: Time) -> bool {
        self.between(now.before(self.period), now) + 1 == self.most
    }

    /// Requests that were taken after `from`, up to `to`.
    fn between(&self, from: Time, to: Time) -> usize {
        let until = |time| self.taken.partition_point(|then| *then <= time);
        until(to) - until(from)
    }

    /// What is left in the bucket of what was taken.
    fn level(&self, now: Time) -> f64 {
        let leaks =
            |time: Duration| time.as_secs_f64() / self.period.as_secs_f64() * self.most as f64;
        let mut level = 0.0;
        let mut last = Time::ZERO;
        for then in &self.taken {
            level = f64::max(level - leaks(then.since(last)), 0.0) + 1.0;
            last = *then;
        }
        f64::max(level - leaks(now.since(last)), 0.0)
    }

    /// The estimate of a sliding-window counter.
    fn weighed(&self, now: Time) -> f64 {
        let nanos = |time: Duration| time.as_nanos() as u64;
        let gone = nanos(now.since(Time::ZERO)) % nanos(self.period);
        let begun = now.before(Duration::from_nanos(gone + 1));
        let before = self.between(begun.before(self.period), begun) as f64;
        let share = gone as f64 / nanos(self.period) as f64;
        before * (1.0 - share) + self.between(begun, now) as f64
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Another client sends a request.
    Others,
    Arrives(usize),
    Answers(usize, bool),
}

/// A client in its world.
struct Run {
    limits: LimitSet,
    server: Server,
    random: StdRng,
    now: Time,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    attempts: Vec<(Acquired, Time)>,
    to_do: usize,
    /// When our own were refused.
    refused: Vec<Time>,
    /// The longest way there, in milliseconds.
    there: u64,
    /// From when on another client takes one unit as soon as that costs us a refusal;
    /// the next is the last.
    stray: Vec<Time>,
}

impl Run {
    /// `declared` units in a period, of which the server takes `most`.
    fn new(declared: usize, most: usize, mut settings: Value, seed: u64) -> Run {
        let mut random = StdRng::seed_from_u64(seed);
        let millis = random.random_range(500..5_000);
        let kind = settings.as_object_mut().unwrap().remove("kind");
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        settings["rate"] = json!(format!("{kind}{declared}/{millis}ms"));
        let settings = serde_json::from_value(settings).unwrap();
        let policy = Policy::new(&settings, LINGER).unwrap();
        Run {
            limits: policy.on_clock(Timestamp::UNIX_EPOCH).limits(),
            server: Server {
                count: Count::Sliding,
                most,
                period: Duration::from_millis(millis),
                taken: VecDeque::new(),
            },
            random,
            now: START,
            events: BinaryHeap::new(),
            attempts: Vec::new(),
            to_do: 0,
            refused: Vec::new(),
            there: 40,
            stray: Vec::new(),
        }
    }

    /// Others ask for so many at a time, so many windows after the start.
    fn others(&mut self, asked: usize, windows: u32) {
        let then = START.after(self.server.period * windows);
        for _ in 0..asked {
            self.events.push(Reverse((then, Event::Others)));
        }
    }

    /// Another client takes one unit in the window after so many.
    fn stray(&mut self, windows: u32) {
        self.stray.insert(0, START.after(self.server.period * windows));
    }

    /// Does so many rows; gives how many windows' worth of time that took.
    fn windows_for(&mut self, rows: usize) -> f64 {
        let start = self.now;
        self.to_do = rows;
        let ask = Cost::from(1);
        loop {
            let next = self.events.peek().map(|Reverse((time, _))| *time);
            let blocked = match self.to_do {
                0 => None,
                _ => match self.limits.take(self.now, &ask) {
                    Ok(taken) => {
                        self.send(taken, &ask);
                        continue;
                    }
                    Err(blocked) => Some(Availability::At(self.now).max(blocked.when)),
                },
            };
            match (blocked, next) {
                (Some(Availability::At(time)), next) if next.is_none_or(|next| time < next) => {
                    self.now = time;
                }
                (_, Some(_)) => self.happen(&ask),
                (_, None) => break,
            }
        }
        self.now.since(start).as_secs_f64() / self.server.period.as_secs_f64()
    }

    fn send(&mut self, mut taken: Acquired, ask: &Cost) {
        self.to_do -= 1;
        self.limits.sent(self.now, ask, &mut taken);
        self.push_in(self.there, Event::Arrives(self.attempts.len()));
        self.attempts.push((taken, self.now));
    }

    fn push_in(&mut self, millis: u64, event: Event) {
        let later = Duration::from_micros(self.random.random_range(0..millis * 1_000));
        self.events.push(Reverse((self.now.after(later), event)));
    }

    fn happen(&mut self, ask: &Cost) {
        let Some(Reverse((time, event))) = self.events.pop() else {
            return;
        };
        self.now = self.now.max(time);
        match event {
            Event::Others => drop(self.server.takes(self.now)),
            Event::Arrives(attempt) => {
                if self.stray.last().is_some_and(|time| *time <= self.now)
                    && self.server.is_almost_full(self.now)
                {
                    self.stray.pop();
                    self.server.takes(self.now);
                }
                let takes = self.server.takes(self.now);
                self.push_in(40, Event::Answers(attempt, takes));
            }
            Event::Answers(attempt, took) => {
                let (taken, sent) = &mut self.attempts[attempt];
                if took {
                    self.limits.ended(self.now, ask, taken, End::Answered);
                } else {
                    self.refused.push(self.now);
                    self.to_do += 1;
                    self.limits.refused(self.now, ask, taken, *sent, None, 0.5);
                }
                self.limits.finished(self.now, ask, taken);
            }
        }
    }

    /// Refusals after so many windows.
    fn refused_after(&self, windows: u32) -> usize {
        let from = START.after(self.server.period * windows);
        self.refused.iter().filter(|time| **time >= from).count()
    }
}

/// Each shape and guard; by seed, how many the server takes.
fn any(seed: u64) -> (usize, Value) {
    let shape = ["auto", "burst"][seed as usize % 2];
    let guard = Guard::ALL[seed as usize / 2 % 3];
    let most = StdRng::seed_from_u64(seed ^ 0xB0).random_range(4..60);
    (most, json!({"shape": shape, "guard": guard}))
}

#[test]
fn a_limit_that_is_too_large_is_refused_a_few_times_more_and_ever_more_seldom() {
    for seed in some(0..300) {
        let (most, settings) = any(seed);
        let declared = most + 1 + most * (seed as usize % 4) / 4;
        let mut run = Run::new(declared, most, settings, seed);
        let windows = run.windows_for(most * 200);
        let (first, later) = (run.refused_after(0), run.refused_after(50));
        let told =
            format!("seed {seed}: {first}, {later} and {windows} for {declared}, not {most}");
        assert!(first <= declared - most + 20, "{told}");
        assert!(later <= 12, "{told}");
        assert!(windows < 280.0, "{told}");
    }
}

#[test]
fn what_others_used_once_is_ours_again() {
    for seed in some(0..300) {
        let (most, settings) = any(seed);
        let mut run = Run::new(most, most, settings, seed);
        run.others(most.div_ceil(2), 0);
        run.windows_for(most * 60);
        let windows = run.windows_for(most * 100);
        assert!(windows < 115.0, "seed {seed}: {windows} for 100 of {most}");
        assert_eq!(run.refused_after(60), 0, "seed {seed}");
    }
}

#[test]
fn one_stray_request_of_another_client_costs_less_than_a_twentieth_of_the_run() {
    for seed in some(0..300) {
        let (_, settings) = any(seed);
        let most = StdRng::seed_from_u64(seed ^ 0xB0).random_range(4..60);
        let clean = Run::new(most, most, settings.clone(), seed).windows_for(most * 60);
        let mut run = Run::new(most, most, settings, seed);
        run.stray(seed as u32 % 40);
        let windows = run.windows_for(most * 60);
        let told = format!("seed {seed}: {windows} and {clean} for 60 of {most}");
        assert!(run.stray.is_empty(), "{told}");
        assert!(clean / windows >= 0.95, "{told}");
        assert!(run.refused.len() <= 4, "{told}: {}", run.refused.len());
    }
}

#[test]
fn a_server_that_refuses_more_than_once_is_believed_at_the_first_time() {
    for seed in some(0..300) {
        let (most, settings) = any(seed);
        let declared = most + 1 + most * (seed as usize % 4) / 4;
        let mut run = Run::new(declared, most, settings, seed);
        run.windows_for(most * 30);
        // The first burst, and one try; or the first ones after too small a margin.
        let (first, later) = (run.refused_after(0), run.refused_after(12));
        let told = format!("seed {seed}: {first} and {later} for {declared}, not {most}");
        assert!(first <= declared - most + 4, "{told}");
        assert!(later <= 1, "{told}");
    }
}

/// What a server that refuses costs.
struct Scenario {
    name: &'static str,
    settings: Value,
    /// What is declared, in fourths of what the server takes.
    declared: usize,
    change: fn(&mut Run, usize),
    windows: usize,
    /// The least share of the speed of a run that knows the limit, in percent, and the
    /// most refusals: what one run has of them in the mean.
    share: f64,
    refused: f64,
}

impl Scenario {
    fn judge(&self) -> Result<(), String> {
        const SEEDS: u64 = 10;
        let (mut share, mut refused) = (0.0, 0);
        for seed in 0..SEEDS {
            let most = StdRng::seed_from_u64(seed ^ 0xB0).random_range(10..60);
            let rows = most * self.windows;
            let known = Run::new(most, most, json!({"shape": "burst"}), seed).windows_for(rows);
            let declared = (most * self.declared).div_ceil(4);
            let mut run = Run::new(declared, most, self.settings.clone(), seed);
            (self.change)(&mut run, most);
            share += known / run.windows_for(rows) * 100.0 / SEEDS as f64;
            refused += run.refused.len();
        }
        let refused = refused as f64 / SEEDS as f64;
        if share < self.share || refused > self.refused {
            return Err(format!("{}: {share:.1} %, {refused:.1} refused", self.name));
        }
        Ok(())
    }
}

#[test]
fn what_refusals_cost_stays_small() {
    let scenario = |name, declared, windows, share, refused, change| Scenario {
        name,
        settings: json!({}),
        declared,
        change,
        windows,
        share,
        refused,
    };
    let scenarios = [
        scenario("a fifth smaller", 5, 200, 98.0, 15.0, |_, _| {}),
        scenario("a third of it", 12, 100, 95.0, 100.0, |_, _| {}),
        scenario("a fifth of it", 20, 100, 97.0, 175.0, |_, _| {}),
        scenario("a fifth of it, briefly", 20, 25, 92.0, 175.0, |_, _| {}),
        scenario("strays", 4, 200, 93.0, 4.5, |run, _| {
            (1..30).for_each(|window| run.stray(window * 7));
        }),
        scenario("others for 40 windows", 4, 150, 90.0, 10.0, |run, most| {
            (20..60).for_each(|window| run.others(most / 2, window));
        }),
        scenario("a bucket", 4, 100, 95.0, 40.0, |run, most| {
            run.server.count = Count::Bucket { burst: most / 5 };
        }),
        scenario("a counter", 4, 100, 92.0, 20.0, |run, _| {
            run.server.count = Count::Counter;
        }),
        Scenario {
            settings: json!({"guard": "sent"}),
            ..scenario("counted late", 4, 200, 97.0, 6.0, |run, _| run.there = 100)
        },
        Scenario {
            settings: json!({"kind": "bucket:"}),
            ..scenario("a slower bucket", 5, 100, 100.0, 18.0, |run, most| {
                run.server.count = Count::Bucket { burst: most };
            })
        },
    ];
    let failed: Vec<String> = scenarios.iter().filter_map(|it| it.judge().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
