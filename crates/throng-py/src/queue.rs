//! A bounded queue between threads of the engine and those of Python, or an event loop.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Items on their way from one side to the other.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Maximum number of items that wait.
    most: usize,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    wakers: Vec<Waker>,
}

/// What became of an item that was to be pushed.
pub enum Push<T> {
    Done,
    Full(T),
    Closed,
}

/// What a queue had to give.
pub enum Pop<T> {
    Item(T),
    Empty,
    Closed,
}

impl<T> Queue<T> {
    pub fn new(most: usize) -> Queue<T> {
        let state = State { items: VecDeque::new(), is_closed: false, wakers: Vec::new() };
        Queue { state: Mutex::new(state), changed: Condvar::new(), most }
    }

    /// Waits this long for room.
    pub fn push(&self, item: T, wait: Duration) -> Push<T> {
        let is_full = |state: &mut State<T>| state.items.len() >= self.most && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.is_closed {
            return Push::Closed;
        }
        if state.items.len() >= self.most {
            return Push::Full(item);
        }
        state.items.push_back(item);
        self.tell(state);
        Push::Done
    }

    /// Adds a last item, whether there is room or not.
    pub fn push_last(&self, item: T) {
        let mut state = self.lock();
        if !state.is_closed {
            state.items.push_back(item);
            state.is_closed = true;
        }
        self.tell(state);
    }

    /// Waits this long for an item.
    pub fn pop(&self, wait: Duration) -> Pop<T> {
        let is_empty = |state: &mut State<T>| state.items.is_empty() && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, is_empty);
        self.take(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The next item; if there is none, this wakes once there is.
    pub fn poll_pop(&self, waker: Waker) -> Pop<T> {
        let mut state = self.lock();
        if state.items.is_empty() && !state.is_closed {
            state.wakers.push(waker);
        }
        self.take(state)
    }

    /// Whether there is room, or no need of it; if not, this wakes once there is.
    pub fn poll_room(&self, waker: Waker) -> bool {
        let mut state = self.lock();
        let has_room = state.items.len() < self.most || state.is_closed;
        if !has_room {
            state.wakers.push(waker);
        }
        has_room
    }

    /// The items that wait, up to a number; empty if there is none.
    pub fn drain(&self, most: usize) -> Vec<T> {
        let mut state = self.lock();
        let most = most.min(state.items.len());
        let items = state.items.drain(..most).collect();
        self.tell(state);
        items
    }

    pub fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Takes no more items; those that wait can be had.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.tell(state);
    }

    fn take(&self, mut state: MutexGuard<'_, State<T>>) -> Pop<T> {
        match state.items.pop_front() {
            Some(item) => {
                self.tell(state);
                Pop::Item(item)
            }
            None if state.is_closed => Pop::Closed,
            None => Pop::Empty,
        }
    }

    fn tell(&self, mut state: MutexGuard<'_, State<T>>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
