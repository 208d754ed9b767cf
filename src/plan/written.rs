//! Which parts of a job are written out, in its file or by flags. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// What of a job somebody wrote. It counts also where it is what throng would do
/// anyway: without this, that could not be told from saying nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written(Part);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Nothing,
    Some(BTreeMap<String, Part>),
    All,
}

impl Written {
    /// Of a tree of a job's shape, in which nulls say nothing.
    pub(super) fn of(tree: &Value) -> Written {
        Written(Part::of(tree))
    }

    pub(super) fn and(self, other: Written) -> Written {
        Written(self.0.and(other.0))
    }

    /// What a job says: what is written of it, and what is not as in `default`.
    pub(super) fn said(&self, job: Value, default: &Value) -> Value {
        self.0.said(job, default)
    }
}

impl Part {
    fn of(tree: &Value) -> Part {
        match tree {
            Value::Null => Part::Nothing,
            Value::Object(tree) => {
                let parts = tree.iter().map(|(name, value)| (name, Part::of(value)));
                let parts = parts.filter(|(_, part)| *part != Part::Nothing);
                let parts: BTreeMap<_, _> = parts.map(|(name, it)| (name.clone(), it)).collect();
                match parts.is_empty() {
                    true => Part::Nothing,
                    false => Part::Some(parts),
                }
            }
            _ => Part::All,
        }
    }

    fn and(self, other: Part) -> Part {
        match (self, other) {
            (Part::All, _) | (_, Part::All) => Part::All,
            (Part::Nothing, part) | (part, Part::Nothing) => part,
            (Part::Some(mut parts), Part::Some(others)) => {
                for (name, other) in others {
                    let part = parts.remove(&name).unwrap_or_default();
                    parts.insert(name, part.and(other));
                }
                Part::Some(parts)
            }
        }
    }

    fn said(&self, job: Value, default: &Value) -> Value {
        match (self, job) {
            (Part::Nothing, job) if job == *default => Value::Null,
            (Part::Nothing | Part::Some(_), Value::Object(job)) => {
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

    fn part(&self, name: &str) -> &Part {
        match self {
            Part::Some(parts) => parts.get(name).unwrap_or(&Part::Nothing),
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
        let nothing = Written::default().said(job.clone(), &default);
        assert_eq!(
            nothing,
            json!({"limit": {"shape": null, "rate": ["1/1s"]}, "send": null})
        );
        let file = Written::of(&json!({"limit": {"shape": "auto"}, "send": {}}));
        let flags = Written::of(&json!({"limit": {"shape": null, "rate": {"rate": "1/1s"}}}));
        assert_eq!(
            file.and(flags).said(job, &default),
            json!({"limit": {"shape": "auto", "rate": ["1/1s"]}, "send": null})
        );
    }
}
