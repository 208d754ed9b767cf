//! An output that was checked and could be opened.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::open_mode::OpenMode;
use crate::error::Error;
use crate::format::Format;
use crate::sink::product::Product;
use crate::sink::resume::ResumeState;
use crate::sink::sidecar::Sidecar;

/// An output that could be opened: its format, and the records that it has already.
#[derive(Debug, Clone)]
pub(super) struct CheckedOutput {
    pub mode: OpenMode,
    pub format: Format,
    pub past: ResumeState,
    /// The sidecar of the records that stay, if there is one.
    pub before: Option<Sidecar>,
    /// The product of the file that grows, if that file is not the output itself.
    pub product: Option<Arc<dyn Product>>,
}

impl CheckedOutput {
    /// The file that the user named, if there is one.
    pub fn results(&self) -> Option<&Path> {
        match &self.product {
            Some(product) => Some(product.path()),
            None => self.mode.path(),
        }
    }
}

/// Checks that a file could be made at this path.
pub(super) fn can_make(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(Error::plan(format!(
            "the output {} cannot be made: there is no directory {}",
            path.display(),
            directory.display()
        )));
    }
    // A file without a name: it proves that one can be made, and is never seen.
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        // The error's own text would name that file.
        Err(error) => Err(refused(path, &error.kind())),
    }
}

/// Why an output can't be used.
pub(super) fn refused(path: &Path, error: &dyn Display) -> Error {
    let name = path.display();
    Error::plan(format!("the output {name} cannot be used: {error}"))
}
