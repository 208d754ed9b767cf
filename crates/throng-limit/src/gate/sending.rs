//! A permit of a request that is written at once.

use crate::error::AcquireError;
use crate::gate::cost::Cost;
use crate::gate::limiter::RateLimiter;
use crate::gate::permit::Permit;

impl RateLimiter {
    /// Waits for a permit of a request that is written right after it, and so counts as sent: a
    /// permit that is [too old](Permit::sent_in_time) by then is replaced by another one.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # async fn request() -> std::io::Result<u16> { Ok(200) }
    /// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
    /// let mut permit = limiter.acquire_sent(1).await?;
    /// let status = request().await?;
    /// permit.answered();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`acquire`](RateLimiter::acquire).
    pub async fn acquire_sent(&self, cost: impl Into<Cost>) -> Result<Permit, AcquireError> {
        let cost = cost.into();
        loop {
            let mut permit = self.acquire(cost.clone()).await?;
            if permit.sent_in_time() {
                return Ok(permit);
            }
            permit.cancel();
        }
    }
}
