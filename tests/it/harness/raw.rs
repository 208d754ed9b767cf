//! A server whose answers are written byte by byte.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Starts a server that reads one request of each connection and gives its path, without
/// the first slash, to `answer`. An answer ends where its client closes the connection.
pub fn raw_server(answer: fn(&str, TcpStream) -> Option<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || converse(stream.ok()?, answer));
        }
    });
    addr
}

fn converse(stream: TcpStream, answer: fn(&str, TcpStream) -> Option<()>) -> Option<()> {
    let mut head = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    head.read_line(&mut first).ok()?;
    let mut line = String::new();
    while head.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    answer(first.split(' ').nth(1)?.trim_start_matches('/'), stream)
}
