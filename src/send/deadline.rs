//! Time limits that count the arrival of data, not the time at which it is read.
//!
//! After a process was stopped, or its machine was suspended, its timers have expired
//! before it has read its sockets. So all data that is ready is read before an expired
//! timer ends the work.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

/// Number of turns of the event loop after which all data in sockets has reached its
/// readers: the first can be interrupted, and HTTP/2 passes a head on twice.
const TURNS: u32 = 8;

/// A timer that expires this late did so because no task ran.
const LATE: Duration = Duration::from_millis(100);

/// The extra time after such a pause: the server may have waited for us to read.
const EXTRA: Duration = Duration::from_secs(1);

/// A time limit for work that can come in parts.
pub struct Deadline<'a> {
    timer: Pin<&'a mut Sleep>,
    /// The end of the whole work.
    end: Instant,
    extended: bool,
}

impl Deadline<'_> {
    /// A limit that ends with this timer.
    pub fn new(timer: Pin<&mut Sleep>) -> Deadline<'_> {
        Deadline { end: timer.deadline(), timer, extended: false }
    }

    /// Begins to wait for a part of the work, which may take no longer than this.
    pub fn begin_part(&mut self, longest: Duration) {
        self.timer.as_mut().reset(self.end.min(Instant::now() + longest));
    }

    /// Whether the work could go on if its current part were not late.
    pub fn is_before_end(&self) -> bool {
        self.timer.deadline() < self.end
    }

    /// The result of the work or of a part of it; `None` if it is late.
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
            let until = Instant::now() + EXTRA;
            self.end = self.end.max(until);
            self.timer.as_mut().reset(until);
        }
        // An endless sequence of parts is late as well.
        if self.late() >= EXTRA {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = turns() => None,
        }
    }

    /// The time since the timer should have expired.
    fn late(&self) -> Duration {
        self.timer.deadline().elapsed()
    }
}

/// Lets the readers of sockets run.
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
    async fn data_that_is_ready_at_the_end_of_the_time_counts() {
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
    async fn a_part_may_take_its_time_and_all_parts_theirs() {
        for (part, count, is_part_late) in [(900, 5, false), (1_100, 0, true)] {
            let timer = pin!(sleep(Duration::from_secs(5)));
            let (mut limit, mut parts) = (Deadline::new(timer), 0);
            loop {
                limit.begin_part(Duration::from_secs(1));
                if limit.keep(pin!(sleep(Duration::from_millis(part)))).await.is_none() {
                    break;
                }
                parts += 1;
            }
            assert_eq!((parts, limit.is_before_end()), (count, is_part_late), "{part} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_sequence_of_parts_is_late() {
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
