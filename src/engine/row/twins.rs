//! Rows whose requests are equal: one of them asks, and the others wait for its answer without a
//! slot of a worker, a permit or a connection.

use std::rc::Rc;

use super::RowExecutor;
use super::attempt::Cancelled;
use crate::record::Record;
use crate::row::Row;
use crate::store::{AnswerStore, Claimed, RequestKey};

impl RowExecutor {
    /// Whether rows whose requests are equal are asked for once.
    pub fn asks_once(&self) -> bool {
        self.requests.context.plan.dedupes
    }

    /// Takes a row to its records unless another row is asking for the same, and those that
    /// waited for it meanwhile. All of them find its answer in the store.
    pub async fn row_once<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let store = self.requests.context.store.get();
        let Some((store, claims)) = store.and_then(|store| Some((store, store.claims()?))) else {
            return self.row(row, emit).await;
        };
        let mut rows = vec![row];
        while let Some(row) = rows.pop() {
            let Some(key) = self.question(store, &row) else {
                // Its record says why it makes no request.
                self.row(row, emit).await?;
                continue;
            };
            let claiming = claims.claim(self.requests.stage_index, key, row);
            match self.requests.unless_stopped(claiming).await? {
                Claimed::Waits => {}
                Claimed::First(claim, row) => {
                    self.row(row, emit).await?;
                    rows.extend(claim.release());
                }
            }
        }
        Ok(())
    }

    /// The hash of a row's first request, of its first target; none if it makes none.
    pub(super) fn question(&self, store: &AnswerStore, row: &Row) -> Option<RequestKey> {
        Some(store.key(&self.stage().first_request(row).ok()?))
    }
}
