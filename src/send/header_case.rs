//! Header names in upper and lower case, as a job writes them.
//!
//! hyper writes names in lower case, unless a request has an extension that hyper makes of an
//! answer whose names it keeps. So hyper reads an answer here that has the job's names.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Extensions, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};

/// Number of times that the exchange is polled: it waits for nothing but itself.
const MAX_POLLS: usize = 16;

/// The extensions of requests whose headers have these names as they are written here.
pub fn extensions(names: &[String]) -> Extensions {
    let headers: String = names.iter().map(|name| format!("{name}: 0\r\n")).collect();
    let answer = Answer { head: format!("HTTP/1.1 204 No Content\r\n{headers}\r\n"), asked: false };
    let mut exchange = pin!(exchange(answer));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..MAX_POLLS {
        if let Poll::Ready(extensions) = exchange.as_mut().poll(&mut context) {
            return extensions.unwrap_or_default();
        }
    }
    Extensions::new()
}

async fn exchange(answer: Answer) -> hyper::Result<Extensions> {
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true).max_headers(1000).max_buf_size(1 << 20);
    let (mut sender, connection) = builder.handshake(answer).await?;
    let request = sender.send_request(Request::new(Empty::<Bytes>::new()));
    let (mut request, mut connection) = (pin!(request), pin!(connection));
    std::future::poll_fn(|context| {
        // The end of the connection is no error of the answer that came before.
        let _ = connection.as_mut().poll(context).is_ready();
        request.as_mut().poll(context)
    })
    .await
    .map(|answer| answer.into_parts().0.extensions)
}

/// A connection whose answer is there as soon as something is asked.
struct Answer {
    head: String,
    asked: bool,
}

impl Read for Answer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let length = self.head.len().min(buffer.remaining());
        let rest = self.head.split_off(length);
        buffer.put_slice(self.head.as_bytes());
        self.head = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Answer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_keeps_the_names() {
        let names = ["X-API-KEY", "soapAction", "Content-Length", "Host"].map(str::to_owned);
        // What the extension holds shows on the wire: see the tests of requests.
        assert!(!extensions(&names).is_empty());
        let many: Vec<String> = (0..500).map(|n| format!("X-{n}")).collect();
        assert!(!extensions(&many).is_empty());
    }
}
