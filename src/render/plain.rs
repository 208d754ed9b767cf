//! A template that is nothing but text and fields, as most are, filled in without
//! the template engine. It comes to what the engine would give. Pure.

use super::place::{EscapeContext, escape};
use super::scope::TemplateScope;

/// Texts and fields in turn.
#[derive(Debug, PartialEq)]
pub struct PlainTemplate {
    pieces: Vec<PlainPiece>,
    place: EscapeContext,
    /// About how long it gets.
    length: usize,
}

#[derive(Debug, PartialEq)]
enum PlainPiece {
    Text(String),
    Field(String),
}

impl PlainTemplate {
    /// The template, if it is so plain; `fields` are the engine's view of what names
    /// in it are fields of the row.
    pub fn parse(text: &str, place: EscapeContext, fields: &[String]) -> Option<PlainTemplate> {
        // The engine leaves out a line break at the end, and has more brackets.
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
        Some(PlainTemplate {
            pieces,
            place,
            length: text.len() + 32,
        })
    }

    /// The text, if each field is a text that can stand there. Why one can't is for
    /// the engine to say.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Option<String> {
        let mut text = String::with_capacity(self.length);
        for piece in &self.pieces {
            match piece {
                PlainPiece::Text(fixed) => text.push_str(fixed),
                PlainPiece::Field(name) => {
                    text.push_str(&escape(self.place, scope.text(name)?).ok()?);
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
    fn only_texts_and_fields_are_plain() {
        let fields = ["x".to_owned(), "env".to_owned()];
        let plain = |text| PlainTemplate::parse(text, EscapeContext::Text, &fields).is_some();
        for text in [
            "",
            "a",
            "{{ x }}",
            "{{x}}/{{ x }}",
            "}} { x }",
            "a\n {{ x }}",
        ] {
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
    fn it_comes_to_what_the_engine_gives() {
        let texts = [
            "a b/c?d=é&\"x\"\\",
            "",
            "a\r\nb",
            "\u{0}",
            "longer than what is kept within",
        ];
        let places = [
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
        for (text, place) in texts
            .iter()
            .flat_map(|text| places.map(|place| (text, place)))
        {
            let mut templates = Templates::new();
            let plain = templates.add(place, "<{{ x }}|{{x}}\n{{ y }}>").unwrap();
            // A comment is nothing, but not plain.
            let engine = templates
                .add(place, "<{{ x }}|{{x}}\n{{ y }}{# #}>")
                .unwrap();
            for row in [
                json!({"x": text, "y": "1"}),
                json!({"x": text, "y": 1.5}),
                json!({"x": 1}),
            ] {
                let scope = templates.scope(row.as_object().unwrap());
                let expected = templates.render(engine, &scope);
                assert_eq!(templates.render(plain, &scope), expected, "{place:?}");
            }
        }
    }
}
