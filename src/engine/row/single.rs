//! One sending and no more, for whoever wants to see what comes of it.

use super::{
    Answer, AttemptError, AttemptTerms, AttemptTrace, Cancelled, Purpose, Row, RowExecutor,
};
use crate::record::Failure;

impl RowExecutor {
    /// Sends a row's request once, whatever the answer says.
    pub async fn attempt_single(&self, row: &Row) -> Result<Result<Answer, Failure>, Cancelled> {
        let (request, ask) = match self.request(row) {
            Ok(asked) => asked,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms = AttemptTerms {
            ask: &ask,
            errand: Purpose::Own,
        };
        match self
            .send_fresh(&request, terms, &mut AttemptTrace::default())
            .await
        {
            Ok(answer) => Ok(Ok(answer)),
            Err(AttemptError::Trouble(trouble)) => {
                let Failure { kind, detail } = trouble.failure();
                let detail = self.run.plan.secrets.hide(detail);
                Ok(Err(Failure { kind, detail }))
            }
            Err(AttemptError::Stopped) => Err(Cancelled),
        }
    }
}
