//! The settings of a mock.

use std::str::FromStr;
use std::time::Duration;

use crate::limit::ServerLimits;
use crate::{
    BatchFaults, Dialect, Faults, Latency, ParseError, Partition, ServerCertificate, ServerLimit,
};

/// The settings of a [`Mock`](crate::Mock).
///
/// The default has no limit, no latency and no fault, and serves plain HTTP
/// from one thread.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The limits. A request that one of them refuses is answered with 429.
    pub limits: Vec<ServerLimit>,
    /// The wording of answers about limits, and its limits if `limits` is empty.
    pub dialect: Option<Dialect>,
    /// If set, each value of this has the limits for itself that name no partition.
    pub partition: Option<Partition>,
    /// Whether refused requests count against the limits as well.
    pub refusals_count: bool,
    /// The time on the server's clock at its start, since 1970; if absent, that of
    /// the machine's clock.
    pub clock: Option<Duration>,
    /// The time that a request and its answer travel, together.
    pub latency: Latency,
    /// The share of the latency, 0 to 1, that passes before the arrival is
    /// counted. The rest passes before the answer. Default 0.5.
    pub there: f64,
    /// Random faults, independent of the limits.
    pub faults: Faults,
    /// The form of `retry-after` in an answer with 429.
    pub refusal: Refusal,
    /// The seed of latencies and faults. They also depend on the request's key and
    /// its number of requests before, not on the order of arrivals.
    pub seed: u64,
    /// Serve HTTPS with this certificate instead of plain HTTP.
    pub tls: Option<ServerCertificate>,
    /// If set, requests for quotes without this `x-api-key` are answered with 401.
    pub api_key: Option<String>,
    /// Approximate size of the filler fields in each quote, in bytes.
    pub padding: usize,
    /// Whether every path is answered as the request's headers ask: `throng-items`, `throng-pages`, `throng-page`, `throng-ids`,
    /// `throng-unit-0` and so on.
    pub anything: bool,
    /// Whether every arrival is kept, for [`Local::arrivals`](crate::LocalServer::arrivals).
    pub logs: bool,
    /// How long batches of requests take, and what goes wrong with them.
    pub batches: BatchFaults,
    /// Number of server threads, each with a runtime of its own. At least 1.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Vec::new(),
            dialect: None,
            partition: None,
            refusals_count: false,
            clock: None,
            latency: Latency::Zero,
            there: 0.5,
            faults: Faults::default(),
            refusal: Refusal::default(),
            seed: 0,
            tls: None,
            api_key: None,
            padding: 0,
            anything: false,
            logs: false,
            batches: BatchFaults::default(),
            threads: 1,
        }
    }
}

impl Settings {
    /// The limits of the settings or of the dialect, and the effects of refusals.
    pub(crate) fn all_limits(&self) -> ServerLimits {
        let dialect = self.dialect.as_ref();
        let all = match dialect.filter(|_| self.limits.is_empty()) {
            Some(dialect) => dialect.limits.clone(),
            None => self.limits.clone(),
        };
        ServerLimits {
            refusals_count: self.refusals_count || dialect.is_some_and(|d| d.refusals_count),
            ban: dialect.and_then(|dialect| dialect.bans.clone()),
            ..ServerLimits::new(all, self.partition.as_ref())
        }
    }
}

/// The form of `retry-after` in a 429 for a limit. From text: `seconds`, `date` or
/// `bare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusal {
    /// `retry-after` in whole seconds, rounded up.
    #[default]
    RetryAfterSeconds,
    /// `retry-after` as an HTTP date, rounded up to the second.
    RetryAfterDate,
    /// No `retry-after`.
    Bare,
}

impl FromStr for Refusal {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Refusal, ParseError> {
        match text.trim() {
            "seconds" => Ok(Refusal::RetryAfterSeconds),
            "date" => Ok(Refusal::RetryAfterDate),
            "bare" => Ok(Refusal::Bare),
            _ => Err(ParseError::new("a refusal is seconds, date or bare", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_names() {
        assert_eq!("date".parse(), Ok(Refusal::RetryAfterDate));
        let error = "later".parse::<Refusal>().unwrap_err().to_string();
        assert_eq!(error, "a refusal is seconds, date or bare, not \"later\"");
    }
}
