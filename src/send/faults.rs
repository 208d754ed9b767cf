//! Classifies errors of HTTP by what they mean for their request. Pure.
//!
//! An answer that can't be read is not a lost connection: the server has processed the
//! request, and would answer in the same way again.

use std::error::Error;
use std::io;

use http::HeaderMap;
use hyper::client::conn::TrySendError;
use tokio_rustls::rustls;

use super::http2::{is_malformed_stream, is_turned_away};
use super::request::MAX_INTERIM;
use super::{Delivery, SendError, causes};
use crate::record::FailureKind;

/// Maximum size of an answer's head, in bytes.
pub const MAX_HEAD: usize = 256 << 10;
/// Maximum number of header lines of an HTTP/1.1 answer: they are counted before they
/// are read.
pub const MAX_HEADERS: usize = 2_000;
/// Bytes that HTTP/2 counts for each header besides its name and value (RFC 9113,
/// 10.5.1).
const FIELD: usize = 32;

/// The error of a missing head. A request that hyper hands back was never written.
pub fn of_head<B>(mut error: TrySendError<B>) -> SendError {
    if error.take_message().is_some() {
        return lost(error.error(), Delivery::NotSent);
    }
    let error = error.error();
    if error.is_parse_too_large() {
        return too_large();
    }
    if error.is_parse() || is_malformed_stream(error) {
        return bad(format!("its head can't be read: {}", causes(error)));
    }
    let delivery = if is_turned_away(error) { Delivery::Rejected } else { Delivery::Unknown };
    lost(error, delivery)
}

/// The error of an incomplete body.
pub fn of_body(error: &hyper::Error) -> SendError {
    let detail = format!("in the middle of the body: {}", causes(error));
    if is_malformed_body(error) || is_malformed_stream(error) {
        return bad(detail);
    }
    SendError { detail, ..lost(error, Delivery::Unknown) }
}

/// The error of a connection that could not be used, or has ended.
pub fn lost(error: &hyper::Error, delivery: Delivery) -> SendError {
    SendError { kind: FailureKind::ConnectionLost, detail: causes(error), delivery }
}

/// Whether these headers of an HTTP/2 answer have at most the maximum size.
pub fn check_size(headers: &HeaderMap) -> Result<(), SendError> {
    let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + FIELD
    };
    if headers.iter().map(size).sum::<usize>() > MAX_HEAD { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> SendError {
    SendError {
        kind: FailureKind::HeadersTooLarge,
        detail: format!(
            "the headers of the answer are more than {}, or more than {MAX_HEADERS}",
            bytesize::ByteSize(MAX_HEAD as u64)
        ),
        delivery: Delivery::Final,
    }
}

/// The error of too many interim answers.
pub fn too_many_interim() -> SendError {
    bad(format!("more than {MAX_INTERIM} interim answers (1xx) came to one request"))
}

fn bad(why: String) -> SendError {
    SendError {
        kind: FailureKind::BadAnswer,
        detail: format!("the answer is not as HTTP wants it: {why}"),
        delivery: Delivery::Final,
    }
}

/// Whether the chunks of an HTTP/1.1 body are malformed. TLS has the same error for
/// data that it can't read.
fn is_malformed_body(error: &hyper::Error) -> bool {
    cause_of::<io::Error>(error).is_some_and(|cause| {
        let is_of_tls = cause.get_ref().is_some_and(|it| it.is::<rustls::Error>());
        let kinds = [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];
        kinds.contains(&cause.kind()) && !is_of_tls
    })
}

fn cause_of<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    error.source().and_then(|cause| cause.downcast_ref())
}
