//! The identity of a run: its input and its requests.

use serde::{Deserialize, Serialize};

use crate::source::InputFingerprint;

/// The identity of a run, as fingerprints: short hashes, so that no secret is kept.
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
pub fn fingerprint(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Identity {
    /// The fingerprint of one part.
    pub(crate) fn part(&self, name: &str) -> Option<&str> {
        let part = self.parts.iter().find(|(it, _)| it == name);
        part.map(|(_, fingerprint)| fingerprint.as_str())
    }

    /// The keys of the parts that have another fingerprint than `before`.
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
                ("request.url".into(), fingerprint(url)),
                ("extract".into(), fingerprint("")),
            ],
            ..Identity::default()
        };
        let (old, new) = (identity("http://a/"), identity("http://b/"));
        assert_eq!(new.changed_since(&old), ["request.url"]);
        assert!(old.changed_since(&old).is_empty());
        assert!(!format!("{old:?}").contains("http"), "only fingerprints are kept");
    }
}
