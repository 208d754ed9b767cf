use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, yield_now};
use tokio::time::timeout;

use super::super::{Delivery, Origin, SendError};
use super::{Connection, Defaults};
use crate::record::FailureKind;

/// A server that sends prescribed bytes.
struct Server {
    io: DuplexStream,
}

/// SETTINGS_MAX_CONCURRENT_STREAMS.
fn allows(streams: u8) -> Vec<u8> {
    vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// RST_STREAM of the first stream.
fn resets(reason: u8) -> Vec<u8> {
    vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, reason]
}

/// GOAWAY after the streams up to the last.
fn leaves(last: u8) -> Vec<u8> {
    vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0]
}

impl Server {
    async fn connected() -> (Server, Connection) {
        let (io, ours) = duplex(1 << 16);
        let connection = Connection::http2(ours, None).await.unwrap();
        (Server { io }, connection)
    }

    async fn welcoming(streams: u8) -> (Server, Connection) {
        let (mut server, connection) = Server::connected().await;
        server.says(&allows(streams)).await;
        connection.welcome().await.unwrap();
        (server, connection)
    }

    async fn says(&mut self, frame: &[u8]) {
        self.io.write_all(frame).await.unwrap();
    }

    /// The result of a request that is answered with these frames.
    async fn meets(&mut self, connection: &Connection, frames: &[u8]) -> SendError {
        let mut mine = connection.share().unwrap();
        let request = Request::get("http://server/").body(Bytes::new()).unwrap();
        let defaults = Defaults::of(&Origin::of(request.uri()).unwrap());
        let (answer, ()) = tokio::join!(mine.send(&request, &defaults, || ()), async {
            self.hears_a_request().await;
            self.says(frames).await;
        });
        answer.unwrap_err()
    }

    /// Reads on until the head of a request.
    async fn hears_a_request(&mut self) {
        const HEADERS: u8 = 1;
        let mut preface = [0; 24];
        self.io.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            self.io.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            self.io.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == HEADERS {
                return;
            }
        }
    }
}

async fn on_a_worker(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_open_once_the_server_has_sent_its_settings() {
    on_a_worker(async {
        let (mut server, connection) = Server::connected().await;
        let hour = Duration::from_secs(3600);
        timeout(hour, connection.welcome()).await.unwrap_err();
        assert!(connection.share().is_none());
        server.says(&allows(2)).await;
        connection.welcome().await.unwrap();
        assert!(connection.share().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_closes_before_its_settings_is_an_error() {
    on_a_worker(async {
        let (server, connection) = Server::connected().await;
        drop(server);
        let why = connection.welcome().await.unwrap_err();
        assert!(!why.detail.is_empty());
        let (mut server, connection) = Server::connected().await;
        server.says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let why = connection.welcome().await.unwrap_err();
        assert!(why.detail.contains("frame with invalid size"), "{why:?}");
        assert_eq!(why.delivery, Delivery::Final, "it would come again");
    })
    .await;
}

#[tokio::test]
async fn no_more_requests_are_on_a_connection_than_the_server_allows() {
    on_a_worker(async {
        let (mut server, connection) = Server::welcoming(2).await;
        let both = [connection.share().unwrap(), connection.share().unwrap()];
        assert!(connection.share().is_none());
        let [one, other] = both;
        drop(other);
        let other = connection.share().unwrap();

        // The server can reduce the maximum with requests in flight.
        server.says(&allows(1)).await;
        while one.has_room() {
            yield_now().await;
        }
        drop(other);
        assert!(one.has_room() && connection.share().is_none());
        server.says(&allows(200)).await;
        let mut all = vec![one];
        while all.len() < 100 {
            all.extend(connection.share());
            yield_now().await;
        }
        assert!(connection.share().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_the_server_did_not_process_is_known() {
    on_a_worker(async {
        let (internal_error, refused_stream) = (2, 7);
        for (frames, delivery) in [
            (resets(refused_stream), Delivery::Rejected),
            (leaves(0), Delivery::Rejected),
            (resets(internal_error), Delivery::Unknown),
            ([leaves(1), resets(internal_error)].concat(), Delivery::Unknown),
        ] {
            let (mut server, connection) = Server::welcoming(9).await;
            let trouble = server.meets(&connection, &frames).await;
            assert_eq!(trouble.delivery, delivery, "{frames:?}: {trouble:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn malformed_data_on_a_stream_affects_that_stream_only() {
    on_a_worker(async {
        let (mut server, connection) = Server::welcoming(9).await;
        // HEADERS that end the stream, with two statuses 200.
        let twice = [0, 0, 2, 1, 5, 0, 0, 0, 1, 0x88, 0x88];
        let trouble = server.meets(&connection, &twice).await;
        assert_eq!((trouble.kind, trouble.delivery), (FailureKind::BadAnswer, Delivery::Final));
        // Malformed data on the connection can belong to any request.
        let (mut server, connection) = Server::welcoming(9).await;
        let nonsense = [0, 0, 1, 4, 0, 0, 0, 0, 0, 0];
        let trouble = server.meets(&connection, &nonsense).await;
        let expected = (FailureKind::ConnectionLost, Delivery::Unknown);
        assert_eq!((trouble.kind, trouble.delivery), expected);
    })
    .await;
}
