//! Requests and tokens at once, as language models bill them: a cost that is estimated
//! before, and settled when the answer says what it was.
//! `cargo run -p throng-limit --example tokens`

use throng_limit::{Cost, Outcome, RateLimiter};

/// Gives a status, and the tokens that the answer took.
async fn complete(prompt: &str) -> (u16, u64) {
    (200, prompt.len() as u64 * 10)
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter =
        RateLimiter::builder().limit("60/1m".parse()?).limit("4000 tokens/1m".parse()?).build()?;
    for prompt in ["Why is the sky blue?", "Name a prime.", "Say it in Latin."] {
        // All that the answer may take; what it doesn't take is given back.
        let cost = Cost::one().with("tokens", 2_000);
        let mut permit = limiter.acquire(cost).await?;
        let (status, tokens) = complete(prompt).await;
        permit.settle("tokens", tokens)?;
        permit.finish(Outcome::of_status(status, None));
        println!("{prompt} took {tokens} tokens");
    }
    // More than a minute's tokens can never be had, and the error says so at once.
    let too_large = limiter.acquire(Cost::one().with("tokens", 5_000)).await;
    println!("{}", too_large.err().ok_or("it is too large")?);
    Ok(())
}
