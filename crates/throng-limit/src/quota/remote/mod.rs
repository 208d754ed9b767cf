//! Limits that runs on several machines share, through a store on the network.
//!
//! `message` is what a run asks and is answered, and [`Ledger`] a store that carries exchanges
//! out. `account` is the arithmetic of such a store, which is the same for all: it applies the
//! requests of a run to the limits of an account. `mailbox` has the requests of all limiters of
//! a run, with a `slot` for each, and `store` the thread that takes them to the ledger, so that no
//! limiter waits for a network; `shared` is such a store for the limiter of a program. `compared` is
//! a ledger over a store of others that changes values by comparing their versions, and `values` the
//! value of an account there.
//!
//! **Guarantee.** Times cross as ages, which the store takes from its own clock when it reads
//! them: a delay makes a unit count longer, and a client's wrong clock makes no difference. A
//! request that is repeated because its answer was lost gets the same answer, and an older one
//! that comes late is refused, so that nothing is counted twice or lost. A run is not known to
//! be dead while it is silent: what it leases counts until its lease has ended and the longest
//! wait for an answer and linger are over, and from then on for as long as the limit says. The
//! run counts its lease from when it has asked, which is earlier than when the store does.

mod account;
mod compared;
mod ledger;
mod mailbox;
mod message;
mod shared;
mod slot;
mod store;
mod values;
pub use account::{AccountLimits, LimitBalance, StoreMemory};
pub use compared::{ChangedValue, Conflicts, StoredValue, ValueLedger, ValueStore};
pub use ledger::{Ledger, LedgerError};
#[cfg(test)]
pub(crate) use mailbox::{Mailbox, MailboxHandle};
pub use message::{AccountRequests, Answer, Exchange, Request};
pub use shared::SharedStore;
pub use store::RemoteQuotaStore;
pub use values::StoreStart;
#[cfg(test)]
pub(crate) use values::{changed_text, kept};
