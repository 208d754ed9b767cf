//! `--metrics ADDR`: serves the page of metrics.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::metrics::RunMetrics;
use super::metrics_page;
use crate::{Error, threads};

/// The type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Maximum time that a request takes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener for the requests of Prometheus.
pub struct MetricsServer {
    listener: TcpListener,
    addr: SocketAddr,
}

impl MetricsServer {
    /// Listens at an address, such as `127.0.0.1:9464`, or at a port of this machine.
    ///
    /// # Errors
    /// The address is no address, or the port is taken.
    pub fn bind(addr: &str) -> Result<MetricsServer, Error> {
        let full = match addr.strip_prefix(':').unwrap_or(addr).parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port}"),
            Err(_) => addr.to_owned(),
        };
        let listen = || -> io::Result<MetricsServer> {
            let listener = TcpListener::bind(&full)?;
            listener.set_nonblocking(true)?;
            Ok(MetricsServer { addr: listener.local_addr()?, listener })
        };
        listen().map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "; another run may serve its own there: give this one another port"
                }
                io::ErrorKind::InvalidInput => {
                    "; write an address and a port, such as 127.0.0.1:9464"
                }
                _ => "",
            };
            Error::plan(format!(
                "the metrics can't be served at {full} (--metrics): {error}{advice}"
            ))
        })
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.addr)
    }

    /// Serves the page until the process ends.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(self) -> Result<Arc<Mutex<RunMetrics>>, Error> {
        let metrics = Arc::<Mutex<RunMetrics>>::default();
        let of_server = metrics.clone();
        let failed =
            |error: io::Error| Error::stopped(format!("the metrics can't be served: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let served = move || {
            LocalSet::new().block_on(&runtime, serve(self.listener, of_server));
        };
        threads::spawn(served).map_err(failed)?;
        Ok(metrics)
    }
}

async fn serve(listener: TcpListener, metrics: Arc<Mutex<RunMetrics>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let metrics = metrics.clone();
        spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = respond(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            let serving = server.keep_alive(false).serve_connection(TokioIo::new(stream), service);
            // A client that goes, or that is too slow, is no matter of the run.
            let _ = timeout(TIMEOUT, serving).await;
        });
    }
}

/// The response to a request.
fn respond<T>(request: &Request<T>, metrics: &Mutex<RunMetrics>) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
        "/metrics" => {
            let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
            (StatusCode::OK, TEXT_FORMAT, metrics_page::page(&metrics))
        }
        "/" => (StatusCode::OK, "text/html", "<a href=/metrics>metrics</a>\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
