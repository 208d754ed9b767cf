//! Secrets: their sources, and the places where they are hidden.
//!
//! - `source`: a text that can't be printed, and its source: a file, or a command's output
//! - `vault`: the secrets of a job by name, read again when they have expired, and the
//!   visibility of variables of the environment
//! - `hidden`: `***` in place of secrets in all output of throng
//! - `matcher`, `escapes`, `literals`: finding secrets in a text, in every spelling

mod escapes;
mod hidden;
mod literals;
mod matcher;
mod source;
mod vault;

pub use hidden::Secrets;
pub(crate) use literals::literal;
pub use source::Secret;
pub(crate) use source::SecretSource;
pub use vault::{Settings, Variables, Vault, Visibility};

#[cfg(test)]
mod tests;
