//! The part of a request that a value stands in, and the escaping that it needs. Pure.

use std::borrow::Cow;

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, Output, State};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::pieces::{TemplatePiece, ends_in_quotes, filter_unquoted, is_one_value, pieces};

/// The part of a request that the values of a template stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapeContext {
    /// In a URL's path or query, or in a form: percent-encoded.
    Url,
    /// In a header: unchanged, and never with a line break.
    Header,
    /// Inside the quotes of a header: without characters that would end them.
    Quoted,
    /// Among the parameters of a header: without characters that would begin another one.
    Parameter,
    /// Among the cookies of a `cookie` header: without characters that would begin another one.
    Cookie,
    /// A whole JSON value of any type.
    JsonValue,
    /// Inside the quotes of a JSON string.
    JsonText,
    /// In the text of a JSON document: escaped in quotes, and a JSON value outside of
    /// them.
    JsonBody,
    /// In a GraphQL document that is itself a JSON string.
    Graphql,
    /// In the text or an attribute of an XML or HTML document.
    Xml,
    /// In the path of a file that is written: unchanged, and a part of one name.
    FileName,
    /// In a body of another kind: unchanged.
    Text,
}

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of the filter for values outside of the quotes of a JSON text.
pub const JSON_SCALAR: &str = "json_scalar";

/// Percent-encodes a text so that it is one component of a URL.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl EscapeContext {
    /// The beginning of the names of templates in each context, by which the engine knows it.
    /// No name begins with the prefix of an earlier context.
    const PREFIXES: [(EscapeContext, &str); 12] = [
        (EscapeContext::Url, "url"),
        (EscapeContext::Header, "header"),
        (EscapeContext::Quoted, "quoted"),
        (EscapeContext::Parameter, "parameter"),
        (EscapeContext::Cookie, "cookie"),
        (EscapeContext::JsonValue, "json value"),
        (EscapeContext::JsonText, "json text"),
        (EscapeContext::JsonBody, "json text"),
        (EscapeContext::Graphql, "graphql"),
        (EscapeContext::Xml, "xml"),
        (EscapeContext::FileName, "file name"),
        (EscapeContext::Text, "text"),
    ];

    /// The context of the values of a header. A header that is a single value may hold
    /// quotes and parameters.
    pub fn of_header(name: &str, text: &str) -> EscapeContext {
        if is_one_value(text) {
            return EscapeContext::Header;
        }
        if name.eq_ignore_ascii_case("cookie") {
            return EscapeContext::Cookie;
        }
        let (mut in_quotes, mut any_quoted, mut any_bare) = (false, false, false);
        for piece in pieces(text) {
            match piece {
                TemplatePiece::Fixed(fixed) => in_quotes = ends_in_quotes(fixed, in_quotes),
                TemplatePiece::Value(_) if in_quotes => any_quoted = true,
                TemplatePiece::Value(_) => any_bare = true,
                TemplatePiece::Tag(_) => {}
            }
        }
        let has_parameters = pieces(text)
            .iter()
            .any(|piece| matches!(piece, TemplatePiece::Fixed(fixed) if fixed.contains(';')));
        if any_bare && has_parameters {
            EscapeContext::Parameter
        } else if any_quoted {
            EscapeContext::Quoted
        } else {
            EscapeContext::Header
        }
    }

    /// The beginning of the names of templates in this context.
    pub fn prefix(self) -> &'static str {
        let mut all = EscapeContext::PREFIXES.iter();
        all.find(|(context, _)| *context == self).map_or("text", |(_, prefix)| prefix)
    }

    /// The template that the engine compiles for a text in this context.
    pub fn prepare(self, text: &str) -> Cow<'_, str> {
        match self {
            EscapeContext::JsonBody => filter_unquoted(text, JSON_SCALAR).into(),
            _ => text.into(),
        }
    }

    fn by_prefix(name: &str) -> EscapeContext {
        let mut all = EscapeContext::PREFIXES.iter();
        let found = all.find(|(_, prefix)| name.starts_with(prefix));
        found.map_or(EscapeContext::Text, |(context, _)| *context)
    }
}

/// The engine's escaping for a template of this name.
pub fn escape_of(name: &str) -> AutoEscape {
    AutoEscape::Custom(EscapeContext::by_prefix(name).prefix().into())
}

/// Writes a value, escaped, for the engine.
pub fn write_escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let AutoEscape::Custom(prefix) = state.auto_escape() else {
        return write(out, &value.to_string());
    };
    if value.is_safe() {
        return write(out, &value.to_string());
    }
    match EscapeContext::by_prefix(prefix) {
        EscapeContext::JsonValue => write(out, &json(value)?),
        context => write(out, &escape(context, &printable(value)?)?),
    }
}

/// A value outside of quotes in a JSON text: a typed value as JSON; a text must be a
/// number, `true`, `false` or `null`.
pub fn json_scalar(value: &Value) -> Result<Value, Error> {
    if value.is_safe() || value.is_undefined() {
        return Ok(value.clone());
    }
    let Some(text) = value.as_str() else {
        return json(value).map(Value::from_safe_string);
    };
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => {
            Ok(Value::from_safe_string(text.to_owned()))
        }
        _ => Err(invalid(
            "the value stands outside of quotes and is no number, true, false or null: put quotes around it, or give JSON as it is with `{{ x | safe }}`",
        )),
    }
}

/// The text escaped for this context.
pub fn escape(context: EscapeContext, text: &str) -> Result<Cow<'_, str>, Error> {
    match context {
        EscapeContext::Url => Ok(utf8_percent_encode(text, RESERVED).into()),
        EscapeContext::JsonValue => json(text).map(Cow::Owned),
        EscapeContext::JsonText | EscapeContext::JsonBody => in_json(text).map(Cow::Owned),
        EscapeContext::Graphql => in_json(&in_json(text)?).map(Cow::Owned),
        EscapeContext::Xml => in_xml(text),
        EscapeContext::FileName => in_file_name(text).map(|()| text.into()),
        EscapeContext::Text => Ok(text.into()),
        EscapeContext::Header
        | EscapeContext::Quoted
        | EscapeContext::Parameter
        | EscapeContext::Cookie => in_header(context, text).map(|()| text.into()),
    }
}

fn in_header(context: EscapeContext, text: &str) -> Result<(), Error> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(invalid("a header can't contain a line break"));
    }
    let (ends, kind): (fn(char) -> bool, &str) = match context {
        EscapeContext::Quoted => (|letter| "\"\\".contains(letter), "a quoted string"),
        EscapeContext::Parameter => (|letter| "\"\\;".contains(letter), "a value among parameters"),
        EscapeContext::Cookie => {
            (|letter| letter.is_ascii_control() || " \"\\,;".contains(letter), "a cookie's value")
        }
        _ => return Ok(()),
    };
    match text.chars().find(|letter| ends(*letter)) {
        None => Ok(()),
        Some(letter) => Err(invalid(format!(
            "{kind} can't contain {letter:?}: `{{{{ x | urlencode }}}}` encodes it for a server that decodes it, `{{{{ x | safe }}}}` sends it as it is"
        ))),
    }
}

/// Refuses a value that is no part of the name of a file.
pub fn in_file_name(text: &str) -> Result<(), Error> {
    let is_foreign = |letter: &char| letter.is_control() || ['/', '\\'].contains(letter);
    if text.is_empty() {
        return Err(invalid("the value is empty; `{{ x or 'none' }}` gives a text for it"));
    }
    if [".", ".."].contains(&text) {
        return Err(invalid(format!("{text:?} is the name of a folder")));
    }
    match text.chars().find(is_foreign) {
        None => Ok(()),
        Some(letter) => Err(invalid(format!(
            "the name of a file can't contain {letter:?}: `{{{{ x | replace({letter:?}, '_') }}}}` makes a name of it"
        ))),
    }
}

fn in_json(text: &str) -> Result<String, Error> {
    json(text).map(|json| unquote(&json).to_owned())
}

/// Escapes markup, for an element and for an attribute.
fn in_xml(text: &str) -> Result<Cow<'_, str>, Error> {
    let is_foreign = |letter: char| {
        (letter < ' ' && !"\t\n\r".contains(letter)) || matches!(letter, '\u{fffe}' | '\u{ffff}')
    };
    if let Some(letter) = text.chars().find(|letter| is_foreign(*letter)) {
        return Err(invalid(format!("XML has no character {letter:?}")));
    }
    if !text.contains(['&', '<', '>', '"', '\'', '\r']) {
        return Ok(text.into());
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // An XML parser would read it as a line break.
            '\r' => escaped.push_str("&#13;"),
            _ => escaped.push(letter),
        }
    }
    Ok(escaped.into())
}

/// The text of a value; a list, an object or a null has none that a server would expect.
fn printable(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::None => Err(invalid("the value is null; `{{ x or '' }}` gives a text for it")),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => Err(invalid(
            "the value is a list or an object; name one of its items, or join them: `{{ x | join(',') }}`",
        )),
        // As in JSON; the engine would write `True`.
        ValueKind::Bool => Ok(value.is_true().to_string()),
        _ => Ok(value.to_string()),
    }
}

fn json(value: impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(&value).map_err(|error| invalid(error.to_string()))
}

/// The inside of a JSON string.
pub fn unquote(json: &str) -> &str {
    json.get(1..json.len() - 1).unwrap_or_default()
}

fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

fn write(out: &mut Output<'_>, text: &str) -> Result<(), Error> {
    out.write_str(text).map_err(|_| invalid("the text could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_s_text_decides_the_context_of_its_values() {
        for (name, text, context) in [
            ("x", "a {{ x }}", EscapeContext::Header),
            ("cookie", "{{ x }}", EscapeContext::Header),
            ("Cookie", "a={{ x }}", EscapeContext::Cookie),
            ("etag", "W/\"{{ x }}\"", EscapeContext::Quoted),
            ("x", "a; f=\"{{ x }}\"", EscapeContext::Quoted),
            ("x", "a; b={{ x }}; f=\"{{ y }}\"", EscapeContext::Parameter),
            ("x", "a; f=\"b\\\"{{ x }}\"", EscapeContext::Quoted),
            ("x", "{{ x }} {{ y or ';\"' }}", EscapeContext::Header),
        ] {
            assert_eq!(EscapeContext::of_header(name, text), context, "{name}: {text}");
        }
    }
}
