//! What a job says of its limits, checked: from texts to rules.

mod guard;
pub use guard::Guard;
mod rate;
pub use rate::Rate;
mod counting;
pub use counting::Counting;
mod limit;
pub use limit::{AccountShare, Details, Limit};
mod shard;
pub use shard::Shard;
mod settings;
pub use settings::{Settings, Shape, Sharing, UncountedOutcome};
mod rule;
pub use rule::{LimitScope, Rule};
mod policy;
pub(crate) use policy::check_account;
pub use policy::{LINGER, Policy};
