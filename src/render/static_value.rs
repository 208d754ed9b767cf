//! A text that depends on no row: a fixed one, or one made of the job's current secrets.
//! Pure.

use super::escape_context::EscapeContext;
use super::template::{RenderContext, Template, Templates};
use crate::error::Error;
use crate::row::Fields;
use crate::secret::Secret;

/// A text that depends on no row.
pub struct StaticValue(StaticKind);

enum StaticKind {
    Fixed(Secret),
    /// A template with secrets, which may change during the run.
    Dynamic(Box<(Templates, Template)>),
}

impl StaticValue {
    /// Compiles a text; `key` names it in messages.
    pub fn new(key: &str, text: &str, context: &RenderContext<'_>) -> Result<StaticValue, Error> {
        StaticValue::compile(key, EscapeContext::Header, text, context)
    }

    fn compile(
        key: &str,
        escapes: EscapeContext,
        text: &str,
        context: &RenderContext<'_>,
    ) -> Result<StaticValue, Error> {
        let wrong = |why: String| Error::plan(format!("{key}: {why}"));
        let mut templates = Templates::new();
        let template = templates.add(escapes, text).map_err(wrong)?;
        if let Some(field) = templates.used().fields.first() {
            return Err(wrong(format!(
                "it uses {{{{ {field} }}}}, but is the same for all rows: {{{{ env.NAME }}}} and {{{{ secret.NAME }}}} can be used here"
            )));
        }
        templates.set_context(context)?;
        if !templates.used().secrets.is_empty() {
            return Ok(StaticValue(StaticKind::Dynamic(Box::new((templates, template)))));
        }
        let text = templates.scope(&Fields::new()).render(template).map_err(wrong)?;
        Ok(StaticValue(StaticKind::Fixed(Secret::new(text))))
    }

    /// Compiles a text that is a secret: it is hidden in everything that throng writes.
    pub fn hidden(
        key: &str,
        text: &str,
        context: &RenderContext<'_>,
    ) -> Result<StaticValue, Error> {
        let value = StaticValue::new(key, text, context)?;
        let now = value.get().map_err(Error::plan)?;
        context.vault.secrets().add(now.expose());
        // A server may echo the second part of `Bearer xyz` alone.
        if let Some((_, last)) = now.expose().rsplit_once(' ').filter(|(_, last)| last.len() >= 8) {
            context.vault.secrets().add(last);
        }
        Ok(value)
    }

    /// Compiles a secret that stands in no header, and may have line breaks.
    pub fn hidden_text(
        key: &str,
        text: &str,
        context: &RenderContext<'_>,
    ) -> Result<StaticValue, Error> {
        let value = StaticValue::compile(key, EscapeContext::Text, text, context)?;
        context.vault.secrets().add(value.get().map_err(Error::plan)?.expose());
        Ok(value)
    }

    /// The text with the current secrets.
    pub fn get(&self) -> Result<Secret, String> {
        match &self.0 {
            StaticKind::Fixed(text) => Ok(text.clone()),
            StaticKind::Dynamic(dynamic) => {
                let (templates, template) = &**dynamic;
                let text = templates.scope(&Fields::new()).render(*template)?;
                Ok(Secret::new(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::secret::{Settings, Vault};

    #[test]
    fn a_static_value_follows_its_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old").unwrap();
        let text = format!("file:{}", file.path().display());
        let vault = Arc::new(Vault::new(&Settings::from([("token".into(), text)])).unwrap());
        let context = RenderContext {
            environment: &|name| (name == "USER").then(|| "me".into()),
            vault: &vault,
        };
        let text = "{{ env.USER }}:{{ secret.token }}";
        let value = StaticValue::hidden("auth.x", text, &context).unwrap();
        assert_eq!(value.get().unwrap().expose(), "me:old");
        std::fs::write(file.path(), "new").unwrap();
        vault.reload(0, &|| false).unwrap();
        assert_eq!(value.get().unwrap().expose(), "me:new");
    }

    #[test]
    fn a_name_that_a_static_value_can_not_use_is_an_error() {
        let vault = Arc::default();
        let context = RenderContext { environment: &|_| None, vault: &vault };
        for (text, why) in [
            ("{{ id }}", "auth.x: it uses {{ id }}, but is the same for all rows"),
            ("{{ env.X }}", "the environment variable X is not set"),
            ("{{ secret.x }}", "the job uses {{ secret.x }}, but has no secrets.x"),
            ("{{", "auth.x: the template"),
        ] {
            let error = StaticValue::new("auth.x", text, &context).err().unwrap();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
