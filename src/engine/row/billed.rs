//! The price of an attempt: reserved before it waits for a permit, and billed by its answer.

use http::StatusCode;

use super::attempt::{Cancelled, RequestExecutor};
use crate::engine::ending;
use crate::engine::spending::{Charge, Spending, SpendingError};
use crate::limit::Cost;
use crate::metrics::WaitReason;

/// The warning of estimates that are too low.
const TOO_LOW: &str = "requests that cost more than limit.cost (--cost) says: the budget is kept by larger estimates from then on";

impl RequestExecutor {
    /// Reserves the estimate of an attempt; none if nothing of its stage has a price. Waits while
    /// only the end of another request can make room for it in the budget.
    pub(super) async fn reserve_money<'a>(
        &'a self,
        spending: &'a Spending,
        cost: &Cost,
    ) -> Result<Option<Charge<'a>>, Cancelled> {
        let Some(prices) = &self.stage().prices else {
            return Ok(None);
        };
        let reserving = spending.reserve(prices.estimate(cost), prices.may_differ);
        let _waits = self.waits(WaitReason::Limit);
        match self.unless_stopped(reserving).await? {
            Ok(charge) => Ok(Some(charge)),
            Err(SpendingError::UsedUp(amount)) => {
                Err(self.end_run(ending::budget_used_up(&self.context, &spending.bill(), amount)))
            }
            // The log's own error has ended the run.
            Err(SpendingError::Log(_)) => Err(Cancelled),
        }
    }

    /// Bills an attempt by its answer. Refusals and errors cost nothing unless the answer says so;
    /// where a gateway has lost sight of the server, the server may have billed it.
    pub(super) fn bill(
        &self,
        charge: Charge<'_>,
        cost: &Cost,
        status: StatusCode,
        is_refused: bool,
        told: &[(usize, u64)],
    ) {
        let Some(prices) = &self.stage().prices else {
            return charge.cancel();
        };
        let is_told = prices.is_any_told(told);
        if is_refused || !(status.is_success() || is_told) {
            let is_lost = matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
            if is_refused || !is_lost {
                charge.cancel();
            }
            return;
        }
        if !prices.is_settled_by(told) {
            return charge.assume();
        }
        let (used, units) = prices.settled(cost, told);
        if used > charge.estimate() && self.context.plan.budget.is_some() {
            let estimate = charge.estimate();
            self.context.metrics.warn(TOO_LOW, 1, || format!("{used} instead of {estimate}"));
        }
        charge.settle(used, &units);
    }
}
