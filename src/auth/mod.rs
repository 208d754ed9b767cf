//! (4) A request to a signed one. It comes after the permit: signatures age.

use http::header::HeaderName;
use http::{HeaderMap, Request};

mod secrets;
pub use secrets::Secrets;

/// Adds to each request what only the server may see.
#[derive(Debug, Clone, Default)]
pub struct Signer {
    headers: HeaderMap,
}

impl Signer {
    /// A signer that adds these headers.
    #[must_use]
    pub fn new(headers: HeaderMap) -> Signer {
        Signer { headers }
    }

    /// The headers that it adds.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.keys()
    }

    /// Signs one attempt.
    pub fn sign<B>(&self, request: &mut Request<B>) {
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
    }
}
