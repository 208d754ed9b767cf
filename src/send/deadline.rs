//! Time limits that are judged by what has come, not by when it was looked at.
//! [door: network]
//!
//! A process that was stopped, or slept with its machine, finds that its timers are
//! over before it has looked at its sockets. So a timer that is over is not the end:
//! what can be read by then is read first.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

/// Turns of the event loop within which all that lies in sockets has reached those who
/// wait for it: the first may be interrupted, and HTTP/2 passes a head on twice.
const TURNS: u32 = 8;

/// A timer that rings this late did so because nothing ran.
const LATE: Duration = Duration::from_millis(100);

/// The time that is given then: the server may have waited for us to read.
const EXTRA: Duration = Duration::from_secs(1);

/// A time limit for work that may come in parts.
pub struct Deadline<'a> {
    timer: Pin<&'a mut Sleep>,
    extended: bool,
}

impl Deadline<'_> {
    /// Until this timer rings.
    pub fn new(timer: Pin<&mut Sleep>) -> Deadline<'_> {
        Deadline {
            timer,
            extended: false,
        }
    }

    /// What the work, or a part of it, comes to; `None` if it is too late.
    pub async fn keep<F: Future>(&mut self, mut work: Pin<&mut F>) -> Option<F::Output> {
        loop {
            tokio::select! {
                biased;
                done = work.as_mut() => return Some(done),
                () = self.timer.as_mut() => {}
            }
            if self.extended || self.late() < LATE {
                break;
            }
            self.extended = true;
            self.timer.as_mut().reset(Instant::now() + EXTRA);
        }
        // Parts that come one after the other without end are late as well.
        if self.late() >= EXTRA {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = turns() => None,
        }
    }

    /// How long ago the timer should have rung.
    fn late(&self) -> Duration {
        self.timer.deadline().elapsed()
    }
}

/// Lets what lies in sockets be read.
pub async fn turns() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_when_the_time_is_over_counts() {
        let timer = pin!(sleep(Duration::from_secs(2)));
        let mut limit = Deadline::new(timer);
        assert_eq!(limit.keep(pin!(async { 1 })).await, Some(1));
        advance(Duration::from_millis(2_050)).await;
        let soon = pin!(async {
            yield_now().await;
            2
        });
        assert_eq!(limit.keep(soon).await, Some(2));
        let never = pin!(std::future::pending::<()>());
        assert_eq!(limit.keep(never).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_there_is_a_second_for_the_rest() {
        for (needed, outcome) in [(900, Some(())), (1_100, None)] {
            let timer = pin!(sleep(Duration::from_secs(2)));
            let mut limit = Deadline::new(timer);
            advance(Duration::from_secs(35)).await;
            let work = pin!(sleep(Duration::from_millis(needed)));
            assert_eq!(limit.keep(work).await, outcome, "{needed} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn parts_without_end_are_late() {
        let timer = pin!(sleep(Duration::from_secs(2)));
        let (mut limit, started) = (Deadline::new(timer), Instant::now());
        let part = async || {
            yield_now().await;
            advance(Duration::from_millis(10)).await;
        };
        while limit.keep(pin!(part())).await.is_some() {}
        assert!(started.elapsed() < Duration::from_secs(6));
    }
}
