//! Three hundred requests through 50/1s, from many tasks, and a server that counts.
//! `cargo run -p throng-limit --example client`

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use throng_limit::RateLimiter;

const WINDOW: Duration = Duration::from_millis(200);

/// A server that notes when requests arrive.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<Instant>>>);

impl Server {
    /// A request is some time on its way there, and on its way back.
    async fn get(&self, item: u64) -> std::io::Result<u64> {
        tokio::time::sleep(Duration::from_millis(item * 7 % 60)).await;
        if let Ok(mut arrivals) = self.0.lock() {
            arrivals.push(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(item * 3 % 20)).await;
        Ok(item * item)
    }

    /// The most requests that arrived in any window.
    fn most_in_window(&self) -> usize {
        let arrivals = self.0.lock().map(|arrivals| arrivals.clone());
        let arrivals = arrivals.unwrap_or_default();
        let in_window = |start: &Instant| {
            let range = *start..*start + WINDOW;
            arrivals.iter().filter(|time| range.contains(time)).count()
        };
        arrivals.iter().map(in_window).max().unwrap_or(0)
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder().limit("50/200ms".parse()?).build()?;
    let server = Server::default();
    let mut tasks = Vec::new();
    for item in 0..300 {
        let (limiter, server) = (limiter.clone(), server.clone());
        tasks.push(tokio::spawn(
            async move { limiter.run(1, async |_| server.get(item).await).await },
        ));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await???;
    }
    println!("the sum is {sum}");
    let most = server.most_in_window();
    println!("the server counted at most {most} of 50 requests in any 200 ms");
    assert!(most <= 50, "the limit holds");
    Ok(())
}
