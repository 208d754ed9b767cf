//! The number of requests that were sent by some times of a run: few times, which lie the closer
//! together the later they are. Pure.

use std::time::Duration;

use crate::limit::{SentRequests, Time};

/// Part of its age by which a time may lie after the one before it.
const SPACING: u32 = 100;
/// Shortest time for which a mean is shown.
const LATELY: Duration = Duration::from_secs(10);

/// Requests sent by some times, the first of which is the start.
pub struct SentLog(Vec<(Time, u64)>);

impl SentLog {
    /// A log of a run that starts now.
    pub fn new(start: Time) -> SentLog {
        SentLog(vec![(start, 0)])
    }

    /// Notes the number of requests that were sent by now.
    pub fn note(&mut self, now: Time, sent: u64) {
        self.0.push((now, sent));
        let (mut kept, mut last) = (Vec::with_capacity(self.0.len()), Time::ZERO);
        for (index, (at, sent)) in self.0.iter().copied().enumerate() {
            let next = self.0.get(index + 1).map(|(next, _)| *next);
            // A time is dropped that lies close to the last one which is kept, and to the next.
            let is_close = next.is_some_and(|next| next.since(last) < now.since(at) / SPACING);
            if index == 0 || !is_close {
                kept.push((at, sent));
                last = at;
            }
        }
        self.0 = kept;
    }

    /// The requests, each of which was sent no later than it is told.
    pub fn sent(&self) -> Vec<SentRequests> {
        let pairs = self.0.windows(2).map(|pair| SentRequests {
            at: pair[1].0,
            requests: pair[1].1.saturating_sub(pair[0].1),
        });
        pairs.filter(|sent| sent.requests > 0).collect()
    }

    /// The mean number of requests in a period of the last seconds, or in the last period if
    /// that is longer. A limit on any such period is on this, too: as many periods are
    /// counted as cover the time.
    pub fn in_period(&self, period: Duration) -> f64 {
        let Some(&(now, sent)) = self.0.last() else {
            return 0.0;
        };
        let periods = (LATELY.as_nanos() / period.as_nanos().max(1)).max(1);
        let span = period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
        let first = self.0.partition_point(|(at, _)| now.since(*at) > span);
        let (since, before) = self.0[first];
        let covered = now.since(since).as_secs_f64() / period.as_secs_f64();
        sent.saturating_sub(before) as f64 / covered.ceil().clamp(1.0, periods as f64)
    }

    /// The number of requests of the last period.
    pub fn in_last(&self, period: Duration) -> u64 {
        let Some(&(now, sent)) = self.0.last() else {
            return 0;
        };
        let first = self.0.partition_point(|(at, _)| now.since(*at) > period);
        sent.saturating_sub(self.0[first].1)
    }

    /// The mean number of requests in a second of the last seconds.
    pub fn per_second(&self) -> f64 {
        let Some(&(now, sent)) = self.0.last() else {
            return 0.0;
        };
        let first = self.0.partition_point(|(at, _)| now.since(*at) > LATELY);
        let (since, before) = self.0[first];
        (sent.saturating_sub(before)) as f64 / now.since(since).as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_rate_in_bursts_never_reads_over_its_limit() {
        for (period, step) in [(1_000, 200), (5_000, 200), (700, 200), (3_600_000, 5_000)] {
            let mut log = SentLog::new(at(0));
            for now in (step..20 * period).step_by(step as usize) {
                // All of a window's requests just after its beginning.
                let sent = 60 * (1 + (now - 1) / period);
                log.note(at(now), sent);
                let shown = log.in_period(Duration::from_millis(period));
                assert!(shown <= 60.0, "{shown} at {now} ms of {period} ms");
                let is_short = period <= 1_000 && now > 10_000;
                assert!(!is_short || shown >= 50.0, "{shown} at {now} ms of {period} ms");
            }
        }
    }

    #[test]
    fn hours_take_few_times_and_loses_no_request() {
        let mut log = SentLog::new(at(0));
        for second in 1..=10_800 {
            log.note(at(second * 1_000), second);
        }
        assert!(log.0.len() < 800, "{}", log.0.len());
        let all: u64 = log.sent().iter().map(|sent| sent.requests).sum();
        assert_eq!(all, 10_800);
        let lately = log.sent().into_iter().filter(|it| it.at > at(10_740_000));
        assert_eq!(lately.map(|it| it.requests).collect::<Vec<_>>(), [1; 60]);
    }
}
