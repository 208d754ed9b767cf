//! The files that are made of a journal, where the output is no text that grows.
//!
//! A [`Product`] is what the user named; its journal lies beside it until the run is
//! complete. To add one: a file here, and a line in [`of`].

use std::path::Path;
use std::sync::Arc;

use super::sidecar::place::{beside, real};
use crate::format::compress::Packing;
use crate::format::{Format, Records};

mod interface;
mod journal_mirror;
mod lines;
mod mirrored;
mod packed;
pub(super) mod parts;
mod table;

pub(super) use interface::{Product, complete, unpack};
pub(super) use journal_mirror::JournalMirror;

/// The product of an output at this path; none if the text itself is the output.
pub(super) fn of(path: &Path, format: Format) -> Option<Arc<dyn Product>> {
    let path = path.to_owned();
    match format.records() {
        Records::AtTheEnd => Some(Arc::new(table::TableProduct { path, format })),
        Records::WithJournal(mirror) => {
            Some(Arc::new(mirrored::MirroredProduct { path, format, mirror }))
        }
        Records::Appended(_) => {
            let (packing, _) = Packing::of(&path);
            packing.map(|packing| Arc::new(packed::PackedProduct { path, packing }) as _)
        }
    }
}

/// What people should know of results whose run is not complete.
#[must_use]
pub fn unfinished(results: &Path) -> Option<String> {
    let journal = beside(&real(results), ".journal");
    let name = results.display();
    journal.exists().then(|| {
        format!(
            "{name} is not complete: --resume goes on with it, and adds what is in {}",
            journal.display()
        )
    })
}
