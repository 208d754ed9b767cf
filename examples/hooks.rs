//! Both hooks: code makes the request of each row, and the values of each answer.
//!
//! `cargo run --example hooks -- https://api.example`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use http::Request;
use serde::{Deserialize, Serialize};
use throng::{Answer, Job, RowError};

#[derive(Serialize, Deserialize)]
struct Ticker {
    symbol: String,
}

#[derive(Serialize)]
struct Quote {
    price: f64,
    is_dear: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = std::env::args().nth(1).ok_or("give the URL of the API")?;
    let tickers = ["AAPL", "MSFT", "GOOG"].map(|it| Ticker { symbol: it.to_owned() });

    let plan = Job::builder()
        .rows(tickers)
        .url(api)
        .request(|ticker: &Ticker| {
            Request::get(format!("/v6/finance/quote/?symbols={}", ticker.symbol)).body("")
        })
        .on_response(|ticker: Ticker, answer: Answer| async move {
            let body: serde_json::Value = answer.json()?;
            let quote = &body["quoteResponse"]["result"][0];
            if quote["symbol"] != ticker.symbol.as_str() {
                return Err(RowError::failed("the answer is of another symbol"));
            }
            match quote["regularMarketPreviousClose"].as_f64() {
                Some(price) => Ok(Quote { price, is_dear: price > 100.0 }),
                // It takes a permit of its own, like any other attempt.
                None => Err(RowError::retry("the price is not there yet")),
            }
        })
        .rate("50/1s")
        .build()?;

    for record in plan.into_stream().blocking() {
        let record = record?;
        match &record.outcome {
            Ok(_) => println!("{}: {}", record.row.fields["symbol"], record.row.fields["price"]),
            Err(failure) => println!("{}: {}", record.row.fields["symbol"], failure.detail),
        }
    }
    Ok(())
}
