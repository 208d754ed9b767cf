//! Limits that the runs of an account share, one after the other and at the same time.
//!
//! [`LeasedLimiter`] is a limit whose units are leased from a [`QuotaStore`]. `state` is the
//! arithmetic of a store; `store` keeps it in files for all runs on a machine, which `file`
//! reads and writes; `runs` knows which runs live.

mod file;
mod leased;
pub use leased::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};
mod terms;
pub use terms::Quota;
pub(crate) use terms::SharedTerms;
mod runs;
mod state;
#[cfg(test)]
pub(crate) use state::ClockSnapshot;
pub use state::{ClockReading, QuotaState};
mod store;
pub use store::{
    AccountNames, FileQuotaStore, NamedAccount, QuotaBalance, balance, create_private, path_of,
    processes, state_directory, store_error,
};
