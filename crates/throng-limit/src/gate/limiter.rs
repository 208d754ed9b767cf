//! The limiter: what a program calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Guard, Limit, Policy, Settings};
use crate::error::{AcquireError, LimitError};
use crate::gate::acquire::Acquire;
use crate::gate::builder::RateLimiterBuilder;
use crate::gate::cost::Cost;
use crate::gate::limit_report::LimitState;
use crate::gate::limit_set::LimitSet;
use crate::gate::limiter_core::{CalendarFn, ClockFn, LimiterCore, LimiterState};
use crate::gate::permit::Permit;
use crate::gate::timer;
use crate::outcome::{BlockedTime, MaxWait, Outcome};
use crate::quota::QuotaStore;
use crate::time::{self, Time};

/// Gives permits, first come first served, as the limits allow: all limits at once.
///
/// A clone is a handle to the same limiter, for any thread and any runtime.
///
/// ```
/// use throng_limit::{Outcome, RateLimiter};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # async fn request() -> u16 { 200 }
/// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
///
/// let permit = limiter.acquire(1).await?;             // waits for its turn, and for the limits
/// let status = request().await;
/// permit.finish(Outcome::of_status(status, None));    // without this, it counts as lost
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    pub(super) core: Arc<LimiterCore>,
    /// The key of attempts that name none.
    key: Option<Arc<str>>,
    /// The limits as they were given to the builder.
    settings: Option<Arc<Settings>>,
}

/// What a limiter has counted so far: see [`RateLimiter::snapshot`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LimiterSnapshot {
    /// Each limit's account.
    pub limits: Vec<LimitState>,
    /// The number of attempts that wait for a permit.
    pub waiting: usize,
    /// For how much longer the server wants no attempt with some key, or none at all.
    pub paused: Option<Duration>,
    /// When the first attempt that waits, or waited last, has its permit, as far as known.
    pub free_in: Option<Duration>,
    /// Why the store that the limits are [shared](RateLimiterBuilder::share) through gives no units
    /// now, if so.
    pub outage: Option<String>,
}

impl RateLimiter {
    /// A limiter to be: its limits, and what they are proven against.
    pub fn builder() -> RateLimiterBuilder {
        RateLimiterBuilder::default()
    }

    /// A limiter with these limits, which hold together; none means no limit.
    ///
    /// # Errors
    /// The limits don't fit together.
    #[doc(hidden)]
    pub fn new(limits: &[Limit], guard: Guard) -> Result<RateLimiter, LimitError> {
        let builder = RateLimiter::builder().guard(guard);
        let limits = limits.iter().cloned();
        limits.fold(builder, RateLimiterBuilder::limit).build()
    }

    /// The limiter that keeps this policy, by the clock and the calendar of this machine.
    #[doc(hidden)]
    #[must_use]
    pub fn of_policy(policy: &Policy) -> RateLimiter {
        RateLimiter::with_calendar(policy.limits(), time::now, time::calendar_at_zero)
    }

    /// A limiter that reads this clock. Waiting is tokio's, so a test may give a clock that
    /// its paused runtime moves.
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock(
        limits: LimitSet,
        clock: impl Fn() -> Time + Send + Sync + 'static,
    ) -> RateLimiter {
        RateLimiter::of(limits, Box::new(clock), None)
    }

    /// A limiter that reads this clock, and a calendar, which says what time it was at the
    /// clock's zero. If the calendar is set, limits that depend on it wait for the later time.
    #[doc(hidden)]
    #[must_use]
    pub fn with_calendar(
        limits: LimitSet,
        clock: impl Fn() -> Time + Send + Sync + 'static,
        calendar: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> RateLimiter {
        let calendar: Option<CalendarFn> =
            if limits.follow_calendar() { Some(Box::new(calendar)) } else { None };
        RateLimiter::of(limits, Box::new(clock), calendar)
    }

    fn of(limits: LimitSet, clock: ClockFn, calendar: Option<CalendarFn>) -> RateLimiter {
        let core = Arc::new(LimiterCore::new(limits, clock, calendar));
        RateLimiter { core, key: None, settings: None }
    }

    /// A handle to the same limiter whose attempts have this key. Limits that each key has
    /// for itself, and pauses that the server asks of a key, concern no other key.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit_per_key("1/1s".parse()?).build()?;
    /// assert!(limiter.keyed("a").try_acquire(1).is_ok());
    /// assert!(limiter.keyed("a").try_acquire(1).is_err());
    /// assert!(limiter.keyed("b").try_acquire(1).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keyed(&self, key: &str) -> RateLimiter {
        RateLimiter { key: Some(key.into()), ..self.clone() }
    }

    /// Waits for a permit of this cost from all limits. A future that is dropped leaves the
    /// queue and takes nothing; one that is not polled holds up no other for long: it keeps
    /// its place in the queue, and its turn goes to the next one.
    ///
    /// Waiting needs no runtime; inside of tokio's, it needs `enable_time`.
    ///
    /// # Errors
    /// The permit can never be had, or the cost doesn't fit the limits.
    pub async fn acquire(&self, cost: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let mut cost = cost.into();
        if let Some(ended) = self.complete(&mut cost)? {
            return Ok(Permit::unlimited(self.core.clone(), cost, ended));
        }
        let (acquired, now) = Acquire::new(&self.core, &cost, None).await?;
        Ok(Permit::new(self.core.clone(), cost, acquired, now))
    }

    /// Waits for a permit until this time.
    ///
    /// # Errors
    /// Those of [`acquire`](RateLimiter::acquire), and at the deadline `NotInTime`, or `Store` while
    /// the store that the limits are shared through does not answer.
    pub async fn acquire_until(
        &self,
        cost: impl Into<Cost>,
        deadline: Instant,
    ) -> Result<Permit, AcquireError> {
        let mut cost = cost.into();
        if let Some(ended) = self.complete(&mut cost)? {
            return Ok(Permit::unlimited(self.core.clone(), cost, ended));
        }
        let deadline = self.now().after(timer::time_until(deadline));
        let acquired = Acquire::new(&self.core, &cost, Some(deadline)).await;
        let (acquired, now) = acquired.map_err(|error| self.explained(error))?;
        Ok(Permit::new(self.core.clone(), cost, acquired, now))
    }

    /// A permit, if there is one now, and no other attempt waits.
    ///
    /// ```
    /// # use throng_limit::{AcquireError, RateLimiter};
    /// let limiter = RateLimiter::builder().limit("1/1s".parse()?).build()?;
    /// limiter.try_acquire(1)?.answered();
    /// let too_early = limiter.try_acquire(1);
    /// assert!(matches!(too_early, Err(AcquireError::NotInTime { free_in: Some(_) })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`acquire`](RateLimiter::acquire), and, if it would have to wait, `NotInTime`, or
    /// `Store` while the store that the limits are shared through does not answer.
    pub fn try_acquire(&self, cost: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let mut cost = cost.into();
        if let Some(ended) = self.complete(&mut cost)? {
            return Ok(Permit::unlimited(self.core.clone(), cost, ended));
        }
        let (mut state, now) = self.core.enter();
        let acquired = state.take_first(now, &cost);
        drop(state);
        let acquired = acquired.map_err(|error| self.explained(error))?;
        Ok(Permit::new(self.core.clone(), cost, acquired, now))
    }

    /// A permit of this cost, if there is one now and no other attempt waits. Why there is none is
    /// for those to find out that wait for it.
    #[doc(hidden)]
    #[must_use]
    pub fn acquire_now(&self, cost: &Cost) -> Option<Permit> {
        let mut cost = cost.clone();
        if let Some(ended) = self.complete(&mut cost).ok()? {
            return Some(Permit::unlimited(self.core.clone(), cost, ended));
        }
        let (mut state, now) = self.core.enter();
        let acquired = state.take_first(now, &cost);
        drop(state);
        Some(Permit::new(self.core.clone(), cost, acquired.ok()?, now))
    }

    /// Waits for a permit on this thread, which must not be one that drives other tasks.
    ///
    /// # Errors
    /// Those of [`acquire`](RateLimiter::acquire).
    pub fn blocking_acquire(&self, cost: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let mut cost = cost.into();
        if let Some(ended) = self.complete(&mut cost)? {
            return Ok(Permit::unlimited(self.core.clone(), cost, ended));
        }
        let (acquired, now) = Acquire::new(&self.core, &cost, None).blocking()?;
        Ok(Permit::new(self.core.clone(), cost, acquired, now))
    }

    /// Waits for a permit, does the work, and ends the permit: as answered if the work gives
    /// `Ok`, as lost if it gives `Err` or is dropped before its end, unless the work has told
    /// the permit otherwise.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # async fn request() -> std::io::Result<u16> { Ok(200) }
    /// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
    /// let status = limiter.run(1, async |_| request().await).await??;
    /// assert_eq!(status, 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`acquire`](RateLimiter::acquire).
    pub async fn run<T, E>(
        &self,
        cost: impl Into<Cost>,
        work: impl AsyncFnOnce(&mut Permit) -> Result<T, E>,
    ) -> Result<Result<T, E>, AcquireError> {
        let mut permit = self.acquire(cost).await?;
        let result = work(&mut permit).await;
        permit.finish(match result {
            Ok(_) => Outcome::Answered,
            Err(_) => Outcome::Lost,
        });
        Ok(result)
    }

    /// Gives no permit for this long, because the server, or an operator, has said so.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
    /// limiter.pause_for(Duration::from_secs(30));
    /// assert!(limiter.try_acquire(1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause_for(&self, pause: Duration) {
        self.core.end_unlimited();
        self.core.tell(&Cost::one(), |limits, now| {
            limits.close_run(now, Some(pause), 0.0);
        });
    }

    /// Gives no permit until [`resume`](RateLimiter::resume), because an operator says so.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit("5/1s".parse()?).build()?;
    /// limiter.pause();
    /// assert!(limiter.try_acquire(1).is_err());
    /// limiter.resume();
    /// assert!(limiter.try_acquire(1).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) {
        self.core.end_unlimited();
        self.core.tell(&Cost::one(), |limits, _| limits.set_paused(true));
    }

    /// Gives permits again after a [`pause`](RateLimiter::pause).
    pub fn resume(&self) {
        self.core.tell(&Cost::one(), |limits, _| limits.set_paused(false));
    }

    /// Whether an operator has paused it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.core.lock().limits.operator().is_paused
    }

    /// From now on, takes this share of the rate of each limit, from 0.01 to 1, evenly over
    /// time. The limits hold as before, so that a share of 1 is no more than they allow. Limits of
    /// each key, in flight and in all are not divided.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit("10/1s".parse()?).build()?;
    /// limiter.set_rate_share(0.5);
    /// limiter.try_acquire(1)?.answered();
    /// assert!(limiter.try_acquire(1).is_err());       // the next one goes 200 ms later
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_rate_share(&self, share: f64) {
        self.core.end_unlimited();
        self.core.tell(&Cost::one(), |limits, now| limits.set_share(now, share));
    }

    /// The share of each limit's rate that is taken, which is 1 unless an operator has lowered it.
    #[must_use]
    pub fn rate_share(&self) -> f64 {
        self.core.lock().limits.operator().share
    }

    /// What the limiter has counted so far.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit("5/1s".parse()?).build()?;
    /// limiter.try_acquire(1)?.answered();
    /// drop(limiter.try_acquire(1)?);
    /// let limit = &limiter.snapshot().limits[0];
    /// assert_eq!((limit.name.as_str(), limit.most, limit.lost), ("5/1s", 2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> LimiterSnapshot {
        LimiterSnapshot {
            limits: self.state(),
            waiting: self.waiting(),
            paused: self.paused(),
            free_in: self.free_in(),
            outage: self.outage(),
        }
    }

    /// The error of an attempt that has no permit in time: it is the store's while that does not
    /// answer.
    fn explained(&self, error: AcquireError) -> AcquireError {
        match self.outage() {
            Some(problem) if matches!(error, AcquireError::NotInTime { .. }) => {
                AcquireError::Store { problem }
            }
            _ => error,
        }
    }

    /// Makes a cost one that the limits count: by all of their units, and against the limits of
    /// this handle's key where it names none itself. While nothing is limited it also counts a
    /// permit of one request, and gives the number of permits that had ended before.
    fn complete(&self, cost: &mut Cost) -> Result<Option<u64>, AcquireError> {
        self.core.complete(cost, self.key.as_ref())?;
        let is_one = matches!(cost.units.as_slice(), [1]);
        Ok(if is_one { self.core.unlimited().take() } else { None })
    }
}

impl RateLimiter {
    /// The limiter, which was made of these settings.
    pub(super) fn made_of(self, settings: &Settings) -> RateLimiter {
        RateLimiter { settings: Some(Arc::new(settings.clone())), ..self }
    }

    /// The settings that it was made of, if it was made by a builder.
    #[doc(hidden)]
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_deref()
    }

    /// From now on, limits that the store counts take their units from there. To be told
    /// before anything is sent.
    #[doc(hidden)]
    pub fn use_store(&self, store: Arc<dyn QuotaStore>) {
        self.core.lock().limits.use_store(store);
    }

    /// From now on, an attempt that would have to wait longer gets `WaitTooLong`, as soon as
    /// nothing that is in flight can end its wait sooner.
    #[doc(hidden)]
    pub fn set_max_wait(&self, max_wait: MaxWait) {
        self.core.lock().limits.set_max_wait(max_wait);
    }

    /// Ends the use of limits that are [shared](RateLimiterBuilder::share): nothing more will be sent,
    /// and requests that are not answered count as lost. Waits until the store knows, for 3 s at
    /// most. A limiter that is dropped tells the store, too, and does not wait for it: where the
    /// program ends at the same time, the store may not hear of it, and the units that it has
    /// leased count for longer.
    pub fn close(&self) {
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            let now = self.now();
            if self.core.lock().limits.close(now) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let store = self.core.lock().limits.store().cloned();
        if let Some(store) = store {
            store.end();
        }
    }

    /// Why the store that the limits are shared through gives no units now, if so.
    fn outage(&self) -> Option<String> {
        let state = self.core.lock();
        let store = state.limits.store()?;
        store.trouble().or_else(|| store.outage())
    }

    /// Why the store gives no units any more, if so.
    #[doc(hidden)]
    #[must_use]
    pub fn store_error(&self) -> Option<String> {
        self.core.lock().limits.store_error()
    }

    /// The time by the limiter's clock.
    #[doc(hidden)]
    #[must_use]
    pub fn now(&self) -> Time {
        self.core.now()
    }

    /// Whether there is a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.core.lock().limits.are_any()
    }

    /// Each limit's account so far, of all its keys. It takes time that grows with the keys.
    #[doc(hidden)]
    #[must_use]
    pub fn state(&self) -> Vec<LimitState> {
        self.core.lock().limits.state()
    }

    /// For how much longer the server wants no attempt with some key, or none at all.
    #[doc(hidden)]
    #[must_use]
    pub fn paused(&self) -> Option<Duration> {
        let state = self.core.lock();
        let now = self.core.now();
        Some(state.limits.closed_until(now)?.since(now))
    }

    /// For how long each limit, and the server, has blocked the first waiter.
    #[doc(hidden)]
    #[must_use]
    pub fn wait_stats(&self) -> Vec<BlockedTime> {
        let mut state = self.core.lock();
        let now = self.core.now();
        let LimiterState { limits, waiters, .. } = &mut *state;
        let so_far = waiters.get_or_insert_default().stats.so_far(now);
        so_far.map(|(by, time)| limits.blocked_time(by, time)).collect()
    }

    /// How much longer the first waiter waits, or the last one would have waited; none if
    /// that isn't known.
    #[doc(hidden)]
    #[must_use]
    pub fn free_in(&self) -> Option<Duration> {
        let state = self.core.lock();
        let now = self.core.now();
        Some(state.waiters.as_ref()?.stats.until()?.since(now))
    }

    /// The name of the limit that blocks the first waiter now; none if there is no waiter, or if
    /// it is the server.
    #[doc(hidden)]
    #[must_use]
    pub fn blocked_by(&self) -> Option<String> {
        let state = self.core.lock();
        let by = state.waiters.as_ref()?.stats.blocked_by()?;
        Some(state.limits.blocked_time(by, Duration::ZERO).name).filter(|name| !name.is_empty())
    }

    /// The number of attempts that wait for a permit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.core.lock().waiters.as_ref().map_or(0, |waiters| waiters.queue.len())
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn only_a_permit_of_one_request_passes_by_the_limits() {
        let limiter = RateLimiter::builder().build().unwrap();
        let complete = |mut cost: Cost| limiter.complete(&mut cost);
        assert_eq!(complete(Cost::one()), Ok(Some(0)));
        assert_eq!(complete(Cost::from(2)), Ok(None), "costs are counted by the limits");
        assert_eq!(complete(Cost::one().with("requests", 2)), Ok(None));
        assert_eq!(complete(Cost::new([1, 1], [])), Ok(None));
        let unknown = complete(Cost::one().with("tokens", 1));
        assert!(matches!(unknown, Err(AcquireError::UnknownUnit(_))), "{unknown:?}");
        let taken = limiter.core.unlimited().end_all().unwrap().taken;
        assert_eq!(taken, 1, "a cost of more than one request takes nothing here");
    }
}
