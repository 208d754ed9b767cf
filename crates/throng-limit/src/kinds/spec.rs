//! What each kind of limit states of itself, in its own file: how a job writes it, its
//! arithmetic, and what follows for estimates, quotas and proofs. Pure.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::{Guard, Shard};
use crate::kinds::pattern::RatePattern;
use crate::limiter::Limiter;
use crate::quota::SharedTerms;
use crate::window::calendar::Calendar;
use crate::window::{Window, WindowKind};

/// By how much a server may round times, unless a job says otherwise.
const SKEW: Duration = Duration::from_millis(1);
/// By how much clocks may differ where a limit depends on that, unless a job says
/// otherwise; less where windows are short.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// A kind of limit: each has one in its own file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// How a job writes a limit of this kind.
    pub form: Form,
    /// The arithmetic, with nothing taken.
    pub build: fn(&Terms) -> Box<dyn Limiter>,
    /// How it lets units through, if it bounds a rate.
    pub rate_pattern: Option<fn(&Terms) -> RatePattern>,
    /// Maximum number of units that one attempt can ever take.
    pub most_at_once: fn(&Terms) -> u64,
    /// The limit as units that the runs of an account share; none if each run has its own.
    pub shared: Option<fn(&Terms) -> SharedTerms>,
    /// What the times of arrivals prove of a limit of an amount and, perhaps, a burst.
    /// None if only the server knows whether it was kept.
    pub measure: Option<fn(u64, Option<u64>) -> Measure>,
    /// The name under which a test server counts in the same way, if there is one.
    pub model: Option<&'static str>,
    /// In which way that test server differs from the real one, as a sentence on a limit.
    pub model_differs: Option<fn(&str) -> String>,
    /// Why a limit of this kind may not have a period, if so.
    pub period_error: fn(Duration) -> Option<&'static str>,
    /// By how much clocks may differ, and what the server rounds, in windows of a length,
    /// unless a job says otherwise.
    pub skew: fn(Duration) -> Duration,
    /// The least time between two sendings, if that is what it keeps.
    pub gap: Option<fn(&Terms) -> Duration>,
    /// The part of one shard, such that the parts of all shards together keep the limit; none
    /// if there is none.
    pub divided: fn(&Terms, Shard) -> Option<Terms>,
    /// Whether all units of a window may come at once, so that a smaller burst is a limit
    /// beside it.
    pub is_window: bool,
    /// Whether spreading a period's requests keeps servers from refusing that count
    /// otherwise than in this way.
    pub is_spreadable: bool,
    /// Whether its windows begin and end when the calendar says.
    pub follows_calendar: bool,
    /// Whether the amount is a ceiling below which the limit is found out by being refused.
    pub is_found_out: bool,
}

/// How a job writes a limit: `[PREFIX:]N[ UNIT]/PERIOD[@EDGE]`, or by a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `22/5s`.
    Plain,
    /// `bucket:10/1s`, by this prefix.
    Prefix(&'static str),
    /// `100/1m@clock`, by this edge.
    Edge(&'static str),
    /// `25/1d@America/Los_Angeles`, by a time zone.
    Zone,
    /// `5000/run`.
    Total,
    /// By a setting beside the rates: `spacing = "50ms"`.
    Setting,
}

/// One limit in figures, as the arithmetic of its kind needs them.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Units in a period, in flight, or in all.
    pub units: u64,
    /// The period; zero if it has none.
    pub period: Duration,
    /// The burst, if the job states one.
    pub burst: Option<u64>,
    /// The time zone in which days begin, if the job states one.
    pub zone: Option<TimeZone>,
    /// What the limit is proven against.
    pub guard: Guard,
    /// The longest time for which an attempt waits for its answer.
    pub timeout: Duration,
    /// How long a lost attempt may still arrive.
    pub linger: Duration,
    /// By how much clocks may differ, and what the server rounds.
    pub skew: Duration,
    /// What the calendar says.
    pub calendar: Calendar,
    /// Whether requests are spread where refusals call for it.
    pub may_spread: bool,
}

/// What of a limit can be recomputed from the times at which requests can have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The most in any window of the period, wherever it begins.
    AnyWindow,
    /// The most in any window that begins at a multiple of the period, UTC.
    ClockWindow,
    /// The most in any day of the limit's time zone.
    Day,
    /// The largest estimate of a counter with windows of the period, wherever they begin: the
    /// units of the window so far, and those of the one before it, less the share of the
    /// window that is gone.
    Counter,
    /// The fullest that a bucket was from which the amount leaks in each period.
    Bucket {
        /// The units that the bucket holds.
        burst: u64,
    },
    /// All requests together.
    Total,
}

impl Terms {
    /// A limit that is proven against the server's count, by clocks that agree.
    #[cfg(test)]
    pub(crate) fn strict(units: u64, period: Duration) -> Terms {
        Terms {
            units,
            period,
            burst: None,
            zone: None,
            guard: Guard::Strict,
            timeout: Duration::from_secs(30),
            linger: Duration::from_secs(30),
            skew: Duration::ZERO,
            calendar: Calendar::new(jiff::Timestamp::UNIX_EPOCH),
            may_spread: false,
        }
    }

    /// A window of the units that each count for `span`.
    pub(crate) fn window<S: WindowKind>(&self, span: S) -> Window<S> {
        Window::new(self.units, self.period, span, self.guard, self.linger)
    }

    /// The time in which a bucket leaks one of the `units` of a period, a little longer than
    /// by this clock, which may be faster than the server's.
    pub(crate) fn time_per_unit(&self, units: u64) -> Duration {
        let longer = self.period.as_nanos() * 10_005 / 10_000;
        let nanos = longer.div_ceil(u128::from(units.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The part of one shard of the units, and of a burst; none if one of them is nothing.
    pub(crate) fn divided(&self, shard: Shard) -> Option<Terms> {
        let part = |whole: u64| Some(shard.part(whole)).filter(|part| *part > 0);
        let burst = match self.burst {
            Some(burst) => Some(part(burst)?),
            None => None,
        };
        Some(Terms { units: part(self.units)?, burst, ..self.clone() })
    }

    /// The units in each period.
    pub(crate) fn in_windows(&self) -> RatePattern {
        RatePattern::Windows { amount: self.units, period: self.period }
    }
}

impl Spec {
    /// A kind that bounds no rate, of which nothing else is known.
    pub(crate) const fn new(form: Form, build: fn(&Terms) -> Box<dyn Limiter>) -> Spec {
        Spec {
            form,
            build,
            rate_pattern: None,
            most_at_once: |terms| terms.units,
            shared: None,
            measure: None,
            model: None,
            model_differs: None,
            period_error: |_| None,
            skew: |_| SKEW,
            gap: None,
            divided: Terms::divided,
            is_window: false,
            is_spreadable: false,
            follows_calendar: false,
            is_found_out: false,
        }
    }
}

impl Form {
    /// The prefix that may stand before the amount.
    pub(crate) fn prefix(self) -> Option<&'static str> {
        match self {
            Form::Prefix(prefix) => Some(prefix),
            Form::Edge(_) | Form::Zone => Some("fixed"),
            Form::Plain | Form::Total | Form::Setting => None,
        }
    }
}

/// A calendar that is set by less than this is taken for the same.
pub(crate) fn calendar_tolerance(skew: Duration) -> Duration {
    skew / 2
}

/// The skew of limits that depend on two clocks, unless a job says otherwise.
pub(crate) fn clock_skew(period: Duration) -> Duration {
    CLOCK_SKEW.min(period / 20)
}
