//! However large a limit is, and whatever becomes of its attempts, there are few times
//! that it remembers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::{Acquired, Cost, End, Guard, LimitSet, Policy, RateLimitInfo, Settings, Time};

/// For one limit, with all that it is certified by.
const MOST: usize = 5_000;
/// Attempts in a period: three in what is remembered as one time.
const ATTEMPTS: u32 = 6_000;
const PERIODS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(60);

/// One attempt on its way.
struct Attempt {
    ask: Cost,
    taken: Acquired,
    sent: Time,
}

/// Attempts at random times with random costs and ends.
struct Run {
    limits: LimitSet,
    random: StdRng,
    /// The unit that is limited, as an index.
    unit: usize,
    /// The most that an attempt reserves.
    dearest: u64,
    period: Duration,
    open: BinaryHeap<Reverse<(Time, usize)>>,
    attempts: Vec<Attempt>,
    most: usize,
}

impl Run {
    fn up_to(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.random.random())
    }

    /// Half as much again is wanted as there is.
    fn go(&mut self) {
        let mut now = Time::ZERO;
        for _ in 0..PERIODS * ATTEMPTS {
            now = now.after(self.up_to(self.period * 2 / ATTEMPTS));
            while let Some(&Reverse((time, attempt))) = self.open.peek()
                && time <= now
            {
                self.open.pop();
                self.end(time, attempt);
            }
            self.begin(now);
            self.most = self.most.max(self.limits.entries());
        }
    }

    fn begin(&mut self, now: Time) {
        let cost = self.random.random_range(1..=self.dearest);
        let ask = Cost::new([&[1][..self.unit], &[cost]].concat(), []);
        let Ok(mut taken) = self.limits.take(now, &ask) else {
            return;
        };
        self.limits.sent(now, &ask, &mut taken);
        if self.random.random_bool(0.8) {
            self.limits.acked(now, &ask, &mut taken);
        }
        let latency = self.up_to(self.period / 10);
        let end = now.after(latency);
        self.open.push(Reverse((end, self.attempts.len())));
        self.attempts.push(Attempt { ask, taken, sent: now });
    }

    fn end(&mut self, now: Time, attempt: usize) {
        let (limits, random) = (&mut self.limits, &mut self.random);
        let Attempt { ask, taken, sent } = &mut self.attempts[attempt];
        match random.random_range(0..1_000) {
            0 => {
                let pause = Some(self.period / ATTEMPTS);
                limits.refused(now, ask, taken, *sent, pause, 0.0);
            }
            1..300 => {
                limits.ended(now, ask, taken, End::Lost);
            }
            300..350 => {
                limits.ended(now, ask, taken, End::Returned);
            }
            _ => {
                limits.ended(now, ask, taken, End::Answered);
            }
        }
        let costs = random.random_range(0..=ask.units_of(self.unit) * 5 / 4);
        limits.settle(now, ask, taken, self.unit, costs);
        if random.random_bool(0.01) {
            let said = RateLimitInfo {
                reset: Some(self.period.mul_f64(random.random())),
                ..RateLimitInfo::default()
            };
            limits.learn(now, ask, taken, Some(self.unit), said);
        }
        limits.finished(now, ask, taken);
    }
}

/// The most times that a limit remembers in all that.
fn most(rate: &str, guard: Guard) -> usize {
    let settings = json!({"rate": [rate], "shape": "burst", "guard": guard});
    let mut settings: Settings = serde_json::from_value(settings).unwrap();
    let unit = usize::from(rate.contains("tokens"));
    if unit > 0 {
        settings.cost = [("tokens".to_owned(), "1".to_owned())].into();
    }
    let amount = settings.rate[0].amount;
    let policy = Policy::new(&settings, TIMEOUT).unwrap();
    let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
    let dearest = amount.units / u64::from(ATTEMPTS) * 3;
    let mut run = Run {
        limits: policy.limits(),
        random: StdRng::seed_from_u64(7),
        unit,
        dearest: dearest.min(policy.rules()[0].most_at_once()),
        period: amount.period,
        open: BinaryHeap::new(),
        attempts: Vec::new(),
        most: 0,
    };
    run.go();
    assert!(run.attempts.len() > 500, "{rate} {guard:?}: it is tried");
    run.most
}

fn few(rates: &[&str]) {
    for rate in rates {
        for guard in Guard::ALL {
            let most = most(rate, guard);
            assert!(most <= MOST, "{rate} {guard:?}: {most}");
        }
    }
}

#[test]
fn ten_million_in_a_day_are_few_times() {
    few(&[
        "10000000/1d",
        "10000000/1d@first",
        "10000000/1d@reset",
        "10000000/1d@clock",
        "10000000/1d@America/Los_Angeles",
        "bucket:10000000/1d",
        "counter:10000000/1d",
        "auto:10000000/1d",
    ]);
}

#[test]
fn a_million_tokens_in_a_minute_are_few_times() {
    few(&[
        "1000000 tokens/1m",
        "1000000 tokens/1m@reset",
        "1000000 tokens/1m@clock",
        "bucket:1000000 tokens/1m",
        "counter:1000000 tokens/1m",
        "auto:1000000 tokens/1m",
    ]);
}

/// What is lost then counts for sixty periods.
#[test]
fn a_million_tokens_in_a_second_are_few_times() {
    few(&[
        "1000000 tokens/1s",
        "1000000 tokens/1s@reset",
        "bucket:1000000 tokens/1s",
        "auto:1000000 tokens/1s",
    ]);
}
