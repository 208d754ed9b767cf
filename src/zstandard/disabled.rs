//! Stands for Zstandard in a build without the feature `zstd`.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write};

const WHY: &str = "this build has no Zstandard: build with --features zstd";

/// Why this build can't read and write it.
pub(crate) const MISSING: Option<&str> = Some(WHY);

/// An encoder that can't be made.
pub(crate) enum Encoder {}

pub(crate) fn encoder(_file: BufWriter<File>) -> io::Result<Encoder> {
    Err(io::Error::other(WHY))
}

pub(crate) fn decoder<R: BufRead>(_packed: R) -> io::Result<impl Read + use<R>> {
    Err::<io::Take<R>, _>(io::Error::other(WHY))
}

/// None: this build compresses nothing.
pub(crate) fn pack(_plain: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Ok(None)
}

pub(crate) fn unpack(_packed: &[u8]) -> io::Result<Vec<u8>> {
    Err(io::Error::other(WHY))
}

impl Encoder {
    pub(crate) fn finish(self) -> io::Result<BufWriter<File>> {
        match self {}
    }
}

impl Write for Encoder {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
