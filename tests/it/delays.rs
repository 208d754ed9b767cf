//! A network on the way to a server: requests arrive late, and in another order.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often a server answered with each status.
pub type Statuses = BTreeMap<u16, usize>;

/// When the server answered, with which status.
type Answers = Arc<Mutex<Vec<(Instant, u16)>>>;

/// A proxy that holds each request back by chance. Requests of several connections overtake
/// each other.
pub struct Delays {
    addr: SocketAddr,
    answers: Answers,
}

impl Delays {
    /// Starts a proxy for the server on this port, which holds requests back for 5 to 80 ms. It
    /// ends with the tests.
    pub fn before(port: u16, seed: u64) -> Delays {
        Delays::of(5..=80, port, seed)
    }

    /// Starts a proxy that holds requests back for this many milliseconds.
    pub fn of(millis: RangeInclusive<u64>, port: u16, seed: u64) -> Delays {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let delays = Delays { addr: listener.local_addr().unwrap(), answers: Arc::default() };
        let answers = delays.answers.clone();
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming()) {
                let chance = StdRng::seed_from_u64((seed << 32) + number);
                let (client, answers) = (client.unwrap(), answers.clone());
                let way = Way { millis: millis.clone(), chance };
                // A client and a server may go at any time.
                thread::spawn(move || pass_on(client, port, way, answers));
            }
        });
        delays
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What the server has answered until now.
    pub fn statuses(&self) -> Statuses {
        let mut statuses = Statuses::new();
        for (_, status) in self.answers() {
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    }

    /// The server's answers until now, by the seconds since the first one.
    pub fn answers(&self) -> Vec<(f64, u16)> {
        let answers = self.answers.lock().unwrap();
        let Some((first, _)) = answers.first() else { return Vec::new() };
        let since = |at: Instant| at.duration_since(*first).as_secs_f64();
        answers.iter().map(|&(at, status)| (since(at), status)).collect()
    }
}

/// The way to a server: how long it takes.
struct Way {
    millis: RangeInclusive<u64>,
    chance: StdRng,
}

fn pass_on(mut client: TcpStream, port: u16, mut way: Way, answers: Answers) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || pass_back(from_server, to_client, &answers));
    let mut block = vec![0; 1 << 16];
    loop {
        let length = client.read(&mut block).ok().filter(|length| *length > 0);
        let Some(length) = length else {
            return server.shutdown(std::net::Shutdown::Write).ok();
        };
        thread::sleep(Duration::from_millis(way.chance.random_range(way.millis.clone())));
        server.write_all(&block[..length]).ok()?;
    }
}

/// Passes answers back and counts their heads. A server that others wrote sends the first
/// line of a head in one piece.
fn pass_back(mut server: TcpStream, mut client: TcpStream, answers: &Answers) {
    let mut block = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut block) {
        let head = String::from_utf8_lossy(&block[..length.min(12)]);
        if let Some(status) = head.strip_prefix("HTTP/1.1 ") {
            answers.lock().unwrap().push((Instant::now(), status.parse().unwrap()));
        }
        if client.write_all(&block[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
}
