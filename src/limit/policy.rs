//! The limits of a job, checked: what each of them is kept by.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ask::Ask;
use super::bucket::Bucket;
use super::budget::Budget;
use super::concurrency::Concurrency;
use super::fixed::{Edges, Fixed};
use super::gate::Gate;
use super::group::Member;
use super::guard::Guard;
use super::kind::Kind;
use super::limits::Limits;
use super::settings::{Outcome, Settings, Shape};
use super::sliding::{Sliding, UntilReset};
use super::spacing::Spacing;
use super::state::{Account, LimitState};
use super::time::Time;
use super::window::{Span, Window};
use super::written::{Counting, Limit};
use super::{counter, time};

/// How long a request may still arrive after it was given up, unless told otherwise.
pub(crate) const LINGER: Duration = Duration::from_secs(30);
/// What a server may round, unless told otherwise.
const SKEW: Duration = Duration::from_millis(1);
/// By how much clocks may differ where a limit depends on that, unless told
/// otherwise; less where windows are short.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// What counts are in, if nothing else is said.
pub(crate) const REQUESTS: &str = "requests";

/// The checked limits of a job. All of them hold at once; none means no limit.
#[derive(Debug, Clone)]
pub struct Policy {
    parts: Vec<Part>,
    units: Vec<String>,
    scopes: Vec<String>,
    keys: Vec<String>,
    cost: BTreeMap<String, String>,
    settle: BTreeMap<String, String>,
    uncounted: Uncounted,
    guard: Guard,
    /// How long an attempt without an answer may still arrive.
    pub linger: Duration,
}

/// One thing to keep: a limit, or what stands beside it.
#[derive(Debug, Clone)]
pub struct Part {
    /// As the job writes it.
    pub name: String,
    /// What it counts, as an index into the policy's units.
    pub unit: usize,
    /// Whose it is.
    pub place: Where,
    unit_name: String,
    amount: u64,
    period: Option<Duration>,
    guard: Guard,
    linger: Duration,
    skew: Duration,
    kept: Kept,
    zero: Timestamp,
}

/// Whose a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The whole run's.
    Run,
    /// Each key's in this scope.
    Scope(usize),
    /// Each key's of the pool.
    Pool,
}

/// How a limit lets units through, as far as the least time depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// So many in each period, each counted from its arrival.
    Windows {
        /// Units in a period.
        amount: u64,
        /// The period.
        period: Duration,
    },
    /// So many from edge to edge.
    Edges {
        /// Units in a window.
        amount: u64,
        /// From edge to edge.
        period: Duration,
    },
    /// So many at once, and then one by one.
    Paced {
        /// Units at once.
        burst: u64,
        /// Units that follow in each second.
        per_second: f64,
    },
    /// So many at a time.
    AtOnce {
        /// Units in flight.
        amount: u64,
    },
}

/// Which answers cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// Refusals for the limit's sake.
    pub refused: bool,
    /// Other failures.
    pub failed: bool,
}

/// What keeps it.
#[derive(Debug, Clone)]
enum Kept {
    Sliding,
    UntilReset,
    Fixed(Edges),
    Bucket { burst: u64 },
    Counter { burst: Option<u64> },
    Spacing,
    OnceRefused,
    Concurrency,
    Budget,
}

impl Policy {
    /// Checks what can be checked without the rows. A request that was given up
    /// after `timeout` may lie in a queue for as long again: linger is the larger
    /// of that and 30 s.
    ///
    /// # Errors
    /// What doesn't fit, and what to write instead.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Policy, String> {
        let mut policy = Policy {
            parts: Vec::new(),
            units: vec![REQUESTS.into()],
            scopes: Vec::new(),
            keys: settings.keys.clone(),
            cost: settings.cost.clone(),
            settle: settings.settle.clone(),
            uncounted: Uncounted {
                refused: settings.uncounted.contains(&Outcome::Refused),
                failed: settings.uncounted.contains(&Outcome::Failed),
            },
            guard: settings.guard,
            linger: timeout.max(LINGER),
        };
        for limit in &settings.rate {
            policy.add_limit(limit, settings);
        }
        check_amounts(settings)?;
        policy.add_beside(settings);
        policy.check_units()?;
        Ok(policy)
    }

    fn add_limit(&mut self, limit: &Limit, settings: &Settings) {
        let details = &limit.details;
        let share = details.share.or(settings.share);
        let amount = share.map_or(limit.amount.units, |share| share.of(limit.amount.units));
        let of_requests = limit.unit.is_none();
        let burst = details.burst.or(settings.burst.filter(|_| of_requests));
        let mut part = Part {
            name: limit.to_string(),
            unit: self.unit(limit.unit.as_deref().unwrap_or(REQUESTS)),
            place: self.place(details.per.as_ref().or(settings.per.as_ref())),
            unit_name: limit.unit.clone().unwrap_or_else(|| REQUESTS.into()),
            amount,
            period: (limit.counting != Counting::Run).then_some(limit.amount.period),
            guard: details.guard.unwrap_or(settings.guard),
            linger: self.linger,
            skew: skew(limit, settings),
            kept: kept(limit, amount, burst),
            zero: time::calendar_at_zero(),
        };
        let windowed = !matches!(
            limit.counting,
            Counting::Bucket | Counting::Counter | Counting::Run
        );
        let smaller = burst.filter(|burst| windowed && *burst < amount);
        self.parts.push(part.clone());
        if let Some(burst) = smaller {
            part.name = format!("burst {burst} of {}", part.name);
            part.kept = Kept::Bucket { burst };
            self.parts.push(part.clone());
        }
        if of_requests && matches!(limit.counting, Counting::Sliding) && amount > 1 {
            self.spread(part, settings.shape);
        }
    }

    fn spread(&mut self, mut part: Part, shape: Shape) {
        let kept = match shape {
            Shape::Burst => return,
            Shape::Spread => Kept::Spacing,
            Shape::Auto => Kept::OnceRefused,
        };
        part.period = part
            .period
            .map(|period| Spacing::spread(part.amount, period));
        (part.kept, part.amount) = (kept, 1);
        part.name = format!("spread of {}", part.name);
        self.parts.push(part);
    }

    /// What stands beside the rates.
    fn add_beside(&mut self, settings: &Settings) {
        if let Some(gap) = settings.spacing {
            let name = format!("spacing {}", humantime::format_duration(gap));
            self.add_part(settings, name, (1, Some(gap)), Kept::Spacing);
        }
        if let Some(cap) = settings.in_flight {
            let name = format!("{cap} in flight");
            self.add_part(settings, name, (cap, None), Kept::Concurrency);
        }
    }

    fn add_part(
        &mut self,
        settings: &Settings,
        name: String,
        (amount, period): (u64, Option<Duration>),
        kept: Kept,
    ) {
        let place = self.place(settings.per.as_ref());
        self.parts.push(Part {
            name,
            unit: 0,
            place,
            unit_name: REQUESTS.into(),
            amount,
            period,
            guard: settings.guard,
            linger: self.linger,
            skew: SKEW,
            kept,
            zero: Timestamp::UNIX_EPOCH,
        });
    }

    fn unit(&mut self, name: &str) -> usize {
        index_of(&mut self.units, name)
    }

    /// A limit that has a scope of its own is not the pool's.
    fn place(&mut self, per: Option<&String>) -> Where {
        match per {
            Some(template) => Where::Scope(index_of(&mut self.scopes, template)),
            None if !self.keys.is_empty() => Where::Pool,
            None => Where::Run,
        }
    }

    /// A cost that no limit counts would be a limiter silently off.
    fn check_units(&self) -> Result<(), String> {
        let named = self.cost.keys().chain(self.settle.keys());
        let unknown = named.into_iter().find(|name| !self.units.contains(name));
        match unknown {
            Some(name) => Err(format!(
                "limit.cost or limit.settle names \"{name}\", which no rate counts: write a rate such as \"90000 {name}/1m\" (the units are: {})",
                self.units.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// What a client does that has a token bucket for each window: it sends while
    /// there are tokens, by its own clock. To compare with; it keeps no limit.
    #[must_use]
    pub fn as_token_buckets(&self) -> Policy {
        let mut policy = self.under(Guard::Sent);
        policy.parts.retain(|part| !part.is_asleep());
        for part in &mut policy.parts {
            if matches!(
                part.pattern(),
                Some(Pattern::Windows { .. } | Pattern::Edges { .. })
            ) {
                part.kept = Kept::Bucket { burst: part.amount };
            }
        }
        policy
    }

    /// The same on a clock that is at its zero at this time of the calendar.
    #[must_use]
    pub fn on_clock(mut self, zero: Timestamp) -> Policy {
        self.parts.iter_mut().for_each(|part| part.zero = zero);
        self
    }

    /// The gate that keeps this policy, by the clock of this machine.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate::with_clock(self.limits(), time::now)
    }

    /// All its limits, with nothing taken.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::new(
            self.parts.clone(),
            self.scopes.len(),
            self.keys.len(),
            self.uncounted,
        )
    }

    /// The same under another guard, wherever none is named for a limit alone.
    #[must_use]
    pub fn under(&self, guard: Guard) -> Policy {
        let mut policy = self.clone();
        for part in policy
            .parts
            .iter_mut()
            .filter(|part| part.guard == self.guard)
        {
            part.guard = guard;
        }
        policy.guard = guard;
        policy
    }

    /// Whether every limit can ever allow this at once.
    ///
    /// # Errors
    /// Which can't, and why.
    pub fn check(&self, ask: &Ask) -> Result<(), String> {
        let too_small = |part: &&Part| ask.units_of(part.unit) > part.most_at_once();
        match self.parts.iter().find(too_small) {
            None => Ok(()),
            Some(part) => Err(format!(
                "it costs {} {}, and {} never allows more than {} at once: split it, or raise the limit",
                ask.units_of(part.unit),
                part.unit_name,
                part.name,
                part.most_at_once(),
            )),
        }
    }

    /// More requests than this in flight are of no use; none if there is no such number.
    #[must_use]
    pub fn most_in_flight(&self) -> Option<u64> {
        let of_run = |part: &&Part| part.unit == 0 && !matches!(part.place, Where::Scope(_));
        let most = |part: &Part| match (part.pattern()?, part.guard) {
            (Pattern::AtOnce { amount }, _) => Some(amount),
            (Pattern::Windows { amount, .. } | Pattern::Edges { amount, .. }, Guard::Strict) => {
                Some(amount)
            }
            (Pattern::Paced { burst, .. }, Guard::Strict) if burst > 1 => Some(burst),
            _ => None,
        };
        let keys = self.keys.len().max(1) as u64;
        let all = self.parts.iter().filter(of_run).filter_map(most).min();
        all.map(|most| most.saturating_mul(keys))
    }

    /// The requests that the whole run can send in a second, in the long run.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        let of_run = |part: &&Part| part.unit == 0 && !matches!(part.place, Where::Scope(_));
        let rate = |part: &Part| match part.pattern()? {
            Pattern::Windows { amount, period } | Pattern::Edges { amount, period } => {
                Some(amount as f64 / period.as_secs_f64())
            }
            Pattern::Paced { per_second, .. } => Some(per_second),
            Pattern::AtOnce { .. } => None,
        };
        let all = self.parts.iter().filter(of_run).filter_map(rate);
        let slowest = all.min_by(f64::total_cmp)?;
        Some(slowest * self.keys.len().max(1) as f64)
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.parts.is_empty()
    }

    /// What it is kept by, part by part.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What its limits are proven against, unless one names its own guard.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// The names of what is counted; requests come first.
    #[must_use]
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// The templates whose values have limits for themselves.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The templates of the pool's keys.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// By unit, what a request costs: an expression over its row.
    #[must_use]
    pub fn cost(&self) -> &BTreeMap<String, String> {
        &self.cost
    }

    /// By unit, what it has cost: jq over its answer.
    #[must_use]
    pub fn settle(&self) -> &BTreeMap<String, String> {
        &self.settle
    }
}

impl Part {
    /// Its arithmetic, with nothing taken.
    #[must_use]
    pub fn kind(&self) -> Box<dyn Kind> {
        let period = self.period.unwrap_or_default();
        let (units, guard, linger, skew) = (self.amount, self.guard, self.linger, self.skew);
        match &self.kept {
            Kept::Sliding => {
                let span = Sliding::new(period, skew);
                Box::new(Window::new(units, period, span, guard, linger).certified())
            }
            Kept::UntilReset => {
                let span = UntilReset::new(period, skew);
                Box::new(Window::new(units, period, span, guard, linger))
            }
            Kept::Fixed(edges) => {
                let span = self.fixed(edges);
                Box::new(Window::new(units, period, span, guard, linger))
            }
            Kept::Bucket { burst } => {
                Box::new(Bucket::new(*burst, (units, period), skew, guard, linger))
            }
            Kept::Counter { burst } => {
                let (burst, units) = counter::bucket(units, period, *burst);
                Box::new(Bucket::new(burst, (units, period), skew, guard, linger))
            }
            Kept::Spacing => Box::new(Spacing::new(period)),
            Kept::OnceRefused => Box::new(Spacing::once_refused(period)),
            Kept::Concurrency => Box::new(Concurrency::new(units, linger)),
            Kept::Budget => Box::new(Budget::new(units)),
        }
    }

    fn fixed(&self, edges: &Edges) -> Fixed {
        Fixed::new(edges.clone(), self.zero, self.skew)
    }

    /// How long after `start` what was used then comes back at the earliest, if
    /// that depends on the calendar.
    #[must_use]
    pub fn first_edge(&self, start: Time) -> Option<Duration> {
        match &self.kept {
            Kept::Fixed(edges) => Some(self.fixed(edges).end(start).since(start)),
            _ => None,
        }
    }

    /// The most units that one attempt can ever have.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        match &self.kept {
            Kept::Bucket { burst } => *burst,
            Kept::Counter { burst } => {
                counter::bucket(self.amount, self.period.unwrap_or_default(), *burst).0
            }
            Kept::Spacing | Kept::OnceRefused => u64::MAX,
            _ => self.amount,
        }
    }

    /// How it lets units through, if it holds anything up by itself.
    #[must_use]
    pub fn pattern(&self) -> Option<Pattern> {
        let (amount, period) = (self.amount, self.period.unwrap_or_default());
        let paced = |burst, units: u64| Pattern::Paced {
            burst,
            per_second: units as f64 / period.as_secs_f64(),
        };
        match &self.kept {
            Kept::Sliding | Kept::UntilReset => Some(Pattern::Windows { amount, period }),
            Kept::Fixed(_) => Some(Pattern::Edges { amount, period }),
            Kept::Bucket { burst } => Some(paced(*burst, amount)),
            Kept::Counter { burst } => {
                let (burst, units) = counter::bucket(amount, period, *burst);
                Some(paced(burst, units))
            }
            Kept::Spacing => Some(paced(1, 1)),
            Kept::Concurrency => Some(Pattern::AtOnce { amount }),
            Kept::OnceRefused | Kept::Budget => None,
        }
    }

    /// What it is proven against.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Whether it waits for evidence before it holds anything up.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        matches!(self.kept, Kept::OnceRefused)
    }

    pub(super) fn member(&self) -> Member {
        Member {
            unit: self.unit,
            kind: self.kind(),
        }
    }

    pub(super) fn state(&self, account: Account, lost: u64, keys: Option<u64>) -> LimitState {
        LimitState {
            name: self.name.clone(),
            guard: self.guard,
            unit: self.unit_name.clone(),
            units: self.most_in_state(),
            period: self.period,
            most: account.most,
            lost,
            linger: self.linger,
            margin: account.margin,
            keys,
        }
    }

    fn most_in_state(&self) -> u64 {
        match self.kept {
            Kept::Spacing | Kept::OnceRefused => 1,
            _ => self.most_at_once(),
        }
    }
}

fn kept(limit: &Limit, amount: u64, burst: Option<u64>) -> Kept {
    match &limit.counting {
        // A window that begins with its first use is some window of its length.
        Counting::Sliding | Counting::FirstUse => Kept::Sliding,
        Counting::Counter => Kept::Counter { burst },
        Counting::Bucket => Kept::Bucket {
            burst: burst.unwrap_or(amount),
        },
        Counting::Clock => Kept::Fixed(Edges::Clock(limit.amount.period)),
        // The zone was found when the limit was read.
        Counting::Midnight(zone) => Kept::Fixed(Edges::Midnight(
            TimeZone::get(zone).unwrap_or(TimeZone::UTC),
        )),
        Counting::Reset => Kept::UntilReset,
        Counting::Run => Kept::Budget,
    }
}

fn skew(limit: &Limit, settings: &Settings) -> Duration {
    let usual = match limit.counting {
        Counting::Clock | Counting::Midnight(_) | Counting::Reset => {
            CLOCK_SKEW.min(limit.amount.period / 20)
        }
        _ => SKEW,
    };
    limit.details.skew.or(settings.skew).unwrap_or(usual)
}

fn check_amounts(settings: &Settings) -> Result<(), String> {
    let nothing = |amount| amount == Some(0);
    match (nothing(settings.burst), nothing(settings.in_flight)) {
        (true, _) => {
            Err("limit.burst (--burst) is 0: nothing would be sent; give at least 1".into())
        }
        (_, true) => {
            Err("limit.in-flight (--in-flight) is 0: nothing would be sent; give at least 1".into())
        }
        _ => Ok(()),
    }
}

fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    match names.iter().position(|known| known == name) {
        Some(index) => index,
        None => {
            names.push(name.to_owned());
            names.len() - 1
        }
    }
}
