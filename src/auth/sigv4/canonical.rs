//! The canonical form of a request, over which it is signed. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName, USER_AGENT};
use percent_encoding::percent_decode_str;

use crate::auth::hash::Hash;
use crate::render::percent_encode;

/// The encoding of a path in the canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathEncoding {
    /// Whether `.`, `..` and empty segments are resolved first.
    pub normalize: bool,
    /// Whether the percent-encoded path is encoded once more.
    pub encode_twice: bool,
}

impl PathEncoding {
    /// The encoding of a service: S3 takes paths unchanged, all others normalised.
    pub fn of(service: &str) -> PathEncoding {
        let is_storage = service == "s3";
        PathEncoding { normalize: !is_storage, encode_twice: !is_storage }
    }
}

/// The canonical request.
pub fn canonical(request: &Request<Bytes>, paths: PathEncoding) -> String {
    let headers: Vec<String> = signed_names(request)
        .iter()
        .map(|name| format!("{name}:{}\n", value(request, name)))
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method(),
        path(request.uri().path(), paths),
        query(request.uri().query().unwrap_or_default()),
        headers.concat(),
        signed_names(request).join(";"),
        Hash::Sha256.hex(request.body()),
    )
}

/// The names of the signed headers: all but those that throng or a proxy may change
/// later.
pub fn signed_names(request: &Request<Bytes>) -> Vec<String> {
    let changing = [AUTHORIZATION, USER_AGENT, ACCEPT_ENCODING];
    let own = request.headers().keys().filter(|name| !changing.contains(name));
    let mut names: Vec<String> = own.map(HeaderName::to_string).collect();
    if !request.headers().contains_key(HOST) {
        names.push(HOST.to_string());
    }
    names.sort();
    names
}

fn value(request: &Request<Bytes>, name: &str) -> String {
    let values = request.headers().get_all(name);
    let values: Vec<String> = values
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    if values.is_empty() {
        request.uri().authority().map_or_else(String::new, ToString::to_string)
    } else {
        values.join(",")
    }
}

fn path(path: &str, paths: PathEncoding) -> String {
    let path = if paths.normalize { Cow::Owned(normalize(path)) } else { Cow::Borrowed(path) };
    let segment = |segment: &str| {
        if paths.encode_twice { percent_encode(segment) } else { recode(segment) }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn normalize(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recode(name), recode(value)))
        .collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// The text in strict percent-encoding, however it was encoded before.
fn recode(text: &str) -> String {
    percent_encode(&percent_decode_str(text).decode_utf8_lossy())
}
