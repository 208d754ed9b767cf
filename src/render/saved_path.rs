//! The path of the file that an answer is saved to. Pure.

use super::escape_context::{EscapeContext, in_file_name};
use super::file::RowFile;
use super::template::{TemplateScope, Templates};
use crate::row::Fields;

/// The beginning of the names of files that are not whole yet.
pub const UNFINISHED: &str = ".throng-";

/// Maximum length of the name of a file or a folder in bytes, on most file systems.
const MAX_NAME: usize = 255;

/// The path of the file of a row's answer, with values of the row in it. Each value is a part of
/// one name.
#[derive(Debug)]
pub struct SavedPath {
    file: RowFile,
    /// Whether the job itself writes names that begin with a dot.
    has_dots: bool,
}

/// The path of the file of one row's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPath {
    /// The whole path.
    pub path: String,
    /// The folder that the job writes out, which the file is in or below; empty for the working
    /// directory.
    pub folder: String,
}

impl SavedPath {
    /// Compiles the path.
    ///
    /// # Errors
    /// Why it is no template of a file's path.
    pub fn new(templates: &mut Templates, path: &str) -> Result<SavedPath, String> {
        if path.is_empty() || path.ends_with('/') {
            return Err(format!(
                "{path:?} names no file: write the file of each row, such as 'out/{{{{ id }}}}.pdf'"
            ));
        }
        let file = RowFile::new(templates, EscapeContext::FileName, path)?;
        let template = file.template();
        if !templates.names_used(template).secrets.is_empty() || templates.uses_key_in(template) {
            return Err(format!("{path:?} would write a secret into the name of a file"));
        }
        let names = &path[file.folder().len()..];
        Ok(SavedPath { has_dots: names.starts_with('.') || names.contains("/."), file })
    }

    /// Whether each row can have a file of its own.
    pub fn varies(&self) -> bool {
        self.file.varies()
    }

    /// The path of the file of a row's answer.
    ///
    /// # Errors
    /// The value that is no part of a name, with its field; or the name that no file can have.
    pub fn path(&self, scope: &TemplateScope<'_>, used: &Templates) -> Result<RowPath, String> {
        let path = self.file.path(scope).map_err(|why| {
            let names = used.names_used(self.file.template()).fields;
            match names.iter().find(|name| is_no_name(scope.fields(), name)) {
                Some(field) => format!("the field {field:?} is {}: {why}", scope.fields()[field]),
                None => why,
            }
        })?;
        let folder = self.file.folder().to_owned();
        if let Some(inside) = path.strip_prefix(&folder).filter(|_| self.varies()) {
            inside.split('/').try_for_each(|name| self.check_name(name, &path))?;
        }
        Ok(RowPath { path, folder })
    }

    fn check_name(&self, name: &str, path: &str) -> Result<(), String> {
        let why = if name.is_empty() {
            "a name in it is empty".to_owned()
        } else if name.len() > MAX_NAME {
            let bytes = name.len();
            format!("a name in it has {bytes} bytes, and a file's name has {MAX_NAME} at most")
        } else if name.starts_with(UNFINISHED) {
            format!("names that begin with {UNFINISHED} are throng's own")
        } else if name.starts_with('.') && !self.has_dots {
            "the name would be hidden, since it begins with a dot that is the row's".to_owned()
        } else {
            return Ok(());
        };
        Err(format!("the file {path:?} can't be written: {why}"))
    }
}

/// Whether a row's value for this field is no part of a file's name.
fn is_no_name(fields: &Fields, name: &str) -> bool {
    match fields.get(name) {
        Some(serde_json::Value::String(text)) => in_file_name(text).is_err(),
        Some(value) => value.is_null() || value.is_array() || value.is_object(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, id: &str) -> Result<RowPath, String> {
        let mut templates = Templates::new();
        let saved = SavedPath::new(&mut templates, template)?;
        let row = serde_json::json!({ "id": id, "n": 7 });
        saved.path(&templates.scope(row.as_object().unwrap()), &templates)
    }

    #[test]
    fn a_value_is_a_part_of_a_name() {
        for (template, id, expected, folder) in [
            ("out/{{ id }}.pdf", "a b", "out/a b.pdf", "out/"),
            ("out/{{ n }}-{{ id }}.pdf", "é…", "out/7-é….pdf", "out/"),
            ("{{ id }}", "con", "con", ""),
            ("/data/x{{ id }}", ".5", "/data/x.5", "/data/"),
            ("out/{{ id }}/{{ n }}.bin", "a..b", "out/a..b/7.bin", "out/"),
            ("out/.{{ id }}", "a", "out/.a", "out/"),
            ("out/{{ id | replace('/', '_') }}", "a/b", "out/a_b", "out/"),
            ("out/{{ id | safe }}", "2026/11/a", "out/2026/11/a", "out/"),
            ("../{{ id }}", "a", "../a", "../"),
            ("out.pdf", "a", "out.pdf", ""),
        ] {
            let expected = RowPath { path: expected.to_owned(), folder: folder.to_owned() };
            assert_eq!(path(template, id), Ok(expected), "{template} {id}");
        }
    }

    #[test]
    fn what_is_no_part_of_a_name_is_told_with_its_field() {
        let long = "x".repeat(252);
        for (template, id, why) in [
            (
                "out/{{ id }}.pdf",
                "../x",
                "the field \"id\" is \"../x\": the name of a file can't contain '/'",
            ),
            ("out/{{ id }}.pdf", "a\\b", "can't contain '\\\\'"),
            ("out/{{ id }}.pdf", "a\0b", "can't contain '\\0'"),
            ("out/{{ id }}.pdf", "", "the field \"id\" is \"\": the value is empty"),
            ("out/{{ id }}", "..", "is the name of a folder"),
            ("out/{{ id }}/x", ".", "is the name of a folder"),
            ("out/{{ id }}", ".hidden", "begins with a dot that is the row's"),
            ("out/.{{ id }}", "throng-1", "are throng's own"),
            ("out/{{ id }}.pdf", &long, "has 256 bytes"),
            ("out/{{ id | safe }}", "../x", "can't lead out of"),
            ("{{ id | safe }}", "/etc/x", "can't lead out of"),
            ("out/{{ id | safe }}", "a//b", "a name in it is empty"),
            ("out/{{ ID }}", "a", "the row has no field \"ID\""),
            ("out/", "a", "names no file"),
            ("out/{{ secret.x }}", "a", "would write a secret into the name"),
        ] {
            let error = path(template, id).unwrap_err();
            assert!(error.contains(why), "{template} {id}: {error}");
        }
    }
}
