//! What requests cost in money: the prices of units, and what is spent of a budget. Pure.
//!
//! - `usd`: amounts of money, which are exact
//! - `list`: the prices of a job
//! - `account`: what is spent and reserved, and what a budget still allows

mod account;
mod list;
mod usd;

pub use account::{Bill, BillPart, Draw, SpendingAccount};
pub use list::{MODEL_KEY, PriceList, StagePrices};
pub use usd::Usd;
