//! Folds records into what a page shows of them, in bounded memory.

use std::collections::BTreeMap;
use std::time::Duration;

use super::numbers::Numbers;
use super::timeline::{Bucket, Timeline};
use super::values::ValueFold;
use crate::record::{Arrived, FailureKind, REQUESTS, Record};
use crate::tally::Quantiles;
use crate::verify::{Arrival, Check, KnownLimits, Level, LimitCount};

/// Maximum number of kinds of failure over time; further ones are counted as other kinds.
const MAX_KINDS: usize = 100;
/// Maximum number of values that are shown.
const MAX_VALUES: usize = 40;

/// The records so far.
pub struct RecordFold {
    pub(super) line: Timeline<Activity>,
    pub(super) latency: Numbers,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) kinds: Vec<FailureKind>,
    pub(super) values: Vec<ValueFold>,
    limits: Vec<LimitCount>,
    /// What can't be shown, and why.
    pub(super) notes: Vec<String>,
    pub(super) records: u64,
    /// Records of which not all times are known.
    pub(super) untimed: u64,
    pub(super) requests: u64,
    /// Units other than requests that all requests took, as far as records say.
    pub(super) units: BTreeMap<String, u64>,
    /// When the first request was sent, and the last one was answered.
    pub(super) span: Option<(i64, i64)>,
    /// Whether nothing says which fields are values: then all are shown.
    takes_all_fields: bool,
    /// When the last answer of the record before came.
    latest_end: Option<i64>,
    /// Whether times are those at which records were written.
    pub(super) by_writing: bool,
}

/// What went on in a bucket of time.
#[derive(Default)]
pub(super) struct Activity {
    /// Requests that were sent.
    pub requests: u64,
    /// Those of them that repeat a request of their row.
    pub retries: u64,
    /// Records with a result whose last answer came.
    pub ok: u64,
    /// Records that failed, by the number of the kind.
    pub failed: BTreeMap<usize, u64>,
    /// The time of all requests in flight, in microseconds.
    pub in_flight: i64,
    /// Latencies of the last answers, in milliseconds.
    pub latency: Quantiles,
}

impl Bucket for Activity {
    fn merge(&mut self, later: Activity) {
        self.requests += later.requests;
        self.retries += later.retries;
        self.ok += later.ok;
        for (kind, count) in later.failed {
            *self.failed.entry(kind).or_default() += count;
        }
        self.in_flight += later.in_flight;
        self.latency.merge(&later.latency);
    }
}

/// The largest and the last count of a limit in a bucket of time.
#[derive(Default, Clone, Copy)]
pub(super) struct Count {
    pub largest: u64,
    pub last: u64,
}

impl Bucket for Count {
    fn merge(&mut self, later: Count) {
        self.largest = self.largest.max(later.largest);
        self.last = later.last;
    }
}

/// A limit, and its counts over time.
pub(super) struct LimitLine {
    pub check: Check,
    pub line: Timeline<Count>,
}

impl RecordFold {
    /// No records so far, of a job with these limits and values. Where nothing says which fields
    /// are values, all fields of the first record are taken for them.
    #[must_use]
    pub fn new(limits: &KnownLimits, values: Option<&[String]>) -> RecordFold {
        let mut notes = limits.unproven.clone();
        let mut counts = Vec::new();
        for limit in &limits.limits {
            match LimitCount::new(limit) {
                Ok(count) => counts.push(count),
                Err(error) => notes.push(error.to_string()),
            }
        }
        let mut fold = RecordFold {
            line: Timeline::new(),
            latency: Numbers::default(),
            statuses: BTreeMap::new(),
            kinds: Vec::new(),
            values: Vec::new(),
            limits: counts,
            notes,
            records: 0,
            untimed: 0,
            requests: 0,
            units: BTreeMap::new(),
            span: None,
            takes_all_fields: values.is_none(),
            latest_end: None,
            by_writing: false,
        };
        fold.name_values(values.unwrap_or_default());
        fold
    }

    fn name_values(&mut self, names: &[String]) {
        if let Some(more) = names.len().checked_sub(MAX_VALUES).filter(|more| *more > 0) {
            self.notes.push(format!("{more} more values are not shown"));
        }
        let values = names.iter().take(MAX_VALUES).enumerate();
        self.values = values.map(|(index, name)| ValueFold::new(name, index)).collect();
    }

    /// Adds a note for people.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a record of a results file.
    pub fn add(&mut self, record: &Record) {
        self.add_timed(record, None);
    }

    /// Adds a record with the times of its requests, and that at which it was written, if that
    /// is known.
    fn add_timed(&mut self, record: &Record, written: Option<i64>) {
        let is_whole = record.arrived.len() as u64 >= u64::from(record.attempts);
        self.untimed += u64::from(!is_whole);
        self.add_outcome(record);
        self.add_requests(record, written);
        let last = record.arrived.iter().flatten().next_back();
        let end = |last: &Arrived| match (record.latency, written) {
            (None, None) => last.from,
            _ => answered(record, last, written),
        };
        // What came with the answer to another record's request came when that did.
        let with_other = self.latest_end.filter(|_| is_whole);
        self.add_end(record, last.map(end).or(with_other));
    }

    /// Adds a record that was written at this time, in microseconds since 1970. It is the time
    /// of its last answer, unless the record knows better.
    pub fn add_written(&mut self, record: &Record, now: i64) {
        // An item of a list has no request of its own.
        if !record.arrived.is_empty() || record.attempts == 0 {
            return self.add_timed(record, Some(now));
        }
        self.by_writing = true;
        let from = now.saturating_sub(micros(record.latency.unwrap_or_default()));
        self.add_outcome(record);
        if record.attempts > 0 {
            self.add_request(from, now, 0);
        }
        self.add_end(record, Some(now));
    }

    /// The limits with their counts over time.
    pub(super) fn limits(&mut self) -> Vec<LimitLine> {
        let mut lines = Vec::new();
        for count in std::mem::take(&mut self.limits) {
            let mut line = Timeline::<Count>::new();
            let mut see = |level: Level| {
                let bucket = line.at(level.time);
                bucket.largest = bucket.largest.max(level.units);
                bucket.last = level.units;
            };
            match count.check(&mut see) {
                Ok(check) => lines.push(LimitLine { check, line }),
                Err(error) => self.notes.push(error.to_string()),
            }
        }
        lines
    }

    fn add_outcome(&mut self, record: &Record) {
        if self.takes_all_fields && self.records == 0 {
            let names: Vec<String> = record.row.fields.keys().cloned().collect();
            self.name_values(&names);
        }
        self.records += 1;
        if let Some(status) = record.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        if let Some(latency) = record.latency {
            self.latency.add(latency.as_secs_f64() * 1_000.0);
        }
        if record.outcome.is_ok() {
            self.values.iter_mut().for_each(|value| value.add(record));
        }
    }

    fn add_requests(&mut self, record: &Record, written: Option<i64>) {
        let arrived: Vec<&Arrived> = record.arrived.iter().flatten().collect();
        for (number, one) in arrived.iter().enumerate() {
            let to = match arrived.get(number + 1) {
                Some(next) => one.to.min(next.from),
                None => answered(record, one, written),
            };
            self.add_request(one.from, to, number);
            for (unit, units) in &one.counted {
                if let Some(units) = units.as_u64().filter(|_| unit != REQUESTS) {
                    *self.units.entry(unit.clone()).or_default() += units;
                }
            }
        }
        if self.limits.is_empty() {
            return;
        }
        let arrivals: Vec<Arrival> =
            arrived.into_iter().map(|it| Arrival::new(it, record.target.as_deref())).collect();
        let notes = &mut self.notes;
        self.limits.retain_mut(|limit| {
            let added = limit.add(0, &record.row.fields, &arrivals);
            added.map_err(|why| notes.push(format!("a limit can't be shown: {why}"))).is_ok()
        });
    }

    fn add_request(&mut self, from: i64, to: i64, number: usize) {
        self.requests += 1;
        self.reach(from);
        let bucket = self.line.at(from);
        bucket.requests += 1;
        bucket.retries += u64::from(number > 0);
        self.line.spread(from, to, |bucket, part| bucket.in_flight += part);
    }

    fn reach(&mut self, time: i64) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }

    /// Counts the record where its last answer came, as far as that is known.
    fn add_end(&mut self, record: &Record, end: Option<i64>) {
        let kind = match &record.outcome {
            Err(failure) if !record.is_ok() => Some(self.kind(&failure.kind)),
            _ => None,
        };
        let Some(end) = end else {
            return;
        };
        self.latest_end = Some(end);
        self.reach(end);
        let bucket = self.line.at(end);
        match kind {
            Some(kind) => *bucket.failed.entry(kind).or_default() += 1,
            None => bucket.ok += 1,
        }
        if let Some(latency) = record.latency {
            bucket.latency.add(latency.as_secs_f64() * 1_000.0);
        }
    }

    fn kind(&mut self, kind: &FailureKind) -> usize {
        if let Some(known) = self.kinds.iter().position(|known| known == kind) {
            return known;
        }
        if self.kinds.len() < MAX_KINDS {
            self.kinds.push(kind.clone());
            return self.kinds.len() - 1;
        }
        if self.kinds.len() == MAX_KINDS {
            self.kinds.push(FailureKind::Other("other kinds".to_owned()));
        }
        MAX_KINDS
    }
}

/// When the last answer of a record was whole. An attempt without one can arrive for longer than
/// it was waited for, which was at most until the record was written.
fn answered(record: &Record, last: &Arrived, written: Option<i64>) -> i64 {
    match record.latency {
        Some(latency) => last.from.saturating_add(micros(latency)),
        None => written.map_or(last.to, |written| last.to.min(written).max(last.from)),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::Failure;
    use crate::row::Row;
    use crate::sink::RunLimit;

    /// A record whose requests were sent and answered at these times, in milliseconds.
    fn record(number: u64, times: &[(i64, i64)]) -> Record {
        let arrived = |(from, to): &(i64, i64)| {
            Some(Arrived { from: from * 1_000, to: to * 1_000, ..Arrived::default() })
        };
        let latency = times.last().map(|(from, to)| Duration::from_millis((to - from) as u64));
        Record {
            row: Row { number, ..Row::default() },
            outcome: Ok(vec![json!(number)]),
            kept: Vec::new(),
            body: None,
            status: Some(200),
            attempts: times.len() as u32,
            latency,
            arrived: times.iter().map(arrived).collect(),
            warning: None,
            saved: None,
            origin: None,
            target: None,
        }
    }

    fn limited(rate: &str) -> KnownLimits {
        KnownLimits::of_run(&[RunLimit {
            limit: rate.parse().unwrap(),
            pool: false,
            targets: Vec::new(),
        }])
    }

    #[test]
    fn what_went_on_is_counted_in_its_time() {
        let mut fold = RecordFold::new(&limited("2/1s"), Some(&["price".to_owned()]));
        fold.add(&record(0, &[(0, 4), (1_000, 1_500)]));
        let mut failed = record(1, &[(1_000, 4_000)]);
        failed.latency = None;
        failed.outcome = Err(Failure::new(FailureKind::Timeout, ""));
        fold.add(&failed);
        assert_eq!((fold.records, fold.requests, fold.untimed), (2, 3, 0));
        // Without an answer, the time of the last sending counts.
        assert_eq!(fold.span, Some((0, 1_500_000)));
        let second = &fold.line.buckets()[&64];
        assert_eq!((second.requests, second.retries, second.ok), (2, 1, 0));
        assert_eq!(second.failed, BTreeMap::from([(0, 1)]));
        assert_eq!(second.in_flight, 2 * fold.line.width());
        assert_eq!(fold.line.buckets()[&96].ok, 1);
        assert_eq!(fold.values[0].numbers.count(), 1);
        let limits = fold.limits();
        assert_eq!((limits[0].check.peak, limits[0].check.allowed), (3, 2));
    }

    #[test]
    fn a_record_without_times_is_counted_when_it_is_written_or_as_untimed() {
        let mut untimed = record(0, &[(0, 40)]);
        untimed.arrived.clear();
        let mut fold = RecordFold::new(&limited("2/1s"), None);
        fold.add(&untimed);
        assert_eq!((fold.untimed, fold.span, fold.by_writing), (1, None, false));
        fold.add_written(&untimed, 1_000_000);
        assert_eq!((fold.span, fold.by_writing), (Some((960_000, 1_000_000)), true));
    }

    #[test]
    fn an_item_of_a_list_comes_with_the_record_that_has_the_request() {
        let mut fold = RecordFold::new(&limited("2/1s"), None);
        let item = Record { attempts: 0, arrived: Vec::new(), ..record(0, &[(0, 40)]) };
        fold.add_written(&record(0, &[(0, 40)]), 50_000);
        fold.add_written(&item, 50_000);
        fold.add(&item);
        assert_eq!((fold.requests, fold.untimed, fold.by_writing), (1, 0, false));
        assert_eq!(fold.line.buckets()[&2].ok, 3);
    }

    #[test]
    fn kinds_of_failures_are_bounded() {
        let mut fold = RecordFold::new(&limited("2/1s"), None);
        for number in 0..300_u16 {
            let mut failed = record(number.into(), &[(0, 1)]);
            failed.outcome = Err(Failure::new(FailureKind::Status(number), ""));
            fold.add(&failed);
        }
        assert_eq!((fold.kinds.len(), &*fold.kinds[100].text()), (101, "other kinds"));
        assert_eq!(fold.line.buckets()[&0].failed[&100], 200);
    }
}
