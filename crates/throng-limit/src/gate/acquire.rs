//! One that wants a permit: served at once, or in line until it is. [door: clock]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use crate::gate::cost::{Acquired, Cost};
use crate::gate::limiter::{AcquireError, LimiterCore, LimiterState, Waiter};
use crate::gate::queue::Ticket;
use crate::outcome::End;
use crate::time::Time;

/// One that wants a permit.
pub(crate) struct Acquire<'a> {
    shared: &'a Arc<LimiterCore>,
    ask: &'a Cost,
    place: Option<Ticket>,
    timer: Option<(Time, Pin<Box<Sleep>>)>,
}

impl Future for Acquire<'_> {
    type Output = Result<Acquired, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let turn = &mut *self;
        let (mut state, now) = turn.shared.enter();
        match turn.place {
            None if state.line.is_empty() => {
                if let Ok(taken) = state.limits.take(now, turn.ask) {
                    return Poll::Ready(Ok(taken));
                }
                turn.join(&mut state, now, context);
            }
            None => turn.join(&mut state, now, context),
            Some(place) => turn.look(&mut state, now, place, context),
        }
        if let Some(served) = turn.served(&mut state) {
            return Poll::Ready(served);
        }
        let alarm = state.wake_at_of(turn.place);
        state.note_timer(turn.place, alarm);
        drop(state);
        turn.arm(now, alarm, context);
        Poll::Pending
    }
}

impl<'a> Acquire<'a> {
    pub fn new(shared: &'a Arc<LimiterCore>, ask: &'a Cost) -> Acquire<'a> {
        Acquire {
            shared,
            ask,
            place: None,
            timer: None,
        }
    }
}

impl Acquire<'_> {
    fn join(&mut self, state: &mut LimiterState, now: Time, context: &mut Context<'_>) {
        let place = state.line.join(self.ask);
        self.place = Some(place);
        let waiter = Waiter {
            waker: context.waker().clone(),
            served: None,
        };
        state.waiters.insert(place, waiter);
        // Whoever stands behind others with the same keys can't be served before them.
        if state.line.is_first(place, self.ask) || self.ask.has_costs() {
            state.dispatch(now, Some(place));
        }
    }

    /// Woken: served, as the keeper of an alarm, or by somebody else's event.
    fn look(
        &mut self,
        state: &mut LimiterState,
        now: Time,
        place: Ticket,
        context: &mut Context<'_>,
    ) {
        if state
            .wake_at_of(Some(place))
            .is_some_and(|alarm| alarm <= now)
        {
            state.keeper = None;
            state.dispatch(now, Some(place));
        }
        if let Some(waiter) = state.waiters.get_mut(&place) {
            waiter.waker.clone_from(context.waker());
        }
    }

    fn served(&mut self, state: &mut LimiterState) -> Option<Result<Acquired, AcquireError>> {
        let place = self.place?;
        state.waiters.get(&place)?.served.as_ref()?;
        self.place = None;
        state.waiters.remove(&place)?.served
    }

    /// Sets the keeper's timer. It wakes this task, which then looks again.
    fn arm(&mut self, now: Time, alarm: Option<Time>, context: &mut Context<'_>) {
        let Some(alarm) = alarm else {
            self.timer = None;
            return;
        };
        let (_, timer) = match self.timer.take() {
            Some((set_for, timer)) if set_for == alarm => self.timer.insert((set_for, timer)),
            _ => {
                let timer = Box::pin(tokio::time::sleep(alarm.since(now)));
                self.timer.insert((alarm, timer))
            }
        };
        if timer.as_mut().poll(context).is_ready() {
            self.timer = None;
            context.waker().wake_by_ref();
        }
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };
        let mut state = self.shared.lock();
        let now = (self.shared.clock)();
        match state
            .waiters
            .remove(&place)
            .and_then(|waiter| waiter.served)
        {
            Some(Ok(mut taken)) => {
                state.limits.ended(now, self.ask, &mut taken, End::Returned);
                state.limits.finished(now, self.ask, &mut taken);
                state.line.ended(&self.ask.keys);
            }
            Some(Err(_)) => {}
            None => state.line.leave(place, self.ask),
        }
        state.keeper = state.keeper.filter(|(keeper, _)| *keeper != place);
        state.dispatch(now, None);
    }
}
