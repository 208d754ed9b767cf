//! The kinds of bodies that answers have, and how a type names them. Pure.

use serde::{Deserialize, Serialize};

/// The kind of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    /// One JSON document.
    Json,
    /// JSON documents one after the other: a list of them.
    Ndjson,
    /// Events of a server (`text/event-stream`): a list of their data.
    Sse,
    /// A table with a line of names: a list of objects.
    Csv,
    /// A document in XML: an object of its elements.
    Xml,
    /// A page in HTML: a text, of which selectors take values.
    Html,
    /// A text.
    Text,
    /// Bytes that are no text: their base64.
    Bytes,
}

impl AnswerKind {
    /// All of them, in the order of the documentation.
    pub const ALL: [AnswerKind; 8] = [
        AnswerKind::Json,
        AnswerKind::Ndjson,
        AnswerKind::Sse,
        AnswerKind::Csv,
        AnswerKind::Xml,
        AnswerKind::Html,
        AnswerKind::Text,
        AnswerKind::Bytes,
    ];

    /// The name as jobs and flags have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AnswerKind::Json => "json",
            AnswerKind::Ndjson => "ndjson",
            AnswerKind::Sse => "sse",
            AnswerKind::Csv => "csv",
            AnswerKind::Xml => "xml",
            AnswerKind::Html => "html",
            AnswerKind::Text => "text",
            AnswerKind::Bytes => "bytes",
        }
    }

    /// The kind that the value of `content-type` names, if it names one.
    pub(super) fn of_type(value: &str) -> Option<AnswerKind> {
        let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonl"
            | "application/jsonlines"
            | "application/x-jsonlines"
            | "application/json-lines"
            | "application/json-seq"
            | "application/stream+json"
            | "application/x-json-stream"
            | "text/x-ndjson"
            | "text/ndjson" => AnswerKind::Ndjson,
            "text/event-stream" => AnswerKind::Sse,
            "text/csv"
            | "application/csv"
            | "text/x-csv"
            | "application/x-csv"
            | "text/comma-separated-values"
            | "application/vnd.ms-excel"
            | "text/tab-separated-values" => AnswerKind::Csv,
            "application/json"
            | "text/json"
            | "text/javascript"
            | "application/javascript"
            | "application/x-javascript" => AnswerKind::Json,
            name if name.ends_with("+json") => AnswerKind::Json,
            // A page for people.
            "application/xhtml+xml" => AnswerKind::Text,
            "application/xml" | "text/xml" => AnswerKind::Xml,
            name if name.ends_with("+xml") => AnswerKind::Xml,
            name if name.starts_with("text/") => AnswerKind::Text,
            name if is_of_bytes(name) => AnswerKind::Bytes,
            _ => return None,
        })
    }

    /// Whether a body of this kind is one document.
    pub(super) fn is_document(self) -> bool {
        !matches!(self, AnswerKind::Ndjson | AnswerKind::Sse | AnswerKind::Csv)
    }
}

/// Whether a type is one of files that are no text.
fn is_of_bytes(name: &str) -> bool {
    let group = name.split('/').next().unwrap_or_default();
    let known = [
        "application/octet-stream",
        "application/pdf",
        "application/zip",
        "application/gzip",
        "application/x-gzip",
        "binary/octet-stream",
    ];
    ["image", "audio", "video", "font"].contains(&group) || known.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_names_a_kind() {
        for (value, kind) in [
            ("application/json", Some(AnswerKind::Json)),
            ("Application/Problem+JSON; charset=utf-8", Some(AnswerKind::Json)),
            ("application/x-ndjson", Some(AnswerKind::Ndjson)),
            ("text/event-stream;charset=UTF-8", Some(AnswerKind::Sse)),
            ("text/csv; header=present", Some(AnswerKind::Csv)),
            ("application/vnd.ms-excel", Some(AnswerKind::Csv)),
            ("text/plain", Some(AnswerKind::Text)),
            ("text/html; charset=utf-8", Some(AnswerKind::Text)),
            ("image/svg+xml", Some(AnswerKind::Xml)),
            ("application/atom+xml; charset=utf-8", Some(AnswerKind::Xml)),
            ("text/xml", Some(AnswerKind::Xml)),
            ("application/xhtml+xml", Some(AnswerKind::Text)),
            ("image/png", Some(AnswerKind::Bytes)),
            ("application/pdf", Some(AnswerKind::Bytes)),
            ("application/x-www-form-urlencoded", None),
            ("", None),
        ] {
            assert_eq!(AnswerKind::of_type(value), kind, "{value}");
        }
    }

    #[test]
    fn a_name_is_that_of_a_job() {
        for kind in AnswerKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
