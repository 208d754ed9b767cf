//! The partition of clients, each part with limits of its own.

use std::borrow::Cow;
use std::str::FromStr;

use hyper::header::HeaderName;

use crate::ParseError;
use crate::request::ClientRequest;

/// The part of a request whose value has the limits for itself. From text:
/// `header:x-api-key`, `query:tenant` or `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// The value of a header.
    Header(HeaderName),
    /// The value of a parameter of the query.
    Query(String),
    /// The whole path.
    Path,
}

impl Partition {
    /// Its value in this request, if it has one.
    pub(crate) fn value_in<'a>(&self, request: &'a ClientRequest) -> Option<Cow<'a, str>> {
        match self {
            Partition::Header(name) => {
                let value = request.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()))
            }
            Partition::Query(name) => request.param(name),
            Partition::Path => Some(request.path().into()),
        }
    }
}

impl FromStr for Partition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Partition, ParseError> {
        let partition = match text.split_once(':') {
            Some(("header", name)) => name.trim().parse().ok().map(Partition::Header),
            Some(("query", name)) if !name.is_empty() => Some(Partition::Query(name.to_owned())),
            None if text == "path" => Some(Partition::Path),
            _ => None,
        };
        let right = "a limit is per header:NAME, query:NAME or path";
        partition.ok_or_else(|| ParseError::new(right, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_a_parameter_or_the_path_is_the_key() {
        let mut request = ClientRequest::test("/echo?tenant=a%20b", "");
        request.headers.insert("x-api-key", "k1".parse().unwrap());
        let of = |partition: &str| {
            partition.parse::<Partition>().unwrap().value_in(&request).map(Cow::into_owned)
        };
        assert_eq!(of("query:tenant").as_deref(), Some("a b"));
        assert_eq!(of("header:X-API-Key").as_deref(), Some("k1"));
        assert_eq!(of("query:other"), None);
        assert_eq!(of("path").as_deref(), Some("/echo"));
        for text in ["tenant", "query:", "header:a b", "cookie:a"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
