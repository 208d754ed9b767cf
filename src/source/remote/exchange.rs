//! One request and its answer, whose body comes in chunks as it is read. Each has a thread of
//! its own, so that readers may wait for it anywhere. Does I/O: the network.

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender as To, bounded};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::object::Chunks;
use crate::error::Error;
use crate::record::FailureKind;
use crate::render::Hosts;
use crate::send::{
    AddressPolicy, Arrivals, Delivery, Network, SendError, Sender, Settings, Tls, Transport,
};
use crate::threads;

/// The head of an answer, and its body.
#[derive(Debug)]
pub struct Exchange {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Chunks,
}

/// Number of chunks that may wait for their reader.
const WAITING: usize = 8;
/// Maximum time of a connection's beginning.
const CONNECT: Duration = Duration::from_secs(10);
/// Maximum time between two parts of a body.
const IDLE: Duration = Duration::from_secs(60);
/// Maximum time of one answer: an input may be read for as long as a run takes.
const TOTAL: Duration = Duration::from_secs(365 * 86_400);

/// The connections to inputs, through the proxies of the environment. Redirects lead to private
/// addresses only if `host` has one, or if `host` is none.
pub fn transport(host: Option<&Uri>, connect: Option<Duration>) -> Result<Arc<Transport>, Error> {
    let settings = Settings {
        timeout: TOTAL,
        idle_timeout: Some(IDLE),
        connect_timeout: connect.unwrap_or(CONNECT),
        ..Settings::default()
    };
    let policy = AddressPolicy::new(host.into_iter(), Hosts::default(), host.is_none());
    let environment = |name: &str| std::env::var(name).ok();
    let (network, tls) = (Network::default(), Tls::default());
    Transport::new(&settings, &network, &tls, policy, Arrivals::Answered, &environment)
        .map(Arc::new)
}

/// Sends a request. The receiver gets the answer.
pub fn exchange(
    transport: &Arc<Transport>,
    request: Request<Bytes>,
) -> Receiver<Result<Exchange, SendError>> {
    let (to, answer) = bounded(1);
    let (transport, to_reader) = (transport.clone(), to.clone());
    let started = threads::spawn(move || carry_out(transport, request, &to_reader));
    if let Err(error) = started {
        // The channel has room for one.
        let _ = to.try_send(Err(trouble(error.to_string())));
    }
    answer
}

fn carry_out(
    transport: Arc<Transport>,
    request: Request<Bytes>,
    to: &To<Result<Exchange, SendError>>,
) {
    let work = async {
        let sender = Sender::new(transport, 1);
        if let Err(error) = answer(&sender, request, to).await {
            // No one waits for it if the reader has gone.
            let _ = to.try_send(Err(error));
        }
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, work),
        Err(error) => drop(to.try_send(Err(trouble(error.to_string())))),
    }
}

/// Passes the answer to a request on. The body waits for its reader.
async fn answer(
    sender: &Sender,
    request: Request<Bytes>,
    to: &To<Result<Exchange, SendError>>,
) -> Result<(), SendError> {
    let mut lease = sender.lease(request.uri()).await?;
    let started = sender.start();
    let head = sender.send(&mut lease, &request, started, || {}).await?;
    let (to_body, body) = bounded(WAITING);
    let answer = Exchange { status: head.status(), headers: head.headers().clone(), body };
    if to.try_send(Ok(answer)).is_err() {
        return Ok(());
    }
    let mut is_read = true;
    let mut take = |bytes: &[u8]| {
        is_read = to_body.send_blocking(Ok(Bytes::copy_from_slice(bytes))).is_ok();
        if is_read { Ok(()) } else { Err(trouble("no one reads it any more".into())) }
    };
    let received = sender.receive(lease, head, started, &mut take).await;
    if let (Err(error), true) = (received, is_read) {
        // No one waits for it if the reader has gone.
        let _ = to_body.send_blocking(Err(in_words(&error)));
    }
    Ok(())
}

/// An error as a phrase.
pub fn in_words(error: &SendError) -> String {
    format!("{}: {}", error.kind, error.detail)
}

fn trouble(detail: String) -> SendError {
    SendError { kind: FailureKind::ConnectionLost, detail, delivery: Delivery::Unknown }
}
