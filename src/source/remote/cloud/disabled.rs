//! Stands for the object stores of clouds in a build without the feature `object-store`.

use std::sync::Arc;

use url::Url;

use super::object::RemoteObject;

/// # Errors
/// That this build has none.
pub fn object(url: &Url) -> Result<Arc<dyn RemoteObject>, String> {
    let scheme = url.scheme();
    let known = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss"];
    Err(if known.contains(&scheme) {
        format!("this build has no object stores ({scheme}://): build with --features object-store")
    } else {
        format!("{scheme}:// is not read: http://, https:// and files are")
    })
}
