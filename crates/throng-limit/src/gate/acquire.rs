//! One attempt's wait for its units, as a future or on a thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::error::AcquireError;
use crate::gate::cost::{Acquired, Cost};
use crate::gate::limiter_core::{LimiterCore, LimiterState};
use crate::gate::queue::Ticket;
use crate::gate::timer::Timer;
use crate::time::Time;

/// Time after which a waiter looks for itself whether others have left something undone,
/// for the first time. It does so again each time that it has waited twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// One attempt's wait for its units, and the time at which it has them.
pub struct Acquire<'a> {
    core: &'a Arc<LimiterCore>,
    cost: &'a Cost,
    deadline: Option<Time>,
    place: Option<Place>,
    wait: Duration,
    timer: Option<Timer>,
}

/// A place in the queue.
struct Place {
    ticket: Ticket,
    since: Time,
    look_at: Time,
}

impl<'a> Acquire<'a> {
    pub fn new(core: &'a Arc<LimiterCore>, cost: &'a Cost, deadline: Option<Time>) -> Acquire<'a> {
        Acquire { core, cost, deadline, place: None, wait: Duration::ZERO, timer: None }
    }

    /// Waits on this thread.
    pub fn blocking(mut self) -> Result<(Acquired, Time), AcquireError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let context = Context::from_waker(&waker);
        loop {
            match self.advance(&context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park_timeout(self.wait),
            }
        }
    }

    /// Gives the units, if it is time for that. Otherwise `wait` is the time after which it
    /// is to be polled again unless it is woken before.
    fn advance(&mut self, context: &Context<'_>) -> Poll<Result<(Acquired, Time), AcquireError>> {
        let (mut state, now) = self.core.enter();
        if self.place.is_none() {
            match state.take_first(now, self.cost) {
                Ok(acquired) => return Poll::Ready(Ok((acquired, now))),
                Err(AcquireError::NotInTime { .. }) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let LimiterState { limits, waiters, .. } = &mut *state;
        let waiters = waiters.get_or_insert_default();
        let place = match &mut self.place {
            Some(place) => {
                waiters.look(now, limits, place.ticket, self.cost, context.waker());
                place
            }
            None => self.place.insert(Place {
                ticket: waiters.join(now, limits, self.cost, context.waker()),
                since: now,
                look_at: now.after(FIRST_LOOK),
            }),
        };
        if let Some(fetched) = waiters.fetch(place.ticket) {
            self.place = None;
            return Poll::Ready(fetched.map(|acquired| (acquired, now)));
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Poll::Ready(Err(waiters.not_in_time(now)));
        }
        if place.look_at <= now {
            place.look_at = now.after(now.since(place.since));
        }
        let at = waiters.timer_of(place.ticket, place.look_at);
        let at = self.deadline.map_or(at, |deadline| deadline.min(at));
        self.wait = at.since(now);
        Poll::Pending
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for Acquire<'_> {
    type Output = Result<(Acquired, Time), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.advance(context) {
            return Poll::Ready(output);
        }
        let wait = self.wait;
        if Timer::set(&mut self.timer, wait).poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let (mut state, now) = self.core.enter();
            let LimiterState { limits, waiters, .. } = &mut *state;
            if let Some(waiters) = waiters {
                waiters.leave(now, limits, place.ticket, self.cost);
            }
        }
    }
}
