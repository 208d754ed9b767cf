//! Over real sockets: no request has arrived before its last byte.

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::task::LocalSet;

use super::tap::Listen;
use super::wire::ACCEPTED;
use super::{SentBytes, Wire, WireMark, WireRequests};
use crate::send::{AddressPolicy, Arrivals, Network, Sender, Settings, Tls, Transport};

/// More than the buffers of two kernels can hold.
const BODY: usize = 48 << 20;

fn on_this_thread<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn sender() -> Sender {
    let settings = Settings::default();
    let guard = AddressPolicy::new(std::iter::empty(), crate::render::Hosts::default(), true);
    let (network, tls) = (Network::default(), Tls::default());
    let transport =
        Transport::new(&settings, &network, &tls, guard, Arrivals::Acked, &|_| None).unwrap();
    Sender::new(Arc::new(transport), usize::MAX)
}

/// Reads a request in small parts. When its arrival is reported, all of it must have
/// arrived. It is answered only after the report.
fn serve(listener: TcpListener, arrived: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
        let mut end = BODY;
        while read < end {
            if arrived.load(Ordering::SeqCst) {
                let here = rustix::io::ioctl_fionread(&stream).unwrap();
                assert!(read as u64 + here >= end as u64, "{read} and {here}");
            }
            let n = stream.read(&mut buffer).unwrap();
            if read == 0 {
                let head = buffer[..n].windows(4).position(|w| w == b"\r\n\r\n");
                end = BODY + head.unwrap() + 4;
            }
            read += n;
        }
        until_said(&arrived);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
    })
}

fn until_said(arrived: &AtomicBool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !arrived.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "no arrival was reported");
        std::thread::yield_now();
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

#[test]
fn a_request_has_arrived_when_its_last_byte_is_there_and_before_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", address(&listener));
    let arrived = Arc::new(AtomicBool::new(false));
    let server = serve(listener, arrived.clone());
    on_this_thread(async {
        let sender = sender();
        let request = Request::post(&url).body(Bytes::from(vec![7; BODY]));
        let mut lease = sender.lease(&url.parse().unwrap()).await.unwrap();
        let say = || arrived.store(true, Ordering::SeqCst);
        let head = sender.send(&mut lease, &request.unwrap(), sender.start(), say).await;
        assert_eq!(head.unwrap().status(), 200);
    });
    server.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_new_is_given_time_to_be_accepted() {
    let wire = Wire::of_memory(Box::new(|| 0));
    let opened = tokio::time::Instant::now();
    let mut requests = WireRequests::http1(wire.clone());
    // All of it is acknowledged at once.
    for later in [Duration::ZERO, ACCEPTED] {
        tokio::time::sleep(later).await;
        let (request, arrival) = WireMark::new(Rc::downgrade(&wire));
        drop(request);
        requests.flushed();
        arrival.await;
        assert_eq!(opened.elapsed(), ACCEPTED + later);
    }
}

#[test]
fn a_server_that_has_sent_bytes_has_accepted() {
    on_this_thread(async {
        let (wire, _other_end) = wire().await;
        assert!(wire.accepted_by().is_some());
        SentBytes(wire.clone()).heard(b"x");
        assert_eq!(wire.accepted_by(), None);
    });
}

/// A connection without a server's program.
async fn wire() -> (Rc<Wire>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = tokio::net::TcpStream::connect(address(&listener)).await;
    let wire = Wire::of(&stream.unwrap()).unwrap();
    (wire, listener.accept().unwrap().0)
}

/// The head of an empty frame.
fn frame(kind: u8, flags: u8) -> [u8; 9] {
    [0, 0, 0, kind, flags, 0, 0, 0, 1]
}

#[test]
fn with_http2_a_flush_says_nothing_while_a_request_waits_to_be_written() {
    on_this_thread(async {
        let (wire, _other_end) = wire().await;
        let mut requests = WireRequests::http2(wire.clone());
        let mut write = |bytes: &[u8]| requests.wrote(&[IoSlice::new(bytes)], bytes.len());
        let ((first, _a), (second, _b)) =
            (WireMark::new(Rc::downgrade(&wire)), WireMark::new(Rc::downgrade(&wire)));
        first.hand();
        second.hand();
        write(&[0; 24]);
        // The first has its end; of the second, only the head went out.
        for bytes in [frame(1, 5), frame(1, 4)] {
            write(&bytes);
        }
        requests.flushed();
        assert_eq!(wire.waits(), 2);
        requests.wrote(&[IoSlice::new(&frame(0, 1))], 9);
        assert_eq!(wire.waits(), 2);
        requests.flushed();
        assert_eq!(wire.waits(), 0);
    });
}
