//! A value that may be a list, which gives its name once for each item. Pure.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::escape_context::{EscapeContext, percent_encode};
use super::pieces::{is_one_value, map_fixed};
use super::scope::TemplateScope;
use super::template::{Template, Templates};

/// Characters that a server would not take for part of a value.
const SPECIAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Names and values of a query or a form.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, MultiValue)>);

/// One value, or the items of a row's list.
#[derive(Debug)]
struct MultiValue {
    single: Template,
    /// The value as JSON, if it may be a list.
    list: Option<Template>,
}

impl Pairs {
    /// Compiles names and the texts of their values.
    pub fn new<'a>(
        templates: &mut Templates,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Pairs, String> {
        pairs
            .map(|(name, text)| Ok((percent_encode(name), MultiValue::new(templates, text)?)))
            .collect::<Result<_, _>>()
            .map(Pairs)
    }

    /// Appends `NAME=VALUE` for each pair: the first after `separator`, the others after
    /// `&`.
    pub fn render(
        &self,
        templates: &Templates,
        scope: &TemplateScope<'_>,
        mut separator: &'static str,
        text: &mut String,
    ) -> Result<(), String> {
        for (name, value) in &self.0 {
            let mut add = |value: &str| {
                text.push_str(separator);
                text.push_str(name);
                text.push('=');
                text.push_str(value);
                separator = "&";
            };
            value.for_each(templates, scope, &mut add).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }
}

impl MultiValue {
    fn new(templates: &mut Templates, text: &str) -> Result<MultiValue, String> {
        let fixed = |fixed: &str| utf8_percent_encode(fixed, SPECIAL).to_string();
        Ok(MultiValue {
            single: templates.add(EscapeContext::Url, &map_fixed(text, fixed))?,
            list: if is_one_value(text) {
                Some(templates.add(EscapeContext::JsonValue, text.trim())?)
            } else {
                None
            },
        })
    }

    fn for_each(
        &self,
        templates: &Templates,
        scope: &TemplateScope<'_>,
        add: &mut impl FnMut(&str),
    ) -> Result<(), String> {
        let why = match templates.render(self.single, scope) {
            Ok(value) => {
                add(&value);
                return Ok(());
            }
            Err(why) => why,
        };
        let list = self.list.and_then(|list| templates.render(list, scope).ok());
        let Some(Value::Array(items)) = list.and_then(|json| serde_json::from_str(&json).ok())
        else {
            return Err(why);
        };
        for item in items {
            match item {
                Value::String(text) => add(&percent_encode(&text)),
                Value::Number(_) | Value::Bool(_) => add(&percent_encode(&item.to_string())),
                _ => return Err(format!("the list holds {item}, which is not a text")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, row: Value) -> Result<String, String> {
        let mut templates = Templates::new();
        let pairs = Pairs::new(&mut templates, [("a b", text), ("n", "1")].into_iter())?;
        let scope = templates.scope(row.as_object().unwrap());
        let mut rendered = String::from("/");
        pairs.render(&templates, &scope, "?", &mut rendered)?;
        Ok(rendered)
    }

    #[test]
    fn a_list_gives_the_name_once_for_each_item() {
        let row = |x: Value| serde_json::json!({ "x": x });
        for (text, x, expected) in [
            ("{{ x }}", row("c&d".into()), "/?a%20b=c%26d&n=1"),
            (
                "{{ x }}",
                row(serde_json::json!(["c&d", 7, true])),
                "/?a%20b=c%26d&a%20b=7&a%20b=true&n=1",
            ),
            ("{{ x }}", row(serde_json::json!([])), "/?n=1"),
            ("{{ x | join(',') }}", row(serde_json::json!([1, 2])), "/?a%20b=1%2C2&n=1"),
            ("a b&{{ x }},1:2", row("^".into()), "/?a%20b=a%20b%26%5E,1:2&n=1"),
        ] {
            assert_eq!(render(text, x).unwrap(), expected);
        }
        let nested = render("{{ x }}", row(serde_json::json!([[1]]))).unwrap_err();
        assert!(nested.contains("the list holds [1]"), "{nested}");
        let inside = render("x{{ x }}", row(serde_json::json!([1]))).unwrap_err();
        assert!(inside.contains("a list or an object"), "{inside}");
    }
}
