//! The keys of a job that its file or a flag writes out. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// The keys of a job that were written. A written key goes before a profile's even if its
/// value is the default, which the value alone doesn't tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExplicitKeys(ExplicitPart);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum ExplicitPart {
    #[default]
    Nothing,
    Some(BTreeMap<String, ExplicitPart>),
    All,
}

impl ExplicitKeys {
    /// The keys of a tree of a job's shape, in which null means unwritten.
    pub(super) fn of(tree: &Value) -> ExplicitKeys {
        ExplicitKeys(ExplicitPart::of(tree))
    }

    pub(super) fn and(self, other: ExplicitKeys) -> ExplicitKeys {
        ExplicitKeys(self.0.and(other.0))
    }

    /// The part of a job that is written or differs from `default`; null elsewhere.
    pub(super) fn said(&self, job: Value, default: &Value) -> Value {
        self.0.said(job, default)
    }
}

impl ExplicitPart {
    fn of(tree: &Value) -> ExplicitPart {
        match tree {
            Value::Null => ExplicitPart::Nothing,
            Value::Object(tree) => {
                let parts = tree.iter().map(|(name, value)| (name, ExplicitPart::of(value)));
                let parts = parts.filter(|(_, part)| *part != ExplicitPart::Nothing);
                let parts: BTreeMap<_, _> = parts.map(|(name, it)| (name.clone(), it)).collect();
                if parts.is_empty() { ExplicitPart::Nothing } else { ExplicitPart::Some(parts) }
            }
            _ => ExplicitPart::All,
        }
    }

    fn and(self, other: ExplicitPart) -> ExplicitPart {
        match (self, other) {
            (ExplicitPart::All, _) | (_, ExplicitPart::All) => ExplicitPart::All,
            (ExplicitPart::Nothing, part) | (part, ExplicitPart::Nothing) => part,
            (ExplicitPart::Some(mut parts), ExplicitPart::Some(others)) => {
                for (name, other) in others {
                    let part = parts.remove(&name).unwrap_or_default();
                    parts.insert(name, part.and(other));
                }
                ExplicitPart::Some(parts)
            }
        }
    }

    fn said(&self, job: Value, default: &Value) -> Value {
        match (self, job) {
            (ExplicitPart::Nothing, job) if job == *default => Value::Null,
            (ExplicitPart::Nothing | ExplicitPart::Some(_), Value::Object(job)) => {
                let said = |(name, value): (String, Value)| {
                    let default = default.get(&name).unwrap_or(&Value::Null);
                    let value = self.part(&name).said(value, default);
                    (name, value)
                };
                Value::Object(job.into_iter().map(said).collect())
            }
            (_, job) => job,
        }
    }

    fn part(&self, name: &str) -> &ExplicitPart {
        match self {
            ExplicitPart::Some(parts) => parts.get(name).unwrap_or(&ExplicitPart::Nothing),
            whole => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_said_whatever_the_default() {
        let default = json!({"limit": {"shape": "auto", "rate": []}, "send": {"follow": 0}});
        let job = json!({"limit": {"shape": "auto", "rate": ["1/1s"]}, "send": {"follow": 0}});
        let nothing = ExplicitKeys::default().said(job.clone(), &default);
        assert_eq!(nothing, json!({"limit": {"shape": null, "rate": ["1/1s"]}, "send": null}));
        let file = ExplicitKeys::of(&json!({"limit": {"shape": "auto"}, "send": {}}));
        let flags = ExplicitKeys::of(&json!({"limit": {"shape": null, "rate": {"rate": "1/1s"}}}));
        assert_eq!(
            file.and(flags).said(job, &default),
            json!({"limit": {"shape": "auto", "rate": ["1/1s"]}, "send": null})
        );
    }
}
