//! The time that is left. Pure.
//!
//! Where a limit binds, it is the least time that the limit leaves, which no later moment proves
//! wrong. Else it follows the pace of the later half of the run, without the time in which
//! nothing could be sent: that changes slowly, and not with each burst.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limit::Estimate;

/// Shortest time of work from which a pace is told.
const ENOUGH: Duration = Duration::from_secs(2);
/// Time for which an expected end counts.
const A_MOMENT: Duration = Duration::from_secs(2);
/// Number of times that are kept of the later half of a run.
const TIMES: u32 = 100;

/// The pace of a run so far.
#[derive(Default)]
pub struct Outlook {
    /// The time of work, without pauses and outages, and the rows that were done by then.
    done: VecDeque<(Duration, u64)>,
    worked: Duration,
    last: Duration,
    /// The times of the run of late, with the end that was expected then.
    ends: VecDeque<(Duration, Duration)>,
}

/// What else is known of the rest.
pub struct Rest {
    /// Number of rows.
    pub rows: u64,
    /// The least time under the limits.
    pub bound: Option<Estimate>,
    /// The period of the limit that holds the run back now; none if something else does.
    pub bound_by: Option<Duration>,
    /// The time for which nothing can be sent.
    pub pause: Duration,
}

impl Outlook {
    /// Notes the rows that are done at this time of the run. Time in which nothing could be sent
    /// is no time of work.
    pub fn note(&mut self, elapsed: Duration, done: u64, is_at_work: bool) {
        if is_at_work {
            self.worked += elapsed.saturating_sub(self.last);
        }
        self.last = elapsed;
        let next = self.done.back().map_or(Duration::ZERO, |(at, _)| *at + self.worked / TIMES);
        if self.done.is_empty() || self.worked > next {
            self.done.push_back((self.worked, done));
        }
        while self.done.get(1).is_some_and(|(at, _)| *at * 2 <= self.worked) {
            self.done.pop_front();
        }
    }

    /// The time that is left; none while it is not known. An end that is expected only for a
    /// moment, as in the middle of a burst, does not count.
    pub fn left(&mut self, done: u64, rest: &Rest) -> Option<Duration> {
        let Some(left) = self.left_now(done, rest) else {
            self.ends.clear();
            return None;
        };
        self.ends.push_back((self.last, self.last + left));
        while self.ends.front().is_some_and(|(at, _)| *at + A_MOMENT < self.last) {
            self.ends.pop_front();
        }
        let end = self.ends.iter().map(|(_, end)| *end).max()?;
        Some(end.saturating_sub(self.last))
    }

    fn left_now(&self, done: u64, rest: &Rest) -> Option<Duration> {
        let bound = rest.bound.as_ref().map(|bound| bound.time);
        // A window's rows are done at its beginning: until the next one, the pace seems lower
        // than it is.
        let idle = rest.bound_by.unwrap_or_default();
        let by_pace = self.at_pace(done, rest.rows, idle);
        let left = match bound.filter(|_| rest.bound_by.is_some()) {
            // The pace counts where it is much lower than the limit.
            Some(bound) => {
                by_pace.filter(|left| *left > bound + bound / 10 + idle).unwrap_or(bound)
            }
            None => by_pace?.max(bound.unwrap_or_default()),
        };
        Some(left + rest.pause)
    }

    /// The time for these rows, where the time of work has this much idle time at its end.
    fn at_pace(&self, done: u64, rows: u64, idle: Duration) -> Option<Duration> {
        let (since, before) = *self.done.front()?;
        let time = self.worked.saturating_sub(since).saturating_sub(idle).as_secs_f64();
        let more = done.checked_sub(before).filter(|more| *more > 0)?;
        let left = Duration::try_from_secs_f64(time * rows as f64 / more as f64).ok();
        left.filter(|_| self.worked >= ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(seconds: f64) -> Option<Estimate> {
        let time = Duration::from_secs_f64(seconds);
        Some(Estimate { time, binds: "22/5s".into(), at_a_time: None })
    }

    #[test]
    fn under_a_limit_the_time_left_only_falls() {
        let period = Duration::from_millis(5_250);
        let mut outlook = Outlook::default();
        let mut before = Duration::MAX;
        for tick in 1..500 {
            let elapsed = Duration::from_millis(200 * tick);
            let windows = 1 + (elapsed.as_millis() / period.as_millis()) as u64;
            let done = (22 * windows).min(500);
            outlook.note(elapsed, done, true);
            // 22 windows after the first one, and the last answer.
            let all = period.as_secs_f64() * 22.0 + 0.25;
            let rest = Rest {
                rows: 500 - done,
                bound: bound((all - elapsed.as_secs_f64()).max(0.0)),
                bound_by: Some(period),
                pause: Duration::ZERO,
            };
            let left = outlook.left(done, &rest).unwrap();
            assert!(left <= before, "{left:?} after {before:?} at {elapsed:?}");
            assert!((left + elapsed).as_secs_f64() < all + 0.001, "{left:?} at {elapsed:?}");
            before = left;
        }
    }

    #[test]
    fn without_a_limit_it_follows_the_pace_and_pauses_are_no_work() {
        let mut outlook = Outlook::default();
        let rest = |rows, pause| Rest {
            rows,
            bound: None,
            bound_by: None,
            pause: Duration::from_secs(pause),
        };
        outlook.note(Duration::from_secs(1), 10, true);
        assert_eq!(outlook.left(10, &rest(1_000, 0)), None, "too early");
        for second in 2..=20 {
            outlook.note(Duration::from_secs(second), 10 * second, true);
        }
        let seconds = |left: Option<Duration>| left.unwrap().as_secs();
        assert_eq!(seconds(outlook.left(200, &rest(1_000, 0))), 100);
        for second in 21..=80 {
            outlook.note(Duration::from_secs(second), 200, false);
        }
        assert_eq!(seconds(outlook.left(200, &rest(1_000, 0))), 100);
        assert_eq!(seconds(outlook.left(200, &rest(1_000, 300))), 400);
    }

    #[test]
    fn a_limit_that_is_not_reached_promises_nothing() {
        let mut outlook = Outlook::default();
        for second in 1..=40 {
            outlook.note(Duration::from_secs(second), second, true);
        }
        // The limit would allow the rest in 10 s, and the server answers one row in a second.
        let rest = Rest { rows: 60, bound: bound(10.0), bound_by: None, pause: Duration::ZERO };
        assert_eq!(outlook.left(40, &rest).unwrap().as_secs(), 60);
        outlook.ends.clear();
        // Also where the limit holds it back but the server has less than the job says.
        let rest = Rest { bound_by: Some(Duration::from_secs(5)), ..rest };
        assert_eq!(outlook.left(40, &rest).unwrap().as_secs(), 45);
    }
}
