//! Files that a run writes besides its records, which must replace no other file of it.

use std::path::Path;

use crate::Error;
use crate::plan::check_apart;

/// The extensions of the files beside the records.
const BESIDE: [&str; 5] = [".throng", ".journal", ".intents", ".spent", ".torn"];

/// Checks before the run that a file about it can be written and replaces no other file.
///
/// # Errors
/// It is another file of the run, or its directory does not exist.
pub fn check(
    what: &str,
    flag: &str,
    path: Option<&str>,
    input: Option<&str>,
    records: Option<&str>,
) -> Result<(), Error> {
    let Some(path) = path else {
        return Ok(());
    };
    check_apart(what, Some(path), "the input", input)?;
    check_apart(what, Some(path), "the records", records)?;
    for end in BESIDE {
        let beside = records.map(|records| format!("{}{end}", records.trim_end_matches('/')));
        let name = format!("the records' {end} file");
        check_apart(what, Some(path), &name, beside.as_deref())?;
    }
    let directory = Path::new(path).parent().filter(|parent| *parent != Path::new(""));
    if directory.is_none_or(Path::is_dir) {
        Ok(())
    } else {
        Err(Error::plan(format!(
            "{what} can't be written to {path} ({flag}): there is no such directory"
        )))
    }
}
