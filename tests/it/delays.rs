//! A network on the way to a server: requests arrive late, and in another order.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often a server answered with each status.
pub type Statuses = BTreeMap<u16, usize>;

/// A proxy that holds each request back for 5 to 80 ms by chance. Requests of several
/// connections overtake each other.
pub struct Delays {
    addr: SocketAddr,
    statuses: Arc<Mutex<Statuses>>,
}

impl Delays {
    /// Starts a proxy for the server on this port. It ends with the tests.
    pub fn before(port: u16, seed: u64) -> Delays {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let delays = Delays { addr: listener.local_addr().unwrap(), statuses: Arc::default() };
        let statuses = delays.statuses.clone();
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming()) {
                let chance = StdRng::seed_from_u64((seed << 32) + number);
                let (client, statuses) = (client.unwrap(), statuses.clone());
                // A client and a server may go at any time.
                thread::spawn(move || pass_on(client, port, chance, statuses));
            }
        });
        delays
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What the server has answered until now.
    pub fn statuses(&self) -> Statuses {
        self.statuses.lock().unwrap().clone()
    }
}

fn pass_on(
    mut client: TcpStream,
    port: u16,
    mut chance: StdRng,
    statuses: Arc<Mutex<Statuses>>,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || pass_back(from_server, to_client, &statuses));
    let mut block = vec![0; 1 << 16];
    loop {
        let length = client.read(&mut block).ok().filter(|length| *length > 0);
        let Some(length) = length else {
            return server.shutdown(std::net::Shutdown::Write).ok();
        };
        thread::sleep(Duration::from_millis(chance.random_range(5..=80)));
        server.write_all(&block[..length]).ok()?;
    }
}

/// Passes answers back and counts their heads. A server that others wrote sends the first
/// line of a head in one piece.
fn pass_back(mut server: TcpStream, mut client: TcpStream, statuses: &Mutex<Statuses>) {
    let mut block = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut block) {
        let head = String::from_utf8_lossy(&block[..length.min(12)]);
        if let Some(status) = head.strip_prefix("HTTP/1.1 ") {
            *statuses.lock().unwrap().entry(status.parse().unwrap()).or_default() += 1;
        }
        if client.write_all(&block[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
}
