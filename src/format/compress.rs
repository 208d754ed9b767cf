//! Compressed texts: `.gz` and `.zst` at the end of a name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::zstandard;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Packing {
    /// The one that the last extension stands for, and the name without the extension.
    pub fn of(path: &Path) -> (Option<Packing>, PathBuf) {
        let packing = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Packing::Gzip,
            Some("zst") => Packing::Zstd,
            _ => return (None, path.to_owned()),
        };
        (Some(packing), path.with_extension(""))
    }

    /// The one that bytes with this beginning have.
    pub fn of_start(start: &[u8]) -> Option<Packing> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// Why this build lacks it, if it does.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Packing::Gzip => None,
            Packing::Zstd => zstandard::MISSING,
        }
    }

    /// The text that is compressed in these bytes.
    pub fn unpack(self, packed: Box<dyn BufRead + Send>) -> io::Result<Box<dyn BufRead + Send>> {
        Ok(match self {
            Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(packed))),
            Packing::Zstd => Box::new(BufReader::new(zstandard::decoder(packed)?)),
        })
    }
}

/// Bytes on their way to a file.
pub(crate) enum PackedWriter {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Zstd(zstandard::Encoder),
}

/// Compresses a text into a new file, and waits until it is on the disk.
pub(crate) fn pack(text: &Path, path: &Path) -> Result<(), String> {
    let mut packed = PackedWriter::new(path)?;
    let copied = File::open(text).and_then(|mut text| io::copy(&mut text, packed.inner()));
    copied.map_err(|error| error.to_string())?;
    packed.end()?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| error.to_string())
}

impl PackedWriter {
    /// A new file, compressed if its name says so.
    pub fn new(path: &Path) -> Result<PackedWriter, String> {
        let open = || -> io::Result<PackedWriter> {
            let file = BufWriter::with_capacity(1 << 16, File::create(path)?);
            Ok(match Packing::of(path) {
                (None, _) => PackedWriter::Plain(file),
                (Some(Packing::Gzip), _) => {
                    PackedWriter::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
                }
                (Some(Packing::Zstd), _) => PackedWriter::Zstd(zstandard::encoder(file)?),
            })
        };
        open().map_err(|error| error.to_string())
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            PackedWriter::Plain(file) => file,
            PackedWriter::Gzip(file) => file,
            PackedWriter::Zstd(file) => file,
        }
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.inner().write_all(bytes);
        written.map_err(|error| error.to_string())
    }

    /// Writes what is left.
    pub fn end(self) -> Result<(), String> {
        let ended = match self {
            PackedWriter::Plain(file) => Ok(file),
            PackedWriter::Gzip(file) => file.finish(),
            PackedWriter::Zstd(file) => file.finish(),
        };
        let flushed = ended.and_then(|mut file| file.flush());
        flushed.map_err(|error| error.to_string())
    }
}
