//! A key that each row has, such as the one by which something is counted. Pure.

use super::escape_context::EscapeContext;
use super::template::{Template, Templates};
use crate::row::Fields;

/// A template of a key, outside of any request.
pub struct KeyTemplate {
    templates: Templates,
    template: Template,
}

impl KeyTemplate {
    /// Compiles a template, which must use a field of the row.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn new(text: &str) -> Result<KeyTemplate, String> {
        let mut templates = Templates::new();
        let template = templates.add(EscapeContext::Text, text)?;
        if templates.fields().is_empty() {
            Err(format!(
                "{text:?} is the same for all rows: write a template such as {{{{ tenant }}}}"
            ))
        } else {
            Ok(KeyTemplate { templates, template })
        }
    }

    /// The key of a row with these fields.
    ///
    /// # Errors
    /// Which field is missing.
    pub fn of(&self, fields: &Fields) -> Result<String, String> {
        let scope = self.templates.scope(fields);
        self.templates.render(self.template, &scope)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_row_has_its_own_key() {
        let template = KeyTemplate::new("{{ tenant }}/{{ region }}").unwrap();
        let of = |fields| template.of(&serde_json::from_value(fields).unwrap());
        assert_eq!(of(json!({"tenant": "a", "region": 1})).unwrap(), "a/1");
        let error = of(json!({"tenant": "a"})).unwrap_err();
        assert!(error.contains("region"), "{error}");
        assert!(KeyTemplate::new("tenant").is_err() && KeyTemplate::new("{{").is_err());
    }
}
