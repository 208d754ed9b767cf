//! Limits put together to a limiter.

use std::time::Duration;

use crate::config::{Guard, LINGER, Limit, Policy, Settings, Shape};
use crate::error::LimitError;
use crate::gate::limiter::RateLimiter;

/// The limits of a [`RateLimiter`]: all of them hold at once.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::{Guard, RateLimiter};
///
/// let limiter = RateLimiter::builder()
///     .limit("50/1s".parse()?)                // 50 requests in any second
///     .limit("90000 tokens/1m".parse()?)      // and 90,000 tokens in any minute
///     .limit_per_key("10/1s".parse()?)        // 10 of each tenant in any second
///     .in_flight(20)                          // at most 20 unanswered
///     .guard(Guard::Strict)                   // as the server counts, whatever the latencies
///     .linger(Duration::from_secs(10))        // a request that was given up may still arrive so long
///     .build()?;
/// # let _limiter = limiter;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "build() makes the limiter"]
pub struct RateLimiterBuilder {
    settings: Settings,
    linger: Option<Duration>,
}

impl RateLimiterBuilder {
    /// Adds a limit of all requests together.
    pub fn limit(mut self, limit: Limit) -> RateLimiterBuilder {
        self.settings.rate.push(limit);
        self
    }

    /// Adds a limit that each key has for itself: see [`RateLimiter::keyed`].
    pub fn limit_per_key(self, mut limit: Limit) -> RateLimiterBuilder {
        limit.details.per = Some("key".into());
        self.limit(limit)
    }

    /// Sets the maximum number of requests that are unanswered at a time.
    pub fn in_flight(mut self, requests: u64) -> RateLimiterBuilder {
        self.settings.in_flight = Some(requests);
        self
    }

    /// Sets the least time between two requests.
    pub fn spacing(mut self, gap: Duration) -> RateLimiterBuilder {
        self.settings.spacing = Some(gap);
        self
    }

    /// Sets what the limits are proven against; [`Guard::Strict`] without this.
    pub fn guard(mut self, guard: Guard) -> RateLimiterBuilder {
        self.settings.guard = guard;
        self
    }

    /// Sets whether a period's requests go out as early as they may, or spread.
    pub fn shape(mut self, shape: Shape) -> RateLimiterBuilder {
        self.settings.shape = shape;
        self
    }

    /// Sets the time for which a request that was given up may still arrive: 30 s without
    /// this, and no less than the timeout of your requests.
    pub fn linger(mut self, linger: Duration) -> RateLimiterBuilder {
        self.linger = Some(linger);
        self
    }

    /// Makes the limiter. Without a limit, it counts what the server says, and obeys it.
    ///
    /// # Errors
    /// The limits don't fit together.
    pub fn build(&self) -> Result<RateLimiter, LimitError> {
        let linger = self.linger.unwrap_or(LINGER);
        let policy = Policy::with_linger(&self.settings, linger)?;
        Ok(RateLimiter::of_policy(&policy))
    }
}
