//! Whose limits a request counts against.

use std::borrow::Cow;
use std::str::FromStr;

use hyper::header::HeaderName;

use crate::ParseError;
use crate::request::ClientRequest;

/// What tells clients apart, each of whom has the limits for itself. From text:
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
    pub(crate) fn of<'a>(&self, asked: &'a ClientRequest) -> Option<Cow<'a, str>> {
        match self {
            Partition::Header(name) => {
                let value = asked.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()))
            }
            Partition::Query(name) => asked.param(name),
            Partition::Path => Some(asked.path().into()),
        }
    }
}

impl FromStr for Partition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Partition, ParseError> {
        let per = match text.split_once(':') {
            Some(("header", name)) => name.trim().parse().ok().map(Partition::Header),
            Some(("query", name)) if !name.is_empty() => Some(Partition::Query(name.to_owned())),
            None if text == "path" => Some(Partition::Path),
            _ => None,
        };
        let right = "who is limited is header:NAME, query:NAME or path";
        per.ok_or_else(|| ParseError::new(right, text))
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;

    #[test]
    fn a_header_or_a_parameter_tells_who_asks() {
        let mut asked = ClientRequest {
            method: Method::GET,
            uri: "/echo?tenant=a%20b".parse().unwrap(),
            headers: HeaderMap::new(),
            body: None,
            symbols: None,
        };
        asked.headers.insert("x-api-key", "k1".parse().unwrap());
        let of = |per: &str| {
            per.parse::<Partition>()
                .unwrap()
                .of(&asked)
                .map(Cow::into_owned)
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
