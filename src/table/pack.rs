//! Texts that are compressed, or not, as the name of their file says. [door: files]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::source::Packing;

/// Bytes on their way to a file.
pub(super) enum PackedWriter {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

/// A new file, packed as its name says.
pub(super) fn writer(path: &Path) -> Result<PackedWriter, String> {
    let open = || -> io::Result<PackedWriter> {
        let file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        Ok(match Packing::of(path) {
            (None, _) => PackedWriter::Plain(file),
            (Some(Packing::Gzip), _) => {
                PackedWriter::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
            }
            (Some(Packing::Zstd), _) => PackedWriter::Zstd(zstd::Encoder::new(file, 0)?),
        })
    };
    open().map_err(|error| error.to_string())
}

/// Packs a text into a new file, and waits until it is on the disk.
pub(crate) fn pack(text: &Path, path: &Path) -> Result<(), String> {
    let mut packed = writer(path)?;
    let copied = File::open(text).and_then(|mut text| io::copy(&mut text, packed.inner()));
    copied.map_err(|error| error.to_string())?;
    packed.end()?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| error.to_string())
}

impl PackedWriter {
    fn inner(&mut self) -> &mut dyn Write {
        match self {
            PackedWriter::Plain(file) => file,
            PackedWriter::Gzip(file) => file,
            PackedWriter::Zstd(file) => file,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.inner().write_all(bytes);
        written.map_err(|error| error.to_string())
    }

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
