//! Records, and what must hold for them.

use serde_json::Value;
use throng_mock::Mock;

/// JSON Lines, in the order of the rows; every line must be whole.
pub fn records(text: &str) -> Vec<Value> {
    let mut records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort_by_key(|record| record["_row"].as_u64().unwrap());
    records
}

/// One field of each record.
pub fn each(records: &[Value], name: &str) -> Vec<Value> {
    records.iter().map(|record| record[name].clone()).collect()
}

/// Every row from 0 on has exactly one record.
#[track_caller]
pub fn assert_one_record_per_row(records: &[Value], rows: usize) {
    let numbers: Vec<u64> = records.iter().map(|record| record["_row"].as_u64().unwrap()).collect();
    let all: Vec<u64> = (0..rows as u64).collect();
    assert_eq!(numbers, all);
}

/// The server was asked for each symbol as often as its record says.
#[track_caller]
pub fn assert_attempts_are_the_server_s(records: &[Value], mock: &Mock) {
    let seen = mock.judgement().symbols;
    for record in records {
        let symbol = record["symbol"].as_str().unwrap();
        let asked = seen.get(symbol).copied().unwrap_or(0);
        assert_eq!(record["_attempts"], asked, "{record}");
    }
}
