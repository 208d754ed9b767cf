//! Flags of the limit.

use std::path::PathBuf;
use std::time::Duration;

use crate::limit::{AccountShare, Rate};
use crate::price::Usd;
use clap::Args;
use serde_json::{Value, json};

use super::pairs::{Pair, assignment, map};
use super::send::duration;

/// The rate limits.
#[derive(Args)]
#[command(next_help_heading = "Limit")]
pub struct LimitFlags {
    /// At most N in any PERIOD: 22/5s, 300/1m, '90000 tokens/1m'; auto:100/1s finds an unknown limit (repeat: all hold)
    ///
    /// Servers that count in another way: counter:300/1m, bucket:10/1s, gcra:30/1m, 100/1m@clock,
    /// 25/1d@America/New_York. At most so many in the whole run: 5000/run. Learnt from
    /// refusals, and never more than that: auto:100/1s.
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

/// The settings beside the rates.
#[derive(Args)]
struct PacingFlags {
    /// The most requests at once, if a server allows fewer than those of a period
    #[arg(long, value_name = "N")]
    burst: Option<u64>,
    /// The least time between two requests
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    spacing: Option<String>,
    /// A period's requests go out at once, spread, or spread after an unexpected refusal [default: auto]
    #[arg(long, value_parser = ["burst", "spread", "auto"])]
    shape: Option<String>,
    /// The most requests in flight at the server
    #[arg(long, value_name = "N")]
    in_flight: Option<u64>,
    /// The share of the limits to use, such as 80%
    #[arg(long = "use", value_name = "SHARE")]
    share: Option<AccountShare>,
    #[command(flatten)]
    sharing: SharingFlags,
    /// The name of the account whose limits these are, instead of host and credential
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Answers that the server doesn't count: refused or failed (repeat)
    #[arg(long, value_name = "WHICH", value_parser = ["refused", "failed"])]
    uncounted: Vec<String>,
    /// The most that clocks differ and the server rounds [default: 1ms; up to 1s for windows with edges]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    skew: Option<String>,
    /// How long a request that was given up may still arrive: its unit is free so much later [default: 30s, or a longer --timeout]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    linger: Option<String>,
}

/// The runs that share the limits.
#[derive(Args)]
struct SharingFlags {
    /// With which runs the limits are shared: machine (all of the account on this machine), none, those of a limit server: https://HOST:PORT, unix:PATH, those of Redis or Valkey: redis://HOST, rediss://USER@HOST, redis+unix:///PATH, or those of PostgreSQL: postgres://USER@HOST/DATABASE [default: machine]
    #[arg(long = "share", value_name = "WITH")]
    share_with: Option<crate::limit::Sharing>,
    /// The source of the token for --share: env:NAME or file:PATH [default: env:THRONG_LIMIT_TOKEN]
    #[arg(long, value_name = "SOURCE")]
    share_token: Option<String>,
    /// The certificate that the server of --share is trusted by (PEM)
    #[arg(long, value_name = "FILE")]
    share_cacert: Option<PathBuf>,
}

/// The scope of the limits, and the cost of a request.
#[derive(Args)]
struct ScopeFlags {
    /// Each value of this template has limits of its own: '{{ tenant }}', '{{ request.host }}'
    #[arg(long, value_name = "T")]
    per: Option<String>,
    /// The server's pauses and remaining units hold for each value of this template separately
    #[arg(long, value_name = "T")]
    route: Option<String>,
    /// Also adopt larger limits that the server names, not only smaller ones
    #[arg(long)]
    loosen: bool,
    /// Ignore this header of the server's, such as x-ratelimit-reset, since it is wrong; all: each that tells of a limit (repeat)
    #[arg(long = "no-headers", value_name = "NAME|all")]
    no_headers: Vec<String>,
    /// One of several API keys, each with limits of its own; templates see it as {{ key }} (repeat)
    #[arg(long, value_name = "T")]
    keys: Vec<String>,
    /// The cost of a request in a unit: an expression over the row, such as tokens='prompt | length / 4', or tokens=auto by its length (repeat)
    #[arg(long, value_name = "NAME=EXPR", value_parser = assignment)]
    cost: Vec<Pair>,
    /// The actual cost: jq over the answer, such as tokens=.usage.total_tokens (repeat)
    #[arg(long, value_name = "NAME=JQ", value_parser = assignment)]
    settle: Vec<Pair>,
    /// The price of a unit in US dollars: requests=0.002, or input_tokens=0.15/1M (repeat); or
    /// model=NAME, for the prices that the profile has for this model
    #[arg(long, value_name = "NAME=USD/UNITS", value_parser = assignment)]
    price: Vec<Pair>,
    /// The most that all runs of the same results may cost, such as 25usd: a run ends before it is passed
    #[arg(long, value_name = "USD")]
    budget: Option<Usd>,
}

/// The older flags of a rate.
#[derive(Args)]
struct LegacyRateFlags {
    /// The older flag for PERIOD, in seconds
    #[arg(
        long,
        alias = "period_duration_sec",
        value_name = "SECONDS",
        hide = true,
        conflicts_with = "rate"
    )]
    period_duration_sec: Option<f64>,
    /// The older flag for N
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
    /// The headers to ignore.
    pub fn no_headers(&self) -> Option<&[String]> {
        some(&self.scope.no_headers)
    }

    /// The prices of units.
    pub fn price_tree(&self) -> Value {
        map(&self.scope.price)
    }

    /// The budget.
    pub fn budget(&self) -> Option<Usd> {
        self.scope.budget
    }

    /// The rate of the older flags, of which a missing one is 25 or 5 s.
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
            "share": self.beside.sharing.share_with,
            "share-token": self.beside.sharing.share_token,
            "share-cacert": self.beside.sharing.share_cacert,
            "account": self.beside.account,
            "uncounted": some(&self.beside.uncounted),
            "skew": self.beside.skew,
            "linger": self.beside.linger,
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

/// The list; none instead of an empty one, which would overlay the file's list.
fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}
