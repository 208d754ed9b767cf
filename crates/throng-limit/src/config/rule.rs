//! One thing to keep, and what keeps it: from what a job writes to a limit's
//! arithmetic.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::outcome::BlockerKind;

use crate::config::Guard;
use crate::config::{Counting, Limit};
use crate::config::{Settings, Shape};
use crate::gate::group::Member;
use crate::gate::state::LimitState;
use crate::kinds::auto::Auto;
use crate::kinds::bucket::Bucket;
use crate::kinds::budget::Budget;
use crate::kinds::concurrency::Concurrency;
use crate::kinds::counter;
use crate::kinds::fixed::{Fixed, WindowEdges};
use crate::kinds::sliding::{Sliding, UntilReset};
use crate::kinds::spacing::Spacing;
use crate::kinds::{Limiter, LimiterStats};
use crate::quota::{self, Quota, UnitLifetime};
use crate::quota::{LeasedLimiter, QuotaHandle as Lender};
use crate::time;
use crate::time::Time;
use crate::window::calendar::Calendar;
use crate::window::{Window, WindowKind};

/// What a server may round, unless told otherwise.
const SKEW: Duration = Duration::from_millis(1);
/// By how much clocks may differ where a limit depends on that, unless told
/// otherwise; less where windows are short.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// What is counted, if nothing else is said.
pub(crate) const REQUESTS: &str = "requests";

/// One thing to keep: a limit, or what stands beside it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// As the job writes it.
    pub name: String,
    /// What it counts, as an index into the policy's units.
    pub unit: usize,
    /// Whose it is.
    pub place: LimitScope,
    unit_name: String,
    amount: u64,
    period: Option<Duration>,
    guard: Guard,
    linger: Duration,
    skew: Duration,
    kept: Algorithm,
    calendar: Calendar,
}

/// Whose a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// The whole run's.
    Run,
    /// Each key's in this scope.
    Scope(usize),
    /// Each key's of the pool.
    Pool,
}

/// What is counted for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleTarget {
    pub unit: usize,
    pub of: LimitScope,
}

/// How a limit lets units through, as far as the least time depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RatePattern {
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

/// What keeps it.
#[derive(Debug, Clone)]
enum Algorithm {
    Sliding,
    UntilReset,
    Fixed(WindowEdges),
    Bucket {
        burst: u64,
    },
    Counter {
        burst: Option<u64>,
    },
    Spacing,
    /// Of a window of this length.
    OnceRefused(Duration),
    Concurrency,
    Budget,
    Auto,
}

impl Rule {
    /// A limit, and what stands beside it: a smaller burst, and the gap that
    /// spreads a period's requests.
    pub(crate) fn of_limit(
        limit: &Limit,
        settings: &Settings,
        place: RuleTarget,
        linger: Duration,
    ) -> Vec<Rule> {
        let details = &limit.details;
        let share = details.share.or(settings.share);
        let amount = share.map_or(limit.amount.units, |share| share.of(limit.amount.units));
        let of_requests = limit.unit.is_none();
        let burst = details.burst.or(settings.burst.filter(|_| of_requests));
        let part = Rule {
            name: limit.to_string(),
            unit: place.unit,
            place: place.of,
            unit_name: limit.unit.clone().unwrap_or_else(|| REQUESTS.into()),
            amount,
            period: (limit.counting != Counting::Run).then_some(limit.amount.period),
            guard: details.guard.unwrap_or(settings.guard),
            linger,
            skew: skew(limit, settings),
            kept: kept(limit, amount, burst),
            calendar: Calendar::new(time::calendar_at_zero()),
        };
        let is_window = part.is_window();
        let smaller = burst.filter(|burst| is_window && *burst < amount);
        let spread = of_requests && limit.counting == Counting::Sliding && amount > 1;
        let beside = [
            smaller.map(|burst| part.with_burst(burst)),
            part.spread(settings.shape).filter(|_| spread),
        ];
        std::iter::once(part.clone())
            .chain(beside.into_iter().flatten())
            .collect()
    }

    /// What a job says of its requests beside its rates.
    pub(crate) fn beside(settings: &Settings, place: RuleTarget, linger: Duration) -> Vec<Rule> {
        let part = |name, amount, period, kept| Rule {
            name,
            unit: place.unit,
            place: place.of,
            unit_name: REQUESTS.into(),
            amount,
            period,
            guard: settings.guard,
            linger,
            skew: SKEW,
            kept,
            calendar: Calendar::new(Timestamp::UNIX_EPOCH),
        };
        let spacing = settings.spacing.map(|gap| {
            let name = format!("spacing {}", humantime::format_duration(gap));
            part(name, 1, Some(gap), Algorithm::Spacing)
        });
        let cap = settings.in_flight.map(|cap| {
            part(
                format!("{cap} in flight"),
                cap,
                None,
                Algorithm::Concurrency,
            )
        });
        spacing.into_iter().chain(cap).collect()
    }

    fn with_burst(&self, burst: u64) -> Rule {
        Rule {
            name: format!("burst {burst} of {}", self.name),
            kept: Algorithm::Bucket { burst },
            ..self.clone()
        }
    }

    fn spread(&self, shape: Shape) -> Option<Rule> {
        let kept = match shape {
            Shape::Burst => return None,
            Shape::Spread => Algorithm::Spacing,
            Shape::Auto => Algorithm::OnceRefused(self.period.unwrap_or_default()),
        };
        Some(Rule {
            name: format!("spread of {}", self.name),
            period: self
                .period
                .map(|period| Spacing::spread(self.amount, period)),
            amount: 1,
            kept,
            ..self.clone()
        })
    }

    fn is_window(&self) -> bool {
        matches!(
            self.kept,
            Algorithm::Sliding | Algorithm::UntilReset | Algorithm::Fixed(_)
        )
    }

    pub(crate) fn change_guard(&mut self, from: Guard, to: Guard) {
        if self.guard == from {
            self.guard = to;
        }
    }

    pub(crate) fn become_token_bucket(&mut self) {
        if self.is_window() {
            self.kept = Algorithm::Bucket { burst: self.amount };
        }
    }

    pub(crate) fn set_clock(&mut self, zero: Timestamp) {
        self.calendar = Calendar::new(zero);
    }

    /// What the calendar says that it was at the clock's zero, which may be news.
    pub(crate) fn heed_calendar(&mut self, zero: Timestamp) -> bool {
        self.has_edges() && self.calendar.heed(zero, Fixed::tolerance(self.skew))
    }

    /// The period, if it has one.
    pub(crate) fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Whether it depends on the calendar.
    pub(crate) fn has_edges(&self) -> bool {
        matches!(self.kept, Algorithm::Fixed(_))
    }

    /// What it counts: `requests`, `tokens`.
    #[must_use]
    pub fn unit_name(&self) -> &str {
        &self.unit_name
    }
}

impl Rule {
    /// Its arithmetic, with nothing taken.
    #[must_use]
    pub fn limiter(&self) -> Box<dyn Limiter> {
        let period = self.period.unwrap_or_default();
        let (units, guard, linger, skew) = (self.amount, self.guard, self.linger, self.skew);
        match &self.kept {
            Algorithm::Sliding => {
                let span = Sliding::new(period, skew);
                Box::new(Window::new(units, period, span, guard, linger).certified())
            }
            Algorithm::UntilReset => {
                let span = UntilReset::new(period, skew);
                Box::new(Window::new(units, period, span, guard, linger))
            }
            Algorithm::Fixed(edges) => {
                let span = self.fixed(edges);
                Box::new(Window::new(units, period, span, guard, linger))
            }
            Algorithm::Bucket { burst } => {
                Box::new(Bucket::new(*burst, (units, period), skew, guard, linger))
            }
            Algorithm::Counter { burst } => {
                let (burst, units) = counter::bucket(units, period, *burst);
                Box::new(Bucket::new(burst, (units, period), skew, guard, linger))
            }
            Algorithm::Spacing => Box::new(Spacing::new(period)),
            Algorithm::OnceRefused(window) => Box::new(Spacing::once_refused(
                period,
                self.refusals_before(),
                *window,
            )),
            Algorithm::Concurrency => Box::new(Concurrency::new(units, linger)),
            Algorithm::Budget => Box::new(Budget::new(units)),
            Algorithm::Auto => Box::new(Auto::new(units, period, skew, guard, linger)),
        }
    }

    /// How many refusals that our own count can't explain are not yet a reason to
    /// spread: what a margin explains, it is given time to grow for.
    fn refusals_before(&self) -> u32 {
        match self.guard {
            Guard::Strict => 0,
            Guard::Acked | Guard::Sent => 3,
        }
    }

    fn fixed(&self, edges: &WindowEdges) -> Fixed {
        Fixed::new(edges.clone(), self.calendar.clone(), self.skew)
    }

    /// How long after `start` what was used then comes back at the earliest, if
    /// that depends on the calendar.
    #[must_use]
    pub fn first_edge(&self, start: Time) -> Option<Duration> {
        match &self.kept {
            Algorithm::Fixed(edges) => Some(self.fixed(edges).end(start).since(start)),
            _ => None,
        }
    }

    /// The most units that one attempt can ever have.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        match &self.kept {
            Algorithm::Bucket { burst } => *burst,
            Algorithm::Counter { burst } => {
                counter::bucket(self.amount, self.period.unwrap_or_default(), *burst).0
            }
            Algorithm::Spacing | Algorithm::OnceRefused(_) => u64::MAX,
            _ => self.amount,
        }
    }

    /// How it lets units through, if it holds anything up by itself.
    #[must_use]
    pub fn rate_pattern(&self) -> Option<RatePattern> {
        let (amount, period) = (self.amount, self.period.unwrap_or_default());
        let paced = |burst, units: u64| RatePattern::Paced {
            burst,
            per_second: units as f64 / period.as_secs_f64(),
        };
        match &self.kept {
            Algorithm::Sliding | Algorithm::UntilReset | Algorithm::Auto => {
                Some(RatePattern::Windows { amount, period })
            }
            Algorithm::Fixed(_) => Some(RatePattern::Edges { amount, period }),
            Algorithm::Bucket { burst } => Some(paced(*burst, amount)),
            Algorithm::Counter { burst } => {
                let (burst, units) = counter::bucket(amount, period, *burst);
                Some(paced(burst, units))
            }
            Algorithm::Spacing => Some(paced(1, 1)),
            Algorithm::Concurrency => Some(RatePattern::AtOnce { amount }),
            Algorithm::OnceRefused(_) | Algorithm::Budget => None,
        }
    }

    /// What it is to those whom it holds up.
    pub(crate) fn held_by(&self) -> BlockerKind {
        match (&self.kept, self.place) {
            (Algorithm::Concurrency, _) => BlockerKind::InFlight,
            (_, LimitScope::Scope(_)) => BlockerKind::KeyLimit,
            _ => BlockerKind::Limit,
        }
    }

    /// What it is proven against; gaps go by our own clock.
    #[must_use]
    pub fn guard(&self) -> Guard {
        match self.kept {
            Algorithm::Spacing | Algorithm::OnceRefused(_) => Guard::Sent,
            _ => self.guard,
        }
    }

    /// Whether it waits for evidence before it holds anything up.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        matches!(self.kept, Algorithm::OnceRefused(_))
    }

    pub(crate) fn member(&self) -> Member {
        Member {
            unit: self.unit,
            kind: self.limiter(),
        }
    }

    /// The same, on units from an account, if its periods are long.
    pub(crate) fn leased_member(&self, account: Box<dyn Lender>) -> Member {
        let Some(quota) = self.quota() else {
            return self.member();
        };
        Member {
            unit: self.unit,
            kind: Box::new(LeasedLimiter::new(self.limiter(), account, &quota)),
        }
    }

    /// As slots that outlive the process, if its periods are long enough.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        let period = self.period.filter(|period| *period > quota::LONGER_THAN)?;
        let skew = self.skew;
        let bucket = |burst, units: u64| {
            // B slots with the period B/r keep a bucket of B and r.
            let back = period.mul_f64(burst as f64 / units.max(1) as f64);
            (burst, UnitLifetime::Sliding(Sliding::new(back, skew)))
        };
        let (units, until) = match &self.kept {
            Algorithm::Sliding => (
                self.amount,
                UnitLifetime::Sliding(Sliding::new(period, skew)),
            ),
            Algorithm::UntilReset => (
                self.amount,
                UnitLifetime::Reset(UntilReset::new(period, skew)),
            ),
            Algorithm::Fixed(edges) => (self.amount, UnitLifetime::Edge(edges.clone(), skew)),
            Algorithm::Bucket { burst } => bucket(*burst, self.amount),
            Algorithm::Counter { burst } => {
                let (burst, units) = counter::bucket(self.amount, period, *burst);
                bucket(burst, units)
            }
            Algorithm::Spacing
            | Algorithm::OnceRefused(_)
            | Algorithm::Concurrency
            | Algorithm::Budget
            | Algorithm::Auto => {
                return None;
            }
        };
        Some(Quota {
            name: self.name.clone(),
            unit: self.unit_name.clone(),
            units,
            linger: self.linger,
            until,
        })
    }

    pub(crate) fn state(&self, account: LimiterStats, lost: u64, keys: Option<u64>) -> LimitState {
        LimitState {
            name: self.name.clone(),
            guard: self.guard,
            unit: self.unit_name.clone(),
            units: self.most_in_state(),
            period: self.period.filter(|_| !self.is_bucket()),
            most: account.peak,
            lost,
            linger: self.linger,
            margin: account.margin,
            learnt: account.learnt,
            spacing: self.period.filter(|_| self.is_spacing()),
            keys,
        }
    }

    fn most_in_state(&self) -> u64 {
        if self.is_spacing() {
            1
        } else {
            self.most_at_once()
        }
    }

    fn is_bucket(&self) -> bool {
        matches!(
            self.kept,
            Algorithm::Bucket { .. } | Algorithm::Counter { .. }
        )
    }

    fn is_spacing(&self) -> bool {
        matches!(self.kept, Algorithm::Spacing | Algorithm::OnceRefused(_))
    }
}

fn kept(limit: &Limit, amount: u64, burst: Option<u64>) -> Algorithm {
    match &limit.counting {
        // A window that begins with its first use is some window of its length.
        Counting::Sliding | Counting::FirstUse => Algorithm::Sliding,
        Counting::Counter => Algorithm::Counter { burst },
        Counting::Bucket => Algorithm::Bucket {
            burst: burst.unwrap_or(amount),
        },
        Counting::Clock => Algorithm::Fixed(WindowEdges::Clock(limit.amount.period)),
        // The zone was found when the limit was read.
        Counting::Midnight(zone) => Algorithm::Fixed(WindowEdges::Midnight(
            TimeZone::get(zone).unwrap_or(TimeZone::UTC),
        )),
        Counting::Reset => Algorithm::UntilReset,
        Counting::Run => Algorithm::Budget,
        Counting::Auto => Algorithm::Auto,
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
