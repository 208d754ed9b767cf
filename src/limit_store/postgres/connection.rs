//! A connection to a server of PostgreSQL.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Error};

use super::address::Address;
use super::problem::{UNDEFINED_TABLE, described};
use super::tls::Tls;
use crate::limit::LedgerError;

/// Longest wait for a connection, or for the answer to a statement.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of one thread, made when it is needed and made anew after an error.
pub struct Connection {
    address: Address,
    tls: Tls,
    runtime: Option<Runtime>,
    open: Option<Client>,
}

/// Why a statement was not carried out.
pub enum Failure {
    /// There is no table yet.
    NoTable,
    /// Another reason.
    Other(LedgerError),
}

impl Connection {
    /// A connection that is not made yet.
    pub fn new(address: &Address, tls: &Tls) -> Connection {
        let (address, tls) = (address.clone(), tls.clone());
        Connection { address, tls, runtime: None, open: None }
    }

    /// Has `work` done by way of the connection.
    pub fn call<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let Connection { address, tls, .. } = self;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::Other(LedgerError::unreachable(error.to_string())))?,
        };
        let runtime = self.runtime.insert(runtime);
        let known = self.open.take().filter(|open| !open.is_closed());
        let done = runtime.block_on(async {
            // The time is the runtime's, which is here.
            let timed = tokio::time::timeout(TIMEOUT, async {
                let open = match known {
                    Some(known) => known,
                    None => connect(address, tls).await?,
                };
                let done = work(&open).await?;
                Ok::<_, Error>((done, open))
            });
            timed.await
        });
        // After an error the connection is given up: its transaction may be open.
        match done {
            Ok(Ok((done, open))) => {
                self.open = Some(open);
                Ok(done)
            }
            Ok(Err(error)) if error.code() == Some(&UNDEFINED_TABLE) => Err(Failure::NoTable),
            Ok(Err(error)) => Err(Failure::Other(described(address, &error))),
            Err(_) => Err(Failure::Other(LedgerError::unreachable(format!(
                "the store {address} does not answer within {} s",
                TIMEOUT.as_secs()
            )))),
        }
    }

    /// The error that the store's answer is another than that to a statement.
    pub fn unexpected(&self) -> LedgerError {
        LedgerError::refused(format!(
            "the table throng_limits of the store {} is not one of this version of throng",
            self.address
        ))
    }

    /// The error that the store is a replica.
    pub fn is_replica(&self) -> LedgerError {
        LedgerError::unreachable(format!(
            "the store {} is a replica: give the address of its primary, or those of both with ?target_session_attrs=read-write",
            self.address
        ))
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Failure {
        Failure::Other(error)
    }
}

async fn connect(address: &Address, tls: &Tls) -> Result<Client, Error> {
    let (client, connection) = address.config.connect(tls.clone()).await?;
    // What ends it shows in the next statement.
    drop(tokio::spawn(async { drop(connection.await) }));
    Ok(client)
}
