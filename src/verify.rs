//! Verifies a limit from the times in the records of a results file.
//!
//! Each record has, for each request of its row, the interval in which it can have
//! reached the server (`_arrived`). The count is the maximum number of requests that can
//! have arrived in one window. It shares no arithmetic with the rate limiter.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::limit::{Limit, LimitError, Measure};
use crate::render::KeyTemplate;
use crate::row::Fields;
use crate::source::{Settings, Source};

/// The checks of a results file.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Number of requests of the rows with records.
    pub requests: u64,
    /// Number of keys; 1 if all requests count together.
    pub keys: u64,
    /// The check of each limit, for its worst key.
    pub checks: Vec<Check>,
}

/// The check of one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The limit.
    pub limit: Limit,
    /// The units that it allows.
    pub allowed: u64,
    /// Maximum number of units that can have arrived in one window.
    pub peak: u64,
    /// The beginning of that window, in microseconds since 1970.
    pub start: i64,
    /// The key of these requests; empty if all count together.
    pub key: String,
}

impl Check {
    /// Whether the limit was kept in the worst case.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.peak <= self.allowed
    }
}

/// Checks these limits over all requests of a results file, or for each value of the
/// template `per`. It keeps 16 bytes per request in memory.
///
/// # Errors
/// If the file can't be read, is not a results file or has no arrivals, or if a limit
/// can't be checked by arrivals.
pub fn verify(file: &Settings, limits: &[Limit], per: Option<&str>) -> Result<Verified, Error> {
    for limit in limits {
        can_check(limit).map_err(|why| Error::plan(format!("\"{limit}\": {why}")))?;
    }
    let mut keys = read(file, per)?;
    keys.values_mut().for_each(Times::sort);
    let worst = |limit: &Limit| {
        let checks = keys.iter().map(|(key, times)| check(limit, key, times));
        checks.max_by_key(|check| check.peak)
    };
    Ok(Verified {
        requests: keys.values().map(|times| times.from.len() as u64).sum(),
        keys: keys.len() as u64,
        checks: limits.iter().filter_map(worst).collect(),
    })
}

/// Checks that a limit can be verified by times of arrival.
///
/// # Errors
/// The reason why not, and the limit that can be checked instead.
pub fn can_check(limit: &Limit) -> Result<(), String> {
    if let Some(unit) = &limit.unit {
        return Err(format!(
            "records say when requests were sent, not how many {unit} they cost: it can't be verified"
        ));
    }
    match limit.measure() {
        Some(_) => Ok(()),
        None => Err(format!(
            "only the server knows where its windows begin: -r {} checks all windows of that length",
            limit.amount
        )),
    }
}

/// The times at which requests can have arrived, in microseconds since 1970.
#[derive(Debug, Default)]
struct Times {
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Times {
    fn sort(&mut self) {
        self.from.sort_unstable();
        self.to.sort_unstable();
    }
}

fn check(limit: &Limit, key: &str, times: &Times) -> Check {
    let length = i64::try_from(limit.amount.period.as_micros()).unwrap_or(i64::MAX);
    let units = limit.amount.units;
    let ((peak, start), allowed) = match limit.measure() {
        Some(Measure::Bucket { burst }) => (least_burst(times, units, length), burst),
        Some(Measure::ClockWindow) => {
            (fullest(times, length, |time| time - time.rem_euclid(length)), units)
        }
        Some(Measure::Total) => ((times.from.len() as u64, 0), units),
        Some(Measure::AnyWindow) | None => (fullest(times, length, |time| time), units),
    };
    Check { limit: limit.clone(), allowed, peak, start, key: key.to_owned() }
}

/// The maximum number of requests that can have arrived in one window, and the beginning of it.
///
/// `[from, to]` touches `[t, t + length)` if `from < t + length` and `to >= t`. If no
/// request ends in a window's first moment, a later window has all its requests. So
/// only windows are tried in whose first moment a request ends (or, if windows begin
/// at certain times only, windows in which a request ends).
fn fullest(times: &Times, length: i64, window_start: impl Fn(i64) -> i64) -> (u64, i64) {
    let (mut begun, mut over, mut worst) = (0, 0, (0, 0));
    for start in times.to.iter().map(|to| window_start(*to)) {
        let end = start.saturating_add(length);
        begun += times.from[begun..].partition_point(|from| *from < end);
        over += times.to[over..].partition_point(|to| *to < start);
        if (begun - over) as u64 > worst.0 {
            worst = ((begun - over) as u64, start);
        }
    }
    worst
}

/// The smallest bucket that can have held all requests at this rate: the largest
/// number of requests in a span less the refill meanwhile, over all spans from the end
/// of one request to the beginning of another.
fn least_burst(times: &Times, units: u64, length: i64) -> (u64, i64) {
    let (units, length) = (i128::from(units), i128::from(length));
    let (mut over, mut best, mut worst) = (0, i128::MIN / 2, (0, 0));
    for (before, &end) in times.from.iter().enumerate() {
        while let Some(&to) = times.to.get(over).filter(|to| **to <= end) {
            best = best.max(units * i128::from(to) - length * over as i128);
            over += 1;
        }
        let begun = before as i128 + 1;
        let at_once = length * (begun - over as i128);
        let level = at_once.max(length * begun - units * i128::from(end) + best);
        if level > worst.0 {
            worst = (level, end);
        }
    }
    let burst = (worst.0 + length - 1) / length.max(1);
    (u64::try_from(burst).unwrap_or(u64::MAX), worst.1)
}

/// All arrivals by key.
fn read(file: &Settings, per: Option<&str>) -> Result<BTreeMap<String, Times>, Error> {
    let label = per.map(KeyTemplate::new).transpose().map_err(Error::plan)?;
    let source = Source::new(file)?;
    let mut keys = BTreeMap::new();
    for (number, row) in (1..).zip(source.rows()?) {
        // Nothing is sent, so no read needs to be stopped early.
        let fields = row.map_err(|error| Error::plan(error.to_string()))?.fields;
        let wrong = |why| Error::plan(format!("{}, record {number}: {why}", source.name()));
        let key = label.as_ref().map(|label| label.of(&fields)).transpose();
        let key = key.map_err(wrong)?.unwrap_or_default();
        let times: &mut Times = keys.entry(key).or_default();
        for [from, to] in arrived(&fields).map_err(wrong)? {
            times.from.push(from);
            times.to.push(to);
        }
    }
    if keys.is_empty() {
        Err(Error::plan(format!("{} has no records", source.name())))
    } else {
        Ok(keys)
    }
}

/// The intervals of one record.
fn arrived(fields: &Fields) -> Result<Vec<[i64; 2]>, String> {
    if !fields.contains_key("_row") {
        return Err("it has no _row: is this a results file?".into());
    }
    let intervals = match fields.get("_arrived") {
        None | Some(Value::Null) => {
            return Err(
                "it has no _arrived: records have that where the job has a limit; run it with one (--rate)"
                    .into(),
            );
        }
        // A table of texts, such as CSV.
        Some(Value::String(text)) => serde_json::from_str(text),
        Some(value) => serde_json::from_value(value.clone()),
    };
    let wrong = "its _arrived is not [[from, to], ...] in seconds since 1970, from before to";
    let intervals: Vec<[f64; 2]> = intervals.map_err(|_| wrong)?;
    let in_micros = |time: f64| (time * 1e6).round() as i64;
    let all = intervals.iter().map(|interval| match interval.map(in_micros) {
        [from, to] if from <= to => Ok([from, to]),
        _ => Err(wrong.to_owned()),
    });
    all.collect()
}

/// The limits of the run of a results file, from the sidecar file beside it.
///
/// # Errors
/// If the sidecar has no limits; then they must be given.
pub fn limits_of(results: &Path) -> Result<Vec<Limit>, Error> {
    if !results.exists() {
        return Err(Error::plan(format!("there is no file {}", results.display())));
    }
    let text = crate::sink::limits_of(results).unwrap_or_default();
    let limits: Result<Vec<Limit>, LimitError> =
        text.split(", ").filter(|limit| !limit.is_empty()).map(str::parse).collect();
    match limits {
        Ok(limits) if !limits.is_empty() => Ok(limits),
        Ok(_) => Err(Error::plan(format!(
            "nothing beside {} says what its limits were: give them with -r N/PERIOD",
            results.display()
        ))),
        Err(_) => Err(Error::plan(format!(
            "the limits of {} were {text}: give the one to verify with -r N/PERIOD, and whose it is with --per",
            results.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn times(intervals: &[[i64; 2]]) -> Times {
        let mut times = Times::default();
        for [from, to] in intervals {
            times.from.push(*from);
            times.to.push(*to);
        }
        times.sort();
        times
    }

    fn touching(intervals: &[[i64; 2]], start: i64, end: i64) -> u64 {
        let touches = |&&[from, to]: &&[i64; 2]| from < end && to >= start;
        intervals.iter().filter(touches).count() as u64
    }

    fn random(seed: u64) -> (Vec<[i64; 2]>, i64) {
        let mut random = StdRng::seed_from_u64(seed);
        let interval = |random: &mut StdRng| {
            let from = random.random_range(0..120);
            [from, from + random.random_range(0..30)]
        };
        let count = random.random_range(1..25);
        let intervals = (0..count).map(|_| interval(&mut random)).collect();
        (intervals, random.random_range(1..40))
    }

    #[test]
    fn every_window_is_tried_by_brute_force() {
        for seed in 0..500 {
            let (intervals, length) = random(seed);
            let times = times(&intervals);
            let starts = -40..200;
            let most = starts.map(|start| touching(&intervals, start, start + length));
            let (found, start) = fullest(&times, length, |time| time);
            assert_eq!(Some(found), most.max(), "seed {seed}");
            assert_eq!(found, touching(&intervals, start, start + length), "seed {seed}");
            let edges = (-40..200).filter(|start| start % length == 0);
            let most = edges.map(|start| touching(&intervals, start, start + length));
            let (found, _) = fullest(&times, length, |time| time - time % length);
            assert_eq!(Some(found), most.max(), "seed {seed}");
        }
    }

    #[test]
    fn every_span_is_tried_by_brute_force() {
        for seed in 0..500 {
            let (intervals, length) = random(seed);
            for units in [1, 3] {
                let spans = (0..150).flat_map(|start| (start..151).map(move |end| (start, end)));
                let needed = |(start, end)| {
                    let come = touching(&intervals, start, end + 1) as i64;
                    // Rounded up, and never less than nothing.
                    (come * length - units * (end - start) + length - 1) / length
                };
                let most = spans.map(needed).max().unwrap();
                let (found, _) = least_burst(&times(&intervals), units as u64, length);
                assert_eq!(found, most as u64, "seed {seed}");
            }
        }
    }

    #[test]
    fn requests_one_period_apart_are_in_different_windows() {
        let times = times(&[[0, 0], [5, 5], [9, 9]]);
        assert_eq!(fullest(&times, 5, |time| time).0, 2);
        assert_eq!(fullest(&times, 4, |time| time).0, 1);
    }
}
