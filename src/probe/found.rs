//! What a probe has found, and the rate that keeps it. Pure.

use std::time::Duration;

/// How a limit counts, as far as a probe can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// Each request for a period after its arrival.
    Sliding,
    /// From edge to edge, where all comes back at once.
    Fixed,
    /// A burst, and then one request after the other.
    Bucket,
    /// It can't be told.
    Unknown,
}

/// What a probe has found.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeResult {
    /// How it counts.
    pub kind: FoundKind,
    /// The most at once; of a window, the most in a period. None if nothing was refused.
    pub amount: Option<u64>,
    /// The period of a window.
    pub period: Option<Duration>,
    /// Between these it lies.
    pub between: Option<(Duration, Duration)>,
    /// What comes back in a second, of a bucket.
    pub per_second: Option<f64>,
    /// Whether refused requests count, too.
    pub refusals_count: Option<bool>,
    /// What was sent.
    pub requests: u64,
    /// What was refused of it.
    pub refusals: u32,
    /// Why it ended before it knew everything.
    pub stopped: Option<&'static str>,
}

impl ProbeResult {
    /// How `--rate` writes it, if enough is known, with `--burst` for a bucket.
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

    /// What it means, in words, a line for each thing.
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

/// A rate in whole units, never more than it is: of a second, a minute or an hour.
fn whole(per_second: f64) -> (u64, &'static str) {
    let of = |seconds: f64| (per_second * seconds * 1.000_1).floor() as u64;
    match (of(1.0), of(60.0), of(3_600.0)) {
        (units @ 20.., ..) => (units, "1s"),
        (_, units @ 20.., _) => (units, "1m"),
        (.., units) => (units.max(1), "1h"),
    }
}

/// Periods that people choose, in seconds, the longest first: too long a period is slow,
/// and too short a one is refused.
const ROUND: [u64; 20] = [
    86_400, 43_200, 21_600, 7_200, 3_600, 1_800, 900, 600, 300, 180, 120, 60, 30, 20, 15, 10, 5, 3,
    2, 1,
];

/// The period between these two that people may have chosen.
pub(super) fn chosen(from: Duration, to: Duration) -> Duration {
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
        let likeliest =
            |from, to| chosen(Duration::from_millis(from), Duration::from_millis(to)).as_millis();
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
