//! What one limit has to carry, and how long that takes it. Pure.

use std::time::Duration;

use super::used_share::UsedShare;
use super::workload::RunBegin;
use crate::config::{Guard, Rule};
use crate::kinds::RatePattern;

/// What one limit has to carry.
pub struct LimitLoad {
    pub name: String,
    pub units: f64,
    /// In one cycle, or at once.
    pub amount: f64,
    pub pace: Pace,
    used: UsedShare,
}

/// How the units of a limit follow one another. All times are in seconds.
#[derive(Clone, Copy)]
pub enum Pace {
    /// The amount at once, and each unit again after a cycle.
    Windows { cycle: f64 },
    /// The amount at once, and again in each cycle, one unit after the other.
    TwoWindows {
        cycle: f64,
        /// The time in which the amount comes back.
        period: f64,
    },
    /// The amount at once, and again at each edge.
    Edges {
        /// The first cycle, which may begin in the middle.
        first: f64,
        cycle: f64,
    },
    /// The amount at once, and then one unit after the other.
    Paced {
        /// The time in which one unit comes back.
        interval: f64,
        /// The time for which a unit is in flight before it begins to come back.
        latency: f64,
    },
}

impl Pace {
    pub fn cycle(self) -> f64 {
        match self {
            Pace::Windows { cycle }
            | Pace::TwoWindows { cycle, .. }
            | Pace::Edges { cycle, .. } => cycle,
            Pace::Paced { interval, .. } => interval,
        }
    }

    pub fn time_of(self, cycles: f64) -> f64 {
        match self {
            _ if cycles < 1.0 => 0.0,
            Pace::Edges { first, cycle } => first + (cycles - 1.0) * cycle,
            Pace::Windows { cycle }
            | Pace::TwoWindows { cycle, .. }
            | Pace::Paced { interval: cycle, .. } => cycles * cycle,
        }
    }
}

impl LimitLoad {
    pub fn new(
        rule: &Rule,
        units: f64,
        used: UsedShare,
        latency: Duration,
        begin: RunBegin,
    ) -> Option<LimitLoad> {
        // What is counted from its answer waits for it.
        let RunBegin { start, sent } = begin;
        let (waits, sent) = match rule.guard() {
            Guard::Strict => (latency, sent),
            Guard::Acked | Guard::Sent => (Duration::ZERO, start),
        };
        let (amount, pace) = match rule.rate_pattern()? {
            RatePattern::Windows { amount, period } => {
                (amount, Pace::Windows { cycle: (period + waits).as_secs_f64() })
            }
            RatePattern::TwoWindows { amount, period } => {
                let cycle = (period + waits).as_secs_f64();
                (amount, Pace::TwoWindows { cycle, period: period.as_secs_f64() })
            }
            RatePattern::Edges { amount, period } => {
                let edge = rule.free_again(sent, waits).unwrap_or(start.after(period));
                let next = rule.free_again(edge, waits).unwrap_or(edge.after(period));
                let periods = next.since(edge).div_duration_f64(period).round().max(1.0);
                let cycle = periods * period.as_secs_f64();
                (amount, Pace::Edges { first: edge.since(start).as_secs_f64(), cycle })
            }
            RatePattern::Paced { burst, per_second } => {
                let interval = 1.0 / per_second;
                (burst, Pace::Paced { interval, latency: waits.as_secs_f64() })
            }
            RatePattern::AtOnce { amount } => {
                (amount, Pace::Windows { cycle: latency.as_secs_f64() })
            }
        };
        Some(LimitLoad { name: rule.name.clone(), units, amount: amount as f64, pace, used })
    }

    /// From the first sending to the last, under this limit alone.
    pub fn alone(&self, units: f64) -> f64 {
        let used = self.used.sum();
        match self.pace {
            Pace::Windows { .. } => self.in_windows(units),
            // The least time of a counter, which its file derives.
            Pace::TwoWindows { period, .. } => {
                let cycles = self.full_cycles(units);
                let last = units - cycles * self.amount;
                let share = if cycles > 0.0 { last / self.amount } else { 0.0 };
                self.in_windows(units).max(self.pace.time_of(cycles) + share * period)
            }
            // What was used before is in one window with what is sent first.
            Pace::Edges { .. } => self.pace.time_of(self.full_cycles(units + used)),
            Pace::Paced { interval, latency } => {
                // What was used before leaks first, at the latest when it can have arrived.
                let first = self.used.first_taken(self.amount, interval);
                let held = self.used.in_bucket(interval);
                let after_it = first.max((held + units - self.amount) * interval);
                if units <= self.amount {
                    return after_it;
                }
                // The least time of a bucket, which its file derives, from the first sending.
                let before = units - 1.0;
                let rounds = (before / self.amount).floor();
                let left = before - rounds * self.amount;
                let at_the_rate = latency + (units - self.amount) * interval;
                let in_rounds = rounds * (latency + interval) + left * interval;
                after_it.max(first + at_the_rate.max(in_rounds))
            }
        }
    }

    /// From the first sending to the last, where all units of a cycle come back at once.
    fn in_windows(&self, units: f64) -> f64 {
        let free = (self.amount - self.used.sum()).max(0.0);
        let cycles = self.full_cycles(units);
        let last = units - cycles * self.amount;
        self.pace.time_of(cycles) + self.used.available(last - free)
    }

    pub fn full_cycles(&self, units: f64) -> f64 {
        ((units / self.amount).ceil() - 1.0).max(0.0)
    }

    /// The amount, if it and the latency set the pace instead of the rate.
    pub fn at_a_time(&self) -> Option<u64> {
        match self.pace {
            Pace::Paced { interval, latency } => {
                let binds = latency > (self.amount - 1.0) * interval;
                (binds && self.units > self.amount).then_some(self.amount as u64)
            }
            Pace::Windows { .. } | Pace::TwoWindows { .. } | Pace::Edges { .. } => None,
        }
    }
}
