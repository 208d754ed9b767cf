//! A pool of API keys: each attempt uses one that its limits allow. Pure.

use bytes::Bytes;
use http::Request;

use super::placeholders::fill_in;
use crate::render::KEY_PLACEHOLDER;

/// The keys of a job.
#[derive(Clone, Default)]
pub(super) struct KeyPool {
    keys: Vec<String>,
}

impl KeyPool {
    pub fn new(keys: &[String]) -> KeyPool {
        KeyPool { keys: keys.to_vec() }
    }

    /// Replaces the placeholder by this key, wherever it stands in the request.
    ///
    /// # Errors
    /// The place in which the key can't stand.
    pub fn fill_in(&self, request: &mut Request<Bytes>, key: usize) -> Result<(), String> {
        let Some(key) = self.keys.get(key) else {
            return Ok(());
        };
        fill_in(request, KEY_PLACEHOLDER, key)
    }
}

impl std::fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPool({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_replaces_every_placeholder() {
        let pool = KeyPool::new(&["first".into(), "se cond".into()]);
        let mut request =
            Request::get(format!("http://h/{KEY_PLACEHOLDER}/x?key={KEY_PLACEHOLDER}&a=1"))
                .header("authorization", format!("Bearer {KEY_PLACEHOLDER}"))
                .header("accept", "*/*")
                .body(Bytes::from(format!("{{\"k\":\"{KEY_PLACEHOLDER}\"}}")))
                .unwrap();
        pool.fill_in(&mut request, 1).unwrap();
        assert_eq!(request.uri(), "http://h/se%20cond/x?key=se%20cond&a=1");
        assert_eq!(request.headers()["authorization"], "Bearer se cond");
        assert!(request.headers()["authorization"].is_sensitive());
        assert_eq!(request.headers()["accept"], "*/*");
        assert_eq!(request.body(), "{\"k\":\"se cond\"}");
        assert!(!format!("{pool:?}").contains("first"));
    }
}
