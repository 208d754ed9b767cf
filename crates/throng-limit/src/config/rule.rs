//! One thing to keep: a limit, or what stands beside it, in the figures of its kind.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{AccountShare, Guard, Limit, Settings, Shape, Shard};
use crate::duration;
use crate::error::LimitError;
use crate::kinds::bucket::BUCKET;
use crate::kinds::concurrency::CONCURRENCY;
use crate::kinds::spacing::{SPACING, SPREAD, SPREAD_OF_UNITS};
use crate::kinds::{self, Form, RatePattern, Spec, Terms};
use crate::limiter::{Limiter, REQUESTS};
use crate::outcome::BlockerKind;
use crate::quota::Quota;
use crate::time::{self, Time};
use crate::window::calendar::Calendar;

/// One thing to keep: a limit, or what stands beside it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// As the job writes it.
    pub name: String,
    /// What it counts, as an index into the policy's units.
    pub unit: usize,
    /// Whose it is.
    pub scope: LimitScope,
    unit_name: String,
    /// The shard whose part of a limit it is.
    shard: Option<Shard>,
    spec: &'static Spec,
    terms: Terms,
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
    pub scope: LimitScope,
}

/// How long attempts are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// The longest time for which an attempt waits for its answer.
    pub timeout: Duration,
    /// How long a lost attempt may still arrive.
    pub linger: Duration,
}

impl Rule {
    /// A limit, and what stands beside it: a smaller burst, and the gap that
    /// spreads a period's requests.
    pub(crate) fn of_limit(
        limit: &Limit,
        settings: &Settings,
        target: RuleTarget,
        waits: Waits,
    ) -> Vec<Rule> {
        let (details, spec) = (&limit.details, limit.counting.spec());
        let share =
            details.share.or(settings.share).filter(|_| settings.dividing_shard().is_none());
        let units = share.map_or(limit.amount.units, |share| share.of(limit.amount.units));
        let of_requests = limit.unit.is_none();
        let can_spread = units > 1 && spec.is_spreadable;
        let period = limit.amount.period;
        let skew = details.skew.or(settings.skew);
        let terms = Terms {
            units,
            period: if limit.counting.is_total() { Duration::ZERO } else { period },
            burst: details.burst.or(settings.burst.filter(|_| of_requests)),
            zone: limit.counting.zone(),
            guard: details.guard.unwrap_or(settings.guard),
            timeout: waits.timeout,
            linger: waits.linger,
            skew: skew.unwrap_or_else(|| (spec.skew)(period)),
            calendar: Calendar::new(time::calendar_at_zero()),
            may_spread: can_spread && of_requests && settings.shape == Shape::Auto,
        };
        let rule = Rule {
            name: limit.to_string(),
            unit: target.unit,
            scope: target.scope,
            unit_name: limit.unit.clone().unwrap_or_else(|| REQUESTS.into()),
            shard: None,
            spec,
            terms,
        };
        let is_spread = can_spread && settings.shape == Shape::Spread;
        let beside = [rule.smaller_burst(), is_spread.then(|| rule.spread())];
        std::iter::once(rule).chain(beside.into_iter().flatten()).collect()
    }

    /// What a job says of its requests beside its rates.
    pub(crate) fn beside(settings: &Settings, target: RuleTarget, waits: Waits) -> Vec<Rule> {
        let rule = |name, units, period, spec: &'static Spec| Rule {
            name,
            unit: target.unit,
            scope: target.scope,
            unit_name: REQUESTS.into(),
            shard: None,
            spec,
            terms: Terms {
                units,
                period,
                burst: None,
                zone: None,
                guard: settings.guard,
                timeout: waits.timeout,
                linger: waits.linger,
                skew: (spec.skew)(period),
                calendar: Calendar::new(Timestamp::UNIX_EPOCH),
                may_spread: false,
            },
        };
        let spacing = settings.spacing.map(|gap| {
            let name = format!("spacing {}", duration::exact(gap));
            rule(name, 1, gap, &SPACING)
        });
        let cap = settings.in_flight.map(|cap| {
            let name = format!("{cap} in flight");
            rule(name, cap, Duration::ZERO, &CONCURRENCY)
        });
        spacing.into_iter().chain(cap).collect()
    }

    /// The part of this shard, as a limit beside it. The whole limit holds for all runs on this
    /// machine, and the part for the runs of one shard.
    ///
    /// # Errors
    /// There is no part for each shard such that all together keep the limit.
    pub(crate) fn of_shard(
        &self,
        shard: Shard,
        share: Option<AccountShare>,
    ) -> Result<Rule, LimitError> {
        let shards = shard.count();
        let divided = (self.spec.divided)(&self.terms, shard);
        let terms = match share {
            Some(share) if share.exceeds_whole(shards) => {
                return Err(LimitError::SharesTooLarge { share: share.into(), shards });
            }
            Some(share) => {
                divided.map(|terms| Terms { units: share.of(self.terms.units), ..terms })
            }
            None => divided,
        };
        let terms = terms.ok_or(LimitError::Indivisible { limit: self.name.clone(), shards })?;
        let name = format!("{} of {} for shard {shard}", terms.units, self.name);
        Ok(Rule { name, shard: Some(shard), terms, ..self.clone() })
    }

    /// A burst that is smaller than a window's is a bucket beside it.
    fn smaller_burst(&self) -> Option<Rule> {
        let burst = self.terms.burst.filter(|burst| *burst < self.terms.units)?;
        self.spec.is_window.then(|| Rule {
            name: format!("burst {burst} of {}", self.name),
            spec: &BUCKET,
            ..self.clone()
        })
    }

    /// The gap that spreads a period's units.
    fn spread(&self) -> Rule {
        let spec = if self.unit_name == REQUESTS { &SPREAD } else { &SPREAD_OF_UNITS };
        Rule { name: format!("spread of {}", self.name), spec, ..self.clone() }
    }

    pub(crate) fn change_guard(&mut self, from: Guard, to: Guard) {
        if self.terms.guard == from {
            self.terms.guard = to;
        }
    }

    pub(crate) fn become_token_bucket(&mut self) {
        if self.spec.is_window {
            self.spec = &BUCKET;
            self.terms.burst = None;
        }
    }

    pub(crate) fn set_clock(&mut self, zero: Timestamp) {
        self.terms.calendar = Calendar::new(zero);
    }

    /// The calendar's time at the clock's zero. Gives whether that changes the limit.
    pub(crate) fn heed_calendar(&mut self, zero: Timestamp) -> bool {
        let tolerance = kinds::calendar_tolerance(self.terms.skew);
        self.follows_calendar() && self.terms.calendar.heed(zero, tolerance)
    }

    /// Whether it depends on the calendar.
    pub(crate) fn follows_calendar(&self) -> bool {
        self.spec.follows_calendar
    }

    /// The period, if it has one.
    pub(crate) fn period(&self) -> Option<Duration> {
        Some(self.terms.period).filter(|period| !period.is_zero())
    }

    /// What it counts: `requests`, `tokens`.
    #[must_use]
    pub fn unit_name(&self) -> &str {
        &self.unit_name
    }

    /// The units that it allows in all, if nothing of them ever comes back.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        matches!(self.spec.form, Form::Total).then_some(self.terms.units)
    }

    /// Its arithmetic, with nothing taken.
    #[must_use]
    pub fn limiter(&self) -> Box<dyn Limiter> {
        (self.spec.build)(&self.terms)
    }

    /// How it lets units through, if it holds anything up by itself.
    #[must_use]
    pub fn rate_pattern(&self) -> Option<RatePattern> {
        self.spec.rate_pattern.map(|pattern| pattern(&self.terms))
    }

    /// Maximum number of units that one attempt can ever take.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        (self.spec.most_at_once)(&self.terms)
    }

    /// When units that are sent at `start` and answered after `latency` come back at the
    /// earliest, if that depends on the calendar.
    pub(crate) fn free_again(&self, start: Time, latency: Duration) -> Option<Time> {
        let shared = self.spec.shared.filter(|_| self.follows_calendar())?;
        Some(shared(&self.terms).lifetime.end(start.after(latency), None))
    }

    /// What it is to the rows that it holds up.
    pub(crate) fn blocker(&self) -> BlockerKind {
        match (self.rate_pattern(), self.scope) {
            (Some(RatePattern::AtOnce { .. }), _) => BlockerKind::InFlight,
            (_, LimitScope::Scope(_)) => BlockerKind::KeyLimit,
            _ => BlockerKind::Limit,
        }
    }

    /// The time zone at whose midnight its windows begin, if they do.
    #[must_use]
    pub fn zone(&self) -> Option<&TimeZone> {
        self.terms.zone.as_ref()
    }

    /// How long a lost attempt may still arrive.
    pub(crate) fn linger(&self) -> Duration {
        self.terms.linger
    }

    /// What the job says it is proven against.
    pub(crate) fn stated_guard(&self) -> Guard {
        self.terms.guard
    }

    /// What it is proven against; gaps go by our own clock.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.gap().map_or(self.terms.guard, |_| Guard::Sent)
    }

    /// The limit as units that the runs of an account share, if they share it.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        let terms = self.spec.shared?(&self.terms);
        Some(Quota {
            name: self.name.clone(),
            unit: self.unit_name.clone(),
            shard: self.shard,
            period: self.terms.period,
            timeout: self.terms.timeout,
            linger: self.terms.linger,
            terms,
        })
    }

    /// Whether it is a window whose edges are not known.
    pub(crate) fn is_plain(&self) -> bool {
        self.spec.form == kinds::Form::Plain
    }

    /// The least time between two sendings, if that is what it keeps.
    pub(crate) fn gap(&self) -> Option<Duration> {
        self.spec.gap.map(|gap| gap(&self.terms))
    }
}
