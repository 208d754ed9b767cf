//! The result of a probe, and the rate that keeps the limit. Pure.

use std::time::Duration;

/// The kind of a limit, as far as a probe can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FoundKind {
    /// Each request counts for a period after its arrival.
    Sliding,
    /// All requests count until the end of a window.
    Fixed,
    /// Requests take tokens, which come back one by one.
    Bucket,
    /// The answers fit no kind, or more than one.
    #[default]
    Unknown,
}

/// The result of a probe.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeResult {
    /// The kind of the limit.
    pub kind: FoundKind,
    /// Maximum number of requests at once; of a window, in a period. None without a refusal.
    pub amount: Option<u64>,
    /// The period of a window.
    pub period: Option<Duration>,
    /// The bounds of the period.
    pub between: Option<(Duration, Duration)>,
    /// Tokens of a bucket that come back in a second.
    pub per_second: Option<f64>,
    /// Whether refused requests count.
    pub refusals_count: Option<bool>,
    /// Number of requests.
    pub requests: u64,
    /// Number of refused requests.
    pub refusals: u32,
    /// The reason for which the probe ended early.
    pub stopped: Option<&'static str>,
}

impl ProbeResult {
    /// The limit as the flag `--rate`, with `--burst` for a bucket, if enough is known.
    #[must_use]
    pub fn rate(&self) -> Option<String> {
        let amount = self.amount?;
        match (self.kind, self.period, self.per_second) {
            (FoundKind::Bucket, _, Some(per_second)) => {
                let (units, period) = whole(per_second);
                Some(format!("--rate bucket:{units}/{period} --burst {amount}"))
            }
            (FoundKind::Sliding | FoundKind::Fixed, Some(period), _) => Some(format!(
                "--rate {amount}/{}",
                humantime::format_duration(period).to_string().replace(' ', "")
            )),
            _ => None,
        }
    }

    /// The result for people, in lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.limit()];
        lines.push(match self.refusals_count {
            Some(true) => "refused requests count, too: every one makes the wait longer".to_owned(),
            Some(false) => "refused requests don't count".to_owned(),
            None => "whether refused requests count was not found out".to_owned(),
        });
        if let Some((from, to)) = self.between.filter(|(from, to)| *from + *to / 5 < *to) {
            lines.push(format!(
                "the period lies between {:.1} and {:.1} s: the longest usual one is taken",
                from.as_secs_f64(),
                to.as_secs_f64()
            ));
        }
        if let Some(stopped) = self.stopped {
            lines.push(format!("it ended before it knew everything: {stopped}"));
        }
        lines
    }

    fn limit(&self) -> String {
        let Some(amount) = self.amount else {
            return format!(
                "none of {} requests was refused, one after the other: a limit, if there is one, is higher than that",
                self.requests
            );
        };
        let period = self.period.map(humantime::format_duration);
        match (self.kind, period, self.per_second) {
            (FoundKind::Sliding, Some(period), _) => {
                format!("a sliding window: {amount} in any {period}")
            }
            (FoundKind::Fixed, Some(period), _) => {
                format!("fixed windows: {amount} in each {period}")
            }
            (FoundKind::Bucket, _, Some(rate)) => {
                format!("a token bucket: {amount} at once, then {rate:.3} a second")
            }
            _ => format!("{amount} at once, and when units come back is unknown"),
        }
    }
}

/// A rate in whole units of a second, a minute or an hour, rounded down.
fn whole(per_second: f64) -> (u64, &'static str) {
    let of = |seconds: f64| (per_second * seconds * 1.000_1).floor() as u64;
    match (of(1.0), of(60.0), of(3_600.0)) {
        (units @ 20.., ..) => (units, "1s"),
        (_, units @ 20.., _) => (units, "1m"),
        (.., units) => (units.max(1), "1h"),
    }
}

/// Usual periods in seconds, the longest first: too long a period costs time, and too short
/// a period is refused.
const ROUND: [u64; 20] = [
    86_400, 43_200, 21_600, 7_200, 3_600, 1_800, 900, 600, 300, 180, 120, 60, 30, 20, 15, 10, 5, 3,
    2, 1,
];

/// The longest usual period between these bounds, or else the upper bound.
pub(super) fn usual_period(from: Duration, to: Duration) -> Duration {
    let near = to / 100;
    let range = from.saturating_sub(near)..=to + near;
    let mut round = ROUND.into_iter().map(Duration::from_secs);
    round.find(|period| range.contains(period)).unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_periods_are_chosen_and_otherwise_the_longest() {
        let likeliest = |from, to| {
            usual_period(Duration::from_millis(from), Duration::from_millis(to)).as_millis()
        };
        assert_eq!(likeliest(4_050, 5_050), 5_000);
        assert_eq!(likeliest(59_000, 60_000), 60_000);
        assert_eq!(likeliest(100, 1_100), 1_000);
        assert_eq!(likeliest(6_200, 6_800), 6_800);
        assert_eq!(likeliest(1_000, 5_000), 5_000);
    }

    #[test]
    fn a_rate_is_written_in_whole_units() {
        assert_eq!(whole(50.0), (50, "1s"));
        assert_eq!(whole(2.0), (120, "1m"));
        assert_eq!(whole(0.1), (360, "1h"));
    }
}
