//! What a results file belongs to: which input, which questions. Pure.

use serde::{Deserialize, Serialize};

use crate::source::InputFingerprint;

/// What identifies a run, as prints: short hashes, so that nothing secret is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The input's bytes, if they can be read again.
    pub input: Option<InputFingerprint>,
    /// Each part of the job that the records depend on, by its key.
    pub parts: Vec<(String, String)>,
    /// The limits as the job writes them.
    pub limits: String,
}

/// A short hash of a text.
#[must_use]
pub fn print(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Identity {
    /// The print of one part.
    pub(super) fn part(&self, name: &str) -> Option<&str> {
        let part = self.parts.iter().find(|(it, _)| it == name);
        part.map(|(_, print)| print.as_str())
    }

    /// The keys of what has another print than it had `before`.
    #[must_use]
    pub fn changed_since(&self, before: &Identity) -> Vec<&str> {
        let same = |part: &&(String, String)| before.parts.contains(part);
        let changed = self.parts.iter().filter(|part| !same(part));
        changed.map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let identity = |url: &str| Identity {
            parts: vec![
                ("request.url".into(), print(url)),
                ("extract".into(), print("")),
            ],
            ..Identity::default()
        };
        let (old, new) = (identity("http://a/"), identity("http://b/"));
        assert_eq!(new.changed_since(&old), ["request.url"]);
        assert!(old.changed_since(&old).is_empty());
        assert!(!format!("{old:?}").contains("http"), "only prints are kept");
    }
}
