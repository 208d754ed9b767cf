//! The limiter around another client and a job: both together keep what the server allows. With
//! the URL of a store, so do all such programs on any machine.
//!
//! `cargo run --example shared_limiter -- http://127.0.0.1:8080 redis://127.0.0.1`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use throng::Job;
use throng::limit::{Outcome, RateLimiter};

/// A client of another make: this one speaks HTTP by hand.
fn status_of(address: &str, path: &str) -> std::io::Result<u16> {
    let mut server = TcpStream::connect(address)?;
    write!(server, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no HTTP"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let api = arguments.next().ok_or("give the URL of the API")?;
    let address = api.strip_prefix("http://").ok_or("an http:// URL")?;
    let mut limits =
        RateLimiter::builder().limit("20/500ms".parse()?).linger(Duration::from_secs(5));
    if let Some(store) = arguments.next() {
        limits = limits.account("items").share(throng::shared_store(&store)?);
    }
    let limiter = limits.build()?;

    let job = Job::builder()
        .rows((0..30).map(|id| json!({ "id": id })))
        .url(format!("{api}/items/{{{{ id }}}}"))
        .limiter(&limiter)
        .build()?
        .run_to(|_| Ok(()));

    for id in 0..10 {
        let permit = limiter.blocking_acquire(1)?;
        let status = status_of(address, &format!("/other/{id}"))?;
        permit.finish(Outcome::of_status(status, None));
    }
    println!("10 by hand, {} by the job", job.wait()?.rows.ok);
    println!("at most {} in any 500 ms", limiter.snapshot().limits[0].most);
    limiter.close();
    Ok(())
}
