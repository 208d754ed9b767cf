//! (5) A request to an answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};

use crate::extract::{AnswerContext, body_excerpt};
use crate::record::{Failure, FailureKind};
use crate::wording::worded;

mod acked;
mod body;
mod certificates;
mod connect;
pub mod deadline;
mod dial;
mod faults;
mod guard;
mod header_case;
mod http1or2;
#[cfg_attr(not(feature = "http2"), path = "http2/disabled.rs")]
mod http2;
mod names;
mod pool;
mod proxy;
pub mod redirect;
mod request;
mod route;
mod sender;
mod settings;
mod special;
#[cfg(feature = "http2")]
mod streams;
mod tls;

pub use acked::AckedBytes;
pub use body::{ContentEncoding, decode, decoder, encodings};
pub use connect::{Arrivals, MemoryConnector, MemoryStream, Transport};
pub use guard::{AddressPolicy, is_local};
pub use pool::Lease;
pub use redirect::Unfollowed;
pub use request::RequestHead;
pub(crate) use route::Origin;
pub use sender::{Sender, Started};
pub use settings::{Http, Network, Settings, Tls, Version};
#[cfg(feature = "postgres")]
pub(crate) use tls::any_certificate;
pub(crate) use tls::{handshake_problem, tls_acceptor, tls_connector};

/// A whole answer, its body decoded.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
    /// The time from sending the request to the end of the body.
    pub latency: Duration,
    /// Why its redirect was not followed, where the job follows redirects.
    pub unfollowed: Option<Unfollowed>,
}

/// An attempt without a complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// The reason in short.
    pub kind: FailureKind,
    /// The details.
    pub detail: String,
    /// What the server can have seen of the request.
    pub delivery: Delivery,
}

/// What is known of an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The server has not seen it.
    NotSent,
    /// The server has seen it, and did nothing with it.
    Rejected,
    /// The server may have acted on it.
    Unknown,
    /// Another attempt would end in the same way.
    Final,
}

/// What a redirect is told where the job follows none.
const FOLLOWS: &str = "send.follow or --follow N follows it";

/// Maximum number of characters of a failed answer's body in its record.
const SNIPPET: usize = 200;

impl Answer {
    /// What programs can read of the answer beside its body, whose kind its type says.
    #[must_use]
    pub fn read_as_is(&self) -> AnswerContext<'_> {
        AnswerContext::of(self.status, &self.headers)
    }

    /// What programs can read of the answer to a request with this URL beside its body.
    #[must_use]
    pub fn context<'a>(&'a self, url: &'a Uri) -> AnswerContext<'a> {
        AnswerContext { url: Some(url), ..self.read_as_is() }
    }

    /// The failure of a row with this last answer.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let location = self.headers.get(http::header::LOCATION);
        let detail = match location.filter(|_| self.status.is_redirection()) {
            Some(to) => {
                let to = String::from_utf8_lossy(to.as_bytes());
                let why = worded(self.unfollowed.map_or(FOLLOWS, Unfollowed::text));
                format!("redirects to {to} ({why})")
            }
            None => body_excerpt(&self.body, &self.headers, SNIPPET),
        };
        Failure::new(FailureKind::Status(self.status.as_u16()), detail)
    }
}

impl SendError {
    /// Whether the error concerns the host rather than the request.
    #[must_use]
    pub fn is_of_host(&self) -> bool {
        matches!(self.kind, FailureKind::Connect | FailureKind::Tls)
    }

    /// Whether the server has ended the connection, or said what is not HTTP.
    pub fn is_without_answer(&self) -> bool {
        matches!(self.kind, FailureKind::ConnectionLost | FailureKind::BadAnswer)
    }

    /// The error of an address from a server's answer, rather than a row.
    #[must_use]
    pub fn of_server(self) -> SendError {
        match self.kind {
            FailureKind::Input => SendError { kind: FailureKind::Connect, ..self },
            _ => self,
        }
    }

    /// Whether a connection turned out to have ended before anything was written.
    #[must_use]
    pub fn is_stale_connection(&self) -> bool {
        self.kind == FailureKind::ConnectionLost && self.delivery == Delivery::NotSent
    }

    /// The failure of a row whose last attempt ended with this error.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::new(self.kind.clone(), self.detail.clone())
    }
}

/// An error and its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
