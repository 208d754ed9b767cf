//! A file that a row names. Does I/O: files.

use std::path::{Component, Path, PathBuf};

use super::escape_context::EscapeContext;
use super::template::{Template, TemplateScope, Templates};

/// Maximum size of a file in bytes: it is held in memory once for each request in flight.
const MAX_SIZE: u64 = 256 * 1024 * 1024;

/// The path of a file, with values of the row in it.
#[derive(Debug)]
pub struct RowFile {
    path: Template,
    /// The folder that the job writes out: the file must be below it.
    folder: String,
    varies: bool,
}

impl RowFile {
    /// Compiles the path, whose values stand in this context.
    pub fn new(
        templates: &mut Templates,
        context: EscapeContext,
        path: &str,
    ) -> Result<RowFile, String> {
        let tags = [path.find("{{"), path.find("{%")];
        let start = tags.into_iter().flatten().min().unwrap_or(path.len());
        let folder = path[..start].rfind('/').map_or(0, |slash| slash + 1);
        Ok(RowFile {
            path: templates.add(context, path)?,
            folder: path[..folder].to_owned(),
            varies: start < path.len(),
        })
    }

    /// The folder that the job writes out, up to its last slash; empty for the working
    /// directory.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Whether the path depends on the row.
    pub fn varies(&self) -> bool {
        self.varies
    }

    /// The template of the path.
    pub fn template(&self) -> Template {
        self.path
    }

    /// The path of the row's file.
    pub fn path(&self, scope: &TemplateScope<'_>) -> Result<String, String> {
        let path = scope.render(self.path)?;
        let inside = path.strip_prefix(&self.folder).map(Path::new);
        let stays = inside.is_some_and(|path| path.components().all(|part| is_below(&part)));
        if !self.varies || stays { Ok(path) } else { Err(self.elsewhere(&path)) }
    }

    /// The contents of the row's file.
    pub fn read(&self, scope: &TemplateScope<'_>) -> Result<Vec<u8>, String> {
        let path = self.path(scope)?;
        let unread = |error: std::io::Error| format!("the file {path:?} can't be read: {error}");
        let real = self.real(&path).map_err(unread)?;
        let real = real.ok_or_else(|| self.elsewhere(&path))?;
        let metadata = std::fs::metadata(&real).map_err(unread)?;
        if metadata.len() > MAX_SIZE || !metadata.is_file() {
            Err(format!("{path:?} is not a file of at most 256 MiB"))
        } else {
            std::fs::read(&real).map_err(unread)
        }
    }

    /// The file of a path with all links followed; none if it is outside of the folder
    /// and the path holds a value of the row.
    fn real(&self, path: &str) -> std::io::Result<Option<PathBuf>> {
        let real = std::fs::canonicalize(path)?;
        if !self.varies {
            return Ok(Some(real));
        }
        let folder = match self.folder.as_str() {
            "" => ".",
            folder => folder,
        };
        let folder = std::fs::canonicalize(folder)?;
        Ok(Some(real).filter(|real| real.starts_with(&folder)))
    }

    fn elsewhere(&self, path: &str) -> String {
        format!(
            "the file {path:?} is not below {}: a row's value can't lead out of the folder that the job names",
            match self.folder.as_str() {
                "" => "the working directory",
                folder => folder,
            }
        )
    }
}

fn is_below(part: &Component<'_>) -> bool {
    matches!(part, Component::Normal(_) | Component::CurDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, x: &str) -> Result<String, String> {
        let mut templates = Templates::new();
        let file = RowFile::new(&mut templates, EscapeContext::Text, template)?;
        let row = serde_json::json!({ "x": x });
        file.path(&templates.scope(row.as_object().unwrap()))
    }

    #[test]
    fn a_row_can_not_name_a_file_outside_of_the_folder() {
        assert_eq!(path("a/{{ x }}.png", "b/c").unwrap(), "a/b/c.png");
        assert_eq!(path("/data/{{ x }}", "c").unwrap(), "/data/c");
        assert_eq!(path("../up.json", "").unwrap(), "../up.json");
        for (template, x) in [
            ("{{ x }}", "/etc/passwd"),
            ("{{ x }}", "../c"),
            ("a/{{ x }}", "b/../../c"),
            ("a/{{ x }}", "/etc/passwd"),
            ("a/b{{ x }}", "/../../c"),
            ("{% if x %}a/{% endif %}{{ x }}", "../../c"),
        ] {
            let error = path(template, x).unwrap_err();
            assert!(error.contains("can't lead out of"), "{template} {x}: {error}");
        }
    }
}
