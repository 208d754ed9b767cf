//! A way to a server that can be cut.

use std::io::{Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They lead to the server.
    Through,
    /// They are refused: nothing listens.
    Refuse,
    /// They are taken, and closed at once.
    Reset,
    /// They are taken, and nothing comes back.
    Silence,
    /// Each request gets a 502.
    BadGateway,
    /// What comes back is no TLS.
    Garbage,
}

/// Passes connections on to a server, or doesn't. It ends with the tests.
pub struct Gateway {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    way: Mutex<(Way, Instant)>,
    /// All connections of the way so far.
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    /// Requests that got a 502.
    requests: AtomicUsize,
}

impl Gateway {
    pub fn before(server: SocketAddr) -> Gateway {
        let addr = SocketAddr::from(([127, 0, 0, 1], crate::harness::free_port()));
        let state = Arc::new(State {
            server,
            way: Mutex::new((Way::Through, Instant::now())),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let gateway = Gateway { addr, state };
        gateway.listen();
        gateway
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Closes all connections, and treats new ones in another way.
    pub fn turn(&self, way: Way) {
        let before = {
            let mut now = self.state.way.lock().unwrap();
            std::mem::replace(&mut *now, (way, Instant::now())).0
        };
        self.state.connections.store(0, Ordering::SeqCst);
        self.state.requests.store(0, Ordering::SeqCst);
        for stream in self.state.open.lock().unwrap().drain(..) {
            // It may have ended before.
            let _ = stream.shutdown(Shutdown::Both);
        }
        match (before, way) {
            (_, Way::Refuse) => {
                // Wakes the listener, which sees that it is not wanted any more.
                let _ = TcpStream::connect(self.addr);
                crate::harness::until("nothing to listen", || {
                    TcpStream::connect(self.addr).is_err()
                });
                self.state.connections.store(0, Ordering::SeqCst);
            }
            (Way::Refuse, _) => self.listen(),
            _ => {}
        }
    }

    /// The time since the last turn.
    pub fn age(&self) -> Duration {
        self.state.way.lock().unwrap().1.elapsed()
    }

    /// Number of connections since the last turn.
    pub fn connections_since_turn(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Number of requests that got a 502 since the last turn.
    pub fn requests_since_turn(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    fn listen(&self) {
        let listener = TcpListener::bind(self.addr).unwrap();
        let state = self.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), state.clone());
                let way = state.way.lock().unwrap().0;
                if way == Way::Refuse {
                    return;
                }
                state.connections.fetch_add(1, Ordering::SeqCst);
                state.open.lock().unwrap().push(stream.try_clone().unwrap());
                // A client may go at any time.
                thread::spawn(move || take(way, stream, &state));
            }
        });
    }
}

fn take(way: Way, mut client: TcpStream, state: &State) -> Option<()> {
    let mut block = [0; 4096];
    match way {
        Way::Refuse | Way::Reset => client.shutdown(Shutdown::Both).ok(),
        Way::Through => pass_on(client, state.server),
        Way::Silence => loop {
            if client.read(&mut block).ok()? == 0 {
                return None;
            }
        },
        Way::Garbage => {
            client.read_exact(&mut block[..1]).ok()?;
            client.write_all(b"no TLS here, whatever you say").ok()
        }
        Way::BadGateway => loop {
            let length = client.read(&mut block).ok().filter(|length| *length > 0)?;
            for _ in 0..block[..length].windows(4).filter(|end| *end == b"\r\n\r\n").count() {
                state.requests.fetch_add(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").ok()?;
            }
        },
    }
}

fn pass_on(client: TcpStream, server: SocketAddr) -> Option<()> {
    let server = TcpStream::connect(server).ok()?;
    let (mut from_client, mut to_client) = (client.try_clone().ok()?, client);
    let (mut from_server, mut to_server) = (server.try_clone().ok()?, server);
    let back = thread::spawn(move || {
        let copied = copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
        copied
    });
    copy(&mut from_client, &mut to_server).ok()?;
    let _ = to_server.shutdown(Shutdown::Write);
    back.join().ok()?.ok().map(drop)
}
