//! A JSON body made of a tree whose texts are templates. Pure.

use serde_json::Value;

use super::place::{Place, unquote};
use super::scope::Scope;
use super::template::{Template, Templates};

/// The compiled body: text that never varies, and templates between.
#[derive(Debug, Default)]
pub struct JsonBody {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Fixed(String),
    Filled(Template),
}

impl JsonBody {
    /// Compiles a tree. A text that is one `{{ }}` and nothing else becomes the
    /// value itself, with its type; any other text stays a text.
    pub fn new(templates: &mut Templates, tree: &Value) -> Result<JsonBody, String> {
        let mut body = JsonBody::default();
        body.add(templates, tree)?;
        Ok(body)
    }

    /// The body of one row.
    pub fn render(&self, templates: &Templates, scope: &Scope<'_>) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(fixed) => text.push_str(fixed),
                Piece::Filled(template) => text.push_str(&templates.render(*template, scope)?),
            }
        }
        Ok(text)
    }

    fn add(&mut self, templates: &mut Templates, tree: &Value) -> Result<(), String> {
        match tree {
            Value::String(text) if text.contains('{') => self.add_text(templates, text),
            Value::Array(items) => {
                self.add_all(templates, "[]", items.iter().map(|item| (None, item)))
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (Some(name), value));
                self.add_all(templates, "{}", fields)
            }
            fixed => {
                self.fix(&fixed.to_string());
                Ok(())
            }
        }
    }

    fn add_text(&mut self, templates: &mut Templates, text: &str) -> Result<(), String> {
        if is_one_value(text) {
            let value = templates.add(Place::JsonValue, text.trim())?;
            self.pieces.push(Piece::Filled(value));
            return Ok(());
        }
        self.fix("\"");
        let quoted = templates.add(Place::JsonText, &escape_fixed(text))?;
        self.pieces.push(Piece::Filled(quoted));
        self.fix("\"");
        Ok(())
    }

    fn add_all<'a>(
        &mut self,
        templates: &mut Templates,
        brackets: &str,
        items: impl Iterator<Item = (Option<&'a String>, &'a Value)>,
    ) -> Result<(), String> {
        let (open, close) = brackets.split_at(1);
        self.fix(open);
        for (i, (name, item)) in items.enumerate() {
            self.fix(if i > 0 { "," } else { "" });
            if let Some(name) = name {
                self.fix(&format!("{}:", Value::from(name.as_str())));
            }
            self.add(templates, item)?;
        }
        self.fix(close);
        Ok(())
    }

    fn fix(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Fixed(fixed)) => fixed.push_str(text),
            _ => self.pieces.push(Piece::Fixed(text.to_owned())),
        }
    }
}

/// `{{ x }}` alone, rather than a text around values.
pub fn is_one_value(text: &str) -> bool {
    text.trim()
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
        .is_some_and(|inside| !inside.contains("{{") && !inside.contains("}}"))
}

/// Escapes the fixed text for the inside of a JSON string.
fn escape_fixed(text: &str) -> String {
    outside(text, |fixed| {
        unquote(&Value::from(fixed).to_string()).to_owned()
    })
}

/// Changes what stands outside of `{{ }}` and `{% %}`, where quotes and the like
/// belong to the template.
pub fn outside(text: &str, change: impl Fn(&str) -> String) -> String {
    let mut changed = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = [rest.find("{{"), rest.find("{%")]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(rest.len());
        let (fixed, template) = rest.split_at(start);
        changed.push_str(&change(fixed));
        let end = ["}}", "%}"]
            .iter()
            .filter_map(|close| template.find(close).map(|at| at + 2))
            .min()
            .unwrap_or(template.len());
        changed.push_str(&template[..end]);
        rest = &template[end..];
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_keep_their_types_and_never_leave_their_quotes() {
        let tree = json!({
            "id": "{{ id }}",
            "n": 1,
            "messages": [{"text": "say \"hi\"\n{{ text }} {{ 'a' if id else 'b' }}", "ok": true}],
        });
        let mut templates = Templates::new();
        let body = JsonBody::new(&mut templates, &tree).unwrap();
        for text in ["plain", "\", \"injected\": \"", "line\nbreak \\ é"] {
            let row = json!({"id": 7, "text": text});
            let scope = templates.scope(row.as_object().unwrap());
            let sent: Value =
                serde_json::from_str(&body.render(&templates, &scope).unwrap()).unwrap();
            let said = format!("say \"hi\"\n{text} a");
            let expected = json!({"id": 7, "n": 1, "messages": [{"text": said, "ok": true}]});
            assert_eq!(sent, expected);
        }
    }
}
