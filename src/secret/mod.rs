//! Secrets: their sources, and the places where they are hidden.
//!
//! - `source`: a text that can't be printed, and its source: a file, or a command's output
//! - `variables`: the visibility of variables of the environment
//! - `vault`: the secrets of a job by name, read again when they have expired
//! - `hidden`: `***` in place of secrets in all output of throng
//! - `matcher`, `escapes`, `literals`: finding secrets in a text, in every spelling

use std::collections::BTreeMap;

mod escapes;
mod hidden;
mod literals;
mod matcher;
mod source;
mod variables;
mod vault;

pub use hidden::Secrets;
pub(crate) use literals::literal;
pub use source::Secret;
pub(crate) use source::SecretSource;
pub use variables::{Variables, Visibility};
pub use vault::Vault;

/// The `[secrets]` part of a job: for each name, `file:PATH` or `command:TEXT`.
/// Templates use it as `{{ secret.NAME }}`.
pub type Settings = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
