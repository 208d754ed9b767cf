//! What nobody may see: where it comes from, and how it is kept from being shown.
//!
//! - `text`: a text that can't be printed
//! - `source`: where a secret is read: a file, or what a command prints
//! - `variables`: which variables of the environment are secrets
//! - `vault`: the secrets of a job by name, read again when they have expired
//! - `hidden`: `***` in their place, in everything that leaves throng
//! - `matcher`, `escapes`, `literals`: where a text holds them, however it is written

use std::collections::BTreeMap;

mod escapes;
mod hidden;
mod literals;
mod matcher;
mod source;
mod text;
mod variables;
mod vault;

pub use hidden::Secrets;
pub(crate) use literals::literal;
pub(crate) use source::SecretSource;
pub use text::Secret;
pub use variables::{Variables, Visibility};
pub use vault::Vault;

/// The `[secrets]` part of a job: for each name, `file:PATH` or `command:TEXT`.
/// Templates use it as `{{ secret.NAME }}`.
pub type Settings = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
