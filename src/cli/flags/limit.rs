//! Flags of the limit.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use throng::limit::Rate;

/// How often.
#[derive(Args)]
#[command(next_help_heading = "Limit")]
pub struct Limit {
    /// At most N requests in any PERIOD, such as 22/5s or 300/1m (repeat: all hold)
    #[arg(short, long, value_name = "N/PERIOD")]
    rate: Vec<Rate>,
    /// What the limit is proven against: strict (arrivals at the server) or sent (our clock)
    #[arg(long, value_parser = ["strict", "sent"])]
    guard: Option<String>,
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

impl Limit {
    /// The older flags together are one rate, whose other half is 25 or 5 s.
    pub fn tree(&self) -> Result<Value, String> {
        let mut rates = self.rate.clone();
        if self.period_duration_sec.is_some() || self.max_requests_per_period.is_some() {
            let seconds = self.period_duration_sec.unwrap_or(5.0);
            let period = Duration::try_from_secs_f64(seconds).map_err(|_| {
                format!("--period-duration-sec {seconds} is not a number of seconds")
            })?;
            rates.push(Rate::new(
                self.max_requests_per_period.unwrap_or(25),
                period,
            )?);
        }
        Ok(json!({ "rate": some(&rates), "guard": self.guard }))
    }
}

/// A list that is not there says nothing, rather than "none".
fn some(rates: &[Rate]) -> Option<&[Rate]> {
    (!rates.is_empty()).then_some(rates)
}
