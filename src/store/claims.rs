//! The requests for which rows are asking, and the rows that wait for their answers: they have
//! no slot and no permit meanwhile.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::request_key::RequestKey;
use crate::row::Row;

/// Maximum number of rows that wait. One more keeps its slot until others go on.
const MAX_WAITING: usize = 10_000;

/// The requests for which rows of a run are asking.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    state: Mutex<ClaimState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct ClaimState {
    /// The rows that wait, by the stage and the request.
    waiting: HashMap<(usize, RequestKey), Vec<Row>>,
    /// Number of rows that wait.
    rows: usize,
}

/// What becomes of a row that would ask.
#[derive(Debug)]
pub(crate) enum Claimed<'a> {
    /// It asks, and others wait for it.
    First(Claim<'a>, Row),
    /// It waits for another row.
    Waits,
}

/// The right to ask for a request, until it is dropped. Rows that wait then are left to a later
/// run: unless they are released, the run ends.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    of: (usize, RequestKey),
}

impl Claims {
    /// Claims a request of a stage for a row, or puts the row to those that wait.
    pub async fn claim(&self, stage: usize, key: RequestKey, mut row: Row) -> Claimed<'_> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.try_claim((stage, key), row) {
                Ok(claimed) => return claimed,
                Err(back) => row = back,
            }
            changed.await;
        }
    }

    /// The row again if too many wait.
    fn try_claim(&self, of: (usize, RequestKey), row: Row) -> Result<Claimed<'_>, Row> {
        let mut state = self.state();
        let is_full = state.rows >= MAX_WAITING;
        match state.waiting.get_mut(&of) {
            None => {
                state.waiting.insert(of, Vec::new());
                Ok(Claimed::First(Claim { claims: self, of }, row))
            }
            Some(_) if is_full => Err(row),
            Some(rows) => {
                rows.push(row);
                state.rows += 1;
                Ok(Claimed::Waits)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ClaimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The rows that waited: the answer is there.
    pub fn release(self) -> Vec<Row> {
        self.end()
    }

    fn end(&self) -> Vec<Row> {
        let mut state = self.claims.state();
        let rows = state.waiting.remove(&self.of).unwrap_or_default();
        state.rows -= rows.len();
        drop(state);
        self.claims.changed.notify_waiters();
        rows
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RequestKey = RequestKey([1; 16]);

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn numbers(rows: &[Row]) -> Vec<u64> {
        rows.iter().map(|row| row.number).collect()
    }

    #[tokio::test]
    async fn one_row_asks_and_the_others_wait_for_it() {
        let claims = Claims::default();
        let Claimed::First(claim, first) = claims.claim(0, KEY, row(1)).await else { panic!() };
        assert_eq!(first.number, 1);
        for number in [2, 3] {
            assert!(matches!(claims.claim(0, KEY, row(number)).await, Claimed::Waits));
        }
        let other = claims.claim(1, KEY, row(4)).await;
        assert!(matches!(other, Claimed::First(..)), "another stage asks for itself");
        assert_eq!(numbers(&claim.release()), [2, 3]);
        assert!(matches!(claims.claim(0, KEY, row(5)).await, Claimed::First(..)));
        assert_eq!(claims.state().rows, 0);
    }

    #[tokio::test]
    async fn rows_beyond_the_bound_wait_where_they_are() {
        let claims = Claims::default();
        let Claimed::First(claim, _) = claims.claim(0, KEY, row(0)).await else { panic!() };
        for number in 0..MAX_WAITING {
            assert!(matches!(claims.claim(0, KEY, row(number as u64)).await, Claimed::Waits));
        }
        let mut next = pin!(claims.claim(0, KEY, row(7)));
        let waits = std::future::poll_fn(|context| {
            std::task::Poll::Ready(next.as_mut().poll(context).is_pending())
        });
        assert!(waits.await);
        assert_eq!(claim.release().len(), MAX_WAITING);
        assert!(matches!(next.await, Claimed::First(..)));
    }
}
