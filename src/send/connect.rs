//! Connections: TCP, through a proxy where the environment names one, and TLS.
//! [door: network]

use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::acked::{Acks, Sent, Tap, Wire};
use super::http1or2::Connection;
use super::route::{Form, Origin, Scheme, proxies};
use super::{Landed, Settings, Trouble, causes, tls};

/// What takes the network's place: each call is the client's end of a new connection.
pub type Model = Box<dyn Fn() -> DuplexStream + Send + Sync>;

const BEHIND_PROXY: &str = "the proxy acknowledges in the server's place";
const UNTOLD: &str = "this kernel doesn't tell when a request is acknowledged";

/// A connection without anybody in between.
type Direct = Tap<TcpStream, Sent>;

/// How connections are made; shared by all workers.
pub struct Transport {
    settings: Settings,
    model: Option<Model>,
    arrivals: Arrivals,
    /// Why some connection can't tell of arrivals, although it should.
    blind: OnceLock<&'static str>,
    proxies: Matcher,
    /// Made when the first server wants it: reading the platform's roots takes a while.
    tls: OnceLock<Result<TlsConnector, String>>,
}

/// Whether connections tell when requests have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// By their answers alone.
    Answered,
    /// As soon as the server's network stack has them, where that can be seen.
    Acked,
}

impl Transport {
    /// Connections by these settings, through this environment's proxies.
    #[must_use]
    pub fn new(
        settings: Settings,
        arrivals: Arrivals,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Transport {
        Transport {
            settings,
            model: None,
            arrivals,
            blind: OnceLock::new(),
            proxies: proxies(environment),
            tls: OnceLock::new(),
        }
    }

    /// The same settings, without a network: whatever the URL says, the model answers.
    #[must_use]
    pub fn to_model(&self, model: Model) -> Transport {
        Transport {
            model: Some(model),
            ..Transport::new(self.settings.clone(), self.arrivals, &|_| None)
        }
    }

    /// Time and size bounds.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Why a connection to this URL can't tell when a request has arrived, if so.
    #[must_use]
    pub fn blind_to(&self, uri: &Uri) -> Option<&'static str> {
        let proxy = self.proxies.intercept(uri).map(|_| BEHIND_PROXY);
        Acks::UNKNOWN.or(proxy)
    }

    /// Why some connection of this run could not tell, if it should have.
    #[must_use]
    pub fn blind(&self) -> Option<&'static str> {
        self.blind.get().copied()
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
            return Connection::http1(model(), Form::Origin, None).await;
        }
        let url = format!("{}://{}:{}", origin.scheme.name(), origin.host, origin.port);
        let proxy = url
            .parse()
            .ok()
            .and_then(|uri| self.proxies.intercept(&uri));
        let Some(proxy) = proxy else {
            let (tcp, wire) = self.direct(origin).await?;
            return match origin.scheme {
                Scheme::Http => Connection::http1(tcp, Form::Origin, wire).await,
                Scheme::Https => self.secure(tcp, origin, wire).await,
            };
        };
        self.is_blind(BEHIND_PROXY);
        let tcp = to_proxy(&proxy).await?;
        match origin.scheme {
            Scheme::Http => Connection::http1(tcp, Form::through(&proxy), None).await,
            Scheme::Https => {
                let tunnel = tunnel(tcp, origin, &proxy).await?;
                self.secure(TokioIo::new(tunnel), origin, None).await
            }
        }
    }

    /// A connection to the server itself, and its wire, if that is wanted.
    async fn direct(&self, origin: &Origin) -> Result<(Direct, Option<Rc<Wire>>), Trouble> {
        let tcp = tcp(origin.bare_host(), origin.port).await?;
        let wire = match self.arrivals {
            Arrivals::Answered => None,
            Arrivals::Acked => Wire::of(&tcp),
        };
        if wire.is_none() {
            self.is_blind(Acks::UNKNOWN.unwrap_or(UNTOLD));
        }
        Ok((Tap::new(tcp, wire.clone().map(Sent)), wire))
    }

    fn is_blind(&self, why: &'static str) {
        if self.arrivals == Arrivals::Acked {
            // The first reason is as good as any other.
            let _ = self.blind.set(why);
        }
    }

    async fn secure<T>(
        &self,
        io: T,
        origin: &Origin,
        wire: Option<Rc<Wire>>,
    ) -> Result<Connection, Trouble>
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
            true => Connection::http2(stream, wire).await,
            false => Connection::http1(stream, Form::Origin, wire).await,
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
