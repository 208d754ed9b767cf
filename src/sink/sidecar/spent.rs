//! What a run has used of its limits, for the next one: the server goes on counting
//! when a process ends. Limits with long periods are not the sidecar's matter: see
//! [`ledger`](crate::quota_store). The time is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Maximum number of entries; older ones are merged, towards later times.
const MOST: usize = 512;

/// Requests over time, as a sidecar has them. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SpentRequests {
    /// When this was noted last.
    at: u64,
    /// How many requests had ended by each of these times, since the entry before.
    ended: Vec<(u64, u64)>,
    /// How many were on their way then.
    in_flight: u64,
    /// How many records the output had then.
    records: u64,
    /// How many more may have been sent since then, for each process that wrote it.
    uncounted: u64,
    /// Whether the run ended in good order, so that there are none of these.
    clean: bool,
}

/// Requests that were sent before a process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriorUsage {
    /// How long ago they had ended, or were given up.
    pub ago: Duration,
    /// How many they were.
    pub requests: u64,
    /// Whether they may still be on their way.
    pub lost: bool,
}

/// What is known of a run at one instant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Requests sent so far.
    pub sent: u64,
    /// Those of them that have ended.
    pub ended: u64,
    /// The most that may be sent and not be in the records yet.
    pub uncounted: u64,
}

impl SpentRequests {
    /// Another process begins to send, whose output has `records`. What the
    /// one before it may have sent counts as ended now.
    pub fn begin(&mut self, now: u64, records: u64, uncounted: u64) {
        let lost = self.before(now, records).into_iter().filter(|it| it.lost);
        let lost: u64 = lost.map(|it| it.requests).sum();
        if lost > 0 {
            self.ended.push((now, lost));
        }
        (self.at, self.in_flight, self.records) = (now, 0, records);
        (self.uncounted, self.clean) = (uncounted, false);
    }

    /// Sets the number of records that are left in the output.
    pub fn keeps(&mut self, records: u64) {
        self.records = records;
    }

    /// Takes in what has ended since it was noted before; whether that is news.
    pub fn note(&mut self, at: u64, before: Usage, now: Usage, records: u64) -> bool {
        let ended = now.ended.saturating_sub(before.ended);
        let in_flight = now.sent.saturating_sub(now.ended);
        let is_news = ended > 0 || in_flight != self.in_flight;
        if ended > 0 {
            self.ended.push((at, ended));
        }
        if self.ended.len() > MOST {
            self.join();
        }
        (self.at, self.in_flight, self.records) = (at, in_flight, records);
        (self.uncounted, self.clean) = (now.uncounted, false);
        is_news
    }

    /// Whether nothing was sent that anyone knows of.
    pub fn is_nothing(&self) -> bool {
        self.ended.is_empty() && self.in_flight == 0
    }

    /// Nothing more will be sent.
    pub fn end(&mut self) {
        self.clean = true;
    }

    /// The requests sent before `now`, the oldest first, by a process whose output has
    /// `records` now.
    pub fn before(&self, now: u64, records: u64) -> Vec<PriorUsage> {
        let ago = |at: u64| Duration::from_millis(now.saturating_sub(at));
        let ended = self.ended.iter().map(|&(at, requests)| PriorUsage {
            ago: ago(at),
            requests,
            lost: false,
        });
        let unnoted =
            if self.clean { 0 } else { self.uncounted + records.saturating_sub(self.records) };
        let lost = PriorUsage {
            // They were sent within the second after the last note.
            ago: ago(if self.clean { self.at } else { self.at + 2_000 }),
            requests: self.in_flight + unnoted,
            lost: true,
        };
        ended.chain((lost.requests > 0).then_some(lost)).collect()
    }

    /// Two entries become one, at the later time: that is the safe side.
    fn join(&mut self) {
        let pairs = self.ended.chunks(2);
        let joined = pairs.filter_map(|pair| {
            let last = pair.last()?;
            Some((last.0, pair.iter().map(|(_, requests)| requests).sum()))
        });
        self.ended = joined.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(sent: u64, ended: u64) -> Usage {
        Usage { sent, ended, uncounted: 10 }
    }

    fn before(ago: u64, requests: u64, lost: bool) -> PriorUsage {
        PriorUsage { ago: Duration::from_millis(ago), requests, lost }
    }

    #[test]
    fn what_has_ended_is_known_by_its_time() {
        let mut spent = SpentRequests::default();
        assert!(spent.note(1_000, usage(0, 0), usage(5, 3), 3));
        assert!(spent.note(2_000, usage(5, 3), usage(9, 9), 9));
        assert!(!spent.note(3_000, usage(9, 9), usage(9, 9), 9));
        spent.end();
        let expected = [before(9_000, 3, false), before(8_000, 6, false)];
        assert_eq!(spent.before(10_000, 9), expected);
    }

    #[test]
    fn after_a_crash_more_may_have_been_sent_than_was_noted() {
        let mut spent = SpentRequests::default();
        spent.note(1_000, usage(0, 0), usage(5, 3), 3);
        // Two were in flight, four more are in the records, ten may be in neither.
        let expected = [before(9_000, 3, false), before(7_000, 16, true)];
        assert_eq!(spent.before(10_000, 7), expected);
    }

    #[test]
    fn a_process_that_dies_at_once_leaves_what_it_may_have_sent() {
        let mut spent = SpentRequests::default();
        spent.begin(1_000, 0, 10);
        assert_eq!(spent.before(9_000, 2), [before(6_000, 12, true)]);
        spent.begin(9_000, 2, 10);
        let expected = [before(1_000, 12, false), before(0, 10, true)];
        assert_eq!(spent.before(10_000, 2), expected);
    }

    #[test]
    fn entries_are_bounded_and_lose_no_request() {
        let mut spent = SpentRequests::default();
        for n in 1..=10_000 {
            spent.note(n * 1_000, usage(n - 1, n - 1), usage(n, n), n);
        }
        spent.end();
        assert!(spent.ended.len() <= MOST);
        let all = spent.before(20_000_000, 10_000);
        assert_eq!(all.iter().map(|before| before.requests).sum::<u64>(), 10_000);
        assert!(all.is_sorted_by_key(|before| std::cmp::Reverse(before.ago)));
    }
}
