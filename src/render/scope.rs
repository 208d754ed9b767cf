//! What templates see of a row: its fields as they are, and the engine's view of
//! them once a template needs it. Pure.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use minijinja::value::{Serde, Value};
use serde_json::Value as Json;

use crate::source::Fields;

/// What templates see.
pub struct TemplateScope<'a> {
    /// A row, and which of its fields some template uses.
    row: Option<(&'a Fields, &'a BTreeSet<String>)>,
    engine: OnceCell<Value>,
}

impl<'a> TemplateScope<'a> {
    /// These fields of a row.
    pub fn of(fields: &'a Fields, used: &'a BTreeSet<String>) -> TemplateScope<'a> {
        TemplateScope {
            row: Some((fields, used)),
            engine: OnceCell::new(),
        }
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.row?.0.get(name)?.as_str()
    }

    /// As the engine wants it, which takes longer than filling in a text.
    pub fn engine(&self) -> &Value {
        self.engine.get_or_init(|| {
            let fields = self.row.into_iter().flat_map(|(fields, used)| {
                used.iter()
                    .filter_map(|name| Some((name.as_str(), to_value(fields.get(name)?))))
            });
            Value::from_pairs(fields)
        })
    }
}

impl From<Value> for TemplateScope<'_> {
    fn from(engine: Value) -> Self {
        TemplateScope {
            row: None,
            engine: engine.into(),
        }
    }
}

fn to_value(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        other => Value::from(Serde(other)),
    }
}
