//! The look-up of names: one at a time for each name, of which all workers get the outcome.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Delivery, SendError};
use crate::record::FailureKind;
use crate::threads;

/// Time for which addresses are known.
const TTL: Duration = Duration::from_secs(30);

/// The addresses of names, as the system gives them.
#[derive(Default)]
pub struct Names(Mutex<HashMap<(String, u16), Arc<LookUp>>>);

#[derive(Default)]
struct LookUp(OnceCell<Outcome>);

struct Outcome {
    addresses: Result<Vec<SocketAddr>, SendError>,
    until: Instant,
}

impl Names {
    /// The addresses of a host that the system knows.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.look_up(host, port);
        let outcome = found.0.get_or_init(|| async {
            let addresses = addresses_of(host, port).await;
            Outcome { addresses, until: Instant::now() + TTL }
        });
        outcome.await.addresses.clone()
    }

    /// Looks a name up anew next time, as none of its addresses takes connections.
    pub fn forget(&self, host: &str, port: u16) {
        self.lock().remove(&(host.to_owned(), port));
    }

    /// The look-up that is under way, or whose addresses are still known; else a new one.
    fn look_up(&self, host: &str, port: u16) -> Arc<LookUp> {
        let mut names = self.lock();
        let known = names.entry((host.to_owned(), port)).or_default();
        if known.0.get().is_some_and(Outcome::is_old) {
            *known = Arc::default();
        }
        known.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u16), Arc<LookUp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    /// Whether the name has to be looked up again.
    fn is_old(&self) -> bool {
        self.addresses.is_err() || Instant::now() >= self.until
    }
}

async fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
    let name = host.to_owned();
    let failed = |kind, delivery, error: &io::Error| {
        let detail = format!("{host}:{port}: the name was not found: {error}");
        SendError { kind, detail, delivery }
    };
    match threads::run_blocking(move || (name, port).to_socket_addrs()).await {
        Err(error) => Err(SendError {
            kind: FailureKind::NoDescriptor,
            detail: format!("{host}:{port}: {error}"),
            delivery: Delivery::NotSent,
        }),
        Ok(Err(error)) => Err(failed(FailureKind::Connect, delivery(&error), &error)),
        Ok(Ok(addresses)) => Ok(addresses.collect()),
    }
}

/// The delivery of a request whose host has no address. The standard library gives the
/// system's words alone: a name server that can't be asked is a passing trouble, and a name
/// that does not exist is none.
fn delivery(error: &io::Error) -> Delivery {
    let words = error.to_string().to_lowercase();
    let is_passing = words.contains("temporary failure") || words.contains("try again");
    if is_passing || error.raw_os_error().is_some() { Delivery::NotSent } else { Delivery::Final }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_name_server_that_does_not_answer() {
        let words = |words: &str| {
            delivery(&io::Error::other(format!("failed to lookup address information: {words}")))
        };
        assert_eq!(words("Temporary failure in name resolution"), Delivery::NotSent);
        assert_eq!(words("Try again"), Delivery::NotSent);
        assert_eq!(delivery(&io::Error::from_raw_os_error(110)), Delivery::NotSent);
        assert_eq!(words("Name or service not known"), Delivery::Final);
        assert_eq!(words("nodename nor servname provided, or not known"), Delivery::Final);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_a_look_up_and_later_ones_its_addresses() {
        let names = Names::default();
        let first = names.look_up("localhost", 80);
        assert!(Arc::ptr_eq(&first, &names.look_up("localhost", 80)));
        let addresses = names.addresses("localhost", 80).await.unwrap();
        assert!(!addresses.is_empty());
        assert!(Arc::ptr_eq(&first, &names.look_up("localhost", 80)));
        names.forget("localhost", 80);
        assert!(!Arc::ptr_eq(&first, &names.look_up("localhost", 80)));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_looked_up_again() {
        let names = Names::default();
        let first = names.look_up("nothing.invalid", 80);
        let error = names.addresses("nothing.invalid", 80).await.unwrap_err();
        assert!(
            error.detail.starts_with("nothing.invalid:80: the name was not found"),
            "{error:?}"
        );
        assert!(!Arc::ptr_eq(&first, &names.look_up("nothing.invalid", 80)));
    }
}
