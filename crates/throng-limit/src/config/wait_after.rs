//! How long a run waits for what earlier runs have sent. Pure: times are arguments.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Policy;
use crate::gate::cost::Cost;
use crate::gate::limit_set::LimitSet;
use crate::limiter::Availability;
use crate::outcome::BlockedTime;
use crate::outcome::Uncounted;
use crate::time::Time;

impl Policy {
    /// How long the first request of a run waits that begins at `now`, and for which
    /// limit; none if it goes at once. `sent` are requests of earlier runs: how long
    /// ago they ended, how many they were, and whether they may still arrive. `zero` is
    /// what the calendar said at the clock's zero. Limits that a ledger counts, and
    /// those of each key in a scope, are left out.
    #[must_use]
    pub fn wait_after(
        &self,
        now: Time,
        zero: Timestamp,
        sent: impl IntoIterator<Item = (Duration, u64, bool)>,
    ) -> Option<BlockedTime> {
        let rules = self.rules().iter().filter(|rule| rule.quota().is_none());
        let (scopes, keys) = (self.scopes().len(), self.keys().len());
        let mut limits =
            LimitSet::new(rules.cloned().collect(), scopes, keys, Uncounted::default());
        limits.heed_calendar(zero);
        for (ago, requests, lost) in sent {
            (0..requests).for_each(|_| limits.remember(now.before(ago), lost));
        }
        let blocked = limits.take(now, &Cost::from(1)).err()?;
        match blocked.when {
            Availability::At(time) => Some(limits.blocked_time(blocked.by, time.since(now))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn wait(rate: &str, sent: &[(u64, u64, bool)]) -> Option<(String, u64)> {
        let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let sent =
            sent.iter().map(|&(ago, requests, lost)| (Duration::from_secs(ago), requests, lost));
        let now = Time::ZERO.after(Duration::from_secs(3_600));
        let held = policy.wait_after(now, Timestamp::UNIX_EPOCH, sent)?;
        Some((held.name, held.time.as_secs()))
    }

    #[test]
    fn the_first_request_waits_for_what_was_sent_and_what_may_still_arrive() {
        let (name, some) = ("10/1m".to_owned(), |seconds| Some(("10/1m".to_owned(), seconds)));
        assert_eq!(wait(&name, &[]), None);
        assert_eq!(wait(&name, &[(20, 9, false)]), None);
        assert_eq!(wait(&name, &[(20, 10, false)]), some(40));
        // Those without an answer count for 30 s more.
        assert_eq!(wait(&name, &[(20, 10, true)]), some(70));
        assert_eq!(wait(&name, &[(120, 10, false)]), None);
        assert_eq!(wait("10/1d", &[(20, 10, true)]), None, "the ledger's");
    }
}
