//! The progress of a run while it goes on, and its early end. The file that it leaves is where
//! the next run goes on.
//!
//! `cargo run --example progress -- http://127.0.0.1:8080 out.jsonl`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use serde_json::json;
use throng::Job;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let api = arguments.next().ok_or("give the URL of the API")?;
    let output = arguments.next().ok_or("give the file of the records")?;
    let run = || {
        let job = Job::builder()
            .rows((0..3000).map(|id| json!({ "id": id })))
            .url(format!("{api}/items/{{{{ id }}}}"))
            .rate("2000/1s")
            .output(&output)
            .resume()
            .row_key("id");
        Ok::<_, throng::Error>(job.build()?.spawn())
    };

    let first = run()?;
    for progress in first.watch(Duration::from_millis(20)) {
        let bound = progress.bound_by.as_deref().unwrap_or("nothing yet");
        println!("{} done, {} in flight, bound by {bound}", progress.done, progress.in_flight);
        if progress.done >= 500 {
            first.cancel();
        }
    }
    println!("cancelled after {} rows", first.wait()?.rows.rows);

    let report = run()?.wait()?;
    println!("{} rows are in {output}", report.rows.ok);
    Ok(())
}
