//! Flags of the limit.

use std::time::Duration;

use crate::limit::{AccountShare, Rate};
use clap::Args;
use serde_json::{Value, json};

use super::pairs::{Pair, assignment, map};
use super::send::duration;

/// How often.
#[derive(Args)]
#[command(next_help_heading = "Limit")]
pub struct LimitFlags {
    /// At most N in any PERIOD: 22/5s, '90000 tokens/1m', counter:300/1m, bucket:10/1s, 100/1m@clock, 25/1d@America/New_York, 5000/run, or auto:100/1s: what is found out by being refused, up to that (repeat: all hold)
    #[arg(short, long, value_name = "N/PERIOD")]
    rate: Vec<crate::limit::Limit>,
    /// What the limits are proven against: strict (arrivals at the server), acked (at its network stack) or sent (our clock)
    #[arg(long, value_parser = ["strict", "acked", "sent"])]
    guard: Option<String>,
    #[command(flatten)]
    beside: PacingFlags,
    #[command(flatten)]
    scope: ScopeFlags,
    #[command(flatten)]
    older: LegacyRateFlags,
}

/// What stands beside the rates.
#[derive(Args)]
struct PacingFlags {
    /// The most that may come at once, where a server allows less than a period's
    #[arg(long, value_name = "N")]
    burst: Option<u64>,
    /// The least time between two requests
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    spacing: Option<String>,
    /// A period's requests go out at once, spread, or spread after an unexpected refusal [default: auto]
    #[arg(long, value_parser = ["burst", "spread", "auto"])]
    shape: Option<String>,
    /// The most requests that the server may be working on
    #[arg(long, value_name = "N")]
    in_flight: Option<u64>,
    /// The share of the limits that is ours, such as 80%
    #[arg(long = "use", value_name = "SHARE")]
    share: Option<AccountShare>,
    /// Answers that the server doesn't count: refused or failed (repeat)
    #[arg(long, value_name = "WHICH", value_parser = ["refused", "failed"])]
    uncounted: Vec<String>,
    /// By how much clocks may differ, and what the server rounds [default: 1ms; up to 1s for windows with edges]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    skew: Option<String>,
}

/// Whose the limits are, and what a request costs.
#[derive(Args)]
struct ScopeFlags {
    /// Each value of this template has the limits for itself: '{{ tenant }}', '{{ request.host }}'
    #[arg(long, value_name = "T")]
    per: Option<String>,
    /// What the server says (pauses, what is left) holds for each value of this template by itself
    #[arg(long, value_name = "T")]
    route: Option<String>,
    /// A larger limit that the server names counts, too; otherwise only smaller ones do
    #[arg(long)]
    loosen: bool,
    /// One of several API keys, each with the limits for itself; templates see it as {{ key }} (repeat)
    #[arg(long, value_name = "T")]
    keys: Vec<String>,
    /// What a request costs of a unit: an expression over the row, such as tokens='prompt | length / 4' (repeat)
    #[arg(long, value_name = "NAME=EXPR", value_parser = assignment)]
    cost: Vec<Pair>,
    /// What it has cost: jq over the answer, such as tokens=.usage.total_tokens (repeat)
    #[arg(long, value_name = "NAME=JQ", value_parser = assignment)]
    settle: Vec<Pair>,
}

/// The older way to say a rate.
#[derive(Args)]
struct LegacyRateFlags {
    /// The older way to say PERIOD, in seconds
    #[arg(
        long,
        alias = "period_duration_sec",
        value_name = "SECONDS",
        hide = true,
        conflicts_with = "rate"
    )]
    period_duration_sec: Option<f64>,
    /// The older way to say N
    #[arg(
        long,
        alias = "max_requests_per_period",
        value_name = "N",
        hide = true,
        conflicts_with = "rate"
    )]
    max_requests_per_period: Option<u64>,
}

impl LimitFlags {
    /// The older flags together are one rate, whose other half is 25 or 5 s.
    pub fn tree(&self) -> Result<Value, String> {
        let mut rates = self.rate.clone();
        rates.extend(self.older.rate()?.map(crate::limit::Limit::from));
        Ok(json!({
            "rate": some(&rates),
            "guard": self.guard,
            "burst": self.beside.burst,
            "spacing": self.beside.spacing,
            "shape": self.beside.shape,
            "in-flight": self.beside.in_flight,
            "use": self.beside.share,
            "uncounted": some(&self.beside.uncounted),
            "skew": self.beside.skew,
            "per": self.scope.per,
            "route": self.scope.route,
            "loosen": self.scope.loosen.then_some(true),
            "keys": some(&self.scope.keys),
            "cost": map(&self.scope.cost),
            "settle": map(&self.scope.settle),
        }))
    }
}

impl LegacyRateFlags {
    fn rate(&self) -> Result<Option<Rate>, String> {
        if self.period_duration_sec.is_none() && self.max_requests_per_period.is_none() {
            return Ok(None);
        }
        let seconds = self.period_duration_sec.unwrap_or(5.0);
        let period = Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("--period-duration-sec {seconds} is not a number of seconds"))?;
        let units = self.max_requests_per_period.unwrap_or(25);
        let rate = Rate::new(units, period).map_err(|why| {
            format!("--max-requests-per-period {units} in --period-duration-sec {seconds}: {why}")
        });
        rate.map(Some)
    }
}

/// A list that is not there says nothing, rather than "none".
fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}
