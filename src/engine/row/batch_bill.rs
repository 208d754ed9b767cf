//! The price of a batch: reserved for all of its rows before it is submitted, and billed by the
//! answers that it had.

use std::collections::BTreeMap;

use super::attempt::{Cancelled, RequestExecutor};
use crate::batch_api::PackedRow;
use crate::engine::spending::Charge;
use crate::limit::Cost;

/// What a batch costs.
pub(super) struct BatchBill<'a> {
    /// None if nothing has a price, or an earlier run has reserved the money.
    charge: Option<Charge<'a>>,
    /// Number of rows that were answered.
    answered: u64,
    /// The estimates of the rows that were answered, by the limiter's units.
    estimated: Vec<u64>,
    /// What their answers have told, by the index of the unit.
    told: BTreeMap<usize, u64>,
}

impl RequestExecutor {
    /// Reserves the money for these rows.
    pub(super) async fn bill_batch(&self, rows: &[PackedRow]) -> Result<BatchBill<'_>, Cancelled> {
        let Some(spending) = &self.context.spending else {
            return Ok(BatchBill::none());
        };
        let mut sum = Vec::new();
        rows.iter().for_each(|row| add(&mut sum, &row.units));
        let charge = self.reserve_money(spending, &Cost::new(sum, [])).await?;
        Ok(BatchBill { charge, ..BatchBill::none() })
    }

    /// Bills a batch that has ended.
    pub(super) fn settle_batch(&self, bill: BatchBill<'_>) {
        let (Some(charge), Some(prices)) = (bill.charge, &self.stage().prices) else {
            return;
        };
        if bill.answered == 0 {
            return charge.cancel();
        }
        let told: Vec<(usize, u64)> = bill.told.into_iter().collect();
        let (used, units) = prices.settled(&Cost::new(bill.estimated, []), &told);
        charge.settle(used, &units);
    }
}

impl BatchBill<'_> {
    /// A bill of nothing.
    pub(super) fn none() -> BatchBill<'static> {
        BatchBill { charge: None, answered: 0, estimated: Vec::new(), told: BTreeMap::new() }
    }

    /// The batch is submitted: from now on it may be billed.
    pub(super) fn submitted(&mut self) {
        self.charge.iter_mut().for_each(Charge::sent);
    }

    /// Nothing of the batch was done.
    pub(super) fn cancel(self) {
        self.charge.into_iter().for_each(Charge::cancel);
    }

    /// Adds a row that was answered, with the costs that its answer tells.
    pub(super) fn add(&mut self, row: &PackedRow, told: &[(usize, u64)]) {
        self.answered += 1;
        add(&mut self.estimated, &row.units);
        for (unit, units) in told {
            *self.told.entry(*unit).or_default() += units;
        }
    }
}

/// Adds the units of a row to those of others.
fn add(sum: &mut Vec<u64>, units: &[u64]) {
    sum.resize(sum.len().max(units.len()), 0);
    sum.iter_mut().zip(units).for_each(|(sum, units)| *sum = sum.saturating_add(*units));
}
