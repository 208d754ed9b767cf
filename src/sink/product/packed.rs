//! A text that is compressed when the run is complete.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::interface::{Product, wrong};
use crate::error::Error;
use crate::format::compress::{Packing, pack};
use crate::fs::placed;

#[derive(Debug)]
pub(super) struct PackedProduct {
    pub path: PathBuf,
    pub packing: Packing,
}

impl Product for PackedProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        let file = File::open(&self.path).map(|file| Box::new(BufReader::new(file)));
        let text = file.and_then(|file| self.packing.unpack(file));
        text.map(|text| text as Box<dyn BufRead>).map_err(|error| {
            Error::plan(format!("{} cannot be read: {error}", self.path.display()))
        })
    }

    fn make(&self) -> Result<(), Error> {
        let packed = |new: &Path| pack(&self.journal(), new).map_err(|why| wrong(self, &why));
        placed(&self.path, packed)
    }
}
