//! (4) A request to a signed one. It comes after the permit: signatures age.
//!
//! Each scheme is a file and a line in `SCHEMES`: it builds a [`Scheme`] of its
//! settings. Mutual TLS belongs to the connection: see [`send`](crate::send).

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Uri};
use serde_json::Value;

use crate::error::Error;
use crate::render::{RenderContext, SecretHeader};

mod assertion;
mod basic;
mod bearer;
mod freshness;
mod hash;
mod header;
mod hmac;
#[cfg(feature = "cli")]
mod keys;
mod lifetime;
mod login;
mod oauth2;
mod placeholders;
mod pool;
mod refresh_token;
mod scheme;
mod sigv4;
mod token_client;
mod token_response;
mod tokens;

#[cfg(feature = "cli")]
pub use keys::AuthKeys;
pub use login::{BeforeSettings, Login, LoginDraft};
use pool::KeyPool;
pub use scheme::{Scheme, Settings};
use scheme::{SchemeSettings, append_secret};
pub use tokens::{RefreshLock, Tokens};

/// The description of one scheme.
struct SchemeEntry {
    name: &'static str,
    about: &'static str,
    build: fn(&SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error>,
}

#[rustfmt::skip]
static SCHEMES: [SchemeEntry; 6] = [
    SchemeEntry { name: "header", about: "an API key in a header: name, value", build: header::build },
    SchemeEntry { name: "basic", about: "user, password", build: basic::build },
    SchemeEntry { name: "bearer", about: "token", build: bearer::build },
    SchemeEntry { name: "oauth2", about: "token-url, client-id, client-secret; refresh-token; username, password; private-key, algorithm, issuer, subject; scope, audience, fields, client-in, body", build: oauth2::build },
    SchemeEntry { name: "sigv4", about: "service, region; access-key, secret-key, session-token", build: sigv4::build },
    SchemeEntry { name: "hmac", about: "key, message, headers; hash, encoding, key-encoding, query", build: hmac::build },
];

/// One line of help for each scheme: its name and its keys.
#[must_use]
pub fn help() -> String {
    let line = |entry: &SchemeEntry| format!("{:<7} {}\n", entry.name, entry.about);
    SCHEMES.iter().map(line).collect()
}

/// Adds secret headers, keys of the pool, the secrets of a login and the job's scheme to each
/// attempt.
#[derive(Default)]
pub struct Signer {
    headers: Vec<SecretHeader>,
    pool: KeyPool,
    login: Option<Arc<Login>>,
    scheme: Option<Box<dyn Scheme>>,
}

impl Signer {
    /// A signer with these headers, these keys of the pool, the scheme of `[auth]`, and the
    /// login of the run.
    ///
    /// # Errors
    /// Which key of `[auth]` is wrong, and why.
    pub fn new(
        headers: Vec<SecretHeader>,
        keys: &[String],
        settings: &Settings,
        login: Option<Arc<Login>>,
        context: &RenderContext<'_>,
    ) -> Result<Signer, Error> {
        Ok(Signer {
            headers,
            login,
            pool: KeyPool::new(keys),
            scheme: if settings.is_empty() { None } else { Some(scheme(settings, context)?) },
        })
    }

    /// The names of the headers and parameters that it adds.
    pub fn added_names(&self) -> impl Iterator<Item = String> {
        let headers = self.headers.iter().map(|(name, _)| name.to_string());
        headers.chain(self.scheme.iter().flat_map(|scheme| scheme.added_names()))
    }

    /// Whether it adds nothing but keys of the pool.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.scheme.is_none() && self.login.is_none()
    }

    /// Whether a request waits for a token or a login before it is signed.
    #[must_use]
    pub fn has_expiring(&self) -> bool {
        self.tokens().is_some() || self.login().is_some()
    }

    /// The tokens that must be fetched before a request is signed, if the scheme has any.
    #[must_use]
    pub fn tokens(&self) -> Option<&Tokens> {
        self.scheme.as_ref()?.tokens()
    }

    /// The login that must be made before a request is signed, if the job has one.
    #[must_use]
    pub fn login(&self) -> Option<&Login> {
        self.login.as_deref()
    }

    /// The URLs of its tokens and its login.
    pub fn uris(&self) -> impl Iterator<Item = &Uri> {
        let login = self.login().into_iter().flat_map(Login::uris);
        self.tokens().map(Tokens::uri).into_iter().chain(login)
    }

    /// Signs one attempt at this time; `key` is the number of its key in the pool.
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
            append_secret(request.headers_mut(), name, text.get()?.expose())?;
        }
        if let Some(key) = key {
            self.pool.fill_in(request, key)?;
        }
        if let Some(login) = &self.login {
            login.fill_in(request, key)?;
        }
        if let Some(scheme) = &self.scheme {
            scheme.sign(request, at)?;
            // The token of a scheme may be that of the login.
            if let Some(login) = &self.login {
                login.fill_in(request, key)?;
            }
        }
        Ok(())
    }
}

fn scheme(settings: &Settings, context: &RenderContext<'_>) -> Result<Box<dyn Scheme>, Error> {
    let kind = settings.get("kind");
    let entry = SCHEMES.iter().find(|entry| kind.and_then(Value::as_str) == Some(entry.name));
    let entry = entry.ok_or_else(|| {
        let names = SCHEMES.each_ref().map(|entry| entry.name).join(", ");
        let what = kind.map_or_else(|| "missing".to_owned(), Value::to_string);
        Error::plan(format!("auth.kind (--auth kind=…) is {what}: choose one of {names}"))
    })?;
    (entry.build)(&SchemeSettings::new(settings, *context))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn signed(settings: Value, at: SystemTime) -> Result<Request<Bytes>, String> {
        let context = RenderContext {
            environment: &|name| (name == "KEY").then(|| "s3cret".to_owned()),
            vault: &Arc::default(),
        };
        let settings = settings.as_object().unwrap();
        let signer = Signer::new(Vec::new(), &[], settings, None, &context)
            .map_err(|error| error.to_string())?;
        let mut request =
            Request::post("https://h/a?b=c").body(Bytes::from_static(b"body")).unwrap();
        signer.sign(&mut request, None, at)?;
        Ok(request)
    }

    #[test]
    fn simple_schemes_are_a_header() {
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
    fn a_wrong_key_is_named() {
        for (settings, why) in [
            (
                serde_json::json!({"kind": "beaver"}),
                "auth.kind (--auth kind=…) is \"beaver\": choose one of header, basic",
            ),
            (
                serde_json::json!({"token": "x"}),
                "auth.kind (--auth kind=…) is missing: choose one of header, basic",
            ),
            (
                serde_json::json!({"kind": "bearer"}),
                "auth (--auth): kind bearer: missing field `token`",
            ),
            (serde_json::json!({"kind": "bearer", "tokn": "x"}), "unknown field `tokn`"),
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
