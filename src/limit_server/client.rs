//! A limit server as a run sees it.

use std::path::PathBuf;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use super::api::LONGEST;
use crate::error::Error;
use crate::limit::{Answer, Exchange, Ledger, LedgerError};
use crate::secret::Secret;
use crate::send::tls_connector;

/// The address of a limit server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// A host and a port, with TLS or without.
    Tcp { host: String, port: u16, is_tls: bool },
    /// A socket of this machine.
    Unix(PathBuf),
}

impl ServerAddress {
    /// Parses `https://HOST:PORT`, `http://HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// It is none of these, or would send a token over a network in clear.
    pub fn parse(url: &str) -> Result<ServerAddress, String> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(ServerAddress::Unix(path.into()));
        }
        let parsed = Url::parse(url).map_err(|error| format!("{url:?}: {error}"))?;
        let is_tls = match parsed.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(format!(
                    "{other}:// is no limit server that this build can use: https://HOST:PORT, http://HOST:PORT or unix:PATH"
                ));
            }
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("a token belongs to share-token (--share-token), not to the URL".into());
        }
        if parsed.path() != "/" || parsed.query().is_some() {
            return Err(format!("{url:?}: the URL of a limit server has no path"));
        }
        let host = parsed.host_str().ok_or_else(|| format!("{url:?} names no host"))?.to_owned();
        let port = parsed.port_or_known_default().unwrap_or(443);
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !is_tls && !crate::send::is_local(&bare) {
            return Err(format!(
                "{url} would send the token over a network in clear: give the server a certificate (throng limit serve --tls-cert), and write https://"
            ));
        }
        Ok(ServerAddress::Tcp { host: bare, port, is_tls })
    }
}

/// A limit server.
pub(crate) struct HttpLedger {
    url: String,
    address: ServerAddress,
    token: Option<Secret>,
    tls: Option<TlsConnector>,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// The setting that names the certificate of a server of the user's own.
const CACERT: &str = "limit.share-cacert (--share-cacert FILE)";
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Answers {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Greeting {
    salt: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl HttpLedger {
    /// The server at this URL.
    ///
    /// # Errors
    /// The URL or the certificate can't be used.
    pub fn new(
        url: &str,
        token: Option<Secret>,
        cacert: Option<&std::path::Path>,
    ) -> Result<HttpLedger, Error> {
        let address = ServerAddress::parse(url)
            .map_err(|why| Error::plan(format!("limit.share (--share): {why}")))?;
        let is_tls = matches!(address, ServerAddress::Tcp { is_tls: true, .. });
        let tls = is_tls.then(|| tls_connector(cacert)).transpose()?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::stopped(error.to_string()))?;
        Ok(HttpLedger { url: url.to_owned(), address, token, tls, runtime, connection: None })
    }

    /// The salt of the accounts' names, which all machines share.
    ///
    /// # Errors
    /// The server doesn't answer, or refuses.
    pub fn salt(&mut self) -> Result<[u8; 32], LedgerError> {
        let greeting: Greeting = self.ask(Method::GET, "/v1/server", Bytes::new())?;
        let byte = |at: usize| u8::from_str_radix(greeting.salt.get(at * 2..at * 2 + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| self.is_none())
    }

    /// What is left of all limits, as JSON.
    ///
    /// # Errors
    /// The server doesn't answer, or refuses.
    #[cfg(feature = "cli")]
    pub fn limits(&mut self) -> Result<serde_json::Value, LedgerError> {
        self.ask(Method::GET, "/v1/limits", Bytes::new())
    }

    fn is_none(&self) -> LedgerError {
        let url = &self.url;
        LedgerError::refused(format!("{url} is no limit server of throng: its answer is another"))
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, LedgerError> {
        let asked = self.try_ask(method, path, body);
        let (status, body) = asked.map_err(|why| {
            self.connection = None;
            LedgerError::unreachable(format!(
                "the limit server {} does not answer: {why}",
                self.url
            ))
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| self.is_none());
        }
        let refusal = serde_json::from_slice::<Refusal>(&body).map(|it| it.error);
        let refusal = refusal.unwrap_or_else(|_| format!("status {status}"));
        let why = format!("the limit server {} refuses: {refusal}", self.url);
        Err(match status {
            StatusCode::UNAUTHORIZED => LedgerError::refused(format!(
                "{why}; give the token of throng limit serve with --share-token env:NAME or file:PATH"
            )),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => self.is_none(),
            status if status.is_server_error() => LedgerError::unreachable(why),
            _ => LedgerError::refused(why),
        })
    }

    fn try_ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| format!("{error}"))?;
        let headers = request.headers_mut();
        let host = match &self.address {
            ServerAddress::Tcp { host, port, .. } => format!("{host}:{port}"),
            ServerAddress::Unix(_) => "localhost".to_owned(),
        };
        let value =
            |text: String| header::HeaderValue::from_str(&text).map_err(|it| it.to_string());
        headers.insert(header::HOST, value(host)?);
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, value(format!("Bearer {}", token.expose()))?);
        }
        let (address, tls) = (self.address.clone(), self.tls.clone());
        let known = self.connection.take();
        let sent = self.runtime.block_on(async {
            let work = async {
                let mut connection = match known {
                    Some(known) if !known.is_closed() => known,
                    _ => connect(&address, tls).await?,
                };
                connection.ready().await.map_err(|error| error.to_string())?;
                let answer = connection.send_request(request).await;
                let answer = answer.map_err(|error| crate::send::causes(&error))?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, LONGEST).collect().await;
                let body = body.map_err(|error| error.to_string())?.to_bytes();
                Ok::<_, String>((head.status, body, connection))
            };
            let timed = tokio::time::timeout(ANSWER, work).await;
            timed.map_err(|_| format!("not within {} s", ANSWER.as_secs()))?
        });
        let (status, body, connection) = sent?;
        self.connection = Some(connection);
        Ok((status, body))
    }
}

impl Ledger for HttpLedger {
    fn exchange(&mut self, exchange: &Exchange) -> Result<Vec<Answer>, LedgerError> {
        let body = serde_json::to_vec(exchange);
        let body = body.map_err(|error| LedgerError::refused(error.to_string()))?;
        let answers: Answers = self.ask(Method::POST, "/v1/lease", body.into())?;
        Ok(answers.answers)
    }
}

impl std::fmt::Debug for HttpLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpLedger").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn connect(
    address: &ServerAddress,
    tls: Option<TlsConnector>,
) -> Result<SendRequest<Full<Bytes>>, String> {
    match address {
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| error.to_string())?;
            handshake(stream).await
        }
        ServerAddress::Tcp { host, port, .. } => {
            let stream = TcpStream::connect((&**host, *port)).await;
            let stream = stream.map_err(|error| error.to_string())?;
            // It only makes answers quicker.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return handshake(stream).await };
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            let stream = tls.connect(name, stream).await;
            let problem = |error| crate::send::handshake_problem(&error, CACERT);
            handshake(stream.map_err(problem)?).await
        }
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| error.to_string())?;
    // What ends it shows in the next request.
    drop(tokio::spawn(async { drop(connection.await) }));
    Ok(sender)
}
