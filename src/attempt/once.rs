//! One sending and no more, for whoever wants to see what comes of it.

use super::{Answer, Break, Errand, Row, Seen, Stopped, Terms, Walk};
use crate::record::Failure;

impl Walk {
    /// Sends a row's request once, whatever the answer says.
    pub async fn once(&self, row: &Row) -> Result<Result<Answer, Failure>, Stopped> {
        let (request, ask) = match self.request(row) {
            Ok(asked) => asked,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms = Terms {
            ask: &ask,
            errand: Errand::Own,
        };
        match self.send(&request, terms, &mut Seen::default()).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Break::Trouble(trouble)) => {
                let Failure { kind, detail } = trouble.failure();
                let detail = self.run.plan.secrets.hide(detail);
                Ok(Err(Failure { kind, detail }))
            }
            Err(Break::Stopped) => Err(Stopped),
        }
    }
}
