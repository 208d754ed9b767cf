//! The body of a request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::acked::WireMark;

/// A whole body. Its mark is dropped with it when all of the request is buffered for
/// writing.
pub struct Outgoing {
    bytes: Full<Bytes>,
    _mark: Option<WireMark>,
}

impl Outgoing {
    pub fn new(bytes: Bytes, mark: Option<WireMark>) -> Outgoing {
        Outgoing { bytes: Full::new(bytes), _mark: mark }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.bytes).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
