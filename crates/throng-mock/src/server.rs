//! The door: sockets, threads, and the way of a request through the house.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::acks::{AckCounter, CountedStream};
use crate::handler;
use crate::state::ServerState;
use crate::{Arrival, Judgement, Settings};

/// With HTTP/2, so many requests may be under way on one connection.
const STREAMS: u32 = 1000;

/// A running server. It stops when dropped; open connections are cut.
#[derive(Debug)]
pub struct Mock {
    addr: SocketAddr,
    house: Arc<ServerState>,
    /// Dropped to tell the threads to stop.
    open: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What every thread needs.
#[derive(Clone)]
struct ServerContext {
    house: Arc<ServerState>,
    tls: Option<TlsAcceptor>,
}

impl Mock {
    /// Starts a server on threads of its own, so that it may be called from
    /// anywhere. It is listening when this returns. Port 0 is any free port.
    pub fn start(settings: Settings, addr: impl ToSocketAddrs) -> io::Result<Mock> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let (open, accepting) = watch::channel(());
        let door = ServerContext {
            tls: settings
                .tls
                .as_ref()
                .map(|tls| tls.acceptor())
                .transpose()?,
            house: Arc::new(ServerState::new(settings)),
        };
        let mut mock = Mock {
            addr: listener.local_addr()?,
            house: Arc::clone(&door.house),
            open: Some(open),
            threads: Vec::new(),
        };
        for _ in 0..door.house.settings.threads.max(1) {
            let accepting = accepting.clone();
            let thread = spawn(listener.try_clone()?, door.clone(), accepting)?;
            mock.threads.push(thread);
        }
        Ok(mock)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, such as `http://127.0.0.1:8080`, without a slash.
    pub fn url(&self) -> String {
        let scheme = match self.house.settings.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.addr)
    }

    /// What was seen until now; the same as `GET /judge`.
    pub fn judgement(&self) -> Judgement {
        self.house.judgement()
    }

    /// Starts afresh: the counts, the limits, chance and what is flaky; the
    /// same as `DELETE /judge`.
    pub fn reset(&self) {
        self.house.reset();
    }
}

/// A server without a socket: it serves streams that it is given, by the clock of
/// the runtime that it is called from, which may be paused. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalServer {
    house: Arc<ServerState>,
}

impl LocalServer {
    /// A server that behaves so. It speaks plain HTTP.
    pub fn new(settings: Settings) -> LocalServer {
        LocalServer {
            house: Arc::new(ServerState::new(settings)),
        }
    }

    /// Serves one connection until either side ends it. `acks` tells the client what
    /// the server's network stack has acknowledged.
    pub async fn serve<S>(self, stream: S, acks: AckCounter)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = CountedStream::new(stream, acks.clone());
        converse(stream, self.house, Some(acks)).await;
    }

    /// The requests that arrived; nothing unless the settings want it.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.house.arrivals()
    }

    /// What was seen until now.
    pub fn judgement(&self) -> Judgement {
        self.house.judgement()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.open = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has stopped as well.
            let _ = thread.join();
        }
    }
}

/// One thread with its own runtime. An error on its way to accepting is
/// handed to the caller.
fn spawn(
    listener: TcpListener,
    door: ServerContext,
    mut open: watch::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let (tell, told) = mpsc::channel();
    let run = move || match prepare(listener) {
        Ok((runtime, listener)) => {
            // The caller waits for this, so it cannot have gone.
            let _ = tell.send(Ok(()));
            runtime.block_on(serve(listener, door, &mut open));
        }
        Err(error) => drop(tell.send(Err(error))),
    };
    let thread = thread::Builder::new().name("throng-mock".into());
    let thread = thread.spawn(run)?;
    let started = told.recv().map_err(io::Error::other)?;
    started.map(|()| thread)
}

fn prepare(listener: TcpListener) -> io::Result<(Runtime, tokio::net::TcpListener)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(inside);
    Ok((runtime, listener))
}

/// Accepts until the mock is dropped. Then the runtime is dropped, too, and
/// with it whatever is still open.
async fn serve(
    listener: tokio::net::TcpListener,
    door: ServerContext,
    open: &mut watch::Receiver<()>,
) {
    tokio::select! {
        _ = open.changed() => {}
        () = accept(listener, door) => {}
    }
}

async fn accept(listener: tokio::net::TcpListener, door: ServerContext) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, door.clone()))),
            // Mostly too many open files: some will be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Whatever goes wrong here, only this connection ends.
async fn connection(stream: TcpStream, door: ServerContext) {
    let _ = stream.set_nodelay(true);
    match door.tls {
        None => converse(stream, door.house, None).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, door.house, None).await;
            }
        }
    }
}

async fn converse<S>(stream: S, house: Arc<ServerState>, acks: Option<AckCounter>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        handler::visit(Arc::clone(&house), request, acks.clone())
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .pipeline_flush(true)
        .header_read_timeout(None);
    builder.http2().max_concurrent_streams(STREAMS);
    // Cut connections are errors here, and wanted.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
