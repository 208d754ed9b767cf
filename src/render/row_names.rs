//! Fields whose names are no words of a template: `{{ row["Order ID"] }}`. Pure.
//!
//! Templates are compiled with [`ROW`] for `row` where a name in brackets or behind a dot
//! follows, so that a field that is called `row` stays `{{ row }}`.

use std::collections::BTreeSet;

use minijinja::Environment;

use super::pieces::{TemplatePiece, pieces};

/// The name that the engine has for the row.
pub const ROW: &str = "__throng_row";

/// The fields that a template takes from the row by name.
#[derive(Debug, Default, PartialEq)]
pub struct RowNames {
    /// The names that it writes out.
    pub names: BTreeSet<String>,
    /// Whether it computes a name, and so may use any field.
    pub is_any: bool,
}

/// The template as the engine compiles it, with [`ROW`] for `row["…"]` and `row.…`.
pub fn with_row(text: &str) -> String {
    let mut is_raw = false;
    let changed = pieces(text).into_iter().map(|piece| {
        if let TemplatePiece::Tag(tag) = piece {
            match tag.trim_matches(['{', '}', '%', '-', '+', ' ', '\n']) {
                "raw" => is_raw = true,
                "endraw" => is_raw = false,
                _ => {}
            }
        }
        if is_raw || piece.is_fixed() { piece.text().to_owned() } else { renamed(piece.text()) }
    });
    changed.collect()
}

/// One expression or tag with [`ROW`] for `row`.
fn renamed(code: &str) -> String {
    let (mut changed, mut copied) = (String::new(), 0);
    for at in words(code, "row") {
        let is_row = code[at + "row".len()..].trim_start().starts_with(['[', '.']);
        if is_row && !code[..at].trim_end().ends_with('.') {
            changed.push_str(&code[copied..at]);
            changed.push_str(ROW);
            copied = at + "row".len();
        }
    }
    changed + &code[copied..]
}

/// The fields that a compiled template takes from the row.
pub fn row_names(compiled: &str) -> RowNames {
    let mut found = RowNames::default();
    for code in pieces(compiled).into_iter().filter(|piece| !piece.is_fixed()) {
        let code = code.text();
        for at in words(code, ROW) {
            match name_after(&code[at + ROW.len()..]) {
                Some(name) => drop(found.names.insert(name)),
                None => found.is_any = true,
            }
        }
    }
    found
}

/// The name in `["…"]` or behind a dot; none if it is computed.
pub fn name_after(code: &str) -> Option<String> {
    let code = code.trim_start();
    if let Some(rest) = code.strip_prefix('.') {
        let rest = rest.trim_start();
        let end = rest.find(|it| !is_of_word(it)).unwrap_or(rest.len());
        return Some(rest[..end].to_owned());
    }
    let inside = code.strip_prefix('[')?.trim_start();
    let literal = &inside[..literal_end(inside)?];
    if !inside[literal.len()..].trim_start().starts_with(']') {
        return None;
    }
    let value = Environment::new().compile_expression(literal).ok()?.eval(()).ok()?;
    value.as_str().map(str::to_owned)
}

/// The length of the text in quotes that the code begins with.
fn literal_end(code: &str) -> Option<usize> {
    let quote = code.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    let mut is_escaped = false;
    for (at, letter) in code.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The places of a word in code, outside of texts in quotes.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < code.len() {
            let rest = &code[at..];
            let start = at;
            if let Some(end) = literal_end(rest) {
                at += end;
                continue;
            }
            let end = rest.find(|it| !is_of_word(it)).unwrap_or(rest.len());
            if end == 0 {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            at += end;
            if &rest[..end] == word {
                return Some(start);
            }
        }
        None
    })
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a template can take a field of this name by the name alone.
pub fn is_word(name: &str) -> bool {
    name.chars().all(is_of_word) && !name.starts_with(|it: char| it.is_ascii_digit())
}

/// The field that a template means by an expression: `user-id`, which it takes for `user`
/// less `id`. It is the longest of these names that stands there and holds `missing`.
pub fn meant<'a>(
    template: &str,
    missing: &str,
    names: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let is_odd = |name: &&str| !is_word(name) && words(name, missing).next().is_some();
    let stands = |name: &&str| {
        let all = pieces(template);
        let mut code = all.iter().filter(|piece| !piece.is_fixed());
        code.any(|code| code.text().contains(*name))
    };
    names.filter(is_odd).filter(stands).max_by_key(|name| name.len())
}

/// How a template takes the field of this name, if it can't by the name alone.
pub fn remedy(name: &str) -> String {
    format!("{{{{ {name} }}}} is an expression to a template, and no name: write {}", written(name))
}

/// The value of a field as a template has it.
pub fn written(name: &str) -> String {
    if is_word(name) {
        format!("{{{{ {name} }}}}")
    } else {
        format!("{{{{ row[{}] }}}}", quoted(name))
    }
}

/// A text as a template has it, in quotes; what can't be seen is escaped.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if letter.escape_debug().nth(1) == Some('u') => {
                let units = letter.encode_utf16(&mut [0; 2]).to_vec();
                quoted.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// How a template takes the field whose name it writes as a number or a truth value, which stand
/// for themselves: the first of these names.
pub fn mistaken_literal<'a>(
    template: &str,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let all = pieces(template);
    let is_written = |name: &&str| {
        let code = all.iter().filter(|piece| !piece.is_fixed());
        let inside = code.filter_map(|piece| piece.text().strip_prefix("{{")?.strip_suffix("}}"));
        inside.map(|it| it.trim_matches(['-', '+']).trim()).any(|it| it == *name)
    };
    let is_literal = |name: &&str| {
        let words = ["true", "false", "none", "True", "False", "None"];
        words.contains(name) || (!name.is_empty() && name.bytes().all(|it| it.is_ascii_digit()))
    };
    let name = names.find(|name| is_literal(name) && is_written(name))?;
    Some(format!(
        "{{{{ {name} }}}} is {name} itself to a template, and no field: write {{{{ row[{name:?}] }}}}"
    ))
}

/// Whether the code names a word that is no call of a function.
pub fn stands_alone(compiled: &str, word: &str) -> bool {
    let all = pieces(compiled);
    let mut code = all.iter().filter(|piece| !piece.is_fixed()).map(|piece| piece.text());
    code.any(|code| {
        words(code, word).any(|at| !code[at + word.len()..].trim_start().starts_with('('))
    })
}

/// How a template that does not parse may be mended: with the first value in it that could
/// be the name of a field.
pub fn remedy_of_unparsed(template: &str) -> String {
    let all = pieces(template);
    let inside = all.iter().filter_map(|piece| match piece {
        TemplatePiece::Value(value) => value.strip_prefix("{{")?.strip_suffix("}}"),
        _ => None,
    });
    let is_of_name = |it: char| !it.is_ascii() || is_of_word(it) || " .-/#?$&:%@!()+*".contains(it);
    let is_name = |it: &&str| {
        let (opened, closed) = (it.matches('(').count(), it.matches(')').count());
        !is_word(it) && it.chars().all(is_of_name) && opened == closed
    };
    let name = inside.map(str::trim).find(is_name).unwrap_or("NAME");
    let name = quoted(name);
    format!("a field whose name is not letters, digits and _ alone is {{{{ row[{name}] }}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_gets_a_name_of_its_own_where_it_is_asked_for_a_field() {
        for (text, expected) in [
            ("{{ row[\"a b\"] }}", "{{ ROW[\"a b\"] }}"),
            ("{{row['a'] ~ row .b}}", "{{ROW['a'] ~ ROW .b}}"),
            ("{% if row['a'] %}row['a']{% endif %}", "{% if ROW['a'] %}row['a']{% endif %}"),
            ("{{ row }} {{ rows['a'] }} {{ x.row.y }}", "{{ row }} {{ rows['a'] }} {{ x.row.y }}"),
            ("{{ \"row['a']\" ~ row[x] }}", "{{ \"row['a']\" ~ ROW[x] }}"),
            ("{% raw %}{{ row.a }}{% endraw %}", "{% raw %}{{ row.a }}{% endraw %}"),
        ] {
            assert_eq!(with_row(text).replace(ROW, "ROW"), expected);
        }
    }

    #[test]
    fn the_names_of_fields_are_found() {
        let names = |text: &str| row_names(&with_row(text));
        let found = names("{{ row[\"a b\"] }}{{ row['it\\'s'] }}{% if row.c %}{% endif %}row.d");
        assert_eq!(found.names, ["a b", "it's", "c"].map(str::to_owned).into());
        assert!(!found.is_any && names("{{ row[x] }}").is_any);
        assert_eq!(names("{{ row }}"), RowNames::default());
    }

    #[test]
    fn the_field_that_is_meant_is_found() {
        let names = ["id", "user-id", "customer.name", "big user-id"];
        let meant = |text, missing| meant(text, missing, names.into_iter());
        assert_eq!(meant("/{{ user-id }}", "id"), Some("user-id"));
        assert_eq!(meant("/{{ customer.name | upper }}", "customer"), Some("customer.name"));
        assert_eq!(meant("/user-id/{{ user }}", "user"), None);
        assert!(remedy("user-id").ends_with("write {{ row[\"user-id\"] }}"));
        assert!(remedy_of_unparsed("/{{ Order ID }}").ends_with("{{ row[\"Order ID\"] }}"));
        assert!(remedy_of_unparsed("/{{ f(x }}").ends_with("{{ row[\"NAME\"] }}"));
        assert!(remedy_of_unparsed("/{{ Price (€) }}").ends_with("{{ row[\"Price (€)\"] }}"));
        assert_eq!(written("a\u{a0}\"b"), "{{ row[\"a\\u00a0\\\"b\"] }}");
    }

    #[test]
    fn a_name_that_is_a_literal_or_a_function_is_told_from_a_field() {
        let mistaken = |text| mistaken_literal(text, ["id", "2024", "true"].into_iter());
        assert!(mistaken("/{{ 2024 }}").unwrap().ends_with("write {{ row[\"2024\"] }}"));
        assert!(mistaken("/{{-true-}}").is_some());
        for text in ["/2024/{{ id }}", "{{ row[\"2024\"] }}", "{{ id == 2024 }}", "{{ 2025 }}"] {
            assert_eq!(mistaken(text), None, "{text}");
        }
        assert!(stands_alone("{{ range }}", "range"));
        assert!(!stands_alone("{% for n in range(3) %}{{ n }}{% endfor %} range", "range"));
    }
}
