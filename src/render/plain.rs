//! A template of texts and fields alone, as most are, rendered without the template
//! engine and to the same text. Pure.

use super::escape_context::{EscapeContext, escape};
use super::scope::TemplateScope;

/// A template of texts and fields.
#[derive(Debug, PartialEq)]
pub struct PlainTemplate {
    pieces: Vec<PlainPiece>,
    context: EscapeContext,
    /// Estimated length of the text in bytes.
    length: usize,
}

#[derive(Debug, PartialEq)]
enum PlainPiece {
    Text(String),
    Field(String),
}

impl PlainTemplate {
    /// Parses a template; none if it has more than texts and fields. `fields` are the
    /// names in it that the engine takes for fields of the row.
    pub fn parse(text: &str, context: EscapeContext, fields: &[String]) -> Option<PlainTemplate> {
        // The engine treats a line break at the end and these brackets in its own way.
        if text.ends_with(['\n', '\r']) || text.contains("{%") || text.contains("{#") {
            return None;
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            let (name, after) = inside.split_once("}}")?;
            let name = name.trim_matches(' ');
            if !fields.iter().any(|field| field == name) {
                return None;
            }
            pieces.push(PlainPiece::Text(before.to_owned()));
            pieces.push(PlainPiece::Field(name.to_owned()));
            rest = after;
        }
        pieces.push(PlainPiece::Text(rest.to_owned()));
        Some(PlainTemplate { pieces, context, length: text.len() + 32 })
    }

    /// The text of a row; none if a field is no text or can't be escaped: then the engine
    /// reports why.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Option<String> {
        let mut text = String::with_capacity(self.length);
        for piece in &self.pieces {
            match piece {
                PlainPiece::Text(fixed) => text.push_str(fixed),
                PlainPiece::Field(name) => {
                    text.push_str(&escape(self.context, scope.text(name)?).ok()?);
                }
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::template::Templates;
    use super::*;

    #[test]
    fn only_texts_and_fields_are_a_plain_template() {
        let fields = ["x".to_owned(), "env".to_owned()];
        let plain = |text| PlainTemplate::parse(text, EscapeContext::Text, &fields).is_some();
        for text in ["", "a", "{{ x }}", "{{x}}/{{ x }}", "}} { x }", "a\n {{ x }}"] {
            assert!(plain(text), "{text}");
        }
        for text in [
            "{{ x }}\n",
            "{{ y }}",
            "{{ x | upper }}",
            "{{- x }}",
            "{{ x.y }}",
            "{{ env.KEY }}",
            "{% if x %}{% endif %}",
            "{# x #}",
            "{{ x",
            "{{ '}}' }}",
        ] {
            assert!(!plain(text), "{text}");
        }
    }

    #[test]
    fn a_plain_template_gives_the_engine_s_text() {
        let texts = ["a b/c?d=é&\"x\"\\", "", "a\r\nb", "\u{0}", "longer than what is kept within"];
        let contexts = [
            EscapeContext::Url,
            EscapeContext::Header,
            EscapeContext::Quoted,
            EscapeContext::Parameter,
            EscapeContext::Cookie,
            EscapeContext::JsonValue,
            EscapeContext::JsonText,
            EscapeContext::Graphql,
            EscapeContext::Xml,
            EscapeContext::Text,
        ];
        for (text, context) in texts.iter().flat_map(|text| contexts.map(|context| (text, context)))
        {
            let mut templates = Templates::new();
            let plain = templates.add(context, "<{{ x }}|{{x}}\n{{ y }}>").unwrap();
            // A comment is nothing, but not plain.
            let engine = templates.add(context, "<{{ x }}|{{x}}\n{{ y }}{# #}>").unwrap();
            for row in [json!({"x": text, "y": "1"}), json!({"x": text, "y": 1.5}), json!({"x": 1})]
            {
                let scope = templates.scope(row.as_object().unwrap());
                let expected = templates.render(engine, &scope);
                assert_eq!(templates.render(plain, &scope), expected, "{context:?}");
            }
        }
    }
}
