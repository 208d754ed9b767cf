//! Merged tallies of any split of the records equal the tally of all.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::record::{Failure, FailureKind};
use crate::row::Row;

const AGGREGATES: [&str; 9] = [
    "count(price)",
    "sum(price)",
    "mean(price)",
    "stddev(price)",
    "min(price)",
    "p90(price)",
    "distinct(price)",
    "mean(price) by sector",
    "max(weight) by sector",
];

/// Repeatable pseudo-random numbers.
fn noise(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *seed >> 33
}

fn record(number: u64, seed: &mut u64) -> Record {
    let mut row = Row { number, ..Row::default() };
    row.fields.insert("sector".into(), json!(noise(seed) % 5));
    row.fields.insert("weight".into(), json!(format!("{}.5", noise(seed) % 90)));
    let price = match noise(seed) % 10 {
        0 => Value::from("n/a"),
        _ => json!(noise(seed) as f64 / 1e4),
    };
    let failure = Failure::new(FailureKind::Status(500 + (noise(seed) % 3) as u16), "why");
    Record {
        row,
        outcome: if noise(seed).is_multiple_of(8) { Err(failure) } else { Ok(vec![price]) },
        kept: Vec::new(),
        body: None,
        status: None,
        attempts: 1 + (noise(seed) % 3) as u32,
        latency: Some(Duration::from_micros(noise(seed) % 1_000_000)),
        arrived: Vec::new(),
        warning: None,
        saved: None,
        origin: None,
        target: None,
    }
}

fn empty() -> Tally {
    let parse = |text: &&str| Aggregate::parse(text, text).unwrap();
    let aggregates: Vec<Aggregate> = AGGREGATES.iter().map(parse).collect();
    Tally::new(&aggregates, &["price".to_owned()])
}

fn records() -> Vec<Record> {
    let mut seed = 7;
    (0..3000).map(|number| record(number, &mut seed)).collect()
}

fn figures(tally: &Tally) -> Vec<Figure> {
    let figures = |result: AggregateResult| match result.figures {
        Figures::One(figure) => vec![figure],
        Figures::Many { groups } => groups.into_iter().map(|group| group.figure).collect(),
    };
    tally.results().into_iter().flat_map(figures).collect()
}

fn assert_same(split: &Tally, whole: &Tally) {
    assert_eq!(split.counts(), whole.counts());
    assert_eq!(split.failures(), whole.failures());
    assert_eq!(split.latency().at(0.9), whole.latency().at(0.9));
    for (mine, theirs) in figures(split).into_iter().zip(figures(whole)) {
        let (one, other) = (mine.value.unwrap(), theirs.value.unwrap());
        assert!((one - other).abs() <= 1e-9 * other.abs(), "{one} {other}");
        assert_eq!((mine.values, mine.skipped), (theirs.values, theirs.skipped));
        assert_eq!(mine.accuracy, theirs.accuracy);
    }
}

#[test]
fn merged_tallies_equal_the_tally_of_all_records() {
    let mut whole = empty();
    records().iter().for_each(|record| whole.add(record));
    for parts in [1, 2, 3, 17] {
        let mut seed = parts;
        let mut tallies: Vec<Tally> = (0..parts).map(|_| empty()).collect();
        for record in &records() {
            tallies[(noise(&mut seed) % parts) as usize].add(record);
        }
        let mut merged = empty();
        tallies.into_iter().for_each(|tally| merged.merge(tally));
        assert_same(&merged, &whole);
    }
}

#[test]
fn rows_attempts_and_retries_are_counted() {
    let mut tally = empty();
    records().iter().for_each(|record| tally.add(record));
    let counts = tally.counts();
    assert_eq!((counts.rows, counts.ok + counts.failed), (3000, 3000));
    assert_eq!(counts.attempts - counts.retries, 3000);
    assert_eq!(figures(&tally).len(), 7 + 5 + 5);
    assert_eq!(figures(&tally)[0].values, counts.ok);
}
