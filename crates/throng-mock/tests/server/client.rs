//! A client that shows each answer completely, and mocks to test.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use throng_mock::{Judgement, Mock, Settings};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub const QUOTE: &str = "/v6/finance/quote/?region=US&lang=en&symbols=";

pub fn start(settings: Settings) -> Mock {
    Mock::start(settings, "127.0.0.1:0").unwrap()
}

pub fn limited(limit: &str) -> Settings {
    Settings { limits: vec![limit.parse().unwrap()], ..Settings::default() }
}

pub fn faulty(faults: &str) -> Settings {
    Settings { faults: faults.parse().unwrap(), ..Settings::default() }
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test)
}

/// A connection for one request after the other.
pub struct Connection(pub http1::SendRequest<Full<Bytes>>);

#[derive(Debug)]
pub struct ReceivedAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as far as it came.
    pub body: Vec<u8>,
    pub whole: bool,
    pub pieces: usize,
}

impl ReceivedAnswer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Connection {
    pub async fn to(mock: &Mock) -> Connection {
        let stream = TcpStream::connect(mock.addr()).await.unwrap();
        Connection::over(stream).await
    }

    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Connection {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<ReceivedAnswer> {
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        Ok(read(response).await)
    }

    pub async fn get(&mut self, path: &str) -> hyper::Result<ReceivedAnswer> {
        self.send(request(Method::GET, path, "")).await
    }
}

pub fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "mock");
    request.body(Full::from(body)).unwrap()
}

pub async fn read(response: Response<hyper::body::Incoming>) -> ReceivedAnswer {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut whole, mut pieces) = (Vec::new(), true, 0);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => whole = false,
        }
        pieces += 1;
    }
    ReceivedAnswer { status: parts.status.as_u16(), headers: parts.headers, body, whole, pieces }
}

/// One request on a connection of its own.
pub fn get(mock: &Mock, path: &str) -> hyper::Result<ReceivedAnswer> {
    run(async { Connection::to(mock).await.get(path).await })
}

/// Waits until the judgement fulfils the condition; the test hangs if it never does.
pub async fn until(mock: &Mock, reached: impl Fn(&Judgement) -> bool) -> Judgement {
    loop {
        let judgement = mock.judgement();
        if reached(&judgement) {
            return judgement;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
