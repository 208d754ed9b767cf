//! Sockets, threads and connections.

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
use crate::recorder::lock;
use crate::state::ServerState;
use crate::{Arrival, BatchCounts, Judgement, Settings};

/// Maximum number of concurrent requests on an HTTP/2 connection.
const STREAMS: u32 = 1000;

/// A running server. Dropped, it stops and drops its open connections.
#[derive(Debug)]
pub struct Mock {
    addr: SocketAddr,
    state: Arc<ServerState>,
    /// Dropped to stop the threads.
    open: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// The state and the certificate that every thread shares.
#[derive(Clone)]
struct ServerContext {
    state: Arc<ServerState>,
    tls: Option<TlsAcceptor>,
}

impl Mock {
    /// Starts a server on threads of its own, which needs no runtime. It is
    /// listening when this returns. Port 0 is any free port.
    pub fn start(settings: Settings, addr: impl ToSocketAddrs) -> io::Result<Mock> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let (open, accepting) = watch::channel(());
        let context = ServerContext {
            tls: settings.tls.as_ref().map(|tls| tls.acceptor()).transpose()?,
            state: Arc::new(ServerState::new(settings)),
        };
        let mut mock = Mock {
            addr: listener.local_addr()?,
            state: Arc::clone(&context.state),
            open: Some(open),
            threads: Vec::new(),
        };
        for _ in 0..context.state.settings.threads.max(1) {
            let accepting = accepting.clone();
            let thread = spawn(listener.try_clone()?, context.clone(), accepting)?;
            mock.threads.push(thread);
        }
        Ok(mock)
    }

    /// The address on which it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of the server, such as `http://127.0.0.1:8080`, without a slash.
    pub fn url(&self) -> String {
        let scheme = match self.state.settings.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.addr)
    }

    /// The counts until now, as `GET /judge` answers them.
    pub fn judgement(&self) -> Judgement {
        self.state.recorder.judgement()
    }

    /// The counts of batches until now, as `GET /judge/batches` answers them.
    pub fn batches(&self) -> BatchCounts {
        lock(&self.state.batches).counts()
    }

    /// Resets the counts, the limits, the scenarios and the flaky ids, as
    /// `DELETE /judge` does.
    pub fn reset(&self) {
        self.state.reset();
    }
}

/// A server without a socket, on the streams that are passed to it and by the
/// clock of the calling runtime, which may be paused. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalServer {
    state: Arc<ServerState>,
}

impl LocalServer {
    /// A server with these settings. It speaks plain HTTP.
    pub fn new(settings: Settings) -> LocalServer {
        LocalServer { state: Arc::new(ServerState::new(settings)) }
    }

    /// Serves one connection until either side ends it. `acks` counts the bytes
    /// that the server's network stack has acknowledged.
    pub async fn serve<S>(self, stream: S, acks: AckCounter)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = CountedStream::new(stream, acks.clone());
        serve_stream(stream, self.state, Some(acks)).await;
    }

    /// The requests that arrived; empty unless the settings ask for the log.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.state.recorder.arrivals()
    }

    /// The counts until now.
    pub fn judgement(&self) -> Judgement {
        self.state.recorder.judgement()
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

/// Starts a thread with its own runtime. Returns an error if the thread can't
/// begin to accept connections.
fn spawn(
    listener: TcpListener,
    context: ServerContext,
    mut open: watch::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let (sender, receiver) = mpsc::channel();
    let run = move || match prepare(listener) {
        Ok((runtime, listener)) => {
            // The caller waits for this, so it cannot have gone.
            let _ = sender.send(Ok(()));
            runtime.block_on(serve(listener, context, &mut open));
        }
        Err(error) => drop(sender.send(Err(error))),
    };
    let thread = thread::Builder::new().name("throng-mock".into());
    let thread = thread.spawn(run)?;
    let started = receiver.recv().map_err(io::Error::other)?;
    started.map(|()| thread)
}

fn prepare(listener: TcpListener) -> io::Result<(Runtime, tokio::net::TcpListener)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(inside);
    Ok((runtime, listener))
}

/// Accepts connections until the mock is dropped. Then the runtime and its open
/// connections are dropped, too.
async fn serve(
    listener: tokio::net::TcpListener,
    context: ServerContext,
    open: &mut watch::Receiver<()>,
) {
    tokio::select! {
        _ = open.changed() => {}
        () = accept(listener, context) => {}
    }
}

async fn accept(listener: tokio::net::TcpListener, context: ServerContext) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, context.clone()))),
            // Mostly too many open files: some will be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves a connection. An error ends only this connection.
async fn connection(stream: TcpStream, context: ServerContext) {
    let _ = stream.set_nodelay(true);
    match context.tls {
        None => serve_stream(stream, context.state, None).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve_stream(stream, context.state, None).await;
            }
        }
    }
}

async fn serve_stream<S>(stream: S, state: Arc<ServerState>, acks: Option<AckCounter>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        handler::handle(Arc::clone(&state), request, acks.clone())
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().pipeline_flush(true).header_read_timeout(None);
    builder.http2().max_concurrent_streams(STREAMS);
    // A connection that a fault drops is an error here.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
