//! Secrets: their sources, and the places where they are hidden.
//!
//! - `source`: a text that can't be printed, and its source: a file, or a command's output
//! - `vault`: the secrets of a job by name, read again when they have expired, and the
//!   visibility of variables of the environment
//! - `hidden`: `***` in place of secrets in all output of throng
//! - `rotation`: the values that one source gives and replaces
//! - `matcher`, `escapes`, `literals`: finding secrets in a text, in every spelling

mod escapes;
mod hidden;
mod literals;
mod matcher;
mod rotation;
mod source;
mod vault;

pub use hidden::{RotatingSecrets, Secrets};
pub(crate) use literals::literal;
pub use rotation::RotatingValue;
pub use source::Secret;
pub(crate) use source::SecretSource;
pub use vault::{Settings, Variables, Vault, Visibility};

#[cfg(test)]
mod tests;
