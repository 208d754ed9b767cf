//! What a person asks of a limiter while it is in use: a pause, or a lower rate. Pure.
//!
//! The limits hold as before. A lower rate only adds a gap after each attempt, so it can never
//! allow more than a limit does; the units that are left to other runs of a shared account are
//! those that this one does not take.

use std::time::Duration;

use crate::limiter::Availability;
use crate::time::Time;

/// What a person has asked for.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// Whether no attempt gets a permit.
    pub is_paused: bool,
    /// The share of the rate of each limit that is used, above 0 and at most 1.
    pub share: f64,
    /// When the next attempt may have a permit.
    next: Time,
}

impl Default for Operator {
    fn default() -> Operator {
        Operator { is_paused: false, share: 1.0, next: Time::ZERO }
    }
}

impl Operator {
    /// When the next attempt may have a permit.
    pub fn earliest(&self, now: Time) -> Availability {
        match self {
            Operator { is_paused: true, .. } => Availability::AfterAnAnswer,
            Operator { share, next, .. } if *share < 1.0 && now < *next => Availability::At(*next),
            _ => Availability::Now,
        }
    }

    /// An attempt has its permit which takes this long at the whole rate.
    pub fn taken(&mut self, now: Time, at_whole_rate: Duration) {
        let gap = Duration::try_from_secs_f64(at_whole_rate.as_secs_f64() / self.share);
        self.next = self.next.max(now).after(gap.unwrap_or_default());
    }

    /// Uses this share of the rate from now on: at least a hundredth, at most all.
    pub fn set_share(&mut self, now: Time, share: f64) {
        self.share = if share.is_finite() { share.clamp(0.01, 1.0) } else { 1.0 };
        self.next = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Policy, Settings};
    use crate::gate::cost::Cost;
    use crate::outcome::{Blocker, End};

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    /// Takes requests as soon as they may go, each of which is answered at once; gives the times.
    fn sent(rates: &[&str], share: f64, until: u64) -> Vec<u64> {
        let settings = Settings {
            rate: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let mut limits = Policy::new(&settings, Duration::ZERO).unwrap().limits();
        limits.set_share(at(0), share);
        let (cost, mut times) = (Cost::one(), Vec::new());
        for millis in 0..until {
            while let Ok(mut acquired) = limits.take(at(millis), &cost) {
                limits.sent(at(millis), &cost, &mut acquired);
                limits.ended(at(millis), &cost, &mut acquired, End::Answered);
                limits.finished(at(millis), &cost, &mut acquired);
                times.push(millis);
            }
        }
        times
    }

    #[test]
    fn a_share_of_the_rate_is_sent_evenly() {
        assert_eq!(sent(&["10/1s"], 0.5, 1_000), [0, 200, 400, 600, 800]);
        // The slower of two limits is the one whose share is taken.
        assert_eq!(sent(&["100/1s", "10/1s"], 0.5, 1_000), [0, 200, 400, 600, 800]);
        assert_eq!(sent(&["10/1s"], 1.0, 100).len(), 10);
    }

    #[test]
    fn no_share_allows_more_than_the_limit() {
        for share in [0.3, 0.9, 1.0, 7.0, f64::NAN] {
            let times = sent(&["10/1s"], share, 5_000);
            let most = times
                .iter()
                .map(|from| times.iter().filter(|at| (*from..*from + 1_000).contains(*at)).count());
            assert!(most.max().unwrap() <= 10, "{share}: {times:?}");
        }
    }

    #[test]
    fn a_paused_limiter_gives_nothing_and_names_its_blocker() {
        let mut limits = Policy::new(&Settings::default(), Duration::ZERO).unwrap().limits();
        limits.set_paused(true);
        let blocked = limits.take(at(0), &Cost::one()).unwrap_err();
        assert_eq!((blocked.by, blocked.when), (Blocker::Operator, Availability::AfterAnAnswer));
        assert!(!blocked.is_final());
        limits.set_paused(false);
        assert!(limits.take(at(0), &Cost::one()).is_ok());
    }
}
