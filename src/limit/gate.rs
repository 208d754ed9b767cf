//! The door of the limits: it owns their clock, and keeps who waits in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Sleep;

use super::limits::{Limits, Releases};
use super::time::{self, Time};
use super::window::{When, WindowState};

/// Where attempts wait, first come first served, for a permit from all limits.
///
/// It is cheap to clone, and one gate may serve many threads.
///
/// ```
/// use throng::limit::{Gate, Guard, Rate};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let rate: Rate = "100/1s".parse()?;
/// let gate = Gate::new(&[rate], Guard::Strict);
///
/// let mut permit = gate.permit(1).await; // waits for its turn, then for a slot
/// permit.sent();                         // now the request is written ...
/// permit.answered();                     // ... and now its answer is seen
/// # Ok::<(), String>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Fn() -> Time + Send + Sync>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    /// Who waits, by when they came; a value is who to wake.
    line: BTreeMap<u64, Waker>,
    next_place: u64,
}

/// Leave for one attempt, from all limits.
///
/// Dropped before it was sent, it goes back; dropped after that, it counts as
/// lost.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    shared: Arc<Shared>,
    units: u64,
    sent: Option<Time>,
    releases: Releases,
    ended: bool,
}

/// One waiting in line. It arms a timer only at the head of the line.
struct Turn<'a> {
    shared: &'a Arc<Shared>,
    units: u64,
    place: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How long a request may still arrive after it was given up, unless told otherwise.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

impl Gate {
    /// A gate for these rates, which hold together; none means no limit.
    #[must_use]
    pub fn new(rates: &[super::Rate], guard: super::Guard) -> Gate {
        let window = |&rate: &super::Rate| super::Window::new(rate, guard, LINGER);
        Gate::with_clock(Limits::new(rates.iter().map(window).collect()), time::now)
    }

    /// A gate for these limits, timed by this clock. Waiting is tokio's, so a
    /// test may give a clock that its paused runtime moves.
    #[must_use]
    pub fn with_clock(limits: Limits, clock: impl Fn() -> Time + Send + Sync + 'static) -> Gate {
        let state = State {
            limits,
            line: BTreeMap::new(),
            next_place: 0,
        };
        Gate {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                clock: Box::new(clock),
            }),
        }
    }

    /// Waits for leave to use `units` of every limit at once. Dropping the
    /// future leaves the line and takes nothing.
    pub async fn permit(&self, units: u64) -> Permit {
        Turn {
            shared: &self.shared,
            units,
            place: None,
            timer: None,
        }
        .await;
        Permit {
            shared: self.shared.clone(),
            units,
            sent: None,
            releases: Releases::new(),
            ended: false,
        }
    }

    /// Each window's own account so far.
    #[must_use]
    pub fn state(&self) -> Vec<WindowState> {
        self.shared.lock().limits.state()
    }

    /// How many wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().line.len()
    }
}

impl Permit {
    /// The request is about to be written.
    pub fn sent(&mut self) {
        let (now, mut state) = self.shared.enter();
        self.sent = Some(now);
        self.releases = state.limits.sent(now, self.units);
        if !self.releases.is_empty() {
            state.wake_first();
        }
    }

    /// The final answer's head has been seen.
    pub fn answered(self) {
        self.end(|state, now, permit| {
            state.limits.accepted();
            state.limits.answered(now, permit.units, &permit.releases);
        });
    }

    /// The server refused it for the limit's sake: the gate closes, for
    /// everyone, for `pause`, or for a while that doubles with each refusal.
    /// Gives how often that has happened since an attempt was last taken in.
    pub fn refused(self, pause: Option<Duration>, chance: f64) -> u32 {
        let mut refusals = 0;
        self.end(|state, now, permit| {
            state.limits.answered(now, permit.units, &permit.releases);
            let sent = permit.sent.unwrap_or(now);
            state.limits.refused(now, sent, pause, chance);
            refusals = state.limits.refusals();
        });
        refusals
    }

    /// No answer came: the request may yet arrive.
    pub fn lost(self) {
        drop(self);
    }

    /// Nothing was sent after all.
    pub fn returned(self) {
        self.end(|state, _, permit| state.limits.returned(permit.units, &permit.releases));
    }

    fn end(mut self, tell: impl FnOnce(&mut State, Time, &Permit)) {
        self.ended = true;
        let (now, mut state) = self.shared.enter();
        tell(&mut state, now, &self);
        state.wake_first();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (now, mut state) = self.shared.enter();
        match self.sent {
            Some(_) => state.limits.lost(now, self.units, &self.releases),
            None => state.limits.returned(self.units, &self.releases),
        }
        state.wake_first();
    }
}

impl Shared {
    /// A panic elsewhere leaves the arithmetic whole: each step of it is done
    /// under the lock and does not panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time is read inside the lock, so that events are in its order.
    fn enter(&self) -> (Time, MutexGuard<'_, State>) {
        let state = self.lock();
        ((self.clock)(), state)
    }
}

impl State {
    fn wake_first(&self) {
        if let Some(waker) = self.line.values().next() {
            waker.wake_by_ref();
        }
    }

    fn is_first(&self, place: Option<u64>) -> bool {
        self.line.keys().next().copied() == place
    }

    /// Takes the place of the one that waits there, or a new one at the end.
    fn wait_at(&mut self, place: Option<u64>, waker: &Waker) -> u64 {
        let place = place.unwrap_or(self.next_place);
        self.next_place = self.next_place.max(place + 1);
        self.line
            .entry(place)
            .and_modify(|known| known.clone_from(waker))
            .or_insert_with(|| waker.clone());
        place
    }
}

impl Future for Turn<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let turn = &mut *self;
        let (now, mut state) = turn.shared.enter();
        let first = state.is_first(turn.place);
        if first && state.limits.take(now, turn.units) {
            turn.leave(&mut state);
            return Poll::Ready(());
        }
        turn.place = Some(state.wait_at(turn.place, context.waker()));
        if state.is_first(turn.place) {
            let when = state.limits.earliest(now, turn.units);
            drop(state);
            turn.arm(now, when, context);
        }
        Poll::Pending
    }
}

impl Turn<'_> {
    fn leave(&mut self, state: &mut State) {
        if let Some(place) = self.place.take() {
            state.line.remove(&place);
            state.wake_first();
        }
    }

    fn arm(&mut self, now: Time, when: When, context: &mut Context<'_>) {
        self.timer = match when {
            When::AfterAnAnswer => None,
            When::Now => Some(Box::pin(tokio::time::sleep(Duration::ZERO))),
            When::At(time) => Some(Box::pin(tokio::time::sleep(time.since(now)))),
        };
        let ended = self
            .timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if ended {
            context.waker().wake_by_ref();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            let shared = self.shared;
            self.leave(&mut shared.lock());
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::Instant;

    use super::super::{Guard, Window};
    use super::*;

    /// A gate whose clock is the paused runtime's.
    fn gate(rate: &str) -> Gate {
        let window = Window::new(rate.parse().unwrap(), Guard::Strict, LINGER);
        let start = Instant::now();
        Gate::with_clock(Limits::new(vec![window]), move || {
            Time::ZERO.after(start.elapsed())
        })
    }

    #[tokio::test(start_paused = true)]
    async fn serves_in_order_and_in_time() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let gate = gate("2/1s");
        let local = LocalSet::new();
        for i in 0..6 {
            let (gate, order) = (gate.clone(), order.clone());
            local.spawn_local(async move {
                let mut permit = gate.permit(1).await;
                order.borrow_mut().push((i, start.elapsed().as_secs()));
                permit.sent();
                permit.answered();
            });
        }
        local.await;
        let expected = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)];
        assert_eq!(*order.borrow(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_takes_nothing_and_stops_nobody() {
        let gate = gate("1/1s");
        let first = gate.permit(1).await;
        LocalSet::new()
            .run_until(async {
                let second = spawn_local({
                    let gate = gate.clone();
                    async move { gate.permit(1).await }
                });
                let third = spawn_local({
                    let gate = gate.clone();
                    async move { gate.permit(1).await.returned() }
                });
                tokio::task::yield_now().await;
                assert_eq!(gate.waiting(), 2);
                second.abort();
                first.returned();
                third.await.unwrap();
            })
            .await;
        assert_eq!(gate.waiting(), 0);
        gate.permit(1).await.returned();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_everyone_up() {
        let start = Instant::now();
        let gate = gate("5/1s");
        let mut permit = gate.permit(1).await;
        permit.sent();
        assert_eq!(permit.refused(Some(Duration::from_secs(3)), 0.0), 1);
        gate.permit(1).await.returned();
        assert!(start.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_permit_is_lost_if_it_was_sent() {
        let start = Instant::now();
        let gate = gate("1/1s");
        drop(gate.permit(1).await);
        let mut permit = gate.permit(1).await;
        permit.sent();
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(permit);
        gate.permit(1).await.returned();
        assert!(start.elapsed() >= Duration::from_secs(31));
        assert_eq!(gate.state()[0].lost, 1);
    }
}
