//! A store on the network that keeps the limits of accounts.

use std::fmt;

use crate::quota::remote::message::{Answer, Exchange};

/// A store on the network that keeps the limits of accounts for runs on several machines.
pub trait Ledger: fmt::Debug + Send {
    /// Carries out the requests of a run, and gives an answer to each. It may wait for the
    /// network, within a bound of time of its own.
    ///
    /// # Errors
    /// Why there is no answer, and whether another try is of use.
    fn exchange(&mut self, exchange: &Exchange) -> Result<Vec<Answer>, LedgerError>;
}

/// Why a store on the network has given no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerError {
    /// The reason, as users see it.
    pub reason: String,
    /// Whether another try is of no use: the store has refused the run.
    pub is_final: bool,
}

impl LedgerError {
    /// The store can't be reached now.
    #[must_use]
    pub fn unreachable(reason: impl Into<String>) -> LedgerError {
        LedgerError { reason: reason.into(), is_final: false }
    }

    /// The store refuses the run, and will go on to do so.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> LedgerError {
        LedgerError { reason: reason.into(), is_final: true }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LedgerError {}
