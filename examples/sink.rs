//! A sink of the program's own: here a table in memory, anywhere else a database.
//!
//! `cargo run --example sink -- http://127.0.0.1:8080`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;
use throng::{BoxError, Job, Record, Sink};

/// The prices by their symbols.
#[derive(Clone, Default)]
struct Prices(Arc<Mutex<BTreeMap<String, f64>>>);

impl Sink for Prices {
    /// One transaction for many records. While it lasts the run waits, and sends no more.
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        let mut table = self.0.lock().map_err(|_| "the table is damaged")?;
        for record in records.iter().filter(|record| record.is_ok()) {
            let fields = &record.row.fields;
            let symbol = fields["symbol"].as_str().ok_or("a row has no symbol")?;
            table.insert(symbol.to_owned(), fields["price"].as_f64().unwrap_or(f64::NAN));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BoxError> {
        println!("the table is complete");
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = std::env::args().nth(1).ok_or("give the URL of the API")?;
    let prices = Prices::default();

    let report = Job::builder()
        .rows((0..500).map(|id| json!({ "symbol": format!("S{id}") })))
        .url(format!("{api}/v6/finance/quote/?symbols={{{{ symbol }}}}"))
        .extract("price", ".quoteResponse.result[0].regularMarketPreviousClose")
        .rate("5000/1s")
        .build()?
        .run_to(prices.clone())
        .wait()?;

    let table = prices.0.lock().map_err(|_| "the table is damaged")?;
    println!("{} of {} rows are in the table", table.len(), report.rows.rows);
    Ok(())
}
