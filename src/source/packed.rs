//! Compressed texts: `.gz` and `.zst` at the end of a name. [door: files]

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Packing {
    /// What the last extension says, and the name without it.
    #[must_use]
    pub fn of(path: &Path) -> (Option<Packing>, PathBuf) {
        let packing = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Packing::Gzip,
            Some("zst") => Packing::Zstd,
            _ => return (None, path.to_owned()),
        };
        (Some(packing), path.with_extension(""))
    }

    /// The text that was packed.
    pub(crate) fn unpack(
        self,
        packed: Box<dyn BufRead + Send>,
    ) -> io::Result<Box<dyn BufRead + Send>> {
        Ok(match self {
            Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(packed))),
            Packing::Zstd => Box::new(BufReader::new(zstd::Decoder::with_buffer(packed)?)),
        })
    }
}
