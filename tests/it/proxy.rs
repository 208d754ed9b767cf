//! A small proxy that passes everything on to one server, and remembers who came.

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Whatever host it is asked for, it asks its own server.
pub struct Proxy {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// In front of this server. It ends with the tests.
    pub fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { addr: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = proxy.heads.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heads) = (stream.unwrap(), heads.clone());
                // A client may go at any time.
                thread::spawn(move || pass_on(stream, server, &heads));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The first head of each connection.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.heads().len()
    }
}

fn pass_on(client: TcpStream, server: SocketAddr, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut from_client = BufReader::new(client.try_clone().ok()?);
    let head = read_head(&mut from_client)?;
    heads.lock().unwrap().push(head.clone());
    let mut server = TcpStream::connect(server).ok()?;
    let mut to_client = client;
    if head.starts_with("CONNECT ") {
        to_client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?
    } else {
        server.write_all(head.as_bytes()).ok()?
    }
    let (from_server, mut to_server) = (server.try_clone().ok()?, server);
    let back = thread::spawn(move || pump(from_server, to_client));
    pump(&mut from_client, &mut to_server);
    let _ = to_server.shutdown(Shutdown::Write);
    back.join().ok()
}

/// Until one of them has gone.
fn pump(mut from: impl Read, mut to: impl Write) {
    let _ = copy(&mut from, &mut to);
}

fn read_head(client: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
