//! A request, read completely.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Uri};

/// Largest body that is read, in bytes: 64 MiB. Larger ones are answered with 413.
const LARGEST_BODY: usize = 64 << 20;

/// A request of a client.
#[derive(Debug, Clone)]
pub(crate) struct ClientRequest {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// None if it is larger than the largest body.
    pub body: Option<Bytes>,
    /// The requested symbols or ids, separated by commas.
    pub symbols: Option<String>,
}

impl ClientRequest {
    /// Reads the whole request, without its symbols; none if the client does not
    /// send all of it.
    pub(crate) async fn read(request: Request<Incoming>) -> Option<ClientRequest> {
        let (parts, body) = request.into_parts();
        Some(ClientRequest {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: read_body(body).await?,
            symbols: None,
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub(crate) fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        form_value(self.query().as_bytes(), name)
    }

    /// The key of the request's scenario: its symbols, else its path.
    pub(crate) fn key(&self) -> &str {
        self.symbols.as_deref().unwrap_or(self.path())
    }

    /// A field of the body's form, decoded.
    pub(crate) fn form_field(&self, name: &str) -> Option<Cow<'_, str>> {
        form_value(self.body.as_deref().unwrap_or_default(), name)
    }
}

/// The symbols of a list with commas.
pub(crate) fn each_symbol(symbols: Option<&str>) -> impl Iterator<Item = &str> {
    let symbols = symbols.unwrap_or_default().split(',');
    symbols.map(str::trim).filter(|symbol| !symbol.is_empty())
}

fn form_value<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(form);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

async fn read_body(body: Incoming) -> Option<Option<Bytes>> {
    if body.is_end_stream() {
        return Some(Some(Bytes::new()));
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Some(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Some(None),
        Err(_) => None,
    }
}

#[cfg(test)]
impl ClientRequest {
    /// A request with this body.
    pub(crate) fn test(uri: &str, body: &str) -> ClientRequest {
        ClientRequest {
            method: Method::GET,
            uri: uri.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Some(body.to_owned().into()),
            symbols: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_split_at_commas() {
        let symbols = |text| each_symbol(text).collect::<Vec<_>>();
        assert_eq!(symbols(Some("A, BRK.B,,C")), ["A", "BRK.B", "C"]);
        assert!(symbols(Some("")).is_empty());
        assert!(symbols(None).is_empty());
    }

    #[test]
    fn form_values_are_decoded() {
        let form = b"a=1&symbols=%5EGSPC%2CBRK+B";
        assert_eq!(form_value(form, "symbols").unwrap(), "^GSPC,BRK B");
        assert_eq!(form_value(form, "b"), None);
    }
}
