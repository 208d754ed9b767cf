//! The pieces of a template's text: fixed text, values, and tags. Pure.

/// A piece of a template's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplatePiece<'a> {
    /// Text that is the same for all rows.
    Fixed(&'a str),
    /// A value: `{{ … }}` with its brackets.
    Value(&'a str),
    /// A tag or comment: `{% … %}` or `{# … #}` with its brackets.
    Tag(&'a str),
}

impl<'a> TemplatePiece<'a> {
    /// Whether it is the same for all rows.
    pub fn is_fixed(self) -> bool {
        matches!(self, TemplatePiece::Fixed(_))
    }

    /// The piece as the template has it.
    pub fn text(self) -> &'a str {
        match self {
            TemplatePiece::Fixed(text) | TemplatePiece::Value(text) | TemplatePiece::Tag(text) => {
                text
            }
        }
    }
}

/// The pieces of a template in their order. A bracket that is never closed takes
/// the rest: the engine refuses such a template.
pub fn pieces(text: &str) -> Vec<TemplatePiece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = opening(rest).unwrap_or(rest.len());
        let (fixed, template) = rest.split_at(start);
        if !fixed.is_empty() {
            pieces.push(TemplatePiece::Fixed(fixed));
        }
        let (inside, after) = template.split_at(closing(template));
        match inside.get(..2) {
            Some("{{") => pieces.push(TemplatePiece::Value(inside)),
            Some(_) => pieces.push(TemplatePiece::Tag(inside)),
            None => {}
        }
        rest = after;
    }
    pieces
}

/// The place of the first bracket.
fn opening(text: &str) -> Option<usize> {
    let found = ["{{", "{%", "{#"].map(|bracket| text.find(bracket));
    found.into_iter().flatten().min()
}

/// The length of the piece that begins with a bracket. Brackets within the quotes of
/// an expression close nothing.
fn closing(template: &str) -> usize {
    let close = match template.get(..2) {
        Some("{{") => "}}",
        Some("{%") => "%}",
        Some(_) => return template.find("#}").map_or(template.len(), |at| at + 2),
        None => return 0,
    };
    let (mut quote, mut is_escaped) = (None, false);
    for (at, letter) in template.char_indices().skip(2) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if letter == '\\' => is_escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None if template[at..].starts_with(close) => return at + 2,
            None => {}
        }
    }
    template.len()
}

/// Whether the text is a single `{{ x }}` and nothing else.
pub fn is_one_value(text: &str) -> bool {
    text.trim()
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
        .is_some_and(|inside| !inside.contains("{{") && !inside.contains("}}"))
}

/// The template with `change` applied to its fixed text: quotes and the like within
/// `{{ }}` and `{% %}` belong to the expression.
pub fn map_fixed(text: &str, change: impl Fn(&str) -> String) -> String {
    let changed = pieces(text).into_iter().map(|piece| match piece {
        TemplatePiece::Fixed(fixed) => change(fixed),
        other => other.text().to_owned(),
    });
    changed.collect()
}

/// The template with `filter` applied to its values outside of quotes.
pub fn filter_unquoted(text: &str, filter: &str) -> String {
    let mut in_quotes = false;
    let mut marked = String::new();
    for piece in pieces(text) {
        if let TemplatePiece::Fixed(fixed) = piece {
            in_quotes = ends_in_quotes(fixed, in_quotes);
        }
        let expression = match piece {
            TemplatePiece::Value(value) if !in_quotes => expression(value),
            _ => None,
        };
        match expression {
            Some((open, inside, close)) => {
                marked += &format!("{{{{{open} ({inside})|{filter} {close}}}}}");
            }
            None => marked.push_str(piece.text()),
        }
    }
    marked
}

/// The expression within brackets, and the signs at them that trim spaces.
fn expression(value: &str) -> Option<(&str, &str, &str)> {
    let inside = value.strip_prefix("{{")?.strip_suffix("}}")?;
    let signs = ['-', '+'];
    let open = usize::from(inside.starts_with(signs));
    let close = inside.len() - usize::from(inside.ends_with('-'));
    let expression = inside.get(open..close)?;
    Some((&inside[..open], expression.trim(), &inside[close..]))
}

/// Whether a string is open after this text; `in_quotes` says whether one was before it.
pub fn ends_in_quotes(text: &str, mut in_quotes: bool) -> bool {
    let mut is_escaped = false;
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if in_quotes => is_escaped = true,
            '"' => in_quotes = !in_quotes,
            _ => {}
        }
    }
    in_quotes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_split_into_pieces() {
        use TemplatePiece::{Fixed, Tag, Value};
        let expected: [(&str, &[TemplatePiece]); 6] = [
            ("", &[]),
            ("a { b }", &[Fixed("a { b }")]),
            ("a{{ x }}b", &[Fixed("a"), Value("{{ x }}"), Fixed("b")]),
            (
                "{{ x or '}}' }}{% if \"%}\" %}{# {{ #}",
                &[Value("{{ x or '}}' }}"), Tag("{% if \"%}\" %}"), Tag("{# {{ #}")],
            ),
            ("{{ 'a\\'}}' }}é", &[Value("{{ 'a\\'}}' }}"), Fixed("é")]),
            ("é{{ x", &[Fixed("é"), Value("{{ x")]),
        ];
        for (text, there) in expected {
            assert_eq!(pieces(text), there, "{text}");
            let whole: String = pieces(text).into_iter().map(TemplatePiece::text).collect();
            assert_eq!(whole, text);
        }
    }

    #[test]
    fn values_outside_of_quotes_get_the_filter() {
        for (text, marked) in [
            ("{\"a\": \"{{ x }}\"}", "{\"a\": \"{{ x }}\"}"),
            ("{\"a\\\"\": {{- x or 1 -}} }", "{\"a\\\"\": {{- (x or 1)|f -}} }"),
            (
                "[{% for y in x %}{{ y }},{% endfor %}{# {{ x }} #}]",
                "[{% for y in x %}{{ (y)|f }},{% endfor %}{# {{ x }} #}]",
            ),
        ] {
            assert_eq!(filter_unquoted(text, "f"), marked);
        }
    }
}
