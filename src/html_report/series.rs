//! The numbers of a page's plots over time. Pure.

use serde::Serialize;

use super::fold::{Activity, Count, LimitLine, RecordFold};
use super::timeline::Timeline;
use crate::limit::Measure;
use crate::report::short;
use crate::tally::Quantiles;

/// Number of points up to which a plot is readable.
const MAX_POINTS: usize = 180;
/// Number of kinds of failure that have a colour of their own.
const KINDS: usize = 5;
/// Shortest time without a request that is cut out, in seconds.
const SHORTEST_PAUSE: f64 = 30.0;

/// The numbers of the plots, each with an entry for each point in time.
#[derive(Debug, Default, Serialize)]
pub(super) struct Series {
    /// When the first point begins, in seconds since 1970.
    pub start: f64,
    /// The time from each point to the next, in seconds.
    pub width: f64,
    /// When each point begins, in seconds from the first one, without the pauses.
    pub at: Vec<f64>,
    /// The pauses that are cut out.
    pub pauses: Vec<Pause>,
    /// Requests sent.
    pub requests: Vec<u64>,
    /// Those of them that repeat one of their row.
    pub retries: Vec<u64>,
    /// Records with a result.
    pub ok: Vec<u64>,
    /// Records that failed, by kind, the most frequent first.
    pub failed: Vec<KindSeries>,
    /// Percentiles of the latency, in milliseconds.
    pub p50: Vec<Option<f64>>,
    pub p90: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
    /// The mean number of requests in flight.
    pub in_flight: Vec<f64>,
    pub limits: Vec<LimitSeries>,
}

/// A time without requests that the plots leave out.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Pause {
    /// Where it would begin, in seconds of the plots.
    pub at: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct KindSeries {
    pub kind: String,
    pub counts: Vec<u64>,
}

/// A limit and the largest counts of its windows.
#[derive(Debug, Serialize)]
pub(super) struct LimitSeries {
    pub name: String,
    /// What is counted, in words.
    pub counted: String,
    pub allowed: u64,
    /// The units that it allows in a second in the long run, if it counts requests of all rows.
    pub per_second: Option<f64>,
    /// The units that it allows at once, and its period, if the fastest course is known.
    pub cycle: Option<(u64, f64)>,
    pub counts: Vec<Option<u64>>,
}

/// The points of the plots: the number of the bucket of each, none where a pause is cut out.
struct Layout {
    buckets: Vec<Option<i64>>,
}

/// The series of these records; none if no time is known.
pub(super) fn series(fold: &mut RecordFold, limits: &mut [LimitLine]) -> Option<Series> {
    let (first, last) = fold.span?;
    let longest = limits.iter().map(|it| it.check.limit.amount.period.as_secs_f64());
    let longest = longest.fold(0.0, f64::max);
    let layout = loop {
        let width = fold.line.width();
        let layout = Layout::new(&fold.line, first / width, last / width, longest);
        if layout.buckets.len() <= MAX_POINTS {
            break layout;
        }
        fold.line.widen();
    };
    let width = fold.line.width();
    for limit in limits.iter_mut() {
        while limit.line.width() < width {
            limit.line.widen();
        }
    }
    let mut series = Series {
        start: (first.div_euclid(width) * width) as f64 / 1e6,
        width: width as f64 / 1e6,
        ..Series::default()
    };
    layout.place(&mut series);
    let empty = Activity::default();
    let points: Vec<&Activity> = layout.activities(&fold.line, &empty).collect();
    let counts = |of: fn(&Activity) -> u64| points.iter().map(|it| of(it)).collect();
    series.requests = counts(|it| it.requests);
    series.retries = counts(|it| it.retries);
    series.ok = counts(|it| it.ok);
    series.failed = failed(fold, &points);
    let percentile = |share| points.iter().map(|it| rounded_at(&it.latency, share)).collect();
    series.p50 = percentile(0.5);
    series.p90 = percentile(0.9);
    series.p99 = percentile(0.99);
    series.in_flight =
        points.iter().map(|it| rounded(it.in_flight as f64 / width as f64)).collect();
    series.limits = limits.iter().map(|limit| layout.limit(limit)).collect();
    Some(series)
}

impl Layout {
    fn new(line: &Timeline<Activity>, first: i64, last: i64, longest: f64) -> Layout {
        let width = line.width() as f64 / 1e6;
        let active = line.buckets().len() as f64 * width;
        let pause = SHORTEST_PAUSE.max(2.0 * longest).max(active / 2.0) / width;
        let mut buckets: Vec<Option<i64>> = Vec::new();
        let mut next = first;
        for (number, _) in line.buckets().range(..=last) {
            let number = (*number).max(first);
            if (number - next) as f64 > pause {
                buckets.push(None);
                next = number;
            }
            // Far more points than fit are not needed to see that they don't fit.
            while next <= number && buckets.len() <= 2 * MAX_POINTS {
                buckets.push(Some(next));
                next += 1;
            }
            next = number + 1;
        }
        Layout { buckets }
    }

    /// Sets when each point begins, and the pauses. A cut has a point of its own.
    fn place(&self, series: &mut Series) {
        for (place, bucket) in self.buckets.iter().enumerate() {
            let at = place as f64 * series.width;
            series.at.push(rounded_to(at, 1e6));
            let around = (place.checked_sub(1), self.buckets.get(place + 1));
            if let (None, (Some(before), Some(Some(after)))) = (bucket, around)
                && let Some(before) = self.buckets[before]
            {
                let seconds = (after - before - 1) as f64 * series.width;
                series.pauses.push(Pause { at, seconds });
            }
        }
    }

    fn activities<'a>(
        &'a self,
        line: &'a Timeline<Activity>,
        empty: &'a Activity,
    ) -> impl Iterator<Item = &'a Activity> {
        let of = |number: &i64| line.buckets().get(number);
        self.buckets.iter().map(move |it| it.as_ref().and_then(of).unwrap_or(empty))
    }

    fn limit(&self, limit: &LimitLine) -> LimitSeries {
        let check = &limit.check;
        let amount = check.limit.amount;
        let period = amount.period.as_secs_f64();
        let is_of_all = check.keys <= 1 && check.limit.unit.is_none() && check.key.is_empty();
        let measure = check.limit.measure();
        let has_pace = is_of_all && !matches!(measure, Some(Measure::Total) | None);
        LimitSeries {
            name: short(&check.limit.to_string()),
            counted: counted(check.limit.unit.as_deref(), measure, check.keys),
            allowed: check.allowed,
            per_second: has_pace.then(|| amount.units as f64 / period),
            cycle: (is_of_all && matches!(measure, Some(Measure::AnyWindow)))
                .then_some((amount.units, period)),
            counts: self.counts(&limit.line, check.keys),
        }
    }

    /// The largest count of each point. The count at the end of a point lasts into the next ones,
    /// where all requests count together.
    fn counts(&self, line: &Timeline<Count>, keys: u64) -> Vec<Option<u64>> {
        let mut last = None;
        let mut buckets = line.buckets().iter().peekable();
        let mut counts = Vec::with_capacity(self.buckets.len());
        for number in &self.buckets {
            let Some(number) = number else {
                counts.push(None);
                continue;
            };
            let mut largest = last.unwrap_or(0);
            while let Some((_, count)) = buckets.next_if(|(at, _)| *at <= number) {
                largest = largest.max(count.largest);
                last = (keys <= 1).then_some(count.last);
            }
            counts.push(Some(largest));
        }
        counts
    }
}

/// What a limit counts, in words.
fn counted(unit: Option<&str>, measure: Option<Measure>, keys: u64) -> String {
    let unit = unit.unwrap_or("requests");
    let what = match measure {
        Some(Measure::Bucket { .. }) => "in the bucket",
        Some(Measure::ClockWindow) => "in a window of the clock",
        Some(Measure::Day) => "in a day",
        Some(Measure::Counter) => "by the server's estimate",
        Some(Measure::Total) => "in all",
        Some(Measure::AnyWindow) | None => "in any window",
    };
    let of = if keys > 1 { " of the busiest key" } else { "" };
    format!("{} {what}{of}", short(unit))
}

/// The failures of the most frequent kinds, and those of all others together.
fn failed(fold: &RecordFold, points: &[&Activity]) -> Vec<KindSeries> {
    let counts = |kind: usize| -> Vec<u64> {
        points.iter().map(|it| it.failed.get(&kind).copied().unwrap_or(0)).collect()
    };
    let all = fold.kinds.iter().enumerate();
    let mut kinds: Vec<KindSeries> = all
        .map(|(at, kind)| KindSeries { kind: short(&kind.text()), counts: counts(at) })
        .collect();
    kinds.sort_by_key(|it| std::cmp::Reverse(it.counts.iter().sum::<u64>()));
    if kinds.len() > KINDS {
        let others = kinds.split_off(KINDS - 1);
        let sum = |point: usize| others.iter().map(|it| it.counts[point]).sum();
        let counts = (0..points.len()).map(sum).collect();
        kinds.push(KindSeries { kind: format!("{} other kinds", others.len()), counts });
    }
    kinds
}

fn rounded_at(latency: &Quantiles, share: f64) -> Option<f64> {
    latency.at(share).map(rounded)
}

/// Three decimals are enough for a plot.
fn rounded(number: f64) -> f64 {
    rounded_to(number, 1e3)
}

fn rounded_to(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrived, Record};
    use crate::sink::samples::ok;
    use crate::verify::KnownLimits;

    fn at(seconds: i64) -> Record {
        let (from, to) = (seconds * 1_000_000, seconds * 1_000_000 + 118_204);
        let arrived = vec![Some(Arrived { from, to, ..Arrived::default() })];
        Record { arrived, attempts: 1, ..ok(seconds as u64) }
    }

    fn of(seconds: impl Iterator<Item = i64>) -> Series {
        let limit = crate::sink::RunLimit {
            limit: "3/2s".parse().unwrap(),
            pool: false,
            targets: Vec::new(),
        };
        let mut fold = RecordFold::new(&KnownLimits::of_run(&[limit]), Some(&[]));
        seconds.for_each(|second| fold.add(&at(second)));
        let mut limits = fold.limits();
        series(&mut fold, &mut limits).unwrap()
    }

    #[test]
    fn all_requests_are_there_however_long_it_took() {
        for end in [1, 10, 1_000, 100_000] {
            let series = of(0..end);
            assert_eq!(series.requests.iter().sum::<u64>(), end as u64);
            assert_eq!(series.ok.iter().sum::<u64>(), end as u64);
            assert!(series.at.len() <= MAX_POINTS && series.pauses.is_empty(), "{end}");
            let busy: f64 = series.in_flight.iter().map(|mean| mean * series.width).sum();
            assert!((busy / (end as f64 * 0.118_204) - 1.0).abs() < 0.02, "{end}: {busy}");
            let limit = &series.limits[0];
            assert_eq!(limit.counts.iter().flatten().max(), Some(&(end.min(3) as u64)));
            assert_eq!((limit.allowed, limit.per_second), (3, Some(1.5)));
        }
    }

    #[test]
    fn a_long_pause_is_cut_out_and_a_short_one_is_not() {
        let series = of((0..20).chain(100_000..100_020));
        assert_eq!(series.pauses.len(), 1);
        assert!((series.pauses[0].seconds - 99_980.0).abs() < 2.0, "{:?}", series.pauses);
        assert!(series.at.len() > 100, "the pause makes nothing coarser");
        let cut = (series.pauses[0].at / series.width).round() as usize;
        assert_eq!((series.requests[cut], series.limits[0].counts[cut]), (0, None));
        assert!(of((0..20).chain(25..45)).pauses.is_empty());
    }
}
