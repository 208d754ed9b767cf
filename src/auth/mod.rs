//! (4) A request to a signed one. It comes after the permit: signatures age.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Request};

mod pool;
use pool::Pool;
mod secrets;
pub use secrets::Secrets;

/// Adds to each request what only the server may see.
#[derive(Debug, Clone, Default)]
pub struct Signer {
    headers: HeaderMap,
    pool: Pool,
}

impl Signer {
    /// A signer that adds these headers, and gives each request one of these keys.
    #[must_use]
    pub fn new(headers: HeaderMap, keys: &[String]) -> Signer {
        Signer {
            headers,
            pool: Pool::new(keys),
        }
    }

    /// The headers that it adds.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.keys()
    }

    /// Signs one attempt, with this key of the pool if there is one.
    pub fn sign(&self, request: &mut Request<Bytes>, key: Option<usize>) {
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(key) = key {
            self.pool.fill_in(request, key);
        }
    }
}
