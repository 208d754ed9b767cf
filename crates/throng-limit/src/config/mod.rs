//! What a job says of its limits, checked: from texts to rules.

mod guard;
pub use guard::Guard;
mod rate;
pub use rate::Rate;
mod limit;
pub use limit::{AccountShare, Counting, Details, Limit};
mod settings;
pub use settings::{Settings, Shape, UncountedOutcome};
pub(crate) mod rule;
pub use rule::{LimitScope, RatePattern, Rule};
mod policy;
pub use policy::{LINGER, Policy};
mod wait_after;
