//! Code of a program in the place of a job's templates and of its `extract`.
//!
//! A [`RequestHook`] makes the request of a row, before the row waits for its permit. A
//! [`ResponseHook`] makes the values of an answer, after the permit has ended. Neither holds a
//! permit, so a slow hook makes no limit slower. A hook that panics fails its row.
//!
//! - `batches`: hooks that block, on threads of their own, many rows at a time
//! - `call`: a call that catches panics

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::row::{Fields, Row};

mod batches;
mod call;

pub use batches::Batches;
pub(crate) use call::call;

/// The work of a hook for one row. It is polled in the event loop of a worker, so it must not
/// block: work that blocks is for [`Batches`].
pub type HookFuture<T> = Pin<Box<dyn Future<Output = Result<T, RowError>> + Send>>;

/// Makes the request of each row, in place of the job's `request`.
///
/// The job's headers, its authentication and its limits hold for these requests as for others.
///
/// ```
/// use throng::{HookFuture, RequestHook, Row, RowRequest};
///
/// struct ById;
///
/// impl RequestHook for ById {
///     fn request(&self, row: &Row) -> HookFuture<RowRequest> {
///         let url = format!("https://api.example/items/{}", row.fields["id"]);
///         Box::pin(async move {
///             let request = http::Request::get(url).body(bytes::Bytes::new())?;
///             Ok(RowRequest::from(request).with_cost("tokens", 250))
///         })
///     }
/// }
/// ```
pub trait RequestHook: Send + Sync {
    /// The request of a row. A row with an error fails, and sends nothing.
    fn request(&self, row: &Row) -> HookFuture<RowRequest>;
}

/// Makes the values of each answer, in place of the job's `extract`.
///
/// It gets the answers that are successes by the job's table of answers, each of them once it
/// is whole. It may be called again for the same row, after an answer of which it has said
/// [`RowError::retry`].
///
/// ```
/// use throng::{Answer, HookFuture, Processed, ResponseHook, Row, RowError};
///
/// struct Price;
///
/// impl ResponseHook for Price {
///     fn process(&self, row: &Row, answer: Answer) -> HookFuture<Processed> {
///         Box::pin(async move {
///             let quote: serde_json::Value = answer.json()?;
///             match quote["price"].as_f64() {
///                 Some(price) => Ok(Processed::from_iter([("price", price.into())])),
///                 None => Err(RowError::retry("the price is not there yet")),
///             }
///         })
///     }
/// }
/// ```
pub trait ResponseHook: Send + Sync {
    /// The values of a row's answer; or that another attempt is to follow, or why the row fails.
    fn process(&self, row: &Row, answer: Answer) -> HookFuture<Processed>;
}

/// The request that a hook has made of a row, and its cost.
///
/// ```
/// use throng::RowRequest;
///
/// let request = http::Request::post("/v1/embeddings").body(r#"{"input": "a text"}"#)?;
/// let request = RowRequest::from(request).with_cost("tokens", 3);
/// assert_eq!(request.request.uri(), "/v1/embeddings");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowRequest {
    /// The request. Its URL may be only a path where the job's URL is the host.
    pub request: http::Request<Bytes>,
    pub(crate) cost: Vec<(String, u64)>,
}

impl RowRequest {
    /// The cost in a unit that a limit counts, such as `tokens`.
    #[must_use]
    pub fn with_cost(mut self, unit: impl Into<String>, units: u64) -> RowRequest {
        self.cost.push((unit.into(), units));
        self
    }
}

impl<B: Into<Bytes>> From<http::Request<B>> for RowRequest {
    fn from(request: http::Request<B>) -> RowRequest {
        RowRequest { request: request.map(Into::into), cost: Vec::new() }
    }
}

/// An answer that a response hook processes.
///
/// ```
/// use throng::Answer;
///
/// let url = http::Uri::from_static("https://api.example/items/1");
/// let answer = Answer::new(http::StatusCode::OK, url, r#"{"price": 7}"#);
/// let quote: serde_json::Value = answer.json()?;
/// assert_eq!(quote["price"], 7);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The URL of the request.
    pub url: Uri,
    /// The body, decompressed.
    pub body: Bytes,
}

impl Answer {
    /// An answer without headers.
    pub fn new(status: StatusCode, url: Uri, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: HeaderMap::new(), url, body: body.into() }
    }

    /// The body, which is JSON.
    ///
    /// # Errors
    /// Where the body is no JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// The values that a hook has made of an answer.
///
/// ```
/// use serde_json::json;
/// use throng::Processed;
///
/// let one = Processed::from_iter([("price", json!(7)), ("note", json!(null))]);
/// let fields = |id: u32| [("id".to_owned(), json!(id))].into_iter().collect();
/// let several = Processed::Records(vec![fields(1), fields(2)]);
/// # assert_ne!(one, several);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Processed {
    /// The values of the row's record, by name.
    Values(Fields),
    /// The values of several records, in a job whose rows may have several.
    Records(Vec<Fields>),
}

impl<N: Into<String>> FromIterator<(N, serde_json::Value)> for Processed {
    fn from_iter<I: IntoIterator<Item = (N, serde_json::Value)>>(values: I) -> Processed {
        Processed::Values(values.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// Why a hook has no result for a row: the row fails, or another attempt follows.
///
/// Any error becomes one by `?`, and fails the row.
///
/// ```
/// use std::time::Duration;
/// use throng::RowError;
///
/// let pause = RowError::retry("the job is queued").after(Duration::from_secs(5));
/// assert!(pause.is_retry());
/// let failed: RowError = "x".parse::<u8>().unwrap_err().into();
/// assert_eq!(failed.reason(), "invalid digit found in string");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    reason: String,
    retries: bool,
    pause: Option<Duration>,
}

impl RowError {
    /// The row fails for this reason.
    pub fn failed(reason: impl Into<String>) -> RowError {
        RowError { reason: reason.into(), retries: false, pause: None }
    }

    /// Another attempt follows, with a permit of its own, as after any other failure that may
    /// pass. Once the job's retries are used up, the row fails for this reason.
    pub fn retry(reason: impl Into<String>) -> RowError {
        RowError { reason: reason.into(), retries: true, pause: None }
    }

    /// The pause before the next attempt; without it, the pause grows with each attempt.
    #[must_use]
    pub fn after(self, pause: Duration) -> RowError {
        RowError { pause: Some(pause), ..self }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether another attempt is to follow.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.retries
    }

    /// The pause before the next attempt, if the hook has named one.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }
}

impl<E: std::error::Error> From<E> for RowError {
    /// The row fails for this error and its causes.
    fn from(error: E) -> RowError {
        let mut reason = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !reason.contains(&cause_text) {
                reason = format!("{reason}: {cause_text}");
            }
            next = cause.source();
        }
        RowError::failed(reason)
    }
}

/// The response hook of a job, and the form of its records.
#[derive(Clone)]
pub(crate) struct ResponseStep {
    pub hook: Arc<dyn ResponseHook>,
    /// The names of the values; a name that ends in `?` may be missing. Without them, each
    /// record has the values that the hook gives.
    pub values: Option<Vec<String>>,
    /// Whether a row may have several records.
    pub many: bool,
}

impl ResponseStep {
    /// The names of the values, without their `?`; none if only the hook knows them.
    pub fn names(&self) -> Vec<String> {
        let names = self.values.iter().flatten();
        names.map(|name| name.strip_suffix('?').unwrap_or(name).to_owned()).collect()
    }
}

/// The hooks of one stage.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub request: Option<Arc<dyn RequestHook>>,
    pub response: Option<ResponseStep>,
}

impl Hooks {
    /// Whether a row may have several records.
    pub fn makes_many(&self) -> bool {
        self.response.as_ref().is_some_and(|step| step.many)
    }
}
