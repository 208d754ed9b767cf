//! Whether records could go to a directory of parts.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::checked::{CheckedOutput, can_make, refused};
use super::open_mode::OpenMode;
use crate::error::Error;
use crate::format::Format;
use crate::format::parquet::parts_scan;
use crate::sink::product::Product;
use crate::sink::product::parts::{self, Parts};
use crate::sink::resume::ResumeState;
use crate::sink::resume::existing;
use crate::sink::settings::{Existing, Order, Settings};
use crate::sink::sidecar;
use crate::sink::sidecar::place::real;

/// A directory of parts of about `most` records each, and the records it has already.
pub(super) fn checked(
    directory: &Path,
    most: u64,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let format = Format::PARQUET;
    // `results/` is `results`.
    let directory = &real(directory.components().as_path());
    check_settings(directory, format, settings)?;
    format.check_written(directory)?;
    let product = Parts { directory: directory.to_owned(), size: most };
    let journal = product.journal();
    let parts = parts::of(directory)?;
    let size = journal.metadata().ok().map(|data| data.len());
    let has_records = !parts.is_empty() || size > Some(0);
    let (before, past, size) = match settings.existing() {
        Existing::Refuse if has_records => {
            return Err(existing::refuse(directory, &|| product.text(), format));
        }
        Existing::Refuse | Existing::Overwrite => (None, ResumeState::default(), None),
        _ if parts.is_empty() && size.is_none() => {
            let name = directory.display();
            return Err(Error::plan(format!(
                "there is nothing to resume: {name} has no parts; run without --resume"
            )));
        }
        _ => {
            let before = sidecar::read(directory);
            let synced = before.as_ref().and_then(|before| before.synced.as_ref());
            // Values of a key stand in any column.
            let scan = settings.key.is_none().then(|| parts_scan::text(parts));
            let text = scan.flatten().map_or_else(|| parts::text(directory), Ok)?;
            let texts = (text, parts::whole(&journal)?);
            let past = existing::of_parts(directory, texts, format, settings, synced, resends)?;
            (before, past, size.or(Some(0)))
        }
    };
    Ok(CheckedOutput {
        mode: OpenMode::Parts(product.clone(), size),
        format,
        past,
        before,
        product: Some(Arc::new(product)),
    })
}

fn check_settings(directory: &Path, format: Format, settings: &Settings) -> Result<(), Error> {
    let name = directory.display();
    if settings.format.is_some_and(|given| given != format) {
        return Err(Error::plan(
            "output.parts (--parts) are Parquet files: leave output.format (--output-format) out",
        ));
    }
    if settings.order == Order::Input {
        return Err(Error::plan(
            "output.order (--order input) needs one file, and output.parts (--parts) makes many: leave one of them out",
        ));
    }
    match directory.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => can_make(directory),
        Ok(data) if data.is_dir() => can_make(&directory.join("part")),
        Ok(_) => Err(Error::plan(format!(
            "the output {name} is a file, and output.parts (--parts) needs a directory: give another name"
        ))),
        Err(error) => Err(refused(directory, &error)),
    }
}
