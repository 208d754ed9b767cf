//! An answer to a request.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::Fault;
use crate::judge::{RequestKind, TokenUsage};
use crate::recorder::OpenArrival;
use crate::reply::{BodyPieces, ConnectionDropped, Reply};

/// Number of pieces of a dripping body, one every 110 ms.
const DRIP_PIECES: usize = 10;

/// An answer that has not been sent yet.
pub(crate) struct MockAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Reply,
    /// The time before the answer, on top of the latency.
    pub wait: Duration,
    pub kind: RequestKind,
    /// The tokens that it bills.
    pub usage: Option<TokenUsage>,
}

impl MockAnswer {
    /// An answer whose body is JSON already.
    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> MockAnswer {
        MockAnswer::new(status, Reply::Whole(body.into()))
    }

    /// An answer with this body, of the type JSON.
    pub(crate) fn new(status: StatusCode, body: Reply) -> MockAnswer {
        let json = HeaderValue::from_static("application/json");
        MockAnswer {
            status,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, json)]),
            body,
            wait: Duration::ZERO,
            kind: RequestKind::Status(status.as_u16()),
            usage: None,
        }
    }

    /// Status 200 and this value.
    pub(crate) fn value(value: &impl Serialize) -> MockAnswer {
        match serde_json::to_vec(value) {
            Ok(body) => MockAnswer::json(StatusCode::OK, body),
            Err(error) => {
                MockAnswer::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
            }
        }
    }

    /// Status 200 and a text for people.
    pub(crate) fn text(text: String) -> MockAnswer {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        MockAnswer::json(StatusCode::OK, text).with(CONTENT_TYPE, plain)
    }

    /// Status 200 and an empty object.
    pub(crate) fn empty() -> MockAnswer {
        MockAnswer::json(StatusCode::OK, "{}")
    }

    /// An error with its message.
    pub(crate) fn problem(status: StatusCode, message: &str) -> MockAnswer {
        let body = serde_json::json!({ "error": message });
        MockAnswer::json(status, body.to_string())
    }

    /// No answer: the connection is dropped.
    pub(crate) fn connection_dropped() -> MockAnswer {
        let kind = RequestKind::Fault(Fault::DropBefore);
        MockAnswer { kind, ..MockAnswer::empty() }
    }

    /// Status 200, but a page for people, such as proxies send.
    pub(crate) fn not_json() -> MockAnswer {
        let page = "<!doctype html><title>Busy</title><p>Please try again later.";
        let html = HeaderValue::from_static("text/html");
        MockAnswer::json(StatusCode::OK, page).with(CONTENT_TYPE, html)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> MockAnswer {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn of_status(self, status: StatusCode) -> MockAnswer {
        MockAnswer {
            status,
            kind: match self.kind {
                RequestKind::Status(_) => RequestKind::Status(status.as_u16()),
                other => other,
            },
            ..self
        }
    }

    pub(crate) fn of_kind(self, fault: Fault) -> MockAnswer {
        let kind = RequestKind::Fault(fault);
        MockAnswer { kind, ..self }
    }

    /// Promises the whole body and sends half of it.
    pub(crate) fn truncated(self) -> MockAnswer {
        let pieces = match self.body {
            Reply::Whole(all) => {
                let half = all.slice(..all.len() / 2);
                BodyPieces::new(Some(all.len() as u64), std::iter::once(half))
            }
            Reply::Pieces(pieces) => pieces,
        };
        let body = Reply::Pieces(pieces.truncated());
        MockAnswer { body, ..self }
    }

    /// Sends the body in small pieces, with pauses.
    pub(crate) fn dripping(self) -> MockAnswer {
        let pieces = match self.body {
            Reply::Whole(all) => split(all),
            Reply::Pieces(pieces) => pieces,
        };
        let body = Reply::Pieces(pieces.paused(Duration::from_millis(110)));
        MockAnswer { body, ..self }
    }

    /// The response for the connection. The arrival is closed with the last
    /// byte of the answer, or just before it.
    pub(crate) fn deliver(
        self,
        open_arrival: OpenArrival,
    ) -> Result<Response<Reply>, ConnectionDropped> {
        if let Some(usage) = self.usage {
            open_arrival.bill(usage);
        }
        let body = match self.body {
            Reply::Whole(bytes) => {
                open_arrival.close(self.kind);
                Reply::Whole(bytes)
            }
            Reply::Pieces(pieces) => Reply::Pieces(pieces.closing(open_arrival, self.kind)),
        };
        if self.kind == RequestKind::Fault(Fault::DropBefore) {
            return Err(ConnectionDropped);
        }
        Ok(respond(self.status, self.headers, body))
    }

    /// The response for the connection, without counting the request.
    pub(crate) fn uncounted(self) -> Response<Reply> {
        respond(self.status, self.headers, self.body)
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
impl MockAnswer {
    /// The value of a body of JSON.
    pub(crate) fn test_value(self) -> serde_json::Value {
        let Reply::Whole(body) = self.body else { panic!("a body in pieces") };
        serde_json::from_slice(&body).unwrap()
    }
}

/// The body in about [`DRIP_PIECES`] pieces of the same size.
fn split(all: Bytes) -> BodyPieces {
    let size = all.len().div_ceil(DRIP_PIECES).max(1);
    let starts = (0..all.len()).step_by(size);
    let length = all.len() as u64;
    let piece = move |start: usize| all.slice(start..all.len().min(start + size));
    BodyPieces::new(Some(length), starts.map(piece))
}
