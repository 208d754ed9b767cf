//! Zstandard: compressed files, and compressed answers.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read};

/// Why this build can't read and write it; none, since it can.
pub(crate) const MISSING: Option<&str> = None;

/// Compresses what is written into a file.
pub(crate) type Encoder = zstd::Encoder<'static, BufWriter<File>>;

/// An encoder with the default level.
pub(crate) fn encoder(file: BufWriter<File>) -> io::Result<Encoder> {
    zstd::Encoder::new(file, 0)
}

/// The bytes that are compressed in these.
pub(crate) fn decoder<R: BufRead>(packed: R) -> io::Result<impl Read + use<R>> {
    zstd::Decoder::with_buffer(packed)
}

/// These bytes, compressed.
pub(crate) fn pack(plain: &[u8]) -> io::Result<Option<Vec<u8>>> {
    zstd::bulk::compress(plain, 0).map(Some)
}

/// The bytes that [`pack`] has compressed.
pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    zstd::decode_all(packed)
}
