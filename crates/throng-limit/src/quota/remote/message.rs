//! What a run asks a store on the network, and what it is answered. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::config::LINGER;
use crate::kinds::fixed::{Fixed, WindowEdges};
use crate::kinds::reset::UntilReset;
use crate::kinds::sliding::Sliding;
use crate::limiter::{OtherSearches, SearchReport};
use crate::quota::account::quota_of;
use crate::quota::leased::LeaseReply;
use crate::quota::terms::{ArrivalEvent, Lifetime, Quota, SharedTerms};
use crate::time::{Time, nanos};
use crate::window::calendar::Calendar;
use crate::window::{WindowFigures, WindowKind};

/// The requests of one run, all at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The name of the run, which no other has.
    pub run: String,
    /// The number of the exchange. Each has a larger one than those before; one that is
    /// repeated gets the answer that it got.
    pub sequence: u64,
    /// What the run asks of each limit.
    pub requests: Vec<Request>,
}

/// The requests of an exchange that are of one account.
#[derive(Debug)]
pub struct AccountRequests<'a> {
    /// The account.
    pub account: &'a str,
    /// The index of each request in the exchange.
    pub indexes: Vec<usize>,
    /// The requests, and the limits that they are about.
    pub requests: Vec<(&'a Request, Quota)>,
}

/// What a run tells of one limit, and asks. Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The account that the limit is of.
    pub account: String,
    /// The limit, such as `22/5s`.
    pub limit: String,
    /// The number of the limiter, if the run has several of the same limit.
    #[serde(skip_serializing_if = "is_default")]
    pub limiter: u64,
    /// The longest wait for an answer.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: f64,
    /// The time for which a request that was given up may still arrive: 30 s if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger: Option<f64>,
    /// The limit in figures, where its text doesn't say all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Units that are in flight or not used yet, without those that are asked for.
    pub kept: u64,
    /// Units that are wanted more.
    #[serde(skip_serializing_if = "is_default")]
    pub wanted: u64,
    /// Fewer than these are of no use.
    #[serde(skip_serializing_if = "is_default")]
    pub least: u64,
    /// Units that have arrived since the request before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arrived: Vec<Arrived>,
    /// The time in which the window ends, if the server has told it; negative if it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<f64>,
    /// The time for which the API has asked the run to pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<f64>,
    /// The units that the run believes the server allows, where refusals have taught it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learnt: Option<u64>,
    /// The run's search for a pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Whether the store has answered a request of this limiter before.
    #[serde(skip_serializing_if = "is_default")]
    pub known: bool,
    /// Whether this is the limiter's last request.
    #[serde(skip_serializing_if = "is_default")]
    pub ends: bool,
}

/// Units that have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrived {
    /// The time since the latest time at which they can have; negative if that is to come.
    pub age: f64,
    /// How many they are.
    pub units: u64,
}

/// The answer to a request. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Units that the run keeps from now on, beside those that it kept.
    pub units: u64,
    /// Whether there were too few units.
    pub later: bool,
    /// The time after which there may be enough, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<f64>,
    /// The time for which units may be sent from when the request was sent.
    pub lease: f64,
    /// The time for which the API has asked a run to pause, if it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<f64>,
    /// The time for which all units count as used, since the store knows nothing of those that were
    /// used before its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<f64>,
    /// Whether as many units are left as were asked for, beside those that the run gets.
    #[serde(skip_serializing_if = "is_default")]
    pub plenty: bool,
    /// Number of other runs that share the limit.
    #[serde(skip_serializing_if = "is_default")]
    pub others: u64,
    /// Whether other runs lease units.
    #[serde(skip_serializing_if = "is_default")]
    pub others_lease: bool,
    /// The searches for a pace of the other runs.
    #[serde(skip_serializing_if = "is_default")]
    pub searches: OtherSearches,
}

/// A limit in figures. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    unit: String,
    period: u64,
    units: u64,
    span: u64,
    lifetime: LifetimeFigures,
    arrival: ArrivalEvent,
}

/// For how long a unit counts, in figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LifetimeFigures {
    Window(WindowFigures),
    TwoWindows { period: u64, skew: u64 },
    Leak { per_unit: u64, skew: u64 },
}

/// Longest name of a run or an account, in bytes.
const LONGEST_NAME: usize = 200;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The longest time of a message: what is longer is cut, so that sums stay in bounds.
const LONGEST: Duration = Duration::from_secs(20 * 366 * 86_400);
/// Maximum number of units in a message.
const MOST: u64 = 1 << 48;

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// A duration of this many milliseconds; zero if they are negative or no number.
pub fn of_millis(millis: f64) -> Duration {
    Duration::try_from_secs_f64((millis / 1_000.0).max(0.0)).unwrap_or(LONGEST).min(LONGEST)
}

/// The time in milliseconds from `time` to `now`; negative if it is to come.
pub fn age(now: Time, time: Time) -> f64 {
    if time <= now { millis(now.since(time)) } else { -millis(time.since(now)) }
}

/// The time of this age.
fn of_age(now: Time, age: f64) -> Time {
    if age > 0.0 {
        // Rounded towards later.
        now.before(of_millis(age)).after(Duration::from_nanos(1_000))
    } else {
        now.after(of_millis(-age)).after(Duration::from_nanos(1_000))
    }
}

impl Terms {
    /// The figures of a limit; none if it can't be shared over a network.
    pub fn of(quota: &Quota) -> Option<Terms> {
        let lifetime = match &quota.terms.lifetime {
            Lifetime::Window(kind) => LifetimeFigures::Window(kind.figures()?),
            Lifetime::TwoWindows { period, skew } => {
                LifetimeFigures::TwoWindows { period: nanos(*period), skew: nanos(*skew) }
            }
            Lifetime::Leak { per_unit, skew } => {
                LifetimeFigures::Leak { per_unit: nanos(*per_unit), skew: nanos(*skew) }
            }
        };
        Some(Terms {
            unit: quota.unit.clone(),
            period: nanos(quota.period),
            units: quota.units(),
            span: nanos(quota.terms.span),
            lifetime,
            arrival: quota.terms.arrival,
        })
    }

    fn shared(&self) -> Result<SharedTerms, String> {
        Ok(SharedTerms {
            units: self.units.clamp(1, MOST),
            span: of_nanos(self.span),
            lifetime: self.lifetime.lifetime()?,
            arrival: self.arrival,
        })
    }
}

fn of_nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos).min(LONGEST)
}

impl LifetimeFigures {
    fn lifetime(&self) -> Result<Lifetime, String> {
        let kind: Arc<dyn WindowKind> = match self {
            LifetimeFigures::TwoWindows { period, skew } => {
                return Ok(Lifetime::TwoWindows {
                    period: of_nanos(*period).max(Duration::from_nanos(1)),
                    skew: of_nanos(*skew),
                });
            }
            LifetimeFigures::Leak { per_unit, skew } => {
                return Ok(Lifetime::Leak { per_unit: of_nanos(*per_unit), skew: of_nanos(*skew) });
            }
            LifetimeFigures::Window(WindowFigures::Sliding { hold }) => {
                Arc::new(Sliding::holding(of_nanos(*hold)))
            }
            LifetimeFigures::Window(WindowFigures::UntilReset { hold, skew }) => {
                Arc::new(UntilReset::holding(of_nanos(*hold), of_nanos(*skew)))
            }
            LifetimeFigures::Window(WindowFigures::Clock { period, skew }) => {
                fixed(WindowEdges::Clock(of_nanos(*period)), *skew)
            }
            LifetimeFigures::Window(WindowFigures::Midnight { zone, skew }) => {
                let zone = TimeZone::get(zone).map_err(|error| error.to_string())?;
                fixed(WindowEdges::Midnight(zone), *skew)
            }
        };
        Ok(Lifetime::Window(kind))
    }
}

/// The store asks such a window only with its own calendar.
fn fixed(edges: WindowEdges, skew: u64) -> Arc<dyn WindowKind> {
    Arc::new(Fixed::new(edges, Calendar::new(jiff::Timestamp::UNIX_EPOCH), of_nanos(skew)))
}

impl Exchange {
    /// The requests of each account.
    ///
    /// # Errors
    /// What is wrong with the exchange.
    pub fn by_account(&self) -> Result<Vec<AccountRequests<'_>>, String> {
        let is_name = |name: &str| (1..=LONGEST_NAME).contains(&name.len());
        if !is_name(&self.run) {
            return Err(format!("run is a name of 1 to {LONGEST_NAME} bytes"));
        }
        let mut all: BTreeMap<&str, AccountRequests<'_>> = BTreeMap::new();
        for (index, request) in self.requests.iter().enumerate() {
            let account = request.account.as_str();
            if !is_name(account) {
                let why = format!("account is a name of 1 to {LONGEST_NAME} bytes");
                return Err(format!("requests[{index}]: {why}"));
            }
            let quota = request.quota().map_err(|why| format!("requests[{index}]: {why}"))?;
            let new = || AccountRequests { account, indexes: Vec::new(), requests: Vec::new() };
            let of_account = all.entry(account).or_insert_with(new);
            of_account.indexes.push(index);
            of_account.requests.push((request, quota));
        }
        Ok(all.into_values().collect())
    }
}

impl Request {
    /// The limit that the request is about.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn quota(&self) -> Result<Quota, String> {
        let (timeout, linger) = (of_millis(self.timeout), self.linger.map_or(LINGER, of_millis));
        if let Some(terms) = &self.terms {
            return Ok(Quota {
                name: self.limit.clone(),
                unit: terms.unit.clone(),
                shard: None,
                period: of_nanos(terms.period),
                timeout,
                linger,
                terms: terms.shared()?,
            });
        }
        let quota = quota_of(&self.limit).ok_or_else(|| {
            format!("limit {:?} is none that can be shared: write it like \"22/5s\"", self.limit)
        })?;
        Ok(Quota { timeout, linger, ..quota })
    }

    /// Units that have arrived, by the store's clock.
    pub fn arrived(&self, now: Time) -> Vec<(Time, i64)> {
        let units = |units: u64| i64::try_from(units.min(MOST)).unwrap_or(i64::MAX);
        self.arrived.iter().map(|it| (of_age(now, it.age), units(it.units))).collect()
    }

    /// Units that the run keeps.
    pub fn kept(&self) -> u64 {
        self.kept.min(MOST)
    }

    /// Units that are wanted, and the fewest that are of use.
    pub fn wanted(&self) -> (u64, u64) {
        let least = self.least.min(MOST);
        (self.wanted.min(MOST).max(least), least)
    }

    /// When a pause ends that the API has asked for, by the store's clock.
    pub fn pause(&self, now: Time) -> Option<Time> {
        self.pause.map(|pause| of_age(now, -pause))
    }

    /// When the window ends, by the store's clock.
    pub fn reset(&self, now: Time) -> Option<Time> {
        self.reset.map(|reset| of_age(now, -reset))
    }
}

impl Answer {
    /// An answer with the reply of the arithmetic.
    pub fn of(reply: LeaseReply, now: Time) -> Answer {
        match reply {
            LeaseReply::Units(units) => Answer { units, ..Answer::default() },
            LeaseReply::Later(back) => {
                let retry = back.map(|back| millis(back.since(now)));
                Answer { later: true, retry, ..Answer::default() }
            }
            LeaseReply::Busy | LeaseReply::Asked(_) | LeaseReply::Failed => {
                Answer { later: true, ..Answer::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Policy, Settings};

    #[test]
    fn a_limit_in_figures_is_the_limit() {
        let now = Time::from_nanos(1_000_000_000_000);
        let zero = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        for rate in [
            "22/5s",
            "90000 tokens/1m",
            "bucket:10/1s",
            "gcra:30/1m",
            "counter:300/1m",
            "100/1m@clock",
            "25/1d@America/New_York",
            "5000/1h@reset",
            "100/1m@first",
            "auto:100/1s",
        ] {
            let settings = Settings {
                rate: vec![rate.parse().unwrap()],
                in_flight: Some(3),
                spacing: Some(Duration::from_millis(7)),
                ..Settings::default()
            };
            let policy = Policy::new(&settings, Duration::from_secs(60)).unwrap();
            for quota in policy.rules().iter().filter_map(crate::Rule::quota) {
                let request = Request {
                    limit: quota.name.clone(),
                    terms: Terms::of(&quota),
                    timeout: millis(quota.timeout),
                    linger: Some(millis(quota.linger)),
                    ..Request::default()
                };
                let text = serde_json::to_string(&request).unwrap();
                let read: Request = serde_json::from_str(&text).unwrap();
                assert_eq!(read, request);
                let same = read.quota().unwrap();
                assert_eq!(Terms::of(&same), Terms::of(&quota), "{rate}");
                assert_eq!(same.end(now, zero), quota.end(now, zero), "{rate}");
                assert_eq!((same.timeout, same.linger), (quota.timeout, quota.linger), "{rate}");
            }
        }
    }

    #[test]
    fn an_age_is_never_longer_than_the_time_since() {
        let now = Time::from_nanos(9_000_000_000_000_000_000);
        for apart in [0, 1, 999, 1_000, 123_456_789, 86_400_000_000_001] {
            for then in
                [now.before(Duration::from_nanos(apart)), now.after(Duration::from_nanos(apart))]
            {
                let read = of_age(now, age(now, then));
                assert!(read >= then && read.since(then) < Duration::from_micros(3), "{apart}");
            }
        }
    }
}
