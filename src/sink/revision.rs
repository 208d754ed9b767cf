//! Other records in the place of those of a results file, which no run writes meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parts::{self, Parts};
use super::product::{self, Product, complete, source, unpack};
use super::sidecar::{self, Sidecar, SidecarLock, fingerprint};
use crate::convert;
use crate::error::Error;
use crate::extract;
use crate::format::Format;
use crate::fs::{file_lock, placed, real};
use crate::source::Rows;

/// Number of records of a part that is made anew.
const PART_SIZE: u64 = 100_000;

/// A results file whose records are to be replaced.
pub(crate) struct Revision {
    results: PathBuf,
    held: SidecarLock,
    /// The sidecar as it was; none if there was none.
    before: Option<Sidecar>,
    /// The text that has the records, and its format.
    text: PathBuf,
    format: Format,
    product: Option<Arc<dyn Product>>,
    /// Whether the product was finished, so that it is made again.
    is_finished: bool,
    /// Takes the journal away again, if there was none and nothing is replaced.
    unpacked: Option<UnpackedJournal>,
}

/// The journal of a finished product, which stays as it is unless its records are replaced.
struct UnpackedJournal {
    path: PathBuf,
    is_replaced: bool,
}

impl Drop for UnpackedJournal {
    fn drop(&mut self) {
        if !self.is_replaced {
            // One that stays can be resumed like any other.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Revision {
    /// Opens a results file, finished or not. A file that is no text that grows is put back
    /// into its journal.
    ///
    /// # Errors
    /// It can't be read, or a run writes it.
    pub fn open(path: &Path) -> Result<Revision, Error> {
        let results = real(path);
        let wrong = |why: &dyn std::fmt::Display| {
            Error::plan(format!("{} cannot be changed: {why}", path.display()))
        };
        let (format, product): (Format, Option<Arc<dyn Product>>) = if results.is_dir() {
            let directory = results.components().as_path().to_owned();
            (Format::PARQUET, Some(Arc::new(Parts { directory, size: PART_SIZE })))
        } else {
            let format = Format::of_output(&results).ok_or_else(|| {
                wrong(&"its name does not say its format; throng convert gives it another name")
            })?;
            format.check_written(&results)?;
            (format, product::of(&results, format, None))
        };
        let before = sidecar::read(&results);
        let held = SidecarLock::take(&results).map_err(|error| wrong(&error))?;
        let text = product.as_ref().map_or_else(|| results.clone(), |product| product.journal());
        let mut is_finished = false;
        let mut unpacked = None;
        if let Some(product) = &product {
            let has_journal = text.exists();
            let has_parts = results.is_dir();
            is_finished = if has_parts {
                before.as_ref().is_none_or(|before| before.complete)
            } else {
                !has_journal
            };
            if has_parts || !has_journal {
                unpack(&**product).map_err(|error| wrong(&error))?;
            }
            unpacked =
                (!has_journal).then(|| UnpackedJournal { path: text.clone(), is_replaced: false });
        }
        if !text.exists() {
            return Err(wrong(&"there is no such file"));
        }
        let format = if format.is_appended() { format } else { Format::JSONL };
        Ok(Revision { results, held, before, text, format, product, is_finished, unpacked })
    }

    /// The records as they are.
    pub fn rows(&self) -> Result<Rows, Error> {
        source(&self.text, self.format)?.rows()
    }

    /// The names of the values, as far as the sidecar tells.
    pub fn values(&self) -> Vec<String> {
        self.before.as_ref().map_or_else(Vec::new, |before| before.identity.values.clone())
    }

    /// Whether a record has the values of several answers, of which it keeps one at most.
    pub fn joins_pages(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.identity.joins_pages)
    }

    /// Puts what is made of the records in their place, with values of these names.
    /// If `extract` is all that a job extracts, the records are those of such a job.
    pub fn replace(
        mut self,
        renew: &dyn Fn(Rows) -> Rows,
        values: Vec<String>,
        extract: Option<&extract::Settings>,
    ) -> Result<(), Error> {
        // A run that looks only at this file must not write it meanwhile.
        let _locked = file_lock::take_to_append(&self.text).map_err(|error| self.wrong(&error))?;
        let rows = || Ok(renew(self.rows()?));
        placed(&self.text, |new| convert::write_rows(&rows, self.format, new))?;
        if let Some(unpacked) = &mut self.unpacked {
            unpacked.is_replaced = true;
        }
        self.make_product()?;
        let Some(mut says) = self.before.take() else {
            return self.held.remove().map_err(|error| wrong(&self.results, &error));
        };
        (says.synced, says.made) = (None, None);
        says.identity.values = values;
        for (name, print) in &mut says.identity.parts {
            if let Some(extract) = extract.filter(|_| name == "extract") {
                *print = fingerprint(&serde_json::json!(extract).to_string());
            }
        }
        self.held.says = says;
        self.held.write(true).map_err(|error| wrong(&self.results, &error))
    }

    fn make_product(&self) -> Result<(), Error> {
        let Some(product) = &self.product else {
            return Ok(());
        };
        let has_items = self
            .rows()?
            .next()
            .is_some_and(|row| row.is_ok_and(|row| row.fields.contains_key("_item")));
        let key: &[&str] = match (has_items, self.has_key()) {
            (true, _) => &["_row", "_item"],
            (false, false) => &["_row"],
            (false, true) => &[],
        };
        if let Some(mirror) = product.mirror(key, true)? {
            mirror.close()?;
        }
        if self.results.is_dir() {
            parts::remove(&self.results).map_err(|error| self.wrong(&error))?;
        }
        if self.is_finished { complete(&**product, 0) } else { Ok(()) }
    }

    /// Whether rows are known by a field of theirs.
    fn has_key(&self) -> bool {
        let parts = self.before.iter().flat_map(|before| &before.identity.parts);
        let mut keys = parts.filter(|(name, _)| name == "output.key");
        keys.any(|(_, print)| *print != fingerprint("null"))
    }

    fn wrong(&self, error: &io::Error) -> Error {
        wrong(&self.results, error)
    }
}

fn wrong(results: &Path, error: &io::Error) -> Error {
    Error::stopped(format!("{} cannot be changed: {error}", results.display()))
}
