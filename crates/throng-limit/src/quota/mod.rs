//! What is counted of a limit for longer than a process lives. Pure.

mod leased;
pub use leased::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};
mod slots;
pub(crate) use slots::LONGER_THAN;
pub use slots::Quota;
