//! Records as Arrow's batches, while the run goes on.
//!
//! `cargo run --example arrow -- http://127.0.0.1:8080`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use futures::StreamExt;
use serde_json::json;
use throng::Job;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = std::env::args().nth(1).ok_or("give the URL of the API")?;
    let url = format!("{api}/v6/finance/quote/?symbols={{{{ symbol }}}}");

    let plan = Job::builder()
        .rows((0..1000).map(|id| json!({ "symbol": format!("S{id}") })))
        .url(url)
        .extract("price", ".quoteResponse.result[0].regularMarketPreviousClose")
        .extract("name?", ".quoteResponse.result[0].longName")
        .rate("5000/1s")
        .build()?;

    let mut batches = plan.into_record_batches(256);
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        if rows == 0 {
            let columns = batch.schema();
            let names =
                columns.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type()));
            println!("{}", names.collect::<Vec<_>>().join(", "));
        }
        rows += batch.num_rows();
    }
    println!("{rows} rows");
    Ok(())
}
