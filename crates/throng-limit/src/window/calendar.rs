//! The calendar's time at a time of the limiter's clock. Pure.
//!
//! The limiter's clock never steps; the calendar may be set while a run goes on. Then it
//! is unknown which of its answers is the server's, and a window is taken to end at the
//! latest of them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::time::Time;

/// The calendar's time at the clock's zero: each answer that the calendar gave.
#[derive(Debug, Clone)]
pub struct Calendar {
    zeros: Vec<Timestamp>,
}

/// Number of answers that are remembered.
const ANSWERS: usize = 8;

impl Calendar {
    /// A calendar that says `zero` at [`Time::ZERO`].
    #[must_use]
    pub fn new(zero: Timestamp) -> Calendar {
        Calendar { zeros: vec![zero] }
    }

    /// The calendar says now that it was `zero` at the clock's zero. Gives whether that
    /// differs from all earlier answers by more than `tolerance`.
    pub fn heed(&mut self, zero: Timestamp, tolerance: Duration) -> bool {
        let differs = |known: &Timestamp| known.duration_since(zero).unsigned_abs() > tolerance;
        let is_news = self.zeros.iter().all(differs);
        if is_news {
            // The oldest answers are the least likely.
            let surplus = (self.zeros.len() + 1).saturating_sub(ANSWERS);
            self.zeros.drain(..surplus);
            self.zeros.push(zero);
        }
        is_news
    }

    /// The latest time that can be the moment which `next` finds after `time`; `time`
    /// itself if the calendar ends before.
    pub fn latest(&self, time: Time, next: impl Fn(Timestamp) -> Option<Timestamp>) -> Time {
        let after = |zero: &Timestamp| {
            let since = SignedDuration::try_from(time.since(Time::ZERO)).ok()?;
            let now = zero.checked_add(since).ok()?;
            let wait = next(now)?.duration_since(now).unsigned_abs();
            Some(time.after(wait))
        };
        self.zeros.iter().filter_map(after).max().unwrap_or(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The next full ten seconds.
    fn next(now: Timestamp) -> Option<Timestamp> {
        Some(second((now.as_second() / 10 + 1) * 10))
    }

    #[test]
    fn the_latest_of_its_answers_counts() {
        let mut calendar = Calendar::new(second(100_003));
        let latest = |calendar: &Calendar| calendar.latest(Time::ZERO, next).since(Time::ZERO);
        assert_eq!(latest(&calendar), Duration::from_secs(7));
        assert!(!calendar.heed(second(100_004), Duration::from_secs(1)));
        assert_eq!(latest(&calendar), Duration::from_secs(7));
        // An hour and five seconds back: the edge is 2 s, or 7 s, from now.
        assert!(calendar.heed(second(100_008 - 3_600), Duration::from_secs(1)));
        assert_eq!(latest(&calendar), Duration::from_secs(7));
        assert!(calendar.heed(second(99_991), Duration::from_secs(1)));
        assert_eq!(latest(&calendar), Duration::from_secs(9));
    }

    #[test]
    fn a_clock_that_is_set_all_the_time_fills_no_memory() {
        let mut calendar = Calendar::new(second(0));
        for hours in 1..100 {
            assert!(calendar.heed(second(hours * 3_600), Duration::from_secs(1)));
        }
        assert_eq!(calendar.zeros.len(), ANSWERS);
    }
}
