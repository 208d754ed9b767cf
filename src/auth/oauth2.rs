//! OAuth 2 (RFC 6749): client credentials, or a refresh token.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Uri};
use serde::Deserialize;

use super::refresh_token::{RefreshOrigin, RefreshToken, TokenFile};
use super::scheme::{Scheme, SchemeSettings, set_secret, wrong};
use super::token_client::{ClientIn, TokenClient};
use super::tokens::Tokens;
use crate::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    token_url: String,
    client_id: String,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    scope: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    client_in: ClientIn,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let uri: Uri = settings.token_url.parse().map_err(|error| wrong("token-url", error))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong("token-url", "it must begin with https:// or http://"));
    }
    let mut fields = Vec::new();
    for (name, text) in [("scope", &settings.scope), ("audience", &settings.audience)] {
        if let Some(text) = text {
            fields.push((name, part.plain(name, text)?));
        }
    }
    let refresh = settings.refresh_token.map(|text| refresh_token(part, &text)).transpose()?;
    let client = TokenClient {
        uri,
        id: part.plain("client-id", &settings.client_id)?,
        secret: part.hidden_if("client-secret", settings.client_secret.as_ref())?,
        client_in: settings.client_in,
        fields,
        secrets: part.context.vault.secrets().clone(),
    };
    Ok(Box::new(Tokens::new(client, refresh)))
}

fn refresh_token(part: &SchemeSettings<'_>, text: &str) -> Result<RefreshToken, Error> {
    const KEY: &str = "refresh-token";
    let origin = match TokenFile::of(text).map_err(|why| wrong(KEY, why))? {
        Some(file) => {
            let token = file.read().map_err(|why| wrong(KEY, why))?;
            part.context.vault.secrets().add(token.expose());
            RefreshOrigin::File(file)
        }
        None => RefreshOrigin::Job(part.hidden(KEY, text)?),
    };
    Ok(RefreshToken::new(origin))
}

impl Scheme for Tokens {
    fn added_names(&self) -> Vec<String> {
        vec![AUTHORIZATION.to_string()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        let value = format!("Bearer {}", self.use_token()?.expose());
        set_secret(request.headers_mut(), &AUTHORIZATION, &value)
    }

    fn tokens(&self) -> Option<&Tokens> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use serde_json::Value;

    use super::*;
    use crate::render::RenderContext;

    fn scheme(extra: Value) -> Box<dyn Scheme> {
        let mut settings = serde_json::json!({
            "kind": "oauth2", "token-url": "https://login.h/token", "client-id": "me",
            "client-secret": "{{ env.SECRET }}",
        });
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let context =
            RenderContext { environment: &|_| Some("p&ss".into()), vault: &Arc::default() };
        super::super::scheme(settings.as_object().unwrap(), &context).unwrap()
    }

    fn answer(token: &str, seconds: u64) -> Vec<u8> {
        let answer = serde_json::json!({"access_token": token, "expires_in": seconds, "refresh_token": "next"});
        answer.to_string().into_bytes()
    }

    #[test]
    fn a_token_request_has_the_fields_that_the_server_wants() {
        for (extra, header, body) in [
            (
                serde_json::json!({"scope": "a b"}),
                Some("Basic bWU6cCUyNnNz"),
                "grant_type=client_credentials&scope=a%20b",
            ),
            (
                serde_json::json!({"client-in": "body"}),
                None,
                "grant_type=client_credentials&client_id=me&client_secret=p%26ss",
            ),
            (
                serde_json::json!({"refresh-token": "first"}),
                Some("Basic bWU6cCUyNnNz"),
                "grant_type=refresh_token&refresh_token=first",
            ),
        ] {
            let scheme = scheme(extra);
            let request = scheme.tokens().unwrap().request().unwrap();
            assert_eq!(request.body(), body);
            let found = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
            assert_eq!(found, header);
        }
    }

    #[test]
    fn a_token_is_renewed_a_little_before_it_expires() {
        let scheme = scheme(serde_json::json!({"refresh-token": "first"}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        assert!(!tokens.is_fresh(now));
        tokens.accept(&answer("t1", 3600), now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(3539)));
        assert!(!tokens.is_fresh(now + Duration::from_secs(3541)));
        tokens.accept(&answer("t2", 10), now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(7)));
        assert!(!tokens.is_fresh(now + Duration::from_secs(9)));
        let next = tokens.request().unwrap();
        assert_eq!(next.body(), "grant_type=refresh_token&refresh_token=next");
    }

    #[test]
    fn a_token_that_was_never_accepted_is_not_fetched_again() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        tokens.accept(&answer("t1", 3600), now).unwrap();
        let first = tokens.edition();
        assert!(!tokens.mark_refused(first) && tokens.is_fresh(now));
        tokens.mark_accepted(first);
        assert!(tokens.mark_refused(first) && !tokens.is_fresh(now));
        let mut late = Request::get("https://h").body(Bytes::new()).unwrap();
        scheme.sign(&mut late, SystemTime::now()).unwrap();
        tokens.accept(&answer("t2", 3600), now).unwrap();
        assert!(tokens.mark_refused(first), "another has fetched a new one");
        assert!(!tokens.mark_refused(tokens.edition()));
        assert!(tokens.accept(b"{}", now).is_err());
    }

    #[test]
    fn tokens_that_expire_unused_are_fetched_a_few_times() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let mut request = Request::get("https://h").body(Bytes::new()).unwrap();
        for _ in 0..10 {
            tokens.accept(&answer("t", 1), now).unwrap();
            tokens.request().unwrap();
            scheme.sign(&mut request, SystemTime::now()).unwrap();
        }
        for _ in 0..3 {
            tokens.request().unwrap();
            tokens.accept(&answer("t", 1), now).unwrap();
        }
        let why = tokens.request().unwrap_err();
        assert!(why.contains("its last 3 tokens had expired before"), "{why}");
    }

    #[test]
    fn a_lifetime_may_be_beyond_the_range_of_the_clock() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let long = br#"{"access_token": "t", "expires_in": 1e18}"#;
        tokens.accept(long, now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(1_000_000)));
    }
}
