//! Stands for OpenAPI descriptions in a build without the feature `openapi`.

use crate::curl::Translated;
use crate::error::Error;

/// Refuses every description.
///
/// # Errors
/// Always: the error names the feature that the build lacks.
pub fn translate(_text: &str, _operation: &str) -> Result<Translated, Error> {
    Err(Error::plan("this build has no OpenAPI descriptions: build with --features openapi"))
}
