//! The gates of a run count their quotas where all runs on this machine do.

use std::sync::Arc;

use crate::engine::row::RunContext;
use crate::error::Error;
use crate::limit::RateLimiter;
use crate::plan::Stage;
use crate::quota_store::FileQuotaStore;

/// Before anything is sent: what is spent of long limits is known from now on.
///
/// # Errors
/// It can't be kept, or can't be read.
pub fn lend(shared: &RunContext) -> Result<(), Error> {
    let gates: Vec<(&RateLimiter, &Stage)> = shared
        .limiters
        .iter()
        .zip(shared.plan.limited_stages())
        .filter(|(_, stage)| stage.has_quotas())
        .collect();
    let Some((_, first)) = gates.first() else {
        return Ok(());
    };
    let ledger = FileQuotaStore::open(&shared.plan.state()?, first.account.clone())?;
    // What can't be read is found before anything is sent.
    shared.plan.quotas()?;
    for (gate, step) in gates {
        gate.use_store(Arc::new(ledger.with_account(step.account.clone())));
    }
    Ok(())
}
