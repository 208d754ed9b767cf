//! (4) A request to a signed one. It comes after the permit: signatures age.
//!
//! Each kind of authentication is a file and a line in `KINDS`: it makes a
//! [`Scheme`] of its settings. Mutual TLS belongs to the connection: see
//! [`send`](crate::send).

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::render::{RenderContext, SecretHeader};

mod basic;
mod bearer;
mod granted;
mod hash;
mod header;
mod hmac;
mod oauth2;
mod pool;
mod refresh;
mod settings;
mod sigv4;

pub use oauth2::{RefreshLock, Tokens};
use pool::KeyPool;
use settings::SchemeSettings;

/// The `[auth]` part of a job: a `kind`, and what that kind wants to know.
pub type Settings = Map<String, Value>;

/// One way of proving who asks.
pub trait Scheme: Send + Sync {
    /// The names of what it adds, for those who look at a plan.
    fn adds(&self) -> Vec<String>;

    /// Signs one attempt, at this time.
    ///
    /// # Errors
    /// Why this request can't be signed.
    fn sign(&self, request: &mut Request<Bytes>, at: SystemTime) -> Result<(), String>;

    /// The tokens that it needs first, if it does.
    fn tokens(&self) -> Option<&Tokens> {
        None
    }
}

/// All there is to know about one kind.
struct SchemeEntry {
    name: &'static str,
    about: &'static str,
    build: fn(&SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error>,
}

#[rustfmt::skip]
static KINDS: [SchemeEntry; 6] = [
    SchemeEntry { name: "header", about: "an API key in a header: name, value", build: header::build },
    SchemeEntry { name: "basic", about: "user, password", build: basic::build },
    SchemeEntry { name: "bearer", about: "token", build: bearer::build },
    SchemeEntry { name: "oauth2", about: "token-url, client-id, client-secret; refresh-token, scope, audience, client-in", build: oauth2::build },
    SchemeEntry { name: "sigv4", about: "service, region; access-key, secret-key, session-token", build: sigv4::build },
    SchemeEntry { name: "hmac", about: "key, message, headers; hash, encoding, key-encoding, query", build: hmac::build },
];

/// One line of help for each kind: its name, and its keys.
#[must_use]
pub fn help() -> String {
    let line = |kind: &SchemeEntry| format!("{:<7} {}\n", kind.name, kind.about);
    KINDS.iter().map(line).collect()
}

/// Adds to each attempt what only the server may see.
#[derive(Default)]
pub struct Signer {
    headers: Vec<SecretHeader>,
    pool: KeyPool,
    scheme: Option<Box<dyn Scheme>>,
}

impl Signer {
    /// A signer that adds these headers, gives each request one of these keys, and
    /// does what `[auth]` says.
    ///
    /// # Errors
    /// Which key of it is wrong, and why.
    pub fn new(
        headers: Vec<SecretHeader>,
        keys: &[String],
        settings: &Settings,
        known: &RenderContext<'_>,
    ) -> Result<Signer, Error> {
        Ok(Signer {
            headers,
            pool: KeyPool::new(keys),
            scheme: if settings.is_empty() {
                None
            } else {
                Some(scheme(settings, known)?)
            },
        })
    }

    /// A signer that says which of so many keys a request has got, and nothing else.
    #[must_use]
    pub fn of_pool(keys: usize) -> Signer {
        let keys: Vec<String> = (0..keys).map(|key| key.to_string()).collect();
        Signer {
            pool: KeyPool::new(&keys),
            ..Signer::default()
        }
    }

    /// The names of what it adds.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let headers = self.headers.iter().map(|(name, _)| name.to_string());
        headers.chain(self.scheme.iter().flat_map(|scheme| scheme.adds()))
    }

    /// Whether it adds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.scheme.is_none()
    }

    /// The tokens that must be there before anything is signed.
    #[must_use]
    pub fn tokens(&self) -> Option<&Tokens> {
        self.scheme.as_ref()?.tokens()
    }

    /// Signs one attempt, with this key of the pool if there is one.
    ///
    /// # Errors
    /// Why this request can't be signed.
    pub fn sign(
        &self,
        request: &mut Request<Bytes>,
        key: Option<usize>,
        at: SystemTime,
    ) -> Result<(), String> {
        for (name, text) in &self.headers {
            add(request.headers_mut(), name, text.get()?.expose())?;
        }
        if let Some(key) = key {
            self.pool.fill_in(request, key);
        }
        match &self.scheme {
            Some(scheme) => scheme.sign(request, at),
            None => Ok(()),
        }
    }
}

fn scheme(settings: &Settings, known: &RenderContext<'_>) -> Result<Box<dyn Scheme>, Error> {
    let name = settings.get("kind").and_then(Value::as_str).unwrap_or("");
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| {
        let names = KINDS.each_ref().map(|kind| kind.name).join(", ");
        Error::plan(format!(
            "auth.kind (--auth kind=…) is {name:?}: choose one of {names}"
        ))
    })?;
    (kind.build)(&SchemeSettings::new(settings, *known))
}

/// Adds a header that is shown nowhere, not even by what prints requests.
fn add(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), String> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("the secret for the header {name} holds a control character"))?;
    value.set_sensitive(true);
    headers.append(name, value);
    Ok(())
}

/// The same, in the place of one that is there.
fn set(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), String> {
    headers.remove(name);
    add(headers, name, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    pub(super) fn signed(settings: Value, at: SystemTime) -> Result<Request<Bytes>, String> {
        let known = RenderContext {
            environment: &|name| (name == "KEY").then(|| "s3cret".to_owned()),
            vault: &Arc::default(),
        };
        let settings = settings.as_object().unwrap();
        let signer =
            Signer::new(Vec::new(), &[], settings, &known).map_err(|error| error.to_string())?;
        let mut request = Request::post("https://h/a?b=c")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        signer.sign(&mut request, None, at)?;
        Ok(request)
    }

    #[test]
    fn simple_kinds_are_a_header() {
        for (settings, name, value) in [
            (
                serde_json::json!({"kind": "header", "name": "X-Key", "value": "{{ env.KEY }}"}),
                "x-key",
                "s3cret",
            ),
            (
                serde_json::json!({"kind": "bearer", "token": "{{ env.KEY }}"}),
                "authorization",
                "Bearer s3cret",
            ),
            (
                serde_json::json!({"kind": "basic", "user": "me", "password": "{{ env.KEY }}"}),
                "authorization",
                "Basic bWU6czNjcmV0",
            ),
        ] {
            let request = signed(settings, SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(request.headers()[name], value);
            assert!(request.headers()[name].is_sensitive());
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (settings, why) in [
            (
                serde_json::json!({"kind": "beaver"}),
                "auth.kind (--auth kind=…) is \"beaver\": choose one of header, basic",
            ),
            (
                serde_json::json!({"kind": "bearer"}),
                "auth (--auth): kind bearer: missing field `token`",
            ),
            (
                serde_json::json!({"kind": "bearer", "tokn": "x"}),
                "unknown field `tokn`",
            ),
            (
                serde_json::json!({"kind": "basic", "user": "{{ id }}", "password": "x"}),
                "auth.user (--auth): it uses {{ id }}",
            ),
        ] {
            let error = signed(settings, SystemTime::UNIX_EPOCH).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
