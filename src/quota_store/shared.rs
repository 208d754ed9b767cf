//! Limiters of programs that share limits through a store on the network.

use super::StoreAccess;
use crate::limit::{LedgerError, LimitError, Settings, SharedStore, Sharing};

/// The store at this URL, for limiters on any machine that share their limits: Redis or Valkey
/// (`redis://HOST`), PostgreSQL (`postgres://USER@HOST/DATABASE`), or the server of `throng limit serve`
/// (`https://HOST:PORT`, `unix:PATH`), as in `--share` of a run. The environment has a password or token:
/// `THRONG_REDIS_PASSWORD`, `THRONG_POSTGRES_PASSWORD`, `THRONG_LIMIT_TOKEN`.
///
/// ```no_run
/// use throng::limit::{Outcome, RateLimiter};
///
/// let limiter = RateLimiter::builder()
///     .limit("300/1m".parse()?)
///     .account("openai")
///     .share(throng::shared_store("redis://limits.example")?)
///     .build()?;                              // waits for the store's first answer
///
/// let permit = limiter.blocking_acquire(1)?;  // 300 a minute on all machines together
/// // ... send the request and read its answer ...
/// permit.finish(Outcome::Answered);
/// limiter.close();                            // the other machines have what was not used
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The URL is none of a store, or has a password.
pub fn shared_store(url: &str) -> Result<SharedStore, LimitError> {
    let unusable = |problem: String| LimitError::Store { problem };
    let sharing = url.parse().unwrap_or(Sharing::None);
    let settings = Settings { sharing, ..Settings::default() };
    let access = StoreAccess::of(&settings, &|name| std::env::var(name).ok());
    let access = access.map_err(|error| unusable(error.to_string()))?.ok_or_else(|| {
        unusable(format!(
            "{url:?} is no URL of a store such as redis://limits.example, postgres://me@limits.example/throng, https://limits.example:8098 or unix:/run/limits.sock"
        ))
    })?;
    let open = move || match access.ledger() {
        Ok((ledger, _salt)) => Ok(ledger),
        Err(error) => Err(LedgerError::refused(error.to_string())),
    };
    Ok(SharedStore::new(url.to_owned(), open))
}
