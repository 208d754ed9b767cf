//! Thousands of seeded schedules of latencies, losses and refusals, judged by
//! what a server can know: when requests arrived.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Guard, Limits, Rate, Releases, Time, When, Window};

const LINGER: Duration = Duration::from_secs(30);

/// What the world does to an attempt; all times in milliseconds.
struct World {
    random: StdRng,
    /// The longest way there, and back.
    there: u64,
    back: u64,
    connect: u64,
    lost: f64,
    refused: f64,
    unsent: f64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Event {
    Send,
    Answer(Releases, Time),
    Refusal(Releases, Time, u64),
    Loss(Releases),
    Unsent(Releases),
}

struct Run {
    limits: Limits,
    world: World,
    now: Time,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    arrivals: Vec<Time>,
    to_take: u32,
}

impl Run {
    fn new(limits: Limits, world: World, requests: u32) -> Run {
        Run {
            limits,
            world,
            now: Time::from_nanos(7_000_000_000),
            events: BinaryHeap::new(),
            arrivals: Vec::new(),
            to_take: requests,
        }
    }

    /// Takes permits as early as it can until all are used; gives the arrivals in order.
    fn arrivals(mut self) -> Vec<Time> {
        while self.to_take > 0 || !self.events.is_empty() {
            let next_event = self.events.peek().map(|Reverse((time, _))| *time);
            match self.limits.earliest(self.now, 1) {
                When::Now if self.to_take > 0 => self.take(),
                When::At(time) if self.to_take > 0 && next_event.is_none_or(|e| time < e) => {
                    self.now = time;
                }
                _ => self.happen(),
            }
        }
        self.arrivals.sort();
        self.arrivals
    }

    fn take(&mut self) {
        assert!(self.limits.take(self.now, 1));
        self.to_take -= 1;
        let connected = self.later(self.world.connect);
        self.push(connected, Event::Send);
    }

    fn happen(&mut self) {
        let Reverse((time, event)) = self.events.pop().expect("a permit waits for an event");
        self.now = time;
        match event {
            Event::Send => self.send(),
            Event::Answer(releases, _) => {
                self.limits.accepted();
                self.limits.answered(time, 1, &releases);
            }
            Event::Refusal(releases, sent, pause) => {
                self.limits.answered(time, 1, &releases);
                let pause = (pause > 0).then(|| Duration::from_millis(pause));
                self.limits.refused(time, sent, pause, 0.5);
            }
            Event::Loss(releases) => self.limits.lost(time, 1, &releases),
            Event::Unsent(releases) => self.limits.returned(1, &releases),
        }
    }

    fn send(&mut self) {
        let releases = self.limits.sent(self.now, 1);
        if self.world.random.random_bool(self.world.unsent) {
            return self.push(self.now, Event::Unsent(releases));
        }
        if self.world.random.random_bool(self.world.lost) {
            return self.lose(releases);
        }
        let arrival = self.later(self.world.there);
        self.arrivals.push(arrival);
        let answer = arrival.after(self.up_to(self.world.back));
        if self.world.random.random_bool(self.world.refused) {
            let pause = self.world.random.random_range(0..3_000);
            return self.push(answer, Event::Refusal(releases, self.now, pause));
        }
        self.push(answer, Event::Answer(releases, self.now));
    }

    /// Given up after a while, it still arrives until linger has passed, or never.
    fn lose(&mut self, releases: Releases) {
        let given_up = self.later(5_000);
        if self.world.random.random_bool(0.7) {
            let late = self.up_to(5_000 + 30_000);
            let latest = given_up.after(LINGER);
            self.arrivals.push(self.now.after(late).min(latest));
        }
        self.push(given_up, Event::Loss(releases));
    }

    fn push(&mut self, time: Time, event: Event) {
        self.events.push(Reverse((time, event)));
    }

    fn later(&mut self, most: u64) -> Time {
        self.now.after(self.up_to(most))
    }

    fn up_to(&mut self, millis: u64) -> Duration {
        Duration::from_micros(self.world.random.random_range(0..=millis * 1_000))
    }
}

/// The most arrivals in any half-open window, from the arrivals alone.
fn most_in_a_window(arrivals: &[Time], period: Duration) -> usize {
    let inside = |(i, first): (usize, &Time)| {
        let end = first.after(period);
        arrivals[i..].partition_point(|arrival| *arrival < end)
    };
    arrivals.iter().enumerate().map(inside).max().unwrap_or(0)
}

fn rates(random: &mut StdRng) -> Vec<Rate> {
    (0..random.random_range(1..=3))
        .map(|_| {
            let millis = random.random_range(200..8_000);
            Rate::new(random.random_range(1..40), Duration::from_millis(millis)).unwrap()
        })
        .collect()
}

fn judge(seed: u64, guard: Guard, world: impl Fn(StdRng) -> World) {
    let mut random = StdRng::seed_from_u64(seed);
    let rates = rates(&mut random);
    let window = |&rate: &Rate| Window::new(rate, guard, LINGER);
    let limits = Limits::new(rates.iter().map(window).collect());
    let requests = random.random_range(1..150);
    let arrivals = Run::new(limits, world(random), requests).arrivals();
    for rate in rates {
        let most = most_in_a_window(&arrivals, rate.period);
        assert!(
            most as u64 <= rate.units,
            "seed {seed}: {most} arrivals, limit {rate}"
        );
    }
}

#[test]
fn strict_holds_whatever_the_latencies() {
    for seed in 0..6_000 {
        judge(seed, Guard::Strict, |mut random| World {
            there: [1, 50, 1_000, 8_000][random.random_range(0..4)],
            back: [1, 50, 1_000, 8_000][random.random_range(0..4)],
            connect: [0, 300][random.random_range(0..2)],
            lost: [0.0, 0.05, 0.5][random.random_range(0..3)],
            refused: [0.0, 0.05, 0.3][random.random_range(0..3)],
            unsent: [0.0, 0.1][random.random_range(0..2)],
            random,
        });
    }
}

#[test]
fn sent_holds_while_the_way_there_varies_by_less_than_the_margin() {
    for seed in 0..3_000 {
        judge(seed, Guard::Sent, |mut random| World {
            there: 20,
            back: 3_000,
            connect: 500,
            lost: 0.0,
            refused: [0.0, 0.1][random.random_range(0..2)],
            unsent: 0.1,
            random,
        });
    }
}

#[test]
fn the_judge_sees_a_limit_broken() {
    // The way there varies by more than the margin: `sent` can't hold, and the judge says so.
    let broken = std::panic::catch_unwind(|| {
        for seed in 0..100 {
            judge(seed, Guard::Sent, |random| World {
                there: 2_000,
                back: 10,
                connect: 0,
                lost: 0.0,
                refused: 0.0,
                unsent: 0.0,
                random,
            });
        }
    });
    assert!(broken.is_err());
}

#[test]
fn strict_is_never_later_than_it_must_be() {
    let rate: Rate = "7/2s".parse().unwrap();
    let world = World {
        random: StdRng::seed_from_u64(1),
        there: 0,
        back: 0,
        connect: 0,
        lost: 0.0,
        refused: 0.0,
        unsent: 0.0,
    };
    let limits = Limits::new(vec![Window::new(rate, Guard::Strict, LINGER)]);
    let arrivals = Run::new(limits, world, 100).arrivals();
    let took = arrivals[99].since(arrivals[0]);
    // 14 full cycles, each longer than X by 500 parts in a million and 1 ms
    assert_eq!(took, Duration::from_micros(14 * 2_002_000));
}
