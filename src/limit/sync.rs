//! The lock of the gate: the standard one, or that of a model checker, which
//! tries the orders in which threads can take it (`--cfg shuttle`).

#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard};
