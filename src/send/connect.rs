//! Connections: TCP, through a proxy where the environment names one, and TLS.
//! [door: network]

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::http1or2::Connection;
use super::route::{Form, Origin, Scheme, proxies};
use super::{Landed, Settings, Trouble, causes, tls};

/// What takes the network's place: each call is the client's end of a new connection.
pub type Model = Box<dyn Fn() -> DuplexStream + Send + Sync>;

/// How connections are made; shared by all workers.
pub struct Transport {
    settings: Settings,
    model: Option<Model>,
    proxies: Matcher,
    /// Made when the first server wants it: reading the platform's roots takes a while.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl Transport {
    /// Connections by these settings, through this environment's proxies.
    #[must_use]
    pub fn new(settings: Settings, environment: &dyn Fn(&str) -> Option<String>) -> Transport {
        Transport {
            settings,
            model: None,
            proxies: proxies(environment),
            tls: OnceLock::new(),
        }
    }

    /// The same settings, without a network: whatever the URL says, the model answers.
    #[must_use]
    pub fn to_model(&self, model: Model) -> Transport {
        Transport {
            model: Some(model),
            ..Transport::new(self.settings.clone(), &|_| None)
        }
    }

    /// Time and size bounds.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A new connection to an origin.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, Trouble> {
        let limit = self.settings.connect_timeout;
        tokio::time::timeout(limit, self.dial(origin))
            .await
            .unwrap_or_else(|_| Err(too_slow(origin, limit)))
    }

    async fn dial(&self, origin: &Origin) -> Result<Connection, Trouble> {
        if let Some(model) = &self.model {
            return Connection::http1(model(), Form::Origin).await;
        }
        let url = format!("{}://{}:{}", origin.scheme.name(), origin.host, origin.port);
        let proxy = url
            .parse()
            .ok()
            .and_then(|uri| self.proxies.intercept(&uri));
        match (origin.scheme, proxy) {
            (Scheme::Http, None) => {
                Connection::http1(tcp(origin.bare_host(), origin.port).await?, Form::Origin).await
            }
            (Scheme::Http, Some(proxy)) => {
                Connection::http1(to_proxy(&proxy).await?, Form::through(&proxy)).await
            }
            (Scheme::Https, None) => {
                let tcp = tcp(origin.bare_host(), origin.port).await?;
                self.secure(tcp, origin).await
            }
            (Scheme::Https, Some(proxy)) => {
                let tunnel = tunnel(to_proxy(&proxy).await?, origin, &proxy).await?;
                self.secure(TokioIo::new(tunnel), origin).await
            }
        }
    }

    async fn secure<T>(&self, io: T, origin: &Origin) -> Result<Connection, Trouble>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let tls = self.tls.get_or_init(tls::connector).as_ref();
        let tls = tls.map_err(|why| trouble("tls", why.clone(), Landed::Final))?;
        let name = ServerName::try_from(origin.bare_host().to_owned())
            .map_err(|error| trouble("tls", error.to_string(), Landed::Final))?;
        let stream = tls.connect(name, io).await.map_err(|error| {
            let detail = format!("{}: {}", origin.host, causes(&error));
            trouble("tls", detail, tls::after_handshake(&error))
        })?;
        match tls::speaks_http2(&stream) {
            true => Connection::http2(stream).await,
            false => Connection::http1(stream, Form::Origin).await,
        }
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, Trouble> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| trouble("connect", format!("{host}:{port}: {error}"), Landed::No))?;
    // Requests are written whole: nothing is won by waiting for more.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn to_proxy(proxy: &Intercept) -> Result<TcpStream, Trouble> {
    let uri = proxy.uri();
    match (uri.scheme_str(), Origin::of(uri)) {
        (Some("http"), Some(origin)) => tcp(origin.bare_host(), origin.port).await,
        _ => Err(trouble(
            "connect",
            format!(
                "the proxy {}:// can't be used: only http:// proxies are",
                uri.scheme_str().unwrap_or_default()
            ),
            Landed::Final,
        )),
    }
}

/// Asks a proxy to pass bytes through to the origin.
async fn tunnel(tcp: TcpStream, origin: &Origin, proxy: &Intercept) -> Result<Upgraded, Trouble> {
    let refused = |why: String| {
        let through = proxy
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        trouble(
            "connect",
            format!("through the proxy {through}: {why}"),
            Landed::No,
        )
    };
    let target = format!("{}:{}", origin.host, origin.port);
    let mut request = Request::connect(&target).header(HOST, &target);
    if let Some(auth) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, auth);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| refused(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .map_err(|error| refused(causes(&error)))?;
    tokio::task::spawn_local(connection.with_upgrades());
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| refused(causes(&error)))?;
    if !answer.status().is_success() {
        return Err(refused(format!("it answered {}", answer.status())));
    }
    hyper::upgrade::on(answer)
        .await
        .map_err(|error| refused(causes(&error)))
}

fn too_slow(origin: &Origin, limit: Duration) -> Trouble {
    let limit = humantime::format_duration(limit);
    let detail = format!(
        "{}:{}: no connection within {limit} (send.connect-timeout or --connect-timeout)",
        origin.host, origin.port
    );
    trouble("connect", detail, Landed::No)
}

fn trouble(kind: &'static str, detail: String, landed: Landed) -> Trouble {
    Trouble {
        kind,
        detail,
        landed,
    }
}
