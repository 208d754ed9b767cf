//! A table that is made when the run is complete.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::interface::Product;
use super::lines::{as_lines, source};
use crate::convert;
use crate::error::Error;
use crate::format::Format;
use crate::fs::placed;

#[derive(Debug)]
pub(super) struct TableProduct {
    pub path: PathBuf,
    pub format: Format,
}

impl Product for TableProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        Ok(as_lines(source(&self.path, self.format)?.rows()?))
    }

    fn make(&self) -> Result<(), Error> {
        placed(&self.path, |new| {
            let journal = source(&self.journal(), Format::JSONL)?;
            convert::write(&journal, self.format, new).map(drop)
        })
    }
}
