//! How long credentials that a server gave are of use. Pure.

use std::time::{Duration, Instant};

/// Time before its expiry at which a credential is renewed; a fifth of its lifetime if that is
/// less.
const EARLY_RENEWAL: Duration = Duration::from_secs(60);

/// Maximum number of credentials in a row that expire before anything is signed with them.
pub const MAX_UNUSED: u32 = 3;

/// The state of the current edition of a credential.
#[derive(Debug, Default)]
pub struct Freshness {
    /// Number of editions so far.
    edition: u64,
    until: Option<Instant>,
    /// Whether the server has accepted the current edition.
    is_accepted: bool,
    /// Whether the server refuses the current edition.
    is_expired: bool,
    /// Number of editions since a request was signed.
    unused: u32,
    /// Number of editions in a row that were refused before they were ever accepted.
    doubted: u32,
}

impl Freshness {
    /// Whether there is an edition that need not be renewed yet.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.edition > 0 && !self.is_expired && self.until.is_none_or(|until| now < until)
    }

    /// The number of the current edition.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Notes that a request is signed with the current edition.
    pub fn mark_used(&mut self) {
        self.unused = 0;
    }

    /// Whether the last editions expired before a request had its turn.
    pub fn expires_unused(&self) -> bool {
        self.unused >= MAX_UNUSED
    }

    /// Notes that the server has accepted this edition.
    pub fn mark_accepted(&mut self, edition: u64) {
        if self.edition == edition && !self.is_accepted {
            self.is_accepted = true;
            self.doubted = 0;
        }
    }

    /// Notes that the server has refused this edition. Returns whether another attempt is
    /// worth it: with an edition that another request has fetched, or one in the place of an
    /// edition that was accepted before, or that is among the first `patience` ones which were
    /// not.
    pub fn mark_refused(&mut self, edition: u64, patience: u32) -> bool {
        if self.edition != edition || self.is_expired {
            return true;
        }
        if !self.is_accepted {
            self.doubted += 1;
        }
        self.is_expired = self.is_accepted || self.doubted <= patience;
        self.is_expired
    }

    /// Begins another edition, with this lifetime from now on if it is known.
    pub fn renew(&mut self, lifetime: Option<Duration>, now: Instant) {
        // A time beyond the range of the clock never comes.
        self.until = lifetime.and_then(|it| now.checked_add(it - EARLY_RENEWAL.min(it / 5)));
        self.edition += 1;
        self.unused += 1;
        self.is_accepted = false;
        self.is_expired = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_accepted_is_renewed_as_often_as_patience_lasts() {
        let now = Instant::now();
        for patience in 0..3 {
            let mut state = Freshness::default();
            let mut renewed = 0;
            state.renew(None, now);
            while state.mark_refused(state.edition(), patience) {
                state.renew(None, now);
                renewed += 1;
            }
            assert_eq!(renewed, patience);
            assert!(state.is_fresh(now), "a credential that is refused stays");
        }
        let mut state = Freshness::default();
        for _ in 0..9 {
            state.renew(None, now);
            state.mark_accepted(state.edition());
            assert!(state.mark_refused(state.edition(), 0) && !state.is_fresh(now));
        }
        assert!(state.mark_refused(1, 0), "another has renewed it meanwhile");
    }
}
