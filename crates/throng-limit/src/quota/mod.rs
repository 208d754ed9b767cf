//! Limits that the runs of an account share, one after the other and at the same time.
//!
//! [`LeasedLimiter`] is a limit whose units are leased from a [`QuotaStore`].
//!
//! The arithmetic of a store is pure: `account` has the rules by which a run shares the limits
//! of an account, `state` is one of these limits, with the `arrivals` that it counts, whose text
//! `units_by_time` has, and the `turns` of runs that wait; `clocks` are those that its times are by.
//!
//! `store` keeps the states in files for all runs on a machine: `handle` leases from one of
//! them, `account_files` locks them together, `file` reads and writes one, `lock` has the locks. `runs` knows which
//! runs live, `session` what the handles of this one share. `directory` has the places of the
//! files, and `salt` keeps the names of accounts from telling more; `balance` shows what is left.
//!
//! `remote` is a store on the network, for runs on several machines.

mod account;
mod account_files;
mod arrivals;
mod balance;
pub use balance::{QuotaBalance, balance, processes};
mod clocks;
pub use clocks::ClockReading;
mod directory;
pub use directory::{
    AccountNames, NamedAccount, create_private, path_of, state_directory, store_error,
};
mod file;
mod handle;
mod leased;
pub use leased::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};
mod lock;
mod machine;
mod remote;
pub use remote::{
    AccountLimits, AccountRequests, Answer, ChangedValue, Conflicts, Exchange, Ledger, LedgerError,
    LimitBalance, RemoteQuotaStore, Request, SharedStore, StoreMemory, StoreStart, StoredValue,
    ValueLedger, ValueStore,
};
#[cfg(test)]
pub(crate) use remote::{Mailbox, MailboxHandle, changed_text, kept};
mod runs;
mod salt;
pub use salt::{is_salt_lost, salt};
mod session;
mod state;
pub use state::QuotaState;
mod store;
pub use store::FileQuotaStore;
mod terms;
pub use terms::Quota;
pub(crate) use terms::SharedTerms;
mod turns;
mod units_by_time;
#[cfg(test)]
pub(crate) use self::account::{OtherLimit, Participant, quota_of};
pub use clocks::ClockSnapshot;
pub use machine::read_clocks;
