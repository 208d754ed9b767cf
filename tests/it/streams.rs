//! A plain server that speaks HTTP/2 in clear, and answers each stream as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::TcpListener;

/// Where the answer to one request goes.
pub type Reply = SendResponse<Bytes>;

pub struct Streams {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Streams {
    /// Does this with each request. It ends with the tests.
    pub fn answering(
        answer: impl Fn(&Request<RecvStream>, Reply) + Send + Sync + 'static,
    ) -> Streams {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let streams = Streams { addr: listener.local_addr().unwrap(), connections: Arc::default() };
        let (connections, answer) = (streams.connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(converse(stream, answer.clone()));
                }
            });
        });
        streams
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections were made to it until now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// So many interim answers.
pub fn early(reply: &mut Reply, count: usize) {
    for _ in 0..count {
        let answer = Response::builder().status(103).header("link", "</a>");
        // The client may have gone.
        if reply.send_informational(answer.body(()).unwrap()).is_err() {
            return;
        }
    }
}

/// A whole answer: 200, these headers, and an empty object.
pub fn fine(reply: Reply, headers: &[(String, String)]) {
    whole(reply, headers, "{}".to_owned());
}

/// A whole answer: 200, these headers, and this body.
pub fn whole(mut reply: Reply, headers: &[(String, String)], body: String) {
    let mut answer = Response::builder();
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    // The client may have gone.
    if let Ok(mut stream) = reply.send_response(answer.body(()).unwrap(), false) {
        let _ = stream.send_data(Bytes::from(body), true);
    }
}

async fn converse<A>(stream: tokio::net::TcpStream, answer: Arc<A>) -> Option<()>
where
    A: Fn(&Request<RecvStream>, Reply),
{
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(100);
    let mut connection = builder.handshake(stream).await.ok()?;
    while let Some(Ok((request, reply))) = connection.accept().await {
        answer(&request, reply);
    }
    Some(())
}
