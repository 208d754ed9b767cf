//! Where a value stands in a request, and how it is escaped for that place. Pure.

use std::borrow::Cow;

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, Output, State};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Where a template's values stand in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a URL's path or query, or in a form: percent-encoded.
    Url,
    /// In a header: as it is, and never with a line break.
    Header,
    /// A whole JSON value: written as JSON, whatever its type.
    JsonValue,
    /// Inside the quotes of a JSON string.
    JsonText,
    /// In a body of another kind: as it is.
    Text,
}

/// All that is not unreserved in RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes a text so that it is one component of a URL.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl Place {
    /// What the names of templates begin with whose values stand there.
    pub fn prefix(self) -> &'static str {
        match self {
            Place::Url => "url",
            Place::Header => "header",
            Place::JsonValue => "json value",
            Place::JsonText => "json text",
            Place::Text => "text",
        }
    }

    fn named(name: &str) -> Place {
        [Place::Url, Place::Header, Place::JsonValue, Place::JsonText]
            .into_iter()
            .find(|place| name.starts_with(place.prefix()))
            .unwrap_or(Place::Text)
    }
}

/// How the engine escapes the values of a template with this name.
pub fn escape_of(name: &str) -> AutoEscape {
    AutoEscape::Custom(Place::named(name).prefix().into())
}

/// Writes a value for the engine.
pub fn write_escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let AutoEscape::Custom(place) = state.auto_escape() else {
        return write(out, &value.to_string());
    };
    if value.is_safe() {
        return write(out, &value.to_string());
    }
    if place == "json value" {
        return write(out, &json(value)?);
    }
    let text = printable(value)?;
    write(out, &escape(Place::named(place), &text)?)
}

/// The text as it may stand in this place.
pub fn escape(place: Place, text: &str) -> Result<Cow<'_, str>, Error> {
    match place {
        Place::Url => Ok(utf8_percent_encode(text, RESERVED).into()),
        Place::JsonValue => json(text).map(Cow::Owned),
        Place::JsonText => json(text).map(|json| unquote(&json).to_owned().into()),
        Place::Header if text.contains(['\r', '\n', '\0']) => {
            Err(invalid("a header can't contain a line break"))
        }
        Place::Header | Place::Text => Ok(text.into()),
    }
}

/// A list or a null has no text that a server would expect.
fn printable(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::None => Err(invalid(
            "the value is null; `{{ x or '' }}` gives a text for it",
        )),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => Err(invalid(
            "the value is a list or an object; name one of its items, or join them: `{{ x | join(',') }}`",
        )),
        // As JSON has it; the engine's own word is another language's.
        ValueKind::Bool => Ok(value.is_true().to_string()),
        _ => Ok(value.to_string()),
    }
}

fn json(value: impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(&value).map_err(|error| invalid(error.to_string()))
}

/// The inside of a JSON string, which may itself begin or end with a quote.
pub fn unquote(json: &str) -> &str {
    json.get(1..json.len() - 1).unwrap_or_default()
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

fn write(out: &mut Output<'_>, text: &str) -> Result<(), Error> {
    out.write_str(text)
        .map_err(|_| invalid("the text could not be written"))
}
