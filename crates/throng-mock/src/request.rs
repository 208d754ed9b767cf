//! A request, read to its end.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Uri};

use crate::lists;
use crate::reply::Severed;

/// Larger bodies are answered with 413, in bytes: 64 MiB.
const LARGEST_BODY: usize = 64 << 20;

/// What a client asked.
#[derive(Debug, Clone)]
pub(crate) struct ClientRequest {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// Nothing if it was larger than it may be.
    pub body: Option<Bytes>,
    /// The symbols or ids, with commas between them, if any are asked for.
    pub symbols: Option<String>,
}

impl ClientRequest {
    /// Reads the whole request; fails if the client does not send all of it.
    pub(crate) async fn read(request: Request<Incoming>) -> Result<ClientRequest, Severed> {
        let (parts, body) = request.into_parts();
        let mut asked = ClientRequest {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: read_body(body).await?,
            symbols: None,
        };
        asked.symbols = if is_quotes(asked.path()) {
            asked.find_symbols()
        } else {
            lists::symbols(&asked)
        };
        Ok(asked)
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

    /// What chance goes by.
    pub(crate) fn key(&self) -> &str {
        self.symbols.as_deref().unwrap_or(self.path())
    }

    /// The symbols one by one; none if no quotes are asked for.
    pub(crate) fn each_symbol(&self) -> impl Iterator<Item = &str> {
        each_symbol(self.symbols.as_deref())
    }

    /// They may also come in a form, for clients that POST.
    fn find_symbols(&self) -> Option<String> {
        let body = self.body.as_deref().unwrap_or_default();
        let found = self.param("symbols");
        let found = found.or_else(|| form_value(body, "symbols"));
        found.map(Cow::into_owned)
    }
}

/// Whether quotes are to be had there.
pub(crate) fn is_quotes(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path == "/v6/finance/quote"
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

async fn read_body(body: Incoming) -> Result<Option<Bytes>, Severed> {
    if body.is_end_stream() {
        return Ok(Some(Bytes::new()));
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => Err(Severed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_told_apart() {
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

    #[test]
    fn the_route_may_end_with_a_slash() {
        assert!(is_quotes("/v6/finance/quote") && is_quotes("/v6/finance/quote/"));
        assert!(!is_quotes("/v6/finance/quotes"));
    }
}
