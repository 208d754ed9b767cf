//! The door of the limits: it owns their clock, and wakes whose turn it is.
//! [door: clock]

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use jiff::Timestamp;

use crate::LimitError;
use crate::outcome::BlockedTime;

use crate::config::Guard;
use crate::config::Limit;
use crate::config::Policy;
use crate::config::Settings;
use crate::gate::cost::{Acquired, Cost};
use crate::gate::limit_set::LimitSet;
use crate::gate::permit::Permit;
use crate::gate::queue::{Ticket, WaitQueue};
use crate::gate::state::LimitState;
use crate::gate::sync::{Mutex, MutexGuard};
use crate::gate::unlimited::Unlimited;
use crate::gate::wait_stats::WaitStats;
use crate::quota::QuotaStore;
use crate::time::Time;

use crate::gate::acquire::Acquire;

/// Where attempts wait, first come first served, for a permit from all limits.
///
/// It is cheap to clone, and one gate may serve many threads.
///
/// ```
/// use throng_limit::{Gate, Guard, Limit};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let limit: Limit = "100/1s".parse()?;
/// let gate = Gate::new(&[limit], Guard::Strict)?;
///
/// let mut permit = gate.permit(1).await?; // waits for its turn, then for a slot
/// permit.sent();                          // now the request is written ...
/// permit.answered();                      // ... and now its answer is seen
/// # Ok::<(), Box<dyn std::error::LimitError>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::LimitError>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    pub(super) shared: Arc<LimiterCore>,
}

/// It can never be had: more is asked than a limit allows at once, or a total
/// for the run is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireError;

impl std::fmt::Display for AcquireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a limit will never allow it")
    }
}

impl std::error::Error for AcquireError {}

pub(crate) struct LimiterCore {
    pub(super) state: CacheAligned<Mutex<LimiterState>>,
    /// Without limits there is nothing to look up there.
    pub(super) calm: CacheAligned<Unlimited>,
    pub(super) clock: ClockFn,
    /// What the calendar says that it was at the clock's zero.
    pub(super) calendar: Option<CalendarFn>,
}

/// On cache lines of its own: who counts there, or waits for the lock, must not disturb
/// those who only read what lies beside it.
#[repr(align(128))]
pub(super) struct CacheAligned<T>(pub(super) T);

type ClockFn = Box<dyn Fn() -> Time + Send + Sync>;
type CalendarFn = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// How often it is asked whether the calendar was set.
const ASK_CALENDAR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct LimiterState {
    pub(super) limits: LimitSet,
    pub(super) line: WaitQueue,
    /// Those in line, and those served who have not looked yet.
    pub(super) waiters: HashMap<Ticket, Waiter>,
    /// When to look at the line again, unless something happens before.
    pub(super) alarm: Option<Time>,
    /// When to ask the calendar again, if anything depends on it.
    pub(super) ask_calendar: Time,
    /// What those in line wait for.
    pub(super) held: WaitStats,
    /// The one of them whose timer sees to that, and for when it was told to set it.
    pub(super) keeper: Option<(Ticket, Time)>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) waker: Waker,
    pub(super) served: Option<Result<Acquired, AcquireError>>,
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
        let calm = Unlimited::new(limits.are_none());
        let state = LimiterState {
            ask_calendar: Time::ZERO,
            limits,
            line: WaitQueue::default(),
            waiters: HashMap::new(),
            keeper: None,
            alarm: None,
            held: WaitStats::default(),
        };
        RateLimiter {
            shared: Arc::new(LimiterCore {
                calm: CacheAligned(calm),
                state: CacheAligned(Mutex::new(state)),
                clock,
                calendar,
            }),
        }
    }

    /// Waits for leave to use what is asked for, of every limit at once. Dropping
    /// the future leaves the line and takes nothing.
    ///
    /// # Errors
    /// It can never be had.
    pub async fn acquire(&self, ask: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let ask = ask.into();
        if let Some(taken) = self.shared.calm.0.take(&ask) {
            return Ok(Permit::new(self.shared.clone(), ask, taken, true));
        }
        let taken = Acquire::new(&self.shared, &ask).await?;
        Ok(Permit::new(self.shared.clone(), ask, taken, false))
    }

    /// Takes in what another process has sent: so many requests that ended so long
    /// ago, or were lost then. To be told before anything else, the oldest first.
    /// Limits by key, and of other units than requests, begin anew.
    pub fn remember(&self, ago: Duration, requests: u64, lost: bool) {
        let mut state = self.shared.lock();
        let then = self.now().before(ago);
        for _ in 0..requests {
            state.limits.remember(then, lost);
        }
    }

    /// From now on, what a ledger counts is had from there. To be told before
    /// anything is sent.
    pub fn use_store(&self, ledger: Arc<dyn QuotaStore>) {
        self.shared.lock().limits.lend(ledger);
    }

    /// Nothing more will be sent: a ledger gets back what was not used. What is not
    /// told within a second, others find out.
    pub fn close(&self) {
        const TRIES: u32 = 10;
        for _ in 0..TRIES {
            let now = self.now();
            if self.shared.lock().limits.close(now) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Why nothing can be had any more, if the ledger is the reason.
    #[must_use]
    pub fn store_error(&self) -> Option<String> {
        self.shared.lock().limits.trouble()
    }

    /// The gate's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.now()
    }

    /// Whether it has a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.shared.lock().limits.are_any()
    }

    /// Each limit's own account so far, of all its keys: not for every record.
    #[must_use]
    pub fn state(&self) -> Vec<LimitState> {
        self.shared.lock().limits.state()
    }

    /// How much longer the server wants to be left alone by somebody, if it does.
    #[must_use]
    pub fn paused(&self) -> Option<std::time::Duration> {
        let state = self.shared.lock();
        let now = (self.shared.clock)();
        Some(state.limits.closed_until(now)?.since(now))
    }

    /// For how long each limit, and the server, held up whoever waited.
    #[must_use]
    pub fn wait_stats(&self) -> Vec<BlockedTime> {
        let mut state = self.shared.lock();
        let now = (self.shared.clock)();
        let LimiterState { held, limits, .. } = &mut *state;
        let so_far = held.so_far(now);
        so_far
            .map(|(by, time)| limits.blocked_time(by, time))
            .collect()
    }

    /// How much longer whoever waits first has to, or would have had to; none if that
    /// isn't known.
    #[must_use]
    pub fn free_in(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let now = (self.shared.clock)();
        Some(state.held.until()?.since(now))
    }

    /// How many wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().line.len()
    }
}

impl LimiterCore {
    /// A panic elsewhere leaves the arithmetic whole: each step of it is done
    /// under the lock and does not panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, LimiterState> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, and the time, which is read inside of it, so that events are in its
    /// order.
    pub(super) fn enter(&self) -> (MutexGuard<'_, LimiterState>, Time) {
        let mut state = self.lock();
        let now = (self.clock)();
        if let Some(calendar) = &self.calendar
            && state.ask_calendar <= now
        {
            state.ask_calendar = now.after(ASK_CALENDAR);
            state.limits.heed_calendar(calendar());
        }
        (state, now)
    }

    /// The gate's clock.
    pub(crate) fn now(&self) -> Time {
        (self.clock)()
    }

    /// How permits are counted while nothing limits them.
    pub(crate) fn unlimited(&self) -> &Unlimited {
        &self.calm.0
    }

    /// From now on the limits count, since the server has said something.
    pub(crate) fn end_unlimited(&self) {
        let mut state = self.lock();
        if let Some(counted) = self.calm.0.end_all() {
            state.limits.count_in(counted.taken, counted.ended);
        }
    }

    /// Tells the limits what happened, and serves whom that lets go.
    pub(crate) fn tell<T>(&self, ask: &Cost, event: impl FnOnce(&mut LimitSet, Time) -> T) -> T {
        let (mut state, now) = self.enter();
        let told = event(&mut state.limits, now);
        if !state.line.is_empty() {
            state.line.ended(&ask.keys);
            state.dispatch(now, None);
        }
        told
    }
}

impl LimiterState {
    /// Serves the line, wakes who was served, and sees to it that somebody wakes
    /// when the next can be. `me` is awake already.
    pub(super) fn dispatch(&mut self, now: Time, me: Option<Ticket>) {
        let served = self.line.dispatch(now, &mut self.limits);
        for (place, taken) in served.served {
            self.give(place, taken.ok_or(AcquireError));
        }
        self.alarm = served.next;
        self.held.turn(now, served.held);
        self.keep(me);
    }

    pub(super) fn give(&mut self, place: Ticket, taken: Result<Acquired, AcquireError>) {
        if let Some(waiter) = self.waiters.get_mut(&place) {
            waiter.served = Some(taken);
            waiter.waker.wake_by_ref();
        }
        self.keeper = self.keeper.filter(|(keeper, _)| *keeper != place);
    }

    /// Somebody in line keeps the alarm. A keeper whose timer rings too early
    /// looks again; only one whose timer would ring too late is woken.
    pub(super) fn keep(&mut self, me: Option<Ticket>) {
        let Some(alarm) = self.alarm else {
            return;
        };
        let keeper = match self.keeper {
            Some((_, told)) if told <= alarm => return,
            Some((keeper, _)) => Some(keeper),
            None => self.line.first(),
        };
        self.keeper = keeper.map(|keeper| (keeper, alarm));
        if let Some(waiter) = keeper
            .filter(|keeper| Some(*keeper) != me)
            .and_then(|keeper| self.waiters.get(&keeper))
        {
            waiter.waker.wake_by_ref();
        }
    }

    /// The keeper's timer is now set for this; one without a timer keeps nothing.
    pub(super) fn note_timer(&mut self, place: Option<Ticket>, alarm: Option<Time>) {
        if let (Some(place), Some((keeper, _))) = (place, self.keeper)
            && keeper == place
        {
            self.keeper = alarm.map(|alarm| (place, alarm));
        }
    }

    /// For when this one is to look again, if it is the keeper.
    pub(super) fn wake_at_of(&self, place: Option<Ticket>) -> Option<Time> {
        let (keeper, _) = self.keeper?;
        self.alarm.filter(|_| Some(keeper) == place)
    }
}

impl std::fmt::Debug for LimiterCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.0.fmt(f)
    }
}
