//! Reads and decompresses the body of an answer.

use std::io::{self, BufRead, BufReader, Read};
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding_rs::Encoding;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};

use super::deadline::Deadline;
use super::{Delivery, SendError, faults};
use crate::record::{FailureKind, excerpt};
use crate::wording::worded;
use crate::zstandard;

/// Maximum number of nested encodings: a body that decodes to itself costs almost
/// nothing to send, and could name thousands.
const MOST_ENCODINGS: usize = 4;

/// Maximum number of characters of a body in a failure's detail.
const MAX_CHARS: usize = 80;

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

/// Passes the parts of a body on, of at most `cap` bytes in sum; `None` if the deadline passes
/// first, or `idle` without a part of it.
pub async fn receive(
    mut incoming: Incoming,
    cap: u64,
    deadline: &mut Deadline<'_>,
    idle: Option<Duration>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), SendError>,
) -> Option<Result<(), SendError>> {
    let mut received = 0;
    while let Some(frame) = part(&mut incoming, deadline, idle).await? {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Some(Err(faults::of_body(&error))),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        received += data.len() as u64;
        if received > cap {
            return Some(Err(too_large(cap)));
        }
        if let Err(error) = take(&data) {
            return Some(Err(error));
        }
    }
    Some(Ok(()))
}

/// Undoes the encodings that `content-encoding` names, the last one first. The decoded
/// body has at most `cap` bytes.
///
/// # Errors
/// `bad encoding` for a body that cannot be decoded, and `body too large`.
pub fn decode(body: Bytes, headers: &HeaderMap, cap: u64) -> Result<Bytes, SendError> {
    if body.is_empty() {
        return Ok(body);
    }
    let mut encodings = encodings(headers)?.into_iter();
    encodings.try_fold(body, |body, encoding| decode_one(body, encoding, cap))
}

/// One way in which a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentEncoding {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstandard,
    /// `deflate`: zlib, or a bare stream.
    Deflate,
}

/// The encodings that a head names, the one to be undone first at the beginning.
///
/// # Errors
/// `bad encoding` for too many, or for one that is unknown.
pub fn encodings(headers: &HeaderMap) -> Result<Vec<ContentEncoding>, SendError> {
    let Some(named) = headers.get(CONTENT_ENCODING) else {
        return Ok(Vec::new());
    };
    let named = String::from_utf8_lossy(named.as_bytes()).to_ascii_lowercase();
    let count = named.split(',').count();
    if count > MOST_ENCODINGS {
        return Err(SendError {
            kind: FailureKind::BadEncoding,
            detail: format!("{count} nested encodings: more than {MOST_ENCODINGS}"),
            delivery: Delivery::Final,
        });
    }
    let names = named.split(',').rev().map(str::trim);
    names.filter_map(|name| encoding(name).transpose()).collect()
}

/// The encoding of this name; none if the name is of none.
fn encoding(name: &str) -> Result<Option<ContentEncoding>, SendError> {
    match name {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(ContentEncoding::Gzip)),
        "br" => Ok(Some(ContentEncoding::Brotli)),
        "zstd" => Ok(Some(ContentEncoding::Zstandard)),
        "deflate" => Ok(Some(ContentEncoding::Deflate)),
        unknown if is_no_encoding(unknown) => Ok(None),
        unknown => Err(SendError {
            kind: FailureKind::BadEncoding,
            detail: format!(
                "the server encoded its answer as {unknown:?}, which it was not asked for"
            ),
            delivery: Delivery::Final,
        }),
    }
}

fn decode_one(body: Bytes, encoding: ContentEncoding, cap: u64) -> Result<Bytes, SendError> {
    if body.is_empty() {
        return Ok(body);
    }
    match encoding {
        ContentEncoding::Gzip if !body.starts_with(&GZIP) => Err(no_gzip(&body)),
        ContentEncoding::Gzip => read_all(GzipMembers::new(&body[..]), cap),
        ContentEncoding::Brotli => {
            read_all(brotli_decompressor::Decompressor::new(&body[..], 4_096), cap)
        }
        ContentEncoding::Zstandard => zstandard::decoder(&body[..])
            .map_err(|error| malformed(&error))
            .and_then(|decoder| read_all(decoder, cap)),
        // The standard specifies zlib; some servers send a bare deflate stream.
        ContentEncoding::Deflate => {
            match read_all(flate2::read::ZlibDecoder::new(&body[..]), cap) {
                Err(trouble) if trouble.kind == FailureKind::BadEncoding => {
                    read_all(flate2::read::DeflateDecoder::new(&body[..]), cap)
                }
                decoded => decoded,
            }
        }
    }
}

/// Undoes these encodings of a body while it is read.
///
/// # Errors
/// What a decoder says that can't be made.
pub fn decoder(
    body: Box<dyn BufRead>,
    encodings: &[ContentEncoding],
) -> io::Result<Box<dyn BufRead>> {
    encodings.iter().try_fold(body, |mut body, encoding| {
        let start = body.fill_buf()?;
        if start.is_empty() {
            return Ok(body);
        }
        let is_zlib = is_zlib(start);
        let decoded: Box<dyn Read> = match encoding {
            ContentEncoding::Gzip => Box::new(GzipMembers::new(body)),
            ContentEncoding::Brotli => {
                Box::new(brotli_decompressor::Decompressor::new(body, 4_096))
            }
            ContentEncoding::Zstandard => Box::new(zstandard::decoder(body)?),
            ContentEncoding::Deflate if is_zlib => {
                Box::new(flate2::bufread::ZlibDecoder::new(body))
            }
            ContentEncoding::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(body)),
        };
        Ok(Box::new(BufReader::new(decoded)) as Box<dyn BufRead>)
    })
}

/// The members of a gzip stream, one after the other. What stands behind the last one and begins
/// no other, such as padding, is left out.
struct GzipMembers<R> {
    /// The decoder of the present member; none after the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    fn new(stream: R) -> GzipMembers<R> {
        GzipMembers { member: Some(GzDecoder::new(stream)) }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let Some(mut stream) = self.member.take().map(GzDecoder::into_inner) else {
                break;
            };
            if stream.fill_buf()?.first() == GZIP.first() {
                self.member = Some(GzDecoder::new(stream));
            }
        }
        Ok(0)
    }
}

/// Whether a deflate stream begins with the header of zlib (RFC 1950).
fn is_zlib(start: &[u8]) -> bool {
    match start {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0
        }
        _ => false,
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
    match decode_one(body.clone(), ContentEncoding::Gzip, cap) {
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

/// The failure of a body that is not compressed as its head says.
fn no_gzip(body: &[u8]) -> SendError {
    let start = excerpt(&String::from_utf8_lossy(body), MAX_CHARS);
    SendError {
        kind: FailureKind::BadEncoding,
        detail: format!(
            "the answer's head says that its body is gzip, but it begins {start:?}; {}",
            worded("--header 'accept-encoding: identity' asks the server for a plain one")
        ),
        delivery: Delivery::Final,
    }
}

fn too_large(cap: u64) -> SendError {
    SendError {
        kind: FailureKind::BodyTooLarge,
        detail: worded(format!(
            "more than {} (send.max-body or --max-body)",
            bytesize::ByteSize(cap)
        )),
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
    fn members_of_gzip_follow_one_another_and_padding_ends_them() {
        let two = [gzip("hel"), gzip("lo"), vec![0; 20]].concat();
        assert_eq!(decoded(two.clone(), "gzip", 100).unwrap(), "hello");
        let one_byte = BufReader::with_capacity(1, io::Cursor::new(two));
        let mut text = String::new();
        GzipMembers::new(one_byte).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let broken = [gzip("hel"), vec![0x1f, 0x8b, 8, 1]].concat();
        assert_eq!(decoded(broken, "gzip", 100), Err(FailureKind::BadEncoding));
    }

    #[test]
    fn encodings_are_not_undone_without_end() {
        let named = |count: usize| vec!["identity"; count].join(", ");
        assert_eq!(decoded(b"a".to_vec(), &named(4), 10), Ok("a".into()));
        let many = decoded(b"a".to_vec(), &named(5), 10);
        assert_eq!(many, Err(FailureKind::BadEncoding));
    }

    #[test]
    fn a_body_is_decoded_while_it_is_read() {
        let undone = |body: Vec<u8>, names: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, names.parse().unwrap())]);
            let body = Box::new(BufReader::new(io::Cursor::new(body)));
            let mut text = String::new();
            let decoder = decoder(body, &encodings(&headers).unwrap());
            decoder.and_then(|mut it| it.read_to_string(&mut text)).map(|_| text).ok()
        };
        let hello = || Some("hello".to_owned());
        let twice = zstd::encode_all(&gzip("hello")[..], 0).unwrap();
        assert_eq!(undone(twice, "gzip, zstd"), hello());
        assert_eq!(undone(raw_deflate("hello"), "deflate"), hello());
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        zlib.write_all(b"hello").unwrap();
        assert_eq!(undone(zlib.finish().unwrap(), "deflate"), hello());
        assert_eq!(undone(b"hello".to_vec(), "utf-8"), hello());
        assert_eq!(undone(Vec::new(), "gzip"), Some(String::new()));
        assert_eq!(undone(gzip("hello")[..20].to_vec(), "gzip"), None);
        assert_eq!(undone(b"hello".to_vec(), "gzip"), None);
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
