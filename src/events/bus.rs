//! The way of events from where they happen to their subscribers.
//!
//! Workers and the writer put them into one bounded queue, without waiting. The sampler's
//! thread takes them from there and hands each to all subscribers, whose queues are bounded,
//! too: a subscriber that is slow loses events, and never holds the run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::{Event, EventKind, EventsLost};

/// Number of messages that may wait for the sampler, which looks at them at once. The queue takes
/// its memory at the start.
const MESSAGES: usize = 1_024;

/// Number of events that may wait for a subscriber.
const EVENTS: usize = 16_384;

/// A message to the sampler.
#[derive(Debug)]
pub(crate) enum Message {
    /// Events in their order.
    Events(Vec<Event>),
    /// The run ended, by this event.
    End(Box<Event>),
}

/// The events of one run and their subscribers.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    is_observed: AtomicBool,
    /// The time without the end of a row that is a stall, in milliseconds; 0: that of the sampler.
    stall: AtomicU64,
    to_sampler: OnceLock<SyncSender<Message>>,
    /// Number of events for which the queue had no room.
    lost: Arc<AtomicU64>,
    subscribers: Arc<Subscribers>,
}

/// The subscribers of a run.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: Vec<Subscriber>,
    /// The first event, for subscribers that come later.
    started: Option<Arc<Event>>,
    /// Whether the last event was published.
    is_over: bool,
}

#[derive(Debug)]
struct Subscriber {
    events: async_channel::Sender<Arc<Event>>,
    /// Number of events for which its queue had no room.
    lost: u64,
}

/// The events of a run, from the subscription on: an iterator that waits for the next event,
/// and ends after the last one.
///
/// A subscriber that lags behind by more than 16,384 events loses some, and is told how many
/// by [`EventKind::EventsLost`].
#[derive(Debug, Clone)]
pub struct Subscription(async_channel::Receiver<Arc<Event>>);

impl Subscription {
    /// The next event; none after the last one.
    pub async fn recv(&self) -> Option<Arc<Event>> {
        self.0.recv().await.ok()
    }

    /// The next event, if one waits.
    #[must_use]
    pub fn try_recv(&self) -> Option<Arc<Event>> {
        self.0.try_recv().ok()
    }

    /// Whether no further event will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

impl Iterator for Subscription {
    type Item = Arc<Event>;

    fn next(&mut self) -> Option<Arc<Event>> {
        self.0.recv_blocking().ok()
    }
}

impl EventBus {
    /// Whether any subscriber has come.
    pub fn is_observed(&self) -> bool {
        self.is_observed.load(Ordering::Relaxed)
    }

    /// Sets the time without the end of a row that is a stall.
    pub fn set_stall(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.stall.store(millis.max(1), Ordering::Relaxed);
    }

    /// The time without the end of a row that is a stall, if it was set.
    pub fn stall(&self) -> Option<Duration> {
        let millis = self.stall.load(Ordering::Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Adds a subscriber. The first one gets the other end of the queue, too, which a sampler
    /// is to be started with.
    pub fn subscribe(&self) -> (Subscription, Option<Receiver<Message>>) {
        let subscription = self.subscribers.add();
        let mut messages = None;
        self.to_sampler.get_or_init(|| {
            let (to_sampler, receiver) = mpsc::sync_channel(MESSAGES);
            messages = Some(receiver);
            to_sampler
        });
        self.is_observed.store(true, Ordering::Relaxed);
        (subscription, messages)
    }

    /// The subscribers, for the sampler.
    pub fn subscribers(&self) -> Arc<Subscribers> {
        self.subscribers.clone()
    }

    /// Number of events that were lost on their way to the sampler.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Hands events over without waiting. Those for which there is no room are counted.
    pub fn send(&self, events: Vec<Event>) {
        let count = events.len() as u64;
        let Some(to_sampler) = self.to_sampler.get() else {
            return;
        };
        if let Err(TrySendError::Full(_)) = to_sampler.try_send(Message::Events(events)) {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Hands the last event over.
    pub fn end(&self, event: Event) {
        let Some(to_sampler) = self.to_sampler.get() else {
            return self.subscribers.end(Arc::new(event));
        };
        // The sampler is gone only if it has panicked, or could not be started.
        if let Err(message) = to_sampler.send(Message::End(Box::new(event)))
            && let Message::End(event) = message.0
        {
            self.subscribers.end(Arc::from(event));
        }
    }
}

impl Subscribers {
    fn add(&self) -> Subscription {
        // A bounded queue would take the memory of all its events at the start.
        let (events, receiver) = async_channel::unbounded();
        let mut state = self.lock();
        if !state.is_over {
            if let Some(started) = &state.started {
                // The queue is empty.
                let _ = events.try_send(started.clone());
            }
            state.all.push(Subscriber { events, lost: 0 });
        }
        Subscription(receiver)
    }

    /// Hands an event to all subscribers.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut state = self.lock();
        if matches!(event.kind, EventKind::RunStarted(_)) {
            state.started = Some(event.clone());
        }
        state.all.retain_mut(|subscriber| subscriber.take(&event));
    }

    /// Hands the last event to all subscribers, whose streams then end.
    pub fn end(&self, event: Arc<Event>) {
        let mut state = self.lock();
        for subscriber in state.all.drain(..) {
            // It comes even where it is one too many. A subscriber that is gone needs none.
            let _ = subscriber.events.try_send(event.clone());
        }
        state.is_over = true;
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        !self.lock().all.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// Takes an event if there is room. Gives whether the subscriber still listens.
    fn take(&mut self, event: &Arc<Event>) -> bool {
        if self.lost > 0 {
            let lost = EventKind::EventsLost(EventsLost { count: self.lost });
            let lost = Event { kind: lost, ..(**event).clone() };
            if self.has_room() && self.events.try_send(Arc::new(lost)).is_ok() {
                self.lost = 0;
            }
        }
        if !self.has_room() {
            self.lost += 1;
            return !self.events.is_closed();
        }
        self.events.try_send(event.clone()).is_ok()
    }

    /// Whether its queue takes one more event: only [`Subscribers`] adds any, under its lock.
    fn has_room(&self) -> bool {
        self.events.len() < EVENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(elapsed: u64) -> Event {
        Event::now(Duration::from_secs(elapsed), EventKind::PauseEnded)
    }

    #[test]
    fn a_slow_subscriber_is_told_what_it_has_lost_and_gets_the_end() {
        let subscribers = Subscribers::default();
        let (mut slow, quick) = (subscribers.add(), subscribers.add());
        for number in 0..EVENTS as u64 + 3 {
            subscribers.publish(warning(number));
            assert!(quick.try_recv().is_some());
        }
        for number in 0..2 {
            assert_eq!(slow.try_recv().unwrap().elapsed.as_secs(), number);
        }
        subscribers.publish(warning(0));
        subscribers.end(Arc::new(warning(77)));
        let rest: Vec<Arc<Event>> = slow.by_ref().collect();
        let lost = rest.iter().find_map(|event| match &event.kind {
            EventKind::EventsLost(lost) => Some(lost.count),
            _ => None,
        });
        assert_eq!(lost, Some(3));
        assert_eq!(rest.last().unwrap().elapsed.as_secs(), 77);
        assert!(slow.is_over() && subscribers.add().is_over());
    }
}
