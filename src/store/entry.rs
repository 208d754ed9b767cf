//! A kept answer as bytes: a checksum, and the answer, compressed. Bytes that are not whole, or
//! are another request's, are no answer. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::request_key::RequestKey;
use crate::record::{Failure, FailureKind};
use crate::secret::Secrets;
use crate::send::Answer;
use crate::zstandard;

/// The run and the row that asked for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedBy {
    /// A number for all runs that continue one output.
    pub run: u64,
    /// The number of the row.
    pub row: u64,
}

/// An answer that was kept, or the failure that came in its place.
#[derive(Debug, Clone)]
pub(crate) struct KeptAnswer {
    pub outcome: Result<Answer, KeptFailure>,
    /// When it came, in milliseconds since 1970.
    pub asked: u64,
    pub by: AskedBy,
}

/// The failure of a row that asked, for the rows with the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptFailure {
    pub failure: Failure,
    pub status: Option<StatusCode>,
}

/// The part of an entry before its body.
#[derive(Serialize, Deserialize)]
struct EntryHead {
    status: Option<u16>,
    /// Each byte of a value is a character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    /// The kind and the details of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<(String, String)>,
}

/// Length of a checksum in bytes.
const CHECKSUM: usize = 16;
/// The byte before a plain entry, and that before a compressed one.
const PLAIN: u8 = 0;
const PACKED: u8 = 1;

impl KeptAnswer {
    /// Whether the server can be asked if the answer still holds.
    pub fn has_validator(&self) -> bool {
        let headers = self.outcome.as_ref().ok().map(|answer| &answer.headers);
        headers.is_some_and(|it| it.contains_key(ETAG) || it.contains_key(LAST_MODIFIED))
    }

    /// The bytes of the entry of this request.
    ///
    /// # Errors
    /// It can't be compressed.
    pub fn encode(&self, key: RequestKey) -> std::io::Result<Vec<u8>> {
        let (head, body) = match &self.outcome {
            Ok(answer) => (EntryHead::of(answer), &answer.body[..]),
            Err(kept) => (EntryHead::of_failure(kept), &[][..]),
        };
        let mut plain = serde_json::to_vec(&head)?;
        plain.push(b'\n');
        plain.extend_from_slice(body);
        let packed = zstandard::pack(&plain)?;
        let (kind, content) = match &packed {
            Some(packed) => (PACKED, packed),
            None => (PLAIN, &plain),
        };
        let mut entry = self.checksum(key, kind, content).to_vec();
        entry.push(kind);
        entry.extend_from_slice(content);
        Ok(entry)
    }

    /// The answer of this entry of a request, which was asked for then by this row; none if it
    /// is not whole.
    pub fn decode(key: RequestKey, asked: u64, by: AskedBy, entry: &[u8]) -> Option<KeptAnswer> {
        let none = Failure::new(FailureKind::NotStored, "");
        let outcome = Err(KeptFailure { failure: none, status: None });
        let empty = KeptAnswer { outcome, asked, by };
        let (checksum, rest) = entry.split_at_checked(CHECKSUM)?;
        let (kind, content) = rest.split_first()?;
        if checksum != empty.checksum(key, *kind, content) {
            return None;
        }
        let plain: Bytes = match *kind {
            PLAIN => Bytes::copy_from_slice(content),
            PACKED => zstandard::unpack(content).ok()?.into(),
            _ => return None,
        };
        let end = plain.iter().position(|byte| *byte == b'\n')?;
        let head: EntryHead = serde_json::from_slice(&plain[..end]).ok()?;
        let status = head.status.map(StatusCode::from_u16).transpose().ok()?;
        let outcome = match head.failure {
            Some((kind, detail)) => Err(KeptFailure {
                failure: Failure::new(FailureKind::parse(&kind), detail),
                status,
            }),
            None => Ok(Answer {
                status: status?,
                headers: headers(&head.headers)?,
                body: plain.slice(end + 1..),
                latency: Duration::ZERO,
                unfollowed: None,
            }),
        };
        Some(KeptAnswer { outcome, ..empty })
    }

    fn checksum(&self, key: RequestKey, kind: u8, content: &[u8]) -> [u8; CHECKSUM] {
        let mut hash = blake3::Hasher::new();
        hash.update(&key.0);
        hash.update(&self.asked.to_le_bytes());
        hash.update(&self.by.run.to_le_bytes());
        hash.update(&self.by.row.to_le_bytes());
        hash.update(&[kind]);
        hash.update(content);
        let mut checksum = [0; CHECKSUM];
        checksum.copy_from_slice(&hash.finalize().as_bytes()[..CHECKSUM]);
        checksum
    }
}

impl EntryHead {
    fn of(answer: &Answer) -> EntryHead {
        let text =
            |value: &HeaderValue| value.as_bytes().iter().map(|it| char::from(*it)).collect();
        let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        EntryHead {
            status: Some(answer.status.as_u16()),
            headers: headers.collect(),
            failure: None,
        }
    }

    fn of_failure(kept: &KeptFailure) -> EntryHead {
        let Failure { kind, detail } = &kept.failure;
        EntryHead {
            status: kept.status.map(|status| status.as_u16()),
            headers: Vec::new(),
            failure: Some((kind.text().into_owned(), detail.clone())),
        }
    }
}

fn headers(texts: &[(String, String)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(texts.len());
    for (name, value) in texts {
        let bytes: Option<Vec<u8>> = value.chars().map(|it| u8::try_from(it).ok()).collect();
        let name: HeaderName = name.parse().ok()?;
        headers.append(name, HeaderValue::from_bytes(&bytes?).ok()?);
    }
    Some(headers)
}

/// The answer without secrets, and whether its body had any.
pub(super) fn without_secrets(answer: &Answer, secrets: &Secrets) -> (Answer, bool) {
    let mut clean = answer.clone();
    clean.headers.remove(SET_COOKIE);
    for value in clean.headers.values_mut() {
        let hidden = secrets.hide_in(Bytes::copy_from_slice(value.as_bytes()));
        if hidden != value.as_bytes()
            && let Ok(hidden) = HeaderValue::from_bytes(&hidden)
        {
            *value = hidden;
        }
    }
    clean.body = secrets.hide_in(answer.body.clone());
    let had_any = clean.body != answer.body;
    (clean, had_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RequestKey = RequestKey([7; 16]);
    const BY: AskedBy = AskedBy { run: 3, row: 9 };

    fn kept() -> KeptAnswer {
        let mut headers = HeaderMap::new();
        headers.append("etag", "\"x\"".parse().unwrap());
        headers.append("link", HeaderValue::from_bytes(b"<\xe4>").unwrap());
        headers.append("link", "<b>".parse().unwrap());
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::from_static(b"{\"a\":\n1}\0\xff"),
            latency: Duration::from_secs(1),
            unfollowed: None,
        };
        KeptAnswer { outcome: Ok(answer), asked: 1_700_000_000, by: BY }
    }

    #[test]
    fn an_answer_is_the_same_after_it_was_kept() {
        let before = kept();
        let entry = before.encode(KEY).unwrap();
        let after = KeptAnswer::decode(KEY, before.asked, BY, &entry).unwrap();
        let (before, after) = (before.outcome.unwrap(), after.outcome.unwrap());
        assert_eq!((before.status, before.headers), (after.status, after.headers));
        assert_eq!(before.body, after.body);
    }

    #[test]
    fn a_failure_is_the_same_after_it_was_kept() {
        let failure = Failure::new(FailureKind::Status(404), "no \"such\"\nitem");
        let failed = KeptFailure { failure, status: Some(StatusCode::NOT_FOUND) };
        let before = KeptAnswer { outcome: Err(failed.clone()), ..kept() };
        let entry = before.encode(KEY).unwrap();
        let after = KeptAnswer::decode(KEY, before.asked, BY, &entry).unwrap();
        assert_eq!(after.outcome.unwrap_err(), failed);
    }

    #[test]
    fn what_is_torn_or_changed_or_of_another_request_is_no_answer() {
        let entry = kept().encode(KEY).unwrap();
        let is_answer =
            |key, asked, by, entry: &[u8]| KeptAnswer::decode(key, asked, by, entry).is_some();
        let asked = kept().asked;
        assert!(is_answer(KEY, asked, BY, &entry));
        assert!(!is_answer(RequestKey([8; 16]), asked, BY, &entry));
        assert!(!is_answer(KEY, asked + 1, BY, &entry));
        assert!(!is_answer(KEY, asked, AskedBy { row: 8, ..BY }, &entry));
        for at in 0..entry.len() {
            assert!(!is_answer(KEY, asked, BY, &entry[..at]), "cut at {at}");
            let mut changed = entry.clone();
            changed[at] ^= 0x40;
            assert!(!is_answer(KEY, asked, BY, &changed), "changed at {at}");
        }
    }
}
