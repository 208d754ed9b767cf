//! The kinds of limits. Each is a file that states how a job writes it, its arithmetic,
//! what it guarantees and why, and what follows for estimates, quotas and proofs; and a
//! line in [`KINDS`].

mod auto;
pub(crate) mod bucket;
pub(crate) mod budget;
pub(crate) mod concurrency;
mod counter;
pub mod fixed;
mod gcra;
mod pattern;
#[cfg(test)]
mod relief;
pub mod reset;
pub(crate) mod sliding;
pub(crate) mod spacing;
mod spec;

pub use pattern::RatePattern;
pub use spec::Measure;
pub(crate) use spec::{Form, Spec, Terms, calendar_tolerance};

/// The kinds that a rate can name, in the order in which messages list them.
pub(crate) const KINDS: &[&Spec] = &[
    &sliding::SLIDING,
    &counter::COUNTER,
    &bucket::BUCKET,
    &gcra::GCRA,
    &fixed::CLOCK,
    &sliding::FIRST_USE,
    &reset::RESET,
    &fixed::MIDNIGHT,
    &auto::AUTO,
    &budget::BUDGET,
];
