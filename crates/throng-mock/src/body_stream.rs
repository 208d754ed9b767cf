//! Long bodies, generated while they are sent.

use std::io::{self, Write};
use std::iter::once;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::reply::BodyPieces;

/// Uncompressed bytes in one block.
const BLOCK: u64 = 1 << 16;

/// A block of the string.
static LETTERS: [u8; BLOCK as usize] = [b'a'; BLOCK as usize];

/// Number of blocks that are compressed at once, about a millisecond's work.
const BLOCKS_AT_ONCE: usize = 8;

/// A JSON string of `n` bytes with its quotes (at least 2), uncompressed.
pub(crate) fn uncompressed(n: u64) -> BodyPieces {
    BodyPieces::new(Some(n.max(2)), blocks(n))
}

/// A compressed JSON string of `n` bytes; none if the encoding is unknown.
pub(crate) fn compressed(n: u64, encoding: &str) -> Option<BodyPieces> {
    compress(blocks(n), encoding)
}

/// The file with this name and size, uncompressed.
pub(crate) fn file(name: &str, size: u64) -> BodyPieces {
    BodyPieces::new(Some(size), file_blocks(name, size))
}

/// The file with this name and size, compressed; none if the encoding is unknown.
pub(crate) fn compressed_file(name: &str, size: u64, encoding: &str) -> Option<BodyPieces> {
    compress(file_blocks(name, size), encoding)
}

fn compress(
    uncompressed: impl Iterator<Item = Bytes> + Send + 'static,
    encoding: &str,
) -> Option<BodyPieces> {
    let sink = EncoderSink::default();
    let encoder = encoder(encoding, sink.clone())?;
    Some(BodyPieces::new(None, CompressedBody { uncompressed, encoder: Some(encoder), sink }))
}

/// The bytes of a file by its name: no two files of more than a few bytes are the same, and
/// most are no text.
fn file_blocks(name: &str, size: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..size.div_ceil(BLOCK)).map(move |block| {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        let mut state = seed.wrapping_add(block) | 1;
        while bytes.len() < BLOCK as usize {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate((size - block * BLOCK).min(BLOCK) as usize);
        Bytes::from(bytes)
    })
}

/// The bytes of the file that `/file/{name}?size=` serves.
///
/// ```
/// assert_eq!(throng_mock::file("a", 3).len(), 3);
/// assert_ne!(throng_mock::file("a", 99), throng_mock::file("b", 99));
/// ```
#[must_use]
pub fn file_bytes(name: &str, size: u64) -> Vec<u8> {
    file_blocks(name, size).flatten().collect()
}

fn blocks(n: u64) -> impl Iterator<Item = Bytes> + Send {
    let letters = n.saturating_sub(2);
    let rest = (letters % BLOCK) as usize;
    let quote = || once(Bytes::from_static(b"\""));
    let full = (0..letters / BLOCK).map(|_| Bytes::from_static(&LETTERS));
    let rest = once(Bytes::from_static(&LETTERS[..rest]));
    quote().chain(full).chain(rest).chain(quote())
}

/// An encoder that writes its end when it is dropped.
fn encoder(name: &str, sink: EncoderSink) -> Option<Box<dyn Write + Send>> {
    let level = flate2::Compression::fast();
    Some(match name {
        "gzip" => Box::new(flate2::write::GzEncoder::new(sink, level)),
        "deflate" => Box::new(flate2::write::ZlibEncoder::new(sink, level)),
        "br" => Box::new(brotli::CompressorWriter::new(sink, 1 << 16, 1, 20)),
        "zstd" => Box::new(zstd::Encoder::new(sink, 1).ok()?.auto_finish()),
        _ => return None,
    })
}

/// A body that is compressed block by block.
struct CompressedBody<I> {
    uncompressed: I,
    encoder: Option<Box<dyn Write + Send>>,
    sink: EncoderSink,
}

impl<I: Iterator<Item = Bytes>> Iterator for CompressedBody<I> {
    type Item = Bytes;

    /// Often empty, because equal letters compress to almost nothing.
    fn next(&mut self) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        let mut uncompressed = self.uncompressed.by_ref().take(BLOCKS_AT_ONCE).peekable();
        let over = uncompressed.peek().is_none();
        let written = uncompressed.try_for_each(|block| encoder.write_all(&block));
        if over || written.is_err() {
            self.encoder = None;
        }
        Some(self.sink.take())
    }
}

/// The buffer that an encoder writes and [`CompressedBody`] reads.
#[derive(Clone, Default)]
struct EncoderSink(Arc<Mutex<Vec<u8>>>);

impl EncoderSink {
    fn take(&self) -> Bytes {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Bytes::from(std::mem::take(&mut *bytes))
    }
}

impl Write for EncoderSink {
    fn write(&mut self, new: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(new);
        Ok(new.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_string_has_its_length() {
        for n in [2, 3, BLOCK + 1, BLOCK + 2, BLOCK + 3, 5 * BLOCK] {
            let all: Vec<u8> = blocks(n).flatten().collect();
            assert_eq!(all.len() as u64, n);
            let text: String = serde_json::from_slice(&all).unwrap();
            assert!(text.bytes().all(|byte| byte == b'a'));
        }
        let least: Vec<u8> = blocks(0).flatten().collect();
        assert_eq!(least, b"\"\"");
    }
}
