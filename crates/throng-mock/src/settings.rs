//! How a mock behaves, all in one place.

use std::str::FromStr;
use std::time::Duration;

use crate::limits::ServerLimits;
use crate::{Dialect, Faults, Latency, ParseError, Partition, ServerCertificate, ServerLimit};

/// How a [`Mock`](crate::Mock) behaves.
///
/// The default has no limit, no latency and no fault, and serves plain HTTP
/// from one thread.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every one of these must admit a request, or it is answered with 429.
    pub limits: Vec<ServerLimit>,
    /// How it speaks of its limits; the limits are the dialect's, if none are given.
    pub dialect: Option<Dialect>,
    /// If set, each value of this has the limits for itself that don't say whose they are.
    pub per: Option<Partition>,
    /// Whether refused requests count against the limits, too.
    pub refusals_count: bool,
    /// What the server's clock says when it starts, since 1970; if absent, what the
    /// machine's says.
    pub clock: Option<Duration>,
    /// How long a request takes, there and back together.
    pub latency: Latency,
    /// The share of the latency, 0 to 1, that passes before the arrival is
    /// counted. The rest passes before the answer. Default 0.5.
    pub there: f64,
    /// What goes wrong by chance, although the client kept to the limit.
    pub faults: Faults,
    /// What an answer with 429 says about when to come back.
    pub refusal: Refusal,
    /// Latencies and faults follow from this, from what is asked and from how
    /// often that was asked before; the order of arrivals does not matter.
    pub seed: u64,
    /// Serve HTTPS with this certificate instead of plain HTTP.
    pub tls: Option<ServerCertificate>,
    /// If set, quotes are only for requests with this `x-api-key`; others are
    /// answered with 401.
    pub api_key: Option<String>,
    /// About this many bytes of filler fields go into every single quote.
    pub padding: usize,
    /// Whether every path is taken for a good one and answered with `{}`.
    pub anything: bool,
    /// Whether every arrival is kept, for [`Local::arrivals`](crate::LocalServer::arrivals).
    pub logs: bool,
    /// How many threads serve, each with a runtime of its own. At least 1.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Vec::new(),
            dialect: None,
            per: None,
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
            threads: 1,
        }
    }
}

impl Settings {
    /// What is refused, and what comes of that.
    pub(crate) fn all_limits(&self) -> ServerLimits {
        let dialect = self.dialect.as_ref();
        let all = match dialect.filter(|_| self.limits.is_empty()) {
            Some(dialect) => dialect.limits.clone(),
            None => self.limits.clone(),
        };
        ServerLimits {
            refusals_count: self.refusals_count || dialect.is_some_and(|d| d.refusals_count),
            ban: dialect.and_then(|dialect| dialect.bans.clone()),
            ..ServerLimits::new(all, self.per.as_ref())
        }
    }
}

/// What a 429 for the limit says about when to come back. From text:
/// `seconds`, `date` or `bare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusal {
    /// `retry-after` in whole seconds, rounded up.
    #[default]
    RetryAfterSeconds,
    /// `retry-after` as an HTTP date, rounded up to the second.
    RetryAfterDate,
    /// Nothing.
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
