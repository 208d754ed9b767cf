//! Sample runs for tests of reports.

use std::time::Duration;

use serde_json::Value;

use super::{LimitReport, RateReport};
use crate::record::{Failure, Record};
use crate::row::Row;
use crate::tally::{Aggregate, Tally};

/// A row and how it ended.
pub(super) fn record(number: u64, outcome: Result<Vec<Value>, Failure>) -> Record {
    let mut row = Row { number, ..Row::default() };
    let symbol = if number.is_multiple_of(2) { "RIV" } else { "ANTE" };
    row.fields.insert("symbol".into(), symbol.into());
    Record {
        row,
        outcome,
        kept: Vec::new(),
        body: None,
        status: None,
        attempts: 1,
        latency: Some(Duration::from_millis(100 + number)),
        arrived: Vec::new(),
    }
}

/// The tally of these records, with this summary.
pub(super) fn tally(records: &[Record], summary: &[&str]) -> Tally {
    let parse = |text: &&str| Aggregate::parse(text, text).unwrap();
    let aggregates: Vec<Aggregate> = summary.iter().map(parse).collect();
    let mut tally = Tally::new(&aggregates, &["price".to_owned()]);
    records.iter().for_each(|record| tally.add(record));
    tally
}

/// The report of a limit that was kept.
pub(super) fn limit() -> LimitReport {
    LimitReport {
        rate: "22/5s".into(),
        guard: "strict".into(),
        units_allowed: 22,
        period_seconds: Some(5.0),
        most_in_window: 22,
        linger_seconds: 30.0,
        ..LimitReport::default()
    }
}

/// The report of a run near its best possible time.
pub(super) fn pace() -> Option<RateReport> {
    Some(RateReport {
        seconds: 118.234_567,
        best_possible_seconds: Some(117.5),
        bound_by: Some("22/5s".into()),
        advice: None,
        requests_per_second: 4.228_9,
    })
}
