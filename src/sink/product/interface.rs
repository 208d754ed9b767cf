//! What all products have in common.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::journal_mirror::JournalMirror;
use crate::error::Error;
use crate::format::Columns;
use crate::fs::sync_directory;
use crate::sink::sidecar::place::beside;

/// A file or directory that is made of a journal.
pub(crate) trait Product: Debug + Send + Sync {
    /// The path that the user named.
    fn path(&self) -> &Path;

    /// The records that it has, as the lines of its journal.
    fn text(&self) -> Result<Box<dyn BufRead>, Error>;

    /// Makes it of its journal, or adds the journal to it.
    fn make(&self) -> Result<(), Error>;

    /// The text that grows while the run goes on.
    fn journal(&self) -> PathBuf {
        beside(self.path(), ".journal")
    }

    /// The number of records with which the journal is added to it and begins anew; none
    /// if it is made when the run is complete.
    fn part_size(&self) -> Option<u64> {
        None
    }

    /// Why it can't have these columns, if it can't.
    fn flaw(&self, _columns: &Columns) -> Option<String> {
        None
    }

    /// Opens it to grow with its journal, if it does; with the columns that identify a
    /// record, and whether it begins anew.
    fn mirror(&self, _key: &[&str], _begins_anew: bool) -> Result<Option<JournalMirror>, Error> {
        Ok(None)
    }
}

/// Puts the journal back that the product was made of.
pub(crate) fn unpack(product: &dyn Product) -> io::Result<()> {
    let journal = product.journal();
    let new = beside(&journal, ".new");
    let mut text = product.text().map_err(io::Error::other)?;
    let mut file = File::create(&new)?;
    io::copy(&mut text, &mut file)?;
    file.sync_data()?;
    fs::rename(new, &journal)?;
    sync_directory(&journal)
}

/// Makes the product of its journal, which has no more use then.
pub(crate) fn complete(product: &dyn Product) -> Result<(), Error> {
    product.make()?;
    fs::remove_file(product.journal()).map_err(|error| wrong(product, &error.to_string()))
}

/// Why a product can't be made.
pub(super) fn wrong(product: &dyn Product, why: &str) -> Error {
    Error::stopped(format!(
        "{} cannot be made of {}: {why}",
        product.path().display(),
        product.journal().display()
    ))
}
