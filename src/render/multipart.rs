//! A multipart body, as forms with files send it (RFC 7578).

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::escape_context::EscapeContext;
use super::file::RowFile;
use super::settings::text;
use super::template::{Template, TemplateScope, Templates};
use crate::error::Error;

const KEY: &str = "request.multipart (--multipart)";

/// The compiled parts.
#[derive(Debug)]
pub struct Multipart(Vec<MultipartPart>);

#[derive(Debug)]
struct MultipartPart {
    name: String,
    content: Content,
    kind: Option<Template>,
    file_name: Option<Template>,
}

#[derive(Debug)]
enum Content {
    Text(Template),
    File(RowFile),
}

/// A part that is a table rather than a text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartSettings {
    file: Option<String>,
    text: Option<String>,
    r#type: Option<String>,
    name: Option<String>,
}

impl Multipart {
    /// Compiles the parts; a list gives several parts of one name.
    pub fn new(
        templates: &mut Templates,
        parts: &serde_json::Map<String, Value>,
    ) -> Result<Multipart, Error> {
        let mut all = Vec::new();
        for (name, value) in parts {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                all.push(MultipartPart::new(templates, name, value)?);
            }
        }
        Ok(Multipart(all))
    }

    /// The body of one row, with this boundary between its parts.
    pub fn render(&self, scope: &TemplateScope<'_>, boundary: &str) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        for part in &self.0 {
            body.extend(format!("--{boundary}\r\n").bytes());
            part.render(scope, &mut body).map_err(|why| format!("part {}: {why}", part.name))?;
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").bytes());
        Ok(body)
    }
}

/// A random boundary of 128 bits, which no value contains.
pub fn boundary() -> String {
    format!("------------------------{:032x}", rand::random::<u128>())
}

impl MultipartPart {
    fn new(templates: &mut Templates, name: &str, value: &Value) -> Result<MultipartPart, Error> {
        let wrong = |why: String| Error::plan(format!("{KEY}: {name}: {why}"));
        let detailed: PartSettings = match value {
            Value::Object(_) => {
                serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?
            }
            plain => PartSettings {
                text: Some(text(KEY, name, plain)?),
                file: None,
                r#type: None,
                name: None,
            },
        };
        let content = match (&detailed.text, &detailed.file) {
            (Some(text), None) => templates.add(EscapeContext::Text, text).map(Content::Text),
            (None, Some(path)) => {
                RowFile::new(templates, EscapeContext::Text, path).map(Content::File)
            }
            _ => Err("give it either a text or a file".into()),
        };
        let mut add = |text: Option<String>, context: fn(&str) -> EscapeContext| {
            text.map(|text| templates.add(context(&text), &text)).transpose()
        };
        let of_kind = |text: &str| EscapeContext::of_header("content-type", text);
        Ok(MultipartPart {
            name: name.to_owned(),
            kind: add(detailed.r#type, of_kind).map_err(wrong)?,
            // Its quotes are percent-encoded later.
            file_name: add(detailed.name, |_| EscapeContext::Header).map_err(wrong)?,
            content: content.map_err(wrong)?,
        })
    }

    fn render(&self, scope: &TemplateScope<'_>, body: &mut Vec<u8>) -> Result<(), String> {
        let optional = |template: Option<Template>| {
            template.map(|template| scope.render(template)).transpose()
        };
        let (bytes, path) = match &self.content {
            Content::Text(text) => (scope.render(*text)?.into_bytes(), None),
            Content::File(file) => (file.read(scope)?, Some(file.path(scope)?)),
        };
        let file_name = optional(self.file_name)?.or_else(|| path.as_deref().map(file_name_of));
        let kind = optional(self.kind)?;
        let guessed = file_name.as_deref().filter(|_| path.is_some()).map(media_type);
        body.extend(disposition(&self.name, file_name.as_deref()).bytes());
        if let Some(kind) = kind.as_deref().or(guessed) {
            body.extend(format!("Content-Type: {kind}\r\n").bytes());
        }
        body.extend(b"\r\n");
        body.extend(bytes);
        Ok(())
    }
}

fn disposition(name: &str, file_name: Option<&str>) -> String {
    let file_name =
        file_name.map_or(String::new(), |name| format!("; filename=\"{}\"", quoted(name)));
    format!("Content-Disposition: form-data; name=\"{}\"{file_name}\r\n", quoted(name))
}

/// The name with the characters that would end it or its line percent-encoded, as
/// browsers do.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn file_name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The media type of a file by its name.
fn media_type(name: &str) -> &'static str {
    let end = Path::new(name).extension().unwrap_or_default();
    match end.to_string_lossy().to_ascii_lowercase().as_str() {
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "htm" | "html" => "text/html",
        "pdf" => "application/pdf",
        "xml" => "application/xml",
        "json" => "application/json",
        "csv" => "text/csv",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_have_names_media_types_and_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), b"\x89PNG").unwrap();
        let parts = json!({
            "plain": "{{ x }}",
            "n\"ame": {"text": "{}", "type": "application/json"},
            "file": [{"file": format!("{}/{{{{ x }}}}.png", folder.path().display()), "name": "\"{{ x }}\".png"}],
        });
        let mut templates = Templates::new();
        let multipart = Multipart::new(&mut templates, parts.as_object().unwrap()).unwrap();
        let row = json!({"x": "a"});
        let scope = templates.scope(row.as_object().unwrap());
        let body = multipart.render(&scope, "B").unwrap();
        let expected = b"--B\r\nContent-Disposition: form-data; name=\"plain\"\r\n\r\na\r\n\
            --B\r\nContent-Disposition: form-data; name=\"n%22ame\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%22a%22.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\
            --B--\r\n";
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(expected));
    }

    #[test]
    fn a_part_is_either_a_text_or_a_file() {
        for (part, why) in [
            (json!({"file": "a", "text": "b"}), "either a text or a file"),
            (json!({"flie": "a"}), "unknown field `flie`"),
            (json!(null), "p is null, not a text"),
        ] {
            let parts = json!({ "p": part });
            let error = Multipart::new(&mut Templates::new(), parts.as_object().unwrap());
            let error = error.err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
