//! The result of a probe, and the rate that keeps the limit. Pure.

use std::time::Duration;

use crate::judge::signals::NamedPolicy;
use crate::limit::duration;

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
    /// Tokens of a bucket that come back in a second at least.
    pub least_per_second: Option<f64>,
    /// The policies that the server's headers name.
    pub named: Vec<NamedPolicy>,
    /// Whether refused requests count.
    pub refusals_count: Option<bool>,
    /// Number of requests.
    pub requests: u64,
    /// Number of times that requests were refused.
    pub refusals: u32,
    /// Number of requests that were refused together with another one.
    pub refused_together: u64,
    /// The reason for which the probe ended early.
    pub stopped: Option<&'static str>,
}

impl ProbeResult {
    /// The limit as the flag `--rate`, with `--burst` for a bucket, if enough is known.
    #[must_use]
    pub fn rate(&self) -> Option<String> {
        if let Some(named) = self.named_limit() {
            return Some(named);
        }
        let amount = self.amount?;
        match (self.kind, self.period, self.per_second) {
            (FoundKind::Bucket, _, Some(per_second)) => {
                let least = self.least_per_second.unwrap_or(per_second);
                let (units, period) = whole(least, per_second);
                Some(format!("--rate bucket:{units}/{period} --burst {amount}"))
            }
            (FoundKind::Sliding | FoundKind::Fixed, Some(period), _) => {
                Some(format!("--rate {amount}/{}", duration::exact(period)))
            }
            _ => None,
        }
    }

    /// The policies that headers name, as flags, unless the answers say otherwise: fewer units
    /// at once, or a longer period.
    fn named_limit(&self) -> Option<String> {
        let least = self.named.iter().map(|policy| policy.units).min()?;
        let is_window = self.kind != FoundKind::Bucket;
        let is_reached = self.amount.is_none_or(|amount| is_window && amount >= least);
        let lasts = |policy: &NamedPolicy| {
            self.between.is_none_or(|(from, _)| policy.units > least || policy.period >= from)
        };
        let fits = is_reached && self.named.iter().all(lasts);
        let flags = self.named.iter();
        let flags = flags.map(|it| format!("--rate {}/{}", it.units, duration::exact(it.period)));
        fits.then(|| flags.collect::<Vec<_>>().join(" "))
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
        for policy in &self.named {
            let period = duration::exact(policy.period);
            lines.push(format!("its headers name {} in {period}", policy.units));
        }
        if let Some(stopped) = self.stopped {
            lines.push(format!("it ended before it knew everything: {stopped}"));
        }
        lines
    }

    /// Number of requests that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        u64::from(self.refusals) + self.refused_together
    }

    fn nothing_found(&self) -> String {
        match (self.requests - self.refused(), self.refused()) {
            (0, 0) => "nothing was sent, so nothing is known".to_owned(),
            (0, _) => "every request was refused: the limit was used up before, or the server refuses them for another reason; probe again once nothing has been sent for a while".to_owned(),
            (accepted, 0) => format!(
                "none of {accepted} requests was refused, one after the other: a limit, if there is one, is higher than that"
            ),
            (accepted, refused) => format!(
                "after the first {refused}, none of {accepted} requests was refused, one after the other: a limit, if there is one, is higher than that"
            ),
        }
    }

    fn limit(&self) -> String {
        let Some(amount) = self.amount else {
            return self.nothing_found();
        };
        let period = self.period.map(duration::exact);
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
            _ => format!("{amount} until it refused one, and when units come back is unknown"),
        }
    }
}

/// The roundest rate that lies between these tokens in a second, as units and a period; else the
/// lower one in whole units, rounded down.
fn whole(least: f64, measured: f64) -> (u64, &'static str) {
    const PERIODS: [(f64, &str, [f64; 4]); 3] = [
        (1.0, "1s", [100.0, 50.0, 10.0, 1.0]),
        (60.0, "1m", [100.0, 50.0, 10.0, 5.0]),
        (3_600.0, "1h", [1_000.0, 500.0, 100.0, 50.0]),
    ];
    for (seconds, period, steps) in PERIODS {
        for step in steps {
            let units = (measured * seconds / step).floor() * step;
            if units >= 1.0 && units >= least * seconds {
                return (units as u64, period);
            }
        }
    }
    let of = |seconds: f64| (least * seconds).floor() as u64;
    match (of(1.0), of(60.0), of(3_600.0)) {
        (units @ 100.., ..) => (units, "1s"),
        (_, units @ 100.., _) => (units, "1m"),
        (.., units) => (units.max(1), "1h"),
    }
}

/// Usual periods in seconds, the longest first: too long a period costs time, and too short
/// a period is refused.
const ROUND: [u64; 20] = [
    86_400, 43_200, 21_600, 7_200, 3_600, 1_800, 900, 600, 300, 180, 120, 60, 30, 20, 15, 10, 5, 3,
    2, 1,
];

/// How much longer than the upper bound a usual period may be, as a part of it.
const LONGER: u32 = 5;

/// The longest usual period between these bounds; else the shortest that is a little longer, since
/// the first window may have begun before the first request; else the upper bound in whole
/// seconds, or tenths of one.
pub(super) fn usual_period(from: Duration, to: Duration) -> Duration {
    let near = to / 100;
    let usual = || ROUND.into_iter().map(Duration::from_secs);
    let between = usual().find(|period| (from.saturating_sub(near)..=to + near).contains(period));
    let longer = || usual().rev().find(|period| (to..=to + to / LONGER).contains(period));
    between.or_else(longer).unwrap_or_else(|| round_up(to))
}

fn round_up(time: Duration) -> Duration {
    let tenths = time.as_millis().div_ceil(100).max(1) as u64;
    if tenths < 10 {
        Duration::from_millis(tenths * 100)
    } else {
        Duration::from_secs(tenths.div_ceil(10))
    }
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
        assert_eq!(likeliest(6_200, 6_800), 7_000);
        assert_eq!(likeliest(4_050, 4_535), 5_000);
        assert_eq!(likeliest(210, 240), 300);
        assert_eq!(likeliest(1_000, 5_000), 5_000);
    }

    #[test]
    fn a_rate_is_written_in_whole_units() {
        assert_eq!(whole(49.0, 51.0), (50, "1s"));
        assert_eq!(whole(9.7, 10.27), (10, "1s"));
        assert_eq!(whole(4.9, 5.15), (5, "1s"));
        assert_eq!(whole(1.9, 2.06), (2, "1s"));
        assert_eq!(whole(1.6, 1.7), (100, "1m"));
        assert_eq!(whole(9.45, 9.55), (570, "1m"));
        assert_eq!(whole(9.41, 9.46), (565, "1m"));
        assert_eq!(whole(0.099, 0.101), (356, "1h"));
    }

    #[test]
    fn what_headers_name_is_taken_unless_the_answers_say_less() {
        let policy = NamedPolicy { units: 20, period: Duration::from_secs(5) };
        let of = |amount, from, to| ProbeResult {
            kind: FoundKind::Fixed,
            amount,
            period: Some(Duration::from_millis(to)),
            between: Some((Duration::from_millis(from), Duration::from_millis(to))),
            named: vec![policy],
            ..ProbeResult::default()
        };
        assert_eq!(of(Some(20), 3_535, 4_535).rate().as_deref(), Some("--rate 20/5s"));
        assert_eq!(of(Some(10), 3_535, 5_000).rate().as_deref(), Some("--rate 10/5s"));
        assert_eq!(of(Some(20), 9_000, 10_000).rate().as_deref(), Some("--rate 20/10s"));
        let unreached = ProbeResult { named: vec![policy], ..ProbeResult::default() };
        assert_eq!(unreached.rate().as_deref(), Some("--rate 20/5s"));
    }
}
