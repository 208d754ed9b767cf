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

/// A server that takes no more than so many in any window.
struct Server {
    most: usize,
    period: Duration,
    taken: VecDeque<Time>,
}

impl Server {
    fn takes(&mut self, now: Time) -> bool {
        while self
            .taken
            .front()
            .is_some_and(|then| now.since(*then) >= self.period)
        {
            self.taken.pop_front();
        }
        let takes = self.taken.len() < self.most;
        self.taken.extend(takes.then_some(now));
        takes
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Somebody else asks.
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
}

impl Run {
    /// `declared` units in a period, of which the server takes `most`.
    fn new(declared: usize, most: usize, mut settings: Value, seed: u64) -> Run {
        let mut random = StdRng::seed_from_u64(seed);
        let millis = random.random_range(500..5_000);
        settings["rate"] = json!(format!("{declared}/{millis}ms"));
        let settings = serde_json::from_value(settings).unwrap();
        let policy = Policy::new(&settings, LINGER).unwrap();
        Run {
            limits: policy.on_clock(Timestamp::UNIX_EPOCH).limits(),
            server: Server {
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
        }
    }

    /// Others ask for so many at a time, so many windows after the start.
    fn others(&mut self, asked: usize, windows: u32) {
        let then = START.after(self.server.period * windows);
        for _ in 0..asked {
            self.events.push(Reverse((then, Event::Others)));
        }
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
        self.push_in(40, Event::Arrives(self.attempts.len()));
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
                let takes = self.server.takes(self.now);
                self.push_in(40, Event::Answers(attempt, takes));
            }
            Event::Answers(attempt, took) => {
                let (taken, sent) = &mut self.attempts[attempt];
                if took {
                    self.limits.ended(self.now, ask, taken, End::Answered)
                } else {
                    self.refused.push(self.now);
                    self.to_do += 1;
                    self.limits
                        .refused(self.now, (ask, taken, *sent), None, 0.5);
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
