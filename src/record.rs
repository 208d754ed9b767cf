//! What a row ends as: the one line that a results file has for it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::source::Row;

/// One finished row: a result, or a failure that says why.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The row as it came in.
    pub row: Row,
    /// The extracted values, in the order of the job's `extract`, or why there are none.
    pub outcome: Result<Vec<Value>, Failure>,
    /// Of a row that failed at one of its pages, the values of those before it.
    pub kept: Vec<Value>,
    /// The answer's body as text, where the job keeps it.
    pub body: Option<String>,
    /// The status of the last answer, if one came.
    pub status: Option<u16>,
    /// How many times the request was sent, or tried to be sent.
    pub attempts: u32,
    /// From sending the last attempt to having its whole answer.
    pub latency: Option<Duration>,
}

impl Record {
    /// The values that it has, in the order of the job's `extract`.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.outcome.as_deref().unwrap_or(&self.kept)
    }
}

/// Why a row has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short name that is worth counting by: `timeout`, `status 500`, `missing price`.
    pub kind: Cow<'static, str>,
    /// The particulars of this one, for people.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind, with these particulars.
    pub fn new(kind: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Failure {
        Failure {
            kind: kind.into(),
            detail: detail.into(),
        }
    }
}
