//! Connections: a socket, through a proxy if the job or the environment names one,
//! and TLS.

use std::cell::Cell;
use std::collections::HashSet;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
use tokio_socks::tcp::Socks5Stream;

use super::acked::{AckedBytes, Acks, MaybeTapped, SentBytes, Wire, tapped};
use super::deadline::Deadline;
use super::dial::Dialer;
use super::http1or2::{Connection, http1_builder};
use super::http2;
use super::proxy::HttpProxy;
use super::request::{InterimWatch, RequestTarget};
use super::route::{Origin, UrlScheme, proxies};
use super::{
    AddressPolicy, Delivery, Http, Network, SendError, Settings, Tls, causes, faults, tls,
};
use crate::error::Error;
use crate::limit::duration;
use crate::record::FailureKind;
use crate::wording::worded;

/// Opens connections in memory, in the network's place.
pub type MemoryConnector = Arc<dyn Fn() -> MemoryStream + Send + Sync>;

/// The client's end of a connection in memory.
pub struct MemoryStream {
    /// Its bytes, in both directions.
    pub io: DuplexStream,
    /// Number of the client's bytes that the server has acknowledged so far.
    pub acked: AckedBytes,
}

const BEHIND_PROXY: &str = "the proxy acknowledges in the server's place";
const UNTOLD: &str = "this kernel doesn't tell when a request is acknowledged";

/// A connection without anybody in between.
type Direct = MaybeTapped<TcpStream, SentBytes>;

/// How connections are made; shared by all workers.
pub struct Transport {
    /// Time and size bounds.
    pub(crate) settings: Settings,
    memory: Option<MemoryConnector>,
    arrivals: Arrivals,
    /// Whether requests must not be sent twice, so that it matters what became of one.
    sends_once: bool,
    /// Why some connection can't tell of arrivals, although it should.
    blind: OnceLock<&'static str>,
    network: Network,
    guard: AddressPolicy,
    dialer: Dialer,
    proxies: Matcher,
    /// The origins to which a connection was made.
    reached: Mutex<HashSet<Origin>>,
    /// Whether a proxy on the way asks for other credentials.
    is_barred: AtomicBool,
    /// Whether it was looked whether a server of a plain origin speaks TLS.
    has_tried_tls: AtomicBool,
    /// The plain origin whose server speaks TLS.
    tls_at: OnceLock<Origin>,
    trust: tls::Trust,
    /// Made when the first server wants it: reading the platform's roots takes a while.
    tls: OnceLock<Result<TlsConnector, String>>,
}

/// Maximum time of a handshake that only shows whether a server speaks TLS.
const MAX_HANDSHAKE: Duration = Duration::from_secs(2);

/// Whether connections tell when requests have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// By their answers alone.
    Answered,
    /// As soon as the server's network stack has them, where that can be seen.
    Acked,
}

impl Transport {
    /// Connections by these settings, through this environment's proxies unless the
    /// job names one.
    ///
    /// # Errors
    /// Which setting can't be used, or which file can't be read.
    pub fn new(
        settings: &Settings,
        network: &Network,
        tls: &Tls,
        guard: AddressPolicy,
        arrivals: Arrivals,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Transport, Error> {
        let trust = tls::Trust::new(tls, network.http)?;
        if let (Http::Two, Some(why)) = (network.http, http2::MISSING) {
            return Err(Error::plan(format!("network.http (--http) is 2, and {why}")));
        }
        Ok(Transport {
            settings: settings.clone(),
            memory: None,
            arrivals,
            sends_once: false,
            blind: OnceLock::new(),
            network: network.clone(),
            dialer: Dialer::new(network, guard.clone())?,
            guard,
            proxies: proxies(network.proxy.as_deref(), environment)?,
            reached: Mutex::default(),
            is_barred: AtomicBool::new(false),
            trust,
            has_tried_tls: AtomicBool::new(false),
            tls_at: OnceLock::new(),
            tls: OnceLock::new(),
        })
    }

    /// Connections that are looked at before each request, where it must not be sent twice.
    #[must_use]
    pub fn sending_once(self, sends_once: bool) -> Transport {
        Transport { sends_once, ..self }
    }

    /// Connections with the same time and size bounds that this connector opens,
    /// whatever the URL says.
    #[must_use]
    pub fn in_memory(&self, connector: MemoryConnector) -> Transport {
        Transport {
            memory: Some(connector),
            settings: self.settings.clone(),
            arrivals: self.arrivals,
            sends_once: false,
            blind: OnceLock::new(),
            network: Network::default(),
            guard: AddressPolicy::default(),
            dialer: Dialer::default(),
            proxies: Matcher::builder().build(),
            reached: Mutex::default(),
            is_barred: AtomicBool::new(false),
            has_tried_tls: AtomicBool::new(false),
            tls_at: OnceLock::new(),
            trust: tls::Trust::default(),
            tls: OnceLock::new(),
        }
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

    /// Whether a redirect may lead to this URL.
    #[must_use]
    pub fn may_follow(&self, uri: &Uri) -> bool {
        self.guard.allows_host(uri)
    }

    /// Whether something failed that is the same for all hosts, such as the proxy.
    #[must_use]
    pub fn has_no_way(&self) -> bool {
        self.dialer.has_no_way()
    }

    /// From now on no origin is reached: a proxy asks for other credentials.
    pub(super) fn bar(&self) {
        self.dialer.no_way();
        self.is_barred.store(true, Ordering::Relaxed);
    }

    /// Whether a connection to this origin was made before, and may be made again.
    pub(crate) fn has_reached(&self, origin: &Origin) -> bool {
        !self.is_barred.load(Ordering::Relaxed)
            && self.tls_at.get() != Some(origin)
            && self.reached.lock().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }

    /// The error of a plain request to a server that speaks TLS, and has closed the connection.
    /// One more connection finds it out, once for the first such origin. HTTP/2 without TLS is
    /// what the job knows of its server.
    pub(crate) async fn wants_tls(&self, origin: &Origin) -> Option<SendError> {
        let is_direct = self.memory.is_none()
            && self.network.http != Http::Two
            && self.network.unix_socket.is_none()
            && self.proxy_of(&format!("http://{}/", origin.authority()).parse().ok()?).is_none();
        if origin.scheme != UrlScheme::Http || !is_direct {
            return None;
        }
        let is_first = !self.has_tried_tls.swap(true, Ordering::Relaxed);
        if is_first && self.speaks_tls(origin).await {
            // It is set once.
            let _ = self.tls_at.set(origin.clone());
        }
        (self.tls_at.get() == Some(origin)).then(|| {
            let server = format!("{}:{}", origin.host, origin.port);
            let detail = format!("{server} speaks TLS: is it https://{server}?");
            trouble(FailureKind::Tls, detail, Delivery::Final)
        })
    }

    async fn speaks_tls(&self, origin: &Origin) -> bool {
        let tls = self.tls.get_or_init(|| self.trust.connector()).as_ref();
        let name = ServerName::try_from(origin.bare_host().to_owned());
        let (Ok(tls), Ok(name)) = (tls, name) else {
            return false;
        };
        let handshake = pin!(async {
            let tcp = self.dialer.tcp(origin.bare_host(), origin.port).await.ok()?;
            Some(tls.connect(name, tcp).await.map_or_else(|error| tls::is_of_tls(&error), |_| true))
        });
        let timer = pin!(tokio::time::sleep(self.settings.connect_timeout.min(MAX_HANDSHAKE)));
        Deadline::new(timer).keep(handshake).await.flatten().unwrap_or(false)
    }

    /// Whether servers' certificates are left unchecked.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.trust.is_insecure()
    }

    /// The proxy on the way to a URL, without what it wants to know of us.
    #[must_use]
    pub fn proxy_of(&self, uri: &Uri) -> Option<String> {
        let proxy = self.proxies.intercept(uri)?;
        let host = proxy.uri().authority().map_or("", |host| host.as_str());
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        Some(format!("{}://{host}", proxy.uri().scheme_str().unwrap_or("http")))
    }

    /// Whether connections of this scheme take one request at a time, if that is
    /// known before the server tells.
    pub(super) fn one_at_a_time(&self, scheme: UrlScheme) -> Option<bool> {
        match (scheme, self.network.http) {
            (UrlScheme::Http, Http::Two) => None,
            (UrlScheme::Http, _) | (_, Http::One) => Some(true),
            _ => None,
        }
    }

    /// A new connection to an origin.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, SendError> {
        let limit = self.settings.connect_timeout;
        let missing = Cell::new("no connection");
        let open = pin!(async {
            let connection = self.dial(origin).await?;
            missing.set("no HTTP/2 settings from the server");
            let welcome = connection.welcome().await;
            welcome.map_err(|error| not_welcome(origin, error))?;
            Ok(connection)
        });
        let timer = pin!(tokio::time::sleep(limit));
        let opened = Deadline::new(timer).keep(open).await;
        let opened = opened.unwrap_or_else(|| Err(too_slow(origin, missing.get(), limit)));
        if opened.is_ok() {
            self.note_reached(origin);
        }
        opened
    }

    fn note_reached(&self, origin: &Origin) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if !reached.contains(origin) {
            reached.insert(origin.clone());
        }
    }

    async fn dial(&self, origin: &Origin) -> Result<Connection, SendError> {
        if let Some(connect) = &self.memory {
            let MemoryStream { io, acked } = connect();
            let wire = match self.arrivals {
                Arrivals::Answered => None,
                Arrivals::Acked => Some(Wire::of_memory(acked)),
            };
            let io = tapped(io, wire.clone().map(SentBytes));
            return Connection::http1(io, RequestTarget::Origin, wire).await;
        }
        if let Some(path) = &self.network.unix_socket {
            self.is_blind(UNTOLD);
            return self.over(self.dialer.unix(path).await?, origin, None).await;
        }
        let url = format!("{}://{}:{}", origin.scheme.name(), origin.host, origin.port);
        let proxy = url.parse().ok();
        let proxy = proxy.and_then(|uri| self.proxies.intercept(&uri));
        let Some(proxy) = proxy else {
            let tcp = self.dialer.tcp(origin.bare_host(), origin.port).await?;
            let socket = self.socket(&tcp);
            let (tcp, wire) = self.direct(tcp);
            return Ok(self.over(tcp, origin, wire).await?.on(socket));
        };
        // A host that the job doesn't name must not be private behind a proxy either,
        // as far as its name can be resolved here.
        self.check_behind(origin).await?;
        self.is_blind(BEHIND_PROXY);
        match proxy.uri().scheme_str() {
            Some("socks5" | "socks5h") => {
                self.over(self.socks(&proxy, origin).await?, origin, None).await
            }
            _ if origin.scheme == UrlScheme::Http => {
                let tcp = self.to_proxy(&proxy).await?;
                let socket = self.socket(&tcp);
                let form = RequestTarget::Absolute(HttpProxy::of(&proxy));
                Ok(Connection::http1(tcp, form, None).await?.on(socket))
            }
            _ => {
                let tcp = self.to_proxy(&proxy).await?;
                let tunnel = tunnel(tcp, origin, &HttpProxy::of(&proxy)).await;
                let tunnel = tunnel.inspect_err(|error| {
                    if error.delivery == Delivery::Final {
                        self.bar();
                    }
                })?;
                self.secure(TokioIo::new(tunnel), origin, None).await
            }
        }
    }

    /// Another handle to a socket, if it is looked at before each request.
    fn socket(&self, tcp: &TcpStream) -> Option<Acks> {
        self.sends_once.then(|| Acks::of(tcp)).flatten()
    }

    /// A connection to the server itself, and its wire, if that is wanted.
    fn direct(&self, tcp: TcpStream) -> (Direct, Option<Rc<Wire>>) {
        let wire = match self.arrivals {
            Arrivals::Answered => None,
            Arrivals::Acked => Wire::of(&tcp),
        };
        if wire.is_none() {
            self.is_blind(Acks::UNKNOWN.unwrap_or(UNTOLD));
        }
        (tapped(tcp, wire.clone().map(SentBytes)), wire)
    }

    fn is_blind(&self, why: &'static str) {
        if self.arrivals == Arrivals::Acked {
            // The first reason is as good as any other.
            let _ = self.blind.set(why);
        }
    }

    async fn check_behind(&self, origin: &Origin) -> Result<(), SendError> {
        match self.dialer.addresses(origin.bare_host(), origin.port).await {
            Err(trouble) if trouble.kind == FailureKind::Input => Err(trouble),
            _ => Ok(()),
        }
    }

    /// Speaks what the scheme and the job say.
    async fn over<T>(
        &self,
        io: T,
        origin: &Origin,
        wire: Option<Rc<Wire>>,
    ) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        match (origin.scheme, self.network.http) {
            (UrlScheme::Https, _) => self.secure(io, origin, wire).await,
            (UrlScheme::Http, Http::Two) => Connection::http2(io, wire).await,
            (UrlScheme::Http, _) => Connection::http1(io, RequestTarget::Origin, wire).await,
        }
    }

    async fn secure<T>(
        &self,
        io: T,
        origin: &Origin,
        wire: Option<Rc<Wire>>,
    ) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let tls = self.tls.get_or_init(|| self.trust.connector()).as_ref();
        let tls = tls.map_err(|why| {
            self.dialer.no_way();
            trouble(FailureKind::Tls, why.clone(), Delivery::Final)
        })?;
        let name = ServerName::try_from(origin.bare_host().to_owned())
            .map_err(|error| trouble(FailureKind::Tls, error.to_string(), Delivery::Final))?;
        let stream = tls.connect(name, io).await.map_err(|error| {
            let detail = self.trust.explain(origin, &error);
            trouble(FailureKind::Tls, detail, tls::after_handshake(&error))
        })?;
        if tls::speaks_http2(&stream) {
            Connection::http2(stream, wire).await
        } else if !self.trust.allows_http1() {
            let detail = self.trust.wrong_http(&format!("{}:{}", origin.host, origin.port));
            Err(trouble(FailureKind::Tls, detail, Delivery::Final))
        } else {
            Connection::http1(stream, RequestTarget::Origin, wire).await
        }
    }

    async fn to_proxy(&self, proxy: &Intercept) -> Result<TcpStream, SendError> {
        let uri = proxy.uri();
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("http") => self.dialer.proxy(host, uri.port_u16().unwrap_or(80)).await,
            Some("socks5" | "socks5h") => {
                self.dialer.proxy(host, uri.port_u16().unwrap_or(1080)).await
            }
            other => Err(trouble(
                FailureKind::Connect,
                format!(
                    "the proxy {}:// can't be used: http://, socks5:// and socks5h:// can",
                    other.unwrap_or_default()
                ),
                Delivery::Final,
            )),
        }
    }

    /// A connection through a SOCKS proxy, which resolves names for `socks5h`.
    async fn socks(&self, proxy: &Intercept, origin: &Origin) -> Result<TcpStream, SendError> {
        let host = origin.bare_host();
        let target = match proxy.uri().scheme_str() {
            Some("socks5") => {
                let addresses = self.dialer.addresses(host, origin.port).await?;
                addresses
                    .first()
                    .map_or_else(|| host.to_owned(), |address| address.ip().to_string())
            }
            _ => host.to_owned(),
        };
        let (tcp, target) = (self.to_proxy(proxy).await?, (target.as_str(), origin.port));
        let through = match proxy.raw_auth() {
            None => Socks5Stream::connect_with_socket(tcp, target).await,
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(tcp, target, user, password).await
            }
        };
        let through = through.map_err(|error| {
            let detail = format!("through the SOCKS proxy to {host}: {error}");
            trouble(FailureKind::Connect, detail, Delivery::NotSent)
        })?;
        Ok(through.into_inner())
    }
}

impl UrlScheme {
    fn name(self) -> &'static str {
        match self {
            UrlScheme::Http => "http",
            UrlScheme::Https => "https",
        }
    }
}

/// Asks a proxy to pass bytes through to the origin.
async fn tunnel(tcp: TcpStream, origin: &Origin, proxy: &HttpProxy) -> Result<Upgraded, SendError> {
    let refused = |why: String| proxy.error(&why);
    let target = format!("{}:{}", origin.host, origin.port);
    let mut request = Request::connect(&target).header(HOST, &target);
    if let Some(credentials) = &proxy.credentials {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let mut request =
        request.body(Empty::<Bytes>::new()).map_err(|error| refused(error.to_string()))?;
    let interim = InterimWatch::new().watch(&mut request);
    let (mut sender, connection) = http1_builder()
        .handshake(TokioIo::new(tcp))
        .await
        .map_err(|error| refused(causes(&error)))?;
    tokio::task::spawn_local(connection.with_upgrades());
    let answer = interim.keep(pin!(sender.send_request(request))).await;
    let answer = answer.ok_or_else(|| refused(faults::too_many_interim().detail))?;
    let answer = answer.map_err(|error| refused(causes(&error)))?;
    let status = answer.status();
    if !status.is_success() {
        let refusal = proxy.refusal_of_tunnel(status);
        return Err(refusal.unwrap_or_else(|| proxy.no_tunnel(status)));
    }
    hyper::upgrade::on(answer).await.map_err(|error| refused(causes(&error)))
}

fn not_welcome(origin: &Origin, error: SendError) -> SendError {
    let server = format!("{}:{}", origin.host, origin.port);
    let detail = match error.delivery {
        Delivery::Final => worded(format!(
            "{server} does not speak HTTP/2, which network.http (--http) asks for: --http 1.1 does without"
        )),
        _ => format!(
            "{server}: the connection ended before the server sent its HTTP/2 settings: {}",
            error.detail
        ),
    };
    SendError { detail, ..error }
}

fn too_slow(origin: &Origin, missing: &str, limit: Duration) -> SendError {
    let limit = duration::exact(limit);
    let detail = format!(
        "{}:{}: {missing} within {limit} (send.connect-timeout or --connect-timeout)",
        origin.host, origin.port
    );
    trouble(FailureKind::Connect, worded(detail), Delivery::NotSent)
}

fn trouble(kind: FailureKind, detail: String, delivery: Delivery) -> SendError {
    SendError { kind, detail, delivery }
}
