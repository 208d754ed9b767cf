//! The sockets and the thread of a limit server.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use super::accounts::Accounts;
use super::api::Api;
use super::token::TokenSource;
use crate::error::Error;
use crate::send::tls_acceptor;

/// The address on which a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A host and a port.
    Tcp(String),
    /// A socket of this machine.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Listen::Unix(path.into())),
            None if text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Listen::Tcp(text.to_owned()))
            }
            _ => Err("write HOST:PORT or unix:PATH".to_owned()),
        }
    }
}

/// The settings of a server.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub listen: Listen,
    pub token: Option<TokenSource>,
    /// The files of the certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The directory of the state; none keeps it in memory.
    pub state: Option<PathBuf>,
}

/// A server that listens.
#[derive(Debug)]
pub(crate) struct LimitServer {
    /// Its URL, as `--share` takes it.
    pub url: String,
    _socket: Option<SocketFile>,
}

/// The file of a socket, which is removed with this.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Longest time for the head of a request.
const HEAD: Duration = Duration::from_secs(30);

impl LimitServer {
    /// Starts a server on a thread of its own. It listens when this returns.
    ///
    /// # Errors
    /// It can't listen, or must not: on a network without a token.
    pub fn start(settings: &ServerSettings) -> Result<LimitServer, Error> {
        let token = settings.token.as_ref().map(TokenSource::read).transpose()?;
        let (socket, url, file) = bind(settings, token.is_some())?;
        let acceptor = settings.tls.as_ref().map(|(cert, key)| tls_acceptor(cert, key));
        let acceptor = acceptor.transpose()?;
        let accounts = match &settings.state {
            None => {
                let text = token.as_ref().map_or("", |token| token.expose());
                Accounts::in_memory(blake3::derive_key(
                    "throng limit server names",
                    text.as_bytes(),
                ))
            }
            Some(directory) => {
                let wrong = |error: io::Error| {
                    Error::plan(format!("--state {}: {error}", directory.display()))
                };
                let mut accounts = Accounts::open(directory).map_err(wrong)?;
                accounts.load_all().map_err(wrong)?;
                accounts
            }
        };
        let api = Arc::new(Api { accounts: Mutex::new(accounts), token });
        let unable = |error: io::Error| Error::stopped(format!("the server can't start: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(unable)?;
        let serve = move || run(&runtime, socket, acceptor, &api);
        thread::Builder::new().name("throng-limit".into()).spawn(serve).map_err(unable)?;
        Ok(LimitServer { url, _socket: file })
    }
}

fn bind(
    settings: &ServerSettings,
    has_token: bool,
) -> Result<(Socket, String, Option<SocketFile>), Error> {
    match &settings.listen {
        Listen::Tcp(address) => {
            let wrong = |error: io::Error| {
                Error::plan(format!("the server can't listen on {address} (--listen): {error}"))
            };
            let found: Vec<SocketAddr> = address.to_socket_addrs().map_err(wrong)?.collect();
            let is_open = found.iter().any(|it| !it.ip().is_loopback());
            if is_open && !has_token {
                return Err(Error::plan(format!(
                    "{address} can be reached from other machines: give the server a token with --token env:NAME or file:PATH"
                )));
            }
            let listener = TcpListener::bind(&*found).map_err(wrong)?;
            listener.set_nonblocking(true).map_err(wrong)?;
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            let bound = listener.local_addr().map_err(wrong)?;
            Ok((Socket::Tcp(listener), format!("{scheme}://{bound}"), None))
        }
        Listen::Unix(path) => {
            let wrong = |error: io::Error| {
                let path = path.display();
                Error::plan(format!("the server can't listen on unix:{path} (--listen): {error}"))
            };
            if settings.tls.is_some() {
                return Err(Error::plan("a socket of this machine needs no --tls-cert"));
            }
            remove_stale(path);
            let listener = UnixListener::bind(path).map_err(wrong)?;
            let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(path, own).map_err(wrong)?;
            listener.set_nonblocking(true).map_err(wrong)?;
            let file = Some(SocketFile(path.clone()));
            Ok((Socket::Unix(listener), format!("unix:{}", path.display()), file))
        }
    }
}

/// Removes the socket of a server that was killed: no process listens on it.
fn remove_stale(path: &Path) {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = path.metadata().is_ok_and(|it| it.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        // If that fails, so will the bind, which says why.
        let _ = fs::remove_file(path);
    }
}

fn run(runtime: &Runtime, socket: Socket, acceptor: Option<TlsAcceptor>, api: &Arc<Api>) {
    runtime.block_on(async move {
        match socket {
            Socket::Tcp(listener) => {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            // It only makes answers quicker.
                            let _ = stream.set_nodelay(true);
                            let (api, acceptor) = (api.clone(), acceptor.clone());
                            tokio::spawn(async move {
                                match acceptor {
                                    None => serve(stream, api).await,
                                    Some(tls) => {
                                        if let Ok(stream) = tls.accept(stream).await {
                                            serve(stream, api).await;
                                        }
                                    }
                                }
                            });
                        }
                        // Mostly too many open files: some will be closed.
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
            }
            Socket::Unix(listener) => {
                let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => drop(tokio::spawn(serve(stream, api.clone()))),
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
            }
        }
    });
}

/// Serves one connection. An error ends only this connection.
async fn serve<S>(stream: S, api: Arc<Api>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // The other side learns of it by the end of the connection.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
