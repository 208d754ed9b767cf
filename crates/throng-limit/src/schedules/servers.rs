//! Servers that know nothing of us but arrivals, and count them in their way.

use std::collections::{HashMap, VecDeque};

/// What a server sees of an attempt; times in nanoseconds.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: u64,
    /// When the server is done with it.
    pub until: u64,
    pub units: Vec<u64>,
    pub key: usize,
}

/// A rule of a server, over one of its units.
#[derive(Debug, Clone)]
pub struct Server {
    pub rule: Rule,
    pub unit: usize,
    pub per_key: bool,
}

#[derive(Debug, Clone)]
pub enum Rule {
    /// No half-open window of this length holds more.
    Sliding { most: u64, period: u64 },
    /// Windows begin at multiples of the period on the server's clock.
    Fixed { most: u64, period: u64, ahead: i64 },
    /// A window begins with the first use after the last one.
    FirstUse { most: u64, period: u64 },
    /// Two fixed windows make an estimate.
    Counter { most: u64, period: u64, phase: u64 },
    /// Tokens come back one by one.
    Bucket { burst: u64, per_unit: u64 },
    /// Requests are due this far apart, and a burst of them may come early.
    Gcra { burst: u64, interval: u64 },
    /// Number of requests at once.
    Cap { most: u64 },
    /// Number of requests in all.
    Total { most: u64 },
}

impl Server {
    /// What it says of arrivals that it should have taken: the first that it refuses.
    pub fn judge(&self, arrivals: &[Arrival]) -> Result<(), String> {
        let mut keys: HashMap<usize, Account> = HashMap::new();
        let mut arrivals: Vec<&Arrival> = arrivals.iter().collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        for arrival in arrivals {
            let key = if self.per_key { arrival.key } else { 0 };
            let units = arrival.units[self.unit];
            if !keys.entry(key).or_default().takes(&self.rule, arrival, units) {
                return Err(format!("{:?} refuses {arrival:?}", self));
            }
        }
        Ok(())
    }
}

/// What a server remembers of one key.
#[derive(Debug, Default)]
struct Account {
    log: VecDeque<(u64, u64)>,
    sum: u64,
    window: u64,
    previous: u64,
    level: f64,
    last: u64,
}

impl Account {
    fn takes(&mut self, rule: &Rule, arrival: &Arrival, units: u64) -> bool {
        let at = arrival.at;
        match *rule {
            Rule::Sliding { most, period } => {
                self.forget(|then| at - then >= period);
                self.log_in(at, units) <= most
            }
            Rule::Fixed { most, period, ahead } => {
                let window = at.saturating_add_signed(ahead) / period;
                self.count_in(window, units) <= most
            }
            Rule::FirstUse { most, period } => {
                let begun = self.log.front().map(|(then, _)| *then);
                if begun.is_none_or(|then| at - then >= period) {
                    self.log = VecDeque::from([(at, 0)]);
                    self.sum = 0;
                }
                self.sum += units;
                self.sum <= most
            }
            Rule::Counter { most, period, phase } => {
                let window = (at + phase) / period;
                if window != self.window {
                    self.previous = if window == self.window + 1 { self.sum } else { 0 };
                    (self.window, self.sum) = (window, 0);
                }
                self.sum += units;
                let gone = ((at + phase) % period) as f64 / period as f64;
                self.previous as f64 * (1.0 - gone) + self.sum as f64 <= most as f64 + 1e-6
            }
            Rule::Bucket { burst, per_unit } => {
                let leaked = (at - self.last) as f64 / per_unit as f64;
                self.level = (self.level - leaked).max(0.0) + units as f64;
                self.last = at;
                self.level <= burst as f64 + 1e-6
            }
            Rule::Gcra { burst, interval } => {
                let due = self.last.max(at) + (units - 1) * interval;
                self.last = due + interval;
                due <= at + burst * interval
            }
            Rule::Cap { most } => {
                self.log.retain(|(until, _)| *until > at);
                self.log.push_back((arrival.until, 1));
                self.log.len() as u64 <= most
            }
            Rule::Total { most } => {
                self.sum += units;
                self.sum <= most
            }
        }
    }

    fn forget(&mut self, old: impl Fn(u64) -> bool) {
        while let Some(&(then, units)) = self.log.front() {
            if !old(then) {
                break;
            }
            self.sum -= units;
            self.log.pop_front();
        }
    }

    fn log_in(&mut self, at: u64, units: u64) -> u64 {
        self.log.push_back((at, units));
        self.sum += units;
        self.sum
    }

    fn count_in(&mut self, window: u64, units: u64) -> u64 {
        if window != self.window {
            (self.window, self.sum) = (window, 0);
        }
        self.sum += units;
        self.sum
    }
}
