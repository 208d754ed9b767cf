//! The requests to the collector, by throng's own connections. Does I/O: the network.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::Error;
use crate::cli::say;
use crate::render::Hosts;
use crate::send::{AddressPolicy, Arrivals, Network, SendError, Sender, Settings, Tls, Transport};

/// Maximum time that a request takes, unless `OTEL_EXPORTER_OTLP_TIMEOUT` has another.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time of a connection's beginning.
const CONNECT: Duration = Duration::from_secs(5);

/// The collector. The first request that fails is told of, and no other.
#[derive(Clone)]
pub struct Collector {
    transport: Arc<Transport>,
    has_warned: Arc<AtomicBool>,
}

impl Collector {
    /// # Errors
    /// The proxies or the certificates of the environment can't be used.
    pub fn new(environment: &dyn Fn(&str) -> Option<String>) -> Result<Collector, Error> {
        let millis = environment("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|text| text.parse().ok());
        let timeout = millis.map_or(TIMEOUT, Duration::from_millis);
        let connect_timeout = CONNECT.min(timeout);
        let settings = Settings { timeout, connect_timeout, ..Settings::default() };
        // The collector is where the user says; redirects are not followed.
        let policy = AddressPolicy::new([].into_iter(), Hosts::default(), true);
        let (network, tls) = (Network::default(), Tls::default());
        let arrivals = Arrivals::Answered;
        let transport = Transport::new(&settings, &network, &tls, policy, arrivals, &environment)?;
        Ok(Collector { transport: Arc::new(transport), has_warned: Arc::default() })
    }

    /// Says once that the collector does not take the data.
    pub fn warn(&self, why: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            say::note(&format!(
                "throng: WARNING: nothing can be sent to OpenTelemetry (--otlp): {why}; the run goes on without it"
            ));
        }
    }

    /// Sends a request from this thread, which has no event loop.
    fn send(&self, request: Request<Bytes>) -> Result<StatusCode, HttpError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = Sender::new(self.transport.clone(), 1);
        let status = LocalSet::new().block_on(&runtime, exchange(&sender, request));
        status.map_err(|error| format!("{}: {}", error.kind, error.detail).into())
    }
}

async fn exchange(sender: &Sender, request: Request<Bytes>) -> Result<StatusCode, SendError> {
    let mut lease = sender.lease(request.uri()).await?;
    let head = sender.send(&mut lease, &request, sender.start(), || {}).await?;
    Ok(head.status())
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let place = place(request.uri());
        let sent = self.send(request);
        match &sent {
            Ok(status) if status.is_success() => {}
            Ok(status) => self.warn(&format!("{place} answers {status}")),
            Err(error) => self.warn(&format!("{place}: {error}")),
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = sent?;
        Ok(response)
    }
}

/// A URL without a password and a query, which may be secrets.
fn place(uri: &Uri) -> String {
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
    format!("{scheme}://{host}{port}{}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_no_secrets() {
        let uri = "https://user:hunter2@a.example:4318/v1/traces?key=hunter2".parse().unwrap();
        assert_eq!(place(&uri), "https://a.example:4318/v1/traces");
    }
}
