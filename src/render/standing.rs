//! A text that depends on no row: fixed, or made of what the job's secrets are now.
//! Pure.

use std::sync::Arc;

use minijinja::value::Value;

use super::place::EscapeContext;
use super::template::{Template, Templates};
use crate::error::Error;
use crate::secret::{Secret, Vault};

/// What templates know besides the fields of a row.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The environment's variables, as `{{ env.NAME }}`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The job's secrets, as `{{ secret.NAME }}`.
    pub vault: &'a Arc<Vault>,
}

/// A text that depends on no row.
pub struct StaticValue(StaticKind);

enum StaticKind {
    Fixed(Secret),
    /// With secrets that may be read again.
    Living(Box<(Templates, Template)>),
}

impl StaticValue {
    /// Compiles a text; `place` names it in messages.
    ///
    /// # Errors
    /// That it isn't a template, or uses what there isn't.
    pub fn new(place: &str, text: &str, known: &Known<'_>) -> Result<StaticValue, Error> {
        let wrong = |why: String| Error::plan(format!("{place}: {why}"));
        let mut templates = Templates::new();
        let template = templates.add(EscapeContext::Header, text).map_err(wrong)?;
        if let Some(field) = templates.fields().first() {
            return Err(wrong(format!(
                "it uses {{{{ {field} }}}}, but is the same for all rows: {{{{ env.NAME }}}} and {{{{ secret.NAME }}}} can be used here"
            )));
        }
        templates.settle(known)?;
        if !templates.secrets().is_empty() {
            return Ok(StaticValue(StaticKind::Living(Box::new((
                templates, template,
            )))));
        }
        let text = templates
            .render(template, &Value::UNDEFINED.into())
            .map_err(wrong)?;
        Ok(StaticValue(StaticKind::Fixed(Secret::new(text))))
    }

    /// The same, and nobody may see the text.
    ///
    /// # Errors
    /// As for [`new`](StaticValue::new).
    pub fn hidden(place: &str, text: &str, known: &Known<'_>) -> Result<StaticValue, Error> {
        let standing = StaticValue::new(place, text, known)?;
        let now = standing.get().map_err(Error::plan)?;
        known.vault.secrets().add(now.expose());
        // Of `Bearer xyz` a server may show the second part alone.
        if let Some((_, last)) = now
            .expose()
            .rsplit_once(' ')
            .filter(|(_, last)| last.len() >= 8)
        {
            known.vault.secrets().add(last);
        }
        Ok(standing)
    }

    /// Its text now.
    ///
    /// # Errors
    /// What in it can't be written.
    pub fn get(&self) -> Result<Secret, String> {
        match &self.0 {
            StaticKind::Fixed(text) => Ok(text.clone()),
            StaticKind::Living(living) => {
                let (templates, template) = &**living;
                let text = templates.render(*template, &Value::UNDEFINED.into())?;
                Ok(Secret::new(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Settings;

    #[test]
    fn it_follows_its_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old").unwrap();
        let text = format!("file:{}", file.path().display());
        let vault = Arc::new(Vault::new(&Settings::from([("token".into(), text)])).unwrap());
        let known = Known {
            environment: &|name| (name == "USER").then(|| "me".into()),
            vault: &vault,
        };
        let text = "{{ env.USER }}:{{ secret.token }}";
        let standing = StaticValue::hidden("auth.x", text, &known).unwrap();
        assert_eq!(standing.get().unwrap().expose(), "me:old");
        std::fs::write(file.path(), "new").unwrap();
        vault.renew(0, &|| false).unwrap();
        assert_eq!(standing.get().unwrap().expose(), "me:new");
    }

    #[test]
    fn what_it_can_not_use_is_said() {
        let vault = Arc::default();
        let known = Known {
            environment: &|_| None,
            vault: &vault,
        };
        for (text, why) in [
            (
                "{{ id }}",
                "auth.x: it uses {{ id }}, but is the same for all rows",
            ),
            ("{{ env.X }}", "the environment variable X is not set"),
            (
                "{{ secret.x }}",
                "the job uses {{ secret.x }}, but has no secrets.x",
            ),
            ("{{", "auth.x: the template"),
        ] {
            let error = StaticValue::new("auth.x", text, &known).err().unwrap();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
