//! One attempt of a row's request, without retries: what `throng try` sends.

use bytes::Bytes;
use http::Request;

use super::RowExecutor;
use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, Purpose};
use crate::judge::Decision;
use crate::limit::Cost;
use crate::pages::PageAddress;
use crate::record::Failure;
use crate::row::Row;
use crate::send::Answer;

/// An attempt, and its answer.
pub struct Attempted {
    pub request: Request<Bytes>,
    pub cost: Cost,
    /// The answer and what it means, or why none came.
    pub outcome: Result<(Answer, Decision), Failure>,
}

impl RowExecutor {
    /// Sends the first request of a row once and follows its redirects, whatever the answer
    /// says.
    pub async fn try_once(&self, row: &Row) -> Result<Result<Attempted, Failure>, Cancelled> {
        let rows = std::slice::from_ref(row);
        let row = self.stage().batch_row(rows).unwrap_or_else(|| row.clone());
        let address = self.stage().pages.as_ref().map_or(PageAddress::First, |it| it.address(0));
        let request = self.page_request(&row, &address, None);
        let priced = request.and_then(|page| {
            let cost = self.stage().cost(&row, &page.request)?;
            Ok((page.request, cost))
        });
        let (request, cost) = match priced {
            Ok(priced) => priced,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms =
            AttemptTerms { cost: &cost, purpose: Purpose::Own, row: Some(&row), is_billed: true };
        let mut trace = AttemptTrace::default();
        let outcome = Box::pin(self.requests.follow_redirects(&request, terms, &mut trace)).await?;
        let decision = trace.decision.unwrap_or_default();
        let outcome = outcome.map(|answer| (answer, decision)).map_err(|error| error.failure());
        Ok(Ok(Attempted { request, cost, outcome }))
    }
}
