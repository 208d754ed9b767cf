//! Reads and decompresses the body of an answer.

use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding_rs::Encoding;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};

use super::deadline::Deadline;
use super::{Delivery, SendError, faults};
use crate::record::FailureKind;
use crate::zstandard;

/// Maximum number of nested encodings: a body that decodes to itself costs almost
/// nothing to send, and could name thousands.
const MOST_ENCODINGS: usize = 4;

/// The first bytes of gzip, with the one method that it has.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Reads a body to its end, or to `cap` bytes; `None` if the deadline passes first, or `idle`
/// without a part of it.
pub async fn read(
    mut incoming: Incoming,
    cap: u64,
    deadline: &mut Deadline<'_>,
    idle: Option<Duration>,
) -> Option<Result<Bytes, SendError>> {
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    while let Some(frame) = part(&mut incoming, deadline, idle).await? {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Some(Err(faults::of_body(&error))),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (whole.len() + parts.len() + data.len()) as u64 > cap {
            return Some(Err(too_large(cap)));
        }
        // Most bodies come in one piece, which needs no copy.
        if whole.is_empty() && parts.is_empty() {
            whole = data
        } else {
            parts.extend_from_slice(&std::mem::take(&mut whole));
            parts.extend_from_slice(&data);
        }
    }
    Some(Ok(if parts.is_empty() { whole } else { parts.freeze() }))
}

/// The next part of a body.
async fn part(
    incoming: &mut Incoming,
    deadline: &mut Deadline<'_>,
    idle: Option<Duration>,
) -> Option<Option<hyper::Result<Frame<Bytes>>>> {
    if let Some(idle) = idle {
        deadline.begin_part(idle);
    }
    deadline.keep(pin!(incoming.frame())).await
}

/// Undoes the encodings that `content-encoding` names, the last one first. The decoded
/// body has at most `cap` bytes.
///
/// # Errors
/// `bad encoding` for a body that cannot be decoded, and `body too large`.
pub fn decode(body: Bytes, headers: &HeaderMap, cap: u64) -> Result<Bytes, SendError> {
    let Some(encodings) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    let encodings = String::from_utf8_lossy(encodings.as_bytes()).to_ascii_lowercase();
    let count = encodings.split(',').count();
    if count > MOST_ENCODINGS {
        return Err(SendError {
            kind: FailureKind::BadEncoding,
            detail: format!("{count} nested encodings: more than {MOST_ENCODINGS}"),
            delivery: Delivery::Final,
        });
    }
    encodings
        .split(',')
        .rev()
        .map(str::trim)
        .try_fold(body, |body, encoding| decode_one(body, encoding, cap))
}

fn decode_one(body: Bytes, encoding: &str, cap: u64) -> Result<Bytes, SendError> {
    if body.is_empty() {
        return Ok(body);
    }
    match encoding {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => read_all(flate2::read::MultiGzDecoder::new(&body[..]), cap),
        "br" => read_all(brotli_decompressor::Decompressor::new(&body[..], 4_096), cap),
        "zstd" => zstandard::decoder(&body[..])
            .map_err(|error| malformed(&error))
            .and_then(|decoder| read_all(decoder, cap)),
        // The standard specifies zlib; some servers send a bare deflate stream.
        "deflate" => match read_all(flate2::read::ZlibDecoder::new(&body[..]), cap) {
            Err(trouble) if trouble.kind == FailureKind::BadEncoding => {
                read_all(flate2::read::DeflateDecoder::new(&body[..]), cap)
            }
            decoded => decoded,
        },
        unknown if is_no_encoding(unknown) => Ok(body),
        unknown => Err(SendError {
            kind: FailureKind::BadEncoding,
            detail: format!(
                "the server encoded its answer as {unknown:?}, which it was not asked for"
            ),
            delivery: Delivery::Final,
        }),
    }
}

/// The content of a body that begins as gzip does, although its head doesn't say so; or the
/// body itself if it is none.
///
/// # Errors
/// `body too large`.
pub fn unzip(body: Bytes, cap: u64) -> Result<Bytes, SendError> {
    if !body.starts_with(&GZIP) {
        return Ok(body);
    }
    match decode_one(body.clone(), "gzip", cap) {
        Err(error) if error.kind == FailureKind::BadEncoding => Ok(body),
        decoded => decoded,
    }
}

/// Whether servers write this in the place of an encoding although the body has none: the name
/// of a charset, a type, or a way to transfer.
fn is_no_encoding(name: &str) -> bool {
    let known = ["none", "null", "binary", "7bit", "8bit", "text", "plain", "aws-chunked"];
    known.contains(&name) || name.contains('/') || Encoding::for_label(name.as_bytes()).is_some()
}

fn read_all(decoder: impl Read, cap: u64) -> Result<Bytes, SendError> {
    let mut bytes = Vec::new();
    decoder.take(cap + 1).read_to_end(&mut bytes).map_err(|error| malformed(&error))?;
    if bytes.len() as u64 > cap { Err(too_large(cap)) } else { Ok(bytes.into()) }
}

fn malformed(error: &io::Error) -> SendError {
    SendError {
        kind: FailureKind::BadEncoding,
        detail: format!("the answer's body can't be decompressed: {error}"),
        delivery: Delivery::Final,
    }
}

fn too_large(cap: u64) -> SendError {
    SendError {
        kind: FailureKind::BodyTooLarge,
        detail: format!("more than {} (send.max-body or --max-body)", bytesize::ByteSize(cap)),
        delivery: Delivery::Final,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decoded(body: Vec<u8>, encoding: &str, cap: u64) -> Result<String, FailureKind> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())]);
        decode(body.into(), &headers, cap)
            .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
            .map_err(|trouble| trouble.kind)
    }

    fn raw_deflate(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn encodings_are_undone_in_order() {
        let twice = zstd::encode_all(&gzip("hello")[..], 0).unwrap();
        assert_eq!(decoded(twice, "gzip, zstd", 100).unwrap(), "hello");
        assert_eq!(decoded(raw_deflate("hello"), "Deflate", 100).unwrap(), "hello");
        assert_eq!(decoded(b"hello".to_vec(), "identity", 100).unwrap(), "hello");
        assert_eq!(decoded(Vec::new(), "gzip", 100).unwrap(), "");
    }

    #[test]
    fn encodings_are_not_undone_without_end() {
        let named = |count: usize| vec!["identity"; count].join(", ");
        assert_eq!(decoded(b"a".to_vec(), &named(4), 10), Ok("a".into()));
        let many = decoded(b"a".to_vec(), &named(5), 10);
        assert_eq!(many, Err(FailureKind::BadEncoding));
    }

    #[test]
    fn a_charset_is_no_encoding() {
        for name in ["UTF-8", "iso-8859-1", "none", "binary", "application/json", "aws-chunked"] {
            assert_eq!(decoded(b"a".to_vec(), name, 10), Ok("a".into()), "{name}");
        }
        assert_eq!(decoded(gzip("hello"), "aws-chunked, gzip", 100), Ok("hello".into()));
    }

    #[test]
    fn gzip_is_undone_without_a_header() {
        let plain = |body: Vec<u8>, cap| unzip(body.into(), cap);
        assert_eq!(plain(gzip("hello"), 100).unwrap(), "hello");
        let cut = gzip("hello")[..12].to_vec();
        assert_eq!(plain(cut.clone(), 100).unwrap(), cut);
        let bomb = plain(gzip(&"0".repeat(1_000_000)), 10_000).unwrap_err();
        assert_eq!(bomb.kind, FailureKind::BodyTooLarge);
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = gzip(&"0".repeat(1_000_000));
        assert!(bomb.len() < 2_000);
        assert_eq!(decoded(bomb, "gzip", 10_000), Err(FailureKind::BodyTooLarge));
    }

    #[test]
    fn nonsense_is_no_answer() {
        assert_eq!(decoded(b"hello".to_vec(), "gzip", 100), Err(FailureKind::BadEncoding));
        assert_eq!(decoded(b"hello".to_vec(), "deflate", 100), Err(FailureKind::BadEncoding));
        assert_eq!(decoded(b"hello".to_vec(), "rot13", 100), Err(FailureKind::BadEncoding));
    }
}
