//! A waiter's timer: tokio's inside of its runtimes, else that of a thread of our own.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
use std::{future::Future, pin::Pin};

/// Wakes the task that polled it last once a time is over.
pub(crate) enum Timer {
    #[cfg(feature = "tokio")]
    Tokio(Pin<Box<tokio::time::Sleep>>),
    #[cfg(not(shuttle))]
    Thread(thread::Alarm),
    /// The model checker's clock stands still.
    #[cfg(shuttle)]
    Never,
}

impl Timer {
    /// Sets a timer to ring after this time, on the runtime that is entered now: the task
    /// may have moved there since.
    pub fn set(timer: &mut Option<Timer>, wait: Duration) -> &mut Timer {
        #[cfg(feature = "tokio")]
        if tokio::runtime::Handle::try_current().is_ok() {
            let sleep = tokio::time::sleep(wait);
            let made = match timer.take() {
                Some(Timer::Tokio(mut made)) => {
                    made.set(sleep);
                    made
                }
                _ => Box::pin(sleep),
            };
            return timer.insert(Timer::Tokio(made));
        }
        #[cfg(not(shuttle))]
        return timer.insert(Timer::Thread(thread::Alarm::new(wait)));
        #[cfg(shuttle)]
        {
            let _stands_still = wait;
            timer.insert(Timer::Never)
        }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            #[cfg(feature = "tokio")]
            Timer::Tokio(sleep) => sleep.as_mut().poll(context),
            #[cfg(not(shuttle))]
            Timer::Thread(alarm) => alarm.poll(context),
            #[cfg(shuttle)]
            Timer::Never => Poll::Pending,
        }
    }
}

/// The time that is left until then, by the clock of the runtime that is entered now.
pub(crate) fn time_until(deadline: Instant) -> Duration {
    #[cfg(feature = "tokio")]
    if tokio::runtime::Handle::try_current().is_ok() {
        let now = tokio::time::Instant::now().into_std();
        return deadline.saturating_duration_since(now);
    }
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(not(shuttle))]
mod thread {
    //! One thread for all alarms of the process, which begins with the first of them.

    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    /// An alarm is looked at again after this time at the latest.
    const LONGEST: Duration = Duration::from_secs(24 * 3600);

    type Alarms = BTreeMap<(Instant, u64), Waker>;

    static ALARMS: Mutex<Alarms> = Mutex::new(Alarms::new());
    static FIRST_CHANGED: Condvar = Condvar::new();
    static STARTED: LazyLock<std::io::Result<()>> = LazyLock::new(|| {
        let thread = std::thread::Builder::new().name("throng-limit".into());
        thread.spawn(ring).map(drop)
    });
    static NEXT: AtomicU64 = AtomicU64::new(0);

    pub struct Alarm {
        at: (Instant, u64),
    }

    impl Alarm {
        pub fn new(wait: Duration) -> Alarm {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            Alarm { at: (Instant::now() + wait.min(LONGEST), id) }
        }

        pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
            if self.at.0 <= Instant::now() {
                return Poll::Ready(());
            }
            if STARTED.is_err() {
                // Without a thread, the task is polled again and again, which is slow and right.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut alarms = lock();
            alarms.insert(self.at, context.waker().clone());
            if alarms.first_key_value().map(|(at, _)| *at) == Some(self.at) {
                FIRST_CHANGED.notify_one();
            }
            Poll::Pending
        }
    }

    impl Drop for Alarm {
        fn drop(&mut self) {
            lock().remove(&self.at);
        }
    }

    fn lock() -> MutexGuard<'static, Alarms> {
        ALARMS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring() {
        let mut alarms = lock();
        loop {
            let wait = match alarms.first_entry() {
                Some(first) if first.key().0 <= Instant::now() => {
                    let waker = first.remove();
                    drop(alarms);
                    waker.wake();
                    alarms = lock();
                    continue;
                }
                Some(first) => first.key().0.saturating_duration_since(Instant::now()),
                None => LONGEST,
            };
            let waited = FIRST_CHANGED.wait_timeout(alarms, wait);
            alarms = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
