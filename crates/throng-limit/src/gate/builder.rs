//! Limits put together to a limiter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Guard, Limit, Policy, Settings, Shape, check_account};
use crate::error::LimitError;
use crate::gate::limiter::RateLimiter;
use crate::quota::{FileQuotaStore, NamedAccount, QuotaStore, SharedStore, state_directory};

/// The limits of a [`RateLimiter`]: all of them hold at once.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::{Guard, RateLimiter};
///
/// let limiter = RateLimiter::builder()
///     .limit("50/1s".parse()?)                // 50 requests in any second
///     .limit("90000 tokens/1m".parse()?)      // and 90,000 tokens in any minute
///     .limit_per_key("10/1s".parse()?)        // 10 of each tenant in any second
///     .in_flight(20)                          // at most 20 unanswered
///     .guard(Guard::Strict)                   // as the server counts, whatever the latencies
///     .linger(Duration::from_secs(10))        // a request that was given up may still arrive so long
///     .build()?;
/// # let _limiter = limiter;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "build() makes the limiter"]
pub struct RateLimiterBuilder {
    settings: Settings,
    account: Option<String>,
    state_directory: Option<PathBuf>,
    share: Option<SharedStore>,
}

impl RateLimiterBuilder {
    /// Adds a limit of all requests together.
    pub fn limit(mut self, limit: Limit) -> RateLimiterBuilder {
        self.settings.rate.push(limit);
        self
    }

    /// Adds a limit that each key has for itself: see [`RateLimiter::keyed`].
    pub fn limit_per_key(self, mut limit: Limit) -> RateLimiterBuilder {
        limit.details.per = Some("key".into());
        self.limit(limit)
    }

    /// Sets the maximum number of requests that are unanswered at a time.
    pub fn in_flight(mut self, requests: u64) -> RateLimiterBuilder {
        self.settings.in_flight = Some(requests);
        self
    }

    /// Sets the least time between two requests.
    pub fn spacing(mut self, gap: Duration) -> RateLimiterBuilder {
        self.settings.spacing = Some(gap);
        self
    }

    /// Sets what the limits are proven against; [`Guard::Strict`] without this.
    pub fn guard(mut self, guard: Guard) -> RateLimiterBuilder {
        self.settings.guard = guard;
        self
    }

    /// Sets whether a period's requests go out as early as they may, or spread.
    pub fn shape(mut self, shape: Shape) -> RateLimiterBuilder {
        self.settings.shape = shape;
        self
    }

    /// Sets the time for which a request that was given up may still arrive: 30 s without
    /// this, and no less than the timeout of your requests.
    pub fn linger(mut self, linger: Duration) -> RateLimiterBuilder {
        self.settings.linger = Some(linger);
        self
    }

    /// Shares the limits with all processes of this machine whose limiters name the same
    /// account, and with `throng run --account NAME`: together they keep within the limits,
    /// one after the other and at the same time. No daemon is needed; the use of the limits
    /// lies in files in the [state directory](RateLimiterBuilder::state_directory).
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("throng-doc-{}", std::process::id()));
    /// use throng_limit::RateLimiter;
    ///
    /// let limiter = || {
    ///     RateLimiter::builder().limit("3/1h".parse()?).account("openai").state_directory(&directory).build()
    /// };
    /// let (one, other) = (limiter()?, limiter()?);         // as if in two processes
    /// assert!(one.try_acquire(2).is_ok());
    /// assert!(other.try_acquire(1).is_ok());
    /// assert!(other.try_acquire(1).is_err());
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn account(mut self, name: &str) -> RateLimiterBuilder {
        self.account = Some(name.to_owned());
        self
    }

    /// Sets the directory of the files through which limits are shared: without this,
    /// `throng/quotas` in `XDG_STATE_HOME`, or in the platform's directory for state.
    pub fn state_directory(mut self, directory: &Path) -> RateLimiterBuilder {
        self.state_directory = Some(directory.to_owned());
        self
    }

    /// Shares the limits of the [account](RateLimiterBuilder::account) through this store, in the place
    /// of files: with limiters on any machine that name the same account, and with
    /// `throng run --account NAME --share URL`. `throng::shared_store` has the store of a URL.
    ///
    /// While the store does not answer, permits are given until their lease ends, after a second or a
    /// 60th of the period. From then on [`acquire`](RateLimiter::acquire) waits until the store answers
    /// again, and [`acquire_until`](RateLimiter::acquire_until) and
    /// [`try_acquire`](RateLimiter::try_acquire) give
    /// [`AcquireError::Store`](crate::AcquireError::Store). A program that ends calls
    /// [`close`](RateLimiter::close), so that others have the units that it has not used.
    pub fn share(mut self, store: SharedStore) -> RateLimiterBuilder {
        self.share = Some(store);
        self
    }

    /// Makes the limiter. Without a limit, it counts what the server says, and obeys it.
    ///
    /// A limiter that shares its limits through a store waits here for the store's first answer.
    ///
    /// # Errors
    /// The limits don't fit together, or can't be shared.
    pub fn build(&self) -> Result<RateLimiter, LimitError> {
        let policy = Policy::new(&self.settings, Duration::ZERO)?;
        let limiter = RateLimiter::of_policy(&policy).made_of(&self.settings);
        if let Some(store) = self.open_store()? {
            limiter.use_store(store);
        }
        Ok(limiter)
    }

    /// What the limits are shared through, if they are.
    fn open_store(&self) -> Result<Option<Arc<dyn QuotaStore>>, LimitError> {
        let unshared = |problem: &str| Err(LimitError::Store { problem: problem.to_owned() });
        if let Some(account) = &self.account {
            check_account(account)?;
        }
        match (&self.account, &self.share) {
            (None, None) => Ok(None),
            (None, Some(_)) => unshared("in a store they are those of an account: name one"),
            (Some(_), Some(_)) if self.state_directory.is_some() => {
                unshared("a store and a directory are both named: leave one of them out")
            }
            (Some(account), Some(store)) => {
                let opened = store.account(account);
                let opened = opened.map_err(|it| LimitError::Store { problem: it.reason })?;
                Ok(Some(Arc::new(opened)))
            }
            (Some(account), None) => Ok(Some(Arc::new(self.open_files(account)?))),
        }
    }

    fn open_files(&self, account: &str) -> Result<FileQuotaStore, LimitError> {
        let usual = || state_directory(&|name| std::env::var(name).ok());
        let Some(directory) = self.state_directory.clone().or_else(usual) else {
            let problem = "neither HOME nor XDG_STATE_HOME is set: set one of them".to_owned();
            return Err(LimitError::Store { problem });
        };
        FileQuotaStore::open(&directory, Arc::new(NamedAccount::new(account))).map_err(|error| {
            let problem = format!("{}: {error}", directory.display());
            LimitError::Store { problem }
        })
    }
}
