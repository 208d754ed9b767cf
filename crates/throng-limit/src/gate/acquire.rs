//! The future of a permit: had at once, or waited for in the queue. [door: clock]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::AcquireError;
use crate::gate::core::LimiterCore;
use crate::gate::cost::{Acquired, Cost};
use crate::gate::queue::Ticket;
use crate::gate::timer::Timer;
use crate::time::Time;

/// Time after which a waiter looks for itself whether others have left something undone,
/// for the first time. It does so again each time that it has waited twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// One attempt's wait for its units, and the time at which it has them.
pub(crate) struct Acquire<'a> {
    core: &'a Arc<LimiterCore>,
    cost: &'a Cost,
    waits: Option<Wait>,
    timer: Option<Timer>,
}

/// A place in the queue.
struct Wait {
    ticket: Ticket,
    since: Time,
    look_at: Time,
}

impl<'a> Acquire<'a> {
    pub fn new(core: &'a Arc<LimiterCore>, cost: &'a Cost) -> Acquire<'a> {
        Acquire {
            core,
            cost,
            waits: None,
            timer: None,
        }
    }

    /// Gives the units, or the time at which to poll again unless woken before.
    fn advance(
        &mut self,
        context: &Context<'_>,
    ) -> Result<Result<(Acquired, Time), AcquireError>, Duration> {
        let (mut state, now) = self.core.enter();
        let wait = match &mut self.waits {
            Some(wait) => {
                state.look(now, wait.ticket, self.cost, context.waker());
                wait
            }
            None => {
                if let Some(acquired) = state.take_first(now, self.cost) {
                    return Ok(Ok((acquired, now)));
                }
                self.waits.insert(Wait {
                    ticket: state.join(now, self.cost, context.waker()),
                    since: now,
                    look_at: now.after(FIRST_LOOK),
                })
            }
        };
        if let Some(fetched) = state.fetch(wait.ticket) {
            self.waits = None;
            return Ok(fetched.map(|acquired| (acquired, now)));
        }
        if wait.look_at <= now {
            wait.look_at = now.after(now.since(wait.since));
        }
        Err(state.timer_of(wait.ticket, wait.look_at).since(now))
    }
}

impl Future for Acquire<'_> {
    type Output = Result<(Acquired, Time), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = match self.advance(context) {
            Ok(output) => return Poll::Ready(output),
            Err(wait) => wait,
        };
        if Timer::set(&mut self.timer, wait).poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if let Some(wait) = &self.waits {
            let (mut state, now) = self.core.enter();
            state.leave(now, wait.ticket, self.cost);
        }
    }
}
