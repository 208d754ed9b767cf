//! A JSON body: a tree whose texts are templates. Pure.

use serde_json::Value;

use super::escape_context::{EscapeContext, JSON_SCALAR, unquote};
use super::pieces::{TemplatePiece, filter_unquoted, is_one_value, map_fixed, pieces};
use super::template::{Template, TemplateScope, Templates};

/// A compiled JSON body: fixed texts, and templates between them.
#[derive(Debug, Default)]
pub struct JsonBody {
    parts: Vec<JsonPart>,
}

#[derive(Debug)]
enum JsonPart {
    Fixed(String),
    Filled(Template),
}

impl JsonBody {
    /// Compiles a tree. A text that is a single `{{ }}` becomes the value itself, with
    /// its type; any other text stays a text.
    pub fn new(templates: &mut Templates, tree: &Value) -> Result<JsonBody, String> {
        let mut body = JsonBody::default();
        body.add(templates, tree)?;
        Ok(body)
    }

    /// The body of one row.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                JsonPart::Fixed(fixed) => text.push_str(fixed),
                JsonPart::Filled(template) => text.push_str(&scope.render(*template)?),
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
            let value = templates.add(EscapeContext::JsonValue, text.trim())?;
            self.parts.push(JsonPart::Filled(value));
            return Ok(());
        }
        self.add_quoted(templates, EscapeContext::JsonText, text)
    }

    fn add_quoted(
        &mut self,
        templates: &mut Templates,
        context: EscapeContext,
        text: &str,
    ) -> Result<(), String> {
        self.fix("\"");
        let quoted = templates.add(context, &escape_fixed(text))?;
        self.parts.push(JsonPart::Filled(quoted));
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
            match (name.map(String::as_str), item) {
                (Some("query"), Value::String(text)) if is_graphql(text) => {
                    self.add_quoted(
                        templates,
                        EscapeContext::Graphql,
                        &filter_unquoted(text, JSON_SCALAR),
                    )?;
                }
                _ => self.add(templates, item)?,
            }
        }
        self.fix(close);
        Ok(())
    }

    fn fix(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(JsonPart::Fixed(fixed)) => fixed.push_str(text),
            _ => self.parts.push(JsonPart::Fixed(text.to_owned())),
        }
    }
}

/// Whether a text is a GraphQL document with values in it: a value in its quotes is
/// escaped for the document, and then for JSON.
fn is_graphql(text: &str) -> bool {
    let begins = ["query", "mutation", "subscription", "fragment", "{"];
    let start = text.trim_start();
    let fixed = pieces(text);
    let mut fixed = fixed.iter();
    begins.iter().any(|word| start.starts_with(word))
        && !is_one_value(text)
        && text.contains("{{")
        && fixed.any(|piece| matches!(piece, TemplatePiece::Fixed(text) if text.contains('{')))
}

/// Escapes the fixed text for the inside of a JSON string.
fn escape_fixed(text: &str) -> String {
    map_fixed(text, |fixed| unquote(&Value::from(fixed).to_string()).to_owned())
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
            let sent: Value = serde_json::from_str(&body.render(&scope).unwrap()).unwrap();
            let said = format!("say \"hi\"\n{text} a");
            let expected = json!({"id": 7, "n": 1, "messages": [{"text": said, "ok": true}]});
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_graphql_document_keeps_its_quotes() {
        let document = "query { user(id: \"{{ id }}\", n: {{ n }}) { name } }";
        let tree = json!({"query": document, "variables": {"query": "of {{ id }}"}});
        let mut templates = Templates::new();
        let body = JsonBody::new(&mut templates, &tree).unwrap();
        let id = "1\") { secret } #";
        let row = json!({"id": id, "n": "7"});
        let scope = templates.scope(row.as_object().unwrap());
        let sent: Value = serde_json::from_str(&body.render(&scope).unwrap()).unwrap();
        let quoted = Value::from(id).to_string();
        assert_eq!(sent["query"], format!("query {{ user(id: {quoted}, n: 7) {{ name }} }}"));
        assert_eq!(sent["variables"]["query"], format!("of {id}"));
        let row = json!({"id": "1", "n": "7) { secret"});
        let scope = templates.scope(row.as_object().unwrap());
        let error = body.render(&scope).unwrap_err();
        assert!(error.contains("outside of quotes"), "{error}");
        for text in ["{{ id }}", "find {{ id }}", "query {{ id }}", "{ a }"] {
            assert!(!is_graphql(text), "{text}");
        }
    }
}
