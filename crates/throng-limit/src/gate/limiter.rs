//! The limiter: what a program calls.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Guard, Limit, Policy, Settings};
use crate::error::{AcquireError, LimitError};
use crate::gate::acquire::Acquire;
use crate::gate::core::{CalendarFn, ClockFn, LimiterCore, LimiterState};
use crate::gate::cost::Cost;
use crate::gate::limit_set::LimitSet;
use crate::gate::permit::Permit;
use crate::gate::state::LimitState;
use crate::outcome::BlockedTime;
use crate::quota::QuotaStore;
use crate::time::Time;

/// Gives permits, first come first served, as the limits allow: all of them at once.
///
/// A clone is a handle to the same limiter, for any thread.
///
/// ```
/// use throng_limit::{Guard, Limit, RateLimiter};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let limit: Limit = "100/1s".parse()?;
/// let limiter = RateLimiter::new(&[limit], Guard::Strict)?;
///
/// let mut permit = limiter.acquire(1).await?; // waits for its turn, and for the limits
/// permit.sent();                              // now the request is written ...
/// permit.answered();                          // ... and now its answer is seen
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    pub(super) core: Arc<LimiterCore>,
}

impl RateLimiter {
    /// A gate for these limits, which hold together; none means no limit.
    ///
    /// # Errors
    /// What doesn't fit together, and what to write instead.
    pub fn new(limits: &[Limit], guard: Guard) -> Result<RateLimiter, LimitError> {
        let settings = Settings {
            rate: limits.to_vec(),
            guard,
            ..Settings::default()
        };
        let policy = Policy::new(&settings, Duration::ZERO).map_err(LimitError::plan)?;
        Ok(policy.gate())
    }

    /// A gate for these limits, timed by this clock. Waiting is tokio's, so a
    /// test may give a clock that its paused runtime moves.
    #[must_use]
    pub fn with_clock(
        limits: LimitSet,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> RateLimiter {
        RateLimiter::of(limits, Box::new(clock), None)
    }

    /// The same, where `calendar` says what it was at the clock's zero. If it is set
    /// meanwhile, what depends on it waits for the later of both answers.
    #[must_use]
    pub fn with_calendar(
        limits: LimitSet,
        clock: impl Fn() -> Time + Send + Sync + 'static,
        calendar: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> RateLimiter {
        let calendar: Option<CalendarFn> = if limits.follow_calendar() {
            Some(Box::new(calendar))
        } else {
            None
        };
        RateLimiter::of(limits, Box::new(clock), calendar)
    }

    fn of(limits: LimitSet, clock: ClockFn, calendar: Option<CalendarFn>) -> RateLimiter {
        RateLimiter {
            core: Arc::new(LimiterCore::new(limits, clock, calendar)),
        }
    }

    /// Waits for a permit of this cost from all limits. A future that is dropped leaves the
    /// queue and takes nothing; one that is not polled holds up no other.
    ///
    /// # Errors
    /// It can never be had.
    pub async fn acquire(&self, cost: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let cost = cost.into();
        if let Some(acquired) = self.core.unlimited().take(&cost) {
            return Ok(Permit::new(self.core.clone(), cost, acquired, None));
        }
        let (acquired, now) = Acquire::new(&self.core, &cost).await?;
        Ok(Permit::new(self.core.clone(), cost, acquired, Some(now)))
    }

    /// Takes in what another process has sent: so many requests that ended so long
    /// ago, or were lost then. To be told before anything else, the oldest first.
    /// Limits by key, and of other units than requests, begin anew.
    pub fn remember(&self, ago: Duration, requests: u64, lost: bool) {
        let mut state = self.core.lock();
        let then = self.now().before(ago);
        for _ in 0..requests {
            state.limits.remember(then, lost);
        }
    }

    /// From now on, what a ledger counts is had from there. To be told before
    /// anything is sent.
    pub fn use_store(&self, ledger: Arc<dyn QuotaStore>) {
        self.core.lock().limits.lend(ledger);
    }

    /// Nothing more will be sent: a ledger gets back what was not used. What is not
    /// told within a second, others find out.
    pub fn close(&self) {
        const TRIES: u32 = 10;
        for _ in 0..TRIES {
            let now = self.now();
            if self.core.lock().limits.close(now) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Why nothing can be had any more, if the ledger is the reason.
    #[must_use]
    pub fn store_error(&self) -> Option<String> {
        self.core.lock().limits.trouble()
    }

    /// The gate's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.core.now()
    }

    /// Whether it has a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.core.lock().limits.are_any()
    }

    /// Each limit's own account so far, of all its keys: not for every record.
    #[must_use]
    pub fn state(&self) -> Vec<LimitState> {
        self.core.lock().limits.state()
    }

    /// How much longer the server wants to be left alone by somebody, if it does.
    #[must_use]
    pub fn paused(&self) -> Option<Duration> {
        let state = self.core.lock();
        let now = self.core.now();
        Some(state.limits.closed_until(now)?.since(now))
    }

    /// For how long each limit, and the server, held up whoever waited.
    #[must_use]
    pub fn wait_stats(&self) -> Vec<BlockedTime> {
        let mut state = self.core.lock();
        let now = self.core.now();
        let LimiterState {
            wait_stats, limits, ..
        } = &mut *state;
        let so_far = wait_stats.so_far(now);
        so_far
            .map(|(by, time)| limits.blocked_time(by, time))
            .collect()
    }

    /// How much longer whoever waits first has to, or would have had to; none if that
    /// isn't known.
    #[must_use]
    pub fn free_in(&self) -> Option<Duration> {
        let state = self.core.lock();
        let now = self.core.now();
        Some(state.wait_stats.until()?.since(now))
    }

    /// How many wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.core.lock().queue.len()
    }
}
