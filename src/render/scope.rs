//! The values that templates see: the fields of a row, the environment, and the job's
//! secrets. Pure.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::{Serde, Value};
use serde_json::Value as Json;

use crate::row::Fields;
use crate::secret::Vault;

/// The values besides the fields of a row that templates may use.
#[derive(Clone, Copy)]
pub struct RenderContext<'a> {
    /// The environment's variables, as `{{ env.NAME }}`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The job's secrets, as `{{ secret.NAME }}`.
    pub vault: &'a Arc<Vault>,
}

/// The fields of a row as templates see them: the engine's view of them is made once a
/// template needs it.
pub struct TemplateScope<'a> {
    /// A row, and the names of the fields that templates use.
    row: Option<(&'a Fields, &'a BTreeSet<String>)>,
    engine: OnceCell<Value>,
}

impl<'a> TemplateScope<'a> {
    /// The scope of a row; `used` names the fields that templates use.
    pub fn of(fields: &'a Fields, used: &'a BTreeSet<String>) -> TemplateScope<'a> {
        TemplateScope { row: Some((fields, used)), engine: OnceCell::new() }
    }

    /// The text of a field; none if it is of another type.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.row?.0.get(name)?.as_str()
    }

    /// The engine's view of the fields, which takes longer than filling in a text.
    pub fn engine(&self) -> &Value {
        self.engine.get_or_init(|| {
            let fields = self.row.into_iter().flat_map(|(fields, used)| {
                used.iter().filter_map(|name| Some((name.as_str(), to_value(fields.get(name)?))))
            });
            Value::from_pairs(fields)
        })
    }
}

impl From<Value> for TemplateScope<'_> {
    fn from(engine: Value) -> Self {
        TemplateScope { row: None, engine: engine.into() }
    }
}

fn to_value(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::from(text.as_str()),
        other => Value::from(Serde(other)),
    }
}
