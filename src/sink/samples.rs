//! Records for tests.

use std::time::Duration;

use serde_json::json;

use crate::format::Columns;
use crate::record::{Arrived, Failure, FailureKind, Record};
use crate::row::Row;

/// The columns of an input with one field, `symbol`.
pub(crate) fn columns(values: &[&str], body: bool) -> Columns {
    let values = values.iter().map(|name| (*name).to_owned()).collect();
    Columns::new(Some(vec!["symbol".to_owned()]), values, body).unwrap()
}

/// A result with two values.
pub(crate) fn ok(number: u64) -> Record {
    let mut row = Row { number, ..Row::default() };
    row.fields.insert("symbol".into(), "RIV".into());
    Record {
        row,
        outcome: Ok(vec![json!(12.5), json!("A \"B\"\nC")]),
        kept: Vec::new(),
        body: None,
        status: Some(200),
        attempts: 2,
        latency: Some(Duration::from_micros(118_204)),
        arrived: [(500_000, 618_204), (2_000_000, 2_250_000)]
            .map(|(from, to)| Some(Arrived { from, to, ..Arrived::default() }))
            .into(),
        warning: None,
        saved: None,
        origin: None,
        target: None,
    }
}

/// A row that failed without an answer.
pub(crate) fn failed(number: u64) -> Record {
    let failure = Failure::new(FailureKind::Timeout, "=no answer, in 30 s");
    Record { outcome: Err(failure), status: None, attempts: 1, latency: None, ..ok(number) }
}
