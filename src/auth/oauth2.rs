//! OAuth 2 tokens (RFC 6749): client credentials, or a refresh token.
//!
//! A token is fetched once and shared by all workers; it is renewed a little before
//! it expires, and when a server that took it before refuses it. Fetching is the
//! walk's work, since such requests pass the gate like all others.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Uri};
use serde::Deserialize;

use super::granted::Granted;
use super::refresh::TokenFile;
use super::settings::{SchemeSettings, wrong};
use super::{Scheme, add, set};
use crate::error::Error;
use crate::render::{StaticValue, percent_encode};
use crate::secret::{Secret, Secrets};

/// After so many tokens in a row that expired before anything was signed with them, no
/// other is fetched.
const UNUSED: u32 = 3;

/// A token is renewed so long before it expires, or a fifth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

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

/// Where the token server looks for who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClientIn {
    /// In an `Authorization: Basic` header.
    #[default]
    Basic,
    /// Among the form's fields.
    Body,
}

/// The tokens of a run, shared by all who sign.
pub struct Tokens {
    uri: Uri,
    client_id: StaticValue,
    client_secret: Option<StaticValue>,
    client_in: ClientIn,
    fields: Vec<(&'static str, StaticValue)>,
    secrets: Secrets,
    state: Mutex<TokenState>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
}

struct TokenState {
    token: Option<Token>,
    refresh: Option<Refresh>,
    /// Counts the tokens that there were.
    edition: u64,
    /// Whether the server has taken the current one.
    worked: bool,
    /// Whether the server takes the current one no more.
    spent: bool,
    /// How many were fetched since one was signed with.
    unused: u32,
    /// Why a new refresh token is lost when this run ends, if so.
    lost: Option<String>,
}

struct Token {
    text: Secret,
    until: Option<Instant>,
}

struct Refresh {
    place: RefreshPlace,
    /// The last one that the server gave, unless it is in its place.
    given: Option<Secret>,
    /// The one that was sent last.
    sent: Option<Secret>,
}

/// No other run uses the same file's refresh token as long as this lives.
pub struct RefreshLock(#[expect(dead_code, reason = "it is let go with it")] Option<File>);

/// Where the refresh token is read.
enum RefreshPlace {
    /// In the job, or where its templates have it from. None can be put there.
    Job(StaticValue),
    File(TokenFile),
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let uri: Uri = settings
        .token_url
        .parse()
        .map_err(|error| wrong("token-url", error))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong("token-url", "it must begin with https:// or http://"));
    }
    let mut fields = Vec::new();
    for (name, text) in [("scope", &settings.scope), ("audience", &settings.audience)] {
        if let Some(text) = text {
            fields.push((name, part.plain(name, text)?));
        }
    }
    let refresh = settings
        .refresh_token
        .map(|text| Refresh::build(part, &text))
        .transpose()?;
    Ok(Box::new(Tokens {
        uri,
        client_id: part.plain("client-id", &settings.client_id)?,
        client_secret: part.hidden_if("client-secret", settings.client_secret.as_ref())?,
        client_in: settings.client_in,
        fields,
        secrets: part.known.vault.secrets().clone(),
        state: Mutex::new(TokenState {
            token: None,
            refresh,
            edition: 0,
            worked: false,
            spent: false,
            unused: 0,
            lost: None,
        }),
        turn: tokio::sync::Mutex::default(),
    }))
}

impl Tokens {
    /// Where they come from.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether there is a token that will last a little longer.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        let state = self.state();
        let token = state.token.as_ref().filter(|_| !state.spent);
        token.is_some_and(|token| token.until.is_none_or(|until| now < until))
    }

    /// Which token is the current one.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.state().edition
    }

    /// Waits for the turn to fetch a token: meanwhile another may have done so.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The server has taken the token of this edition.
    pub fn worked(&self, edition: u64) {
        let mut state = self.state();
        state.worked |= state.edition == edition;
    }

    /// The server has refused the token of this edition. Tells whether it is worth
    /// trying again: not with a token that has never worked.
    #[must_use]
    pub fn refused(&self, edition: u64) -> bool {
        let mut state = self.state();
        if state.edition != edition || state.spent {
            return true;
        }
        // It stays: others may be about to sign with it, and will hear the same.
        state.spent = state.worked;
        state.worked
    }

    /// The request for a new token.
    ///
    /// # Errors
    /// Which setting can't be sent, or that no token lives long enough.
    pub fn request(&self) -> Result<Request<Bytes>, String> {
        if self.state().unused >= UNUSED {
            return Err(format!(
                "its last {UNUSED} tokens had expired before a request had its turn under the limits: have the server give tokens that live longer"
            ));
        }
        let mut form = Vec::new();
        match &mut self.state().refresh {
            None => form.push(("grant_type", "client_credentials".to_owned())),
            Some(refresh) => {
                let token = refresh.get()?;
                self.secrets.add(token.expose());
                form.push(("grant_type", "refresh_token".to_owned()));
                form.push(("refresh_token", token.expose().to_owned()));
                refresh.sent = Some(token);
            }
        }
        for (name, text) in &self.fields {
            form.push((name, text.get()?.expose().to_owned()));
        }
        let mut request = Request::post(&self.uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        self.identify(&mut request, &mut form)?;
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect();
        *request.body_mut() = pairs.join("&").into();
        Ok(request)
    }

    /// Says who asks; without a secret, the id alone among the fields.
    fn identify(
        &self,
        request: &mut Request<Bytes>,
        form: &mut Vec<(&'static str, String)>,
    ) -> Result<(), String> {
        let id = self.client_id.get()?.expose().to_owned();
        let secret = self
            .client_secret
            .as_ref()
            .map(StaticValue::get)
            .transpose()?;
        match (secret, self.client_in) {
            (Some(secret), ClientIn::Basic) => {
                let pair = format!(
                    "{}:{}",
                    percent_encode(&id),
                    percent_encode(secret.expose())
                );
                self.secrets.add(&pair);
                let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
                add(request.headers_mut(), &AUTHORIZATION, &value)?;
            }
            (secret, _) => {
                form.push(("client_id", id));
                form.extend(secret.map(|secret| ("client_secret", secret.expose().to_owned())));
            }
        }
        Ok(())
    }

    /// Keeps other runs from using the refresh token of the same file while a token is
    /// fetched; none if another run does just now.
    ///
    /// # Errors
    /// Why the file can't be locked.
    pub fn hold(&self) -> Result<Option<RefreshLock>, String> {
        match self.token_file(TokenFile::hold) {
            None => Ok(Some(RefreshLock(None))),
            Some(held) => Ok(held?.map(|file| RefreshLock(Some(file)))),
        }
    }

    /// The file of the refresh token for people, if it has one.
    #[must_use]
    pub fn refresh_path(&self) -> Option<String> {
        self.token_file(|file| file.path().display().to_string())
    }

    /// Why a new refresh token would be lost, if so.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self.state().refresh.as_ref().map(|it| &it.place)? {
            RefreshPlace::File(file) => file.note(),
            RefreshPlace::Job(_) => Some(
                "if the server gives a new refresh token with each access token, it is lost when the run ends, and the next run is locked out: auth.refresh-token = \"file:PATH\" (--auth) reads it from a file, and keeps the new one there".into(),
            ),
        }
    }

    /// Why a new refresh token is lost when this run ends, if so.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    fn token_file<T>(&self, of: impl FnOnce(&TokenFile) -> T) -> Option<T> {
        match self.state().refresh.as_ref().map(|it| &it.place) {
            Some(RefreshPlace::File(file)) => Some(of(file)),
            _ => None,
        }
    }

    /// Takes the server's answer that came at `now`.
    ///
    /// # Errors
    /// Why it holds no token, and what to do.
    pub fn accept(&self, body: &[u8], now: Instant) -> Result<(), String> {
        let granted = Granted::read(body)?;
        self.secrets.add(&granted.access);
        let mut state = self.state();
        if let Some(given) = granted.refresh {
            self.secrets.add(&given);
            // It is kept before the access token that came with it is of use.
            let kept = match &mut state.refresh {
                Some(refresh) => refresh.keep(Secret::new(given)),
                None => Ok(()),
            };
            state.lost = kept.err();
        }
        let life = granted.life?;
        state.token = Some(Token {
            text: Secret::new(granted.access),
            // A time that no clock can show never comes.
            until: life.and_then(|life| now.checked_add(life - MARGIN.min(life / 5))),
        });
        state.edition += 1;
        state.unused += 1;
        state.worked = false;
        state.spent = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refresh {
    fn build(part: &SchemeSettings<'_>, text: &str) -> Result<Refresh, Error> {
        const KEY: &str = "refresh-token";
        let place = match TokenFile::of(text).map_err(|why| wrong(KEY, why))? {
            Some(file) => {
                let token = file.read().map_err(|why| wrong(KEY, why))?;
                part.known.vault.secrets().add(token.expose());
                RefreshPlace::File(file)
            }
            None => RefreshPlace::Job(part.hidden(KEY, text)?),
        };
        Ok(Refresh {
            place,
            given: None,
            sent: None,
        })
    }

    /// The current one. In a file it may be another run's.
    fn get(&self) -> Result<Secret, String> {
        match (&self.given, &self.place) {
            (Some(given), _) => Ok(given.clone()),
            (None, RefreshPlace::Job(text)) => text.get(),
            (None, RefreshPlace::File(file)) => {
                let token = file.read();
                token.map_err(|why| format!("auth.refresh-token (--auth): {why}"))
            }
        }
    }

    /// The server gave this one. The error is why it is lost when the run ends.
    fn keep(&mut self, given: Secret) -> Result<(), String> {
        if self.given.is_none() && self.sent.as_ref() == Some(&given) {
            return Ok(());
        }
        const LOST: &str = "the server gave a new refresh token, which is lost now that the run has ended: log in anew for the next run";
        let kept = match &self.place {
            RefreshPlace::Job(_) => Err(format!(
                "{LOST}, and give auth.refresh-token = \"file:PATH\" (--auth), which keeps new ones"
            )),
            RefreshPlace::File(file) => file
                .replace(given.expose())
                .map_err(|why| format!("{LOST}; {why}")),
        };
        self.given = kept.is_err().then_some(given);
        kept
    }
}

impl Scheme for Tokens {
    fn adds(&self) -> Vec<String> {
        vec![AUTHORIZATION.to_string()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        let mut state = self.state();
        state.unused = 0;
        let token = state.token.as_ref().ok_or("there is no token")?;
        let value = format!("Bearer {}", token.text.expose());
        set(request.headers_mut(), &AUTHORIZATION, &value)
    }

    fn tokens(&self) -> Option<&Tokens> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::render::RenderContext;

    fn scheme(extra: Value) -> Box<dyn Scheme> {
        let mut settings = serde_json::json!({
            "kind": "oauth2", "token-url": "https://login.h/token", "client-id": "me",
            "client-secret": "{{ env.SECRET }}",
        });
        settings
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let known = RenderContext {
            environment: &|_| Some("p&ss".into()),
            vault: &Arc::default(),
        };
        super::super::scheme(settings.as_object().unwrap(), &known).unwrap()
    }

    fn answer(token: &str, seconds: u64) -> Vec<u8> {
        let answer = serde_json::json!({"access_token": token, "expires_in": seconds, "refresh_token": "next"});
        answer.to_string().into_bytes()
    }

    #[test]
    fn a_token_is_asked_for_as_the_server_wants_it() {
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
            let found = request
                .headers()
                .get(AUTHORIZATION)
                .map(|value| value.to_str().unwrap());
            assert_eq!(found, header);
        }
    }

    #[test]
    fn a_token_lasts_a_little_less_than_the_server_says() {
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
    fn a_token_that_never_worked_is_not_fetched_again_and_again() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        tokens.accept(&answer("t1", 3600), now).unwrap();
        let first = tokens.edition();
        assert!(!tokens.refused(first) && tokens.is_fresh(now));
        tokens.worked(first);
        assert!(tokens.refused(first) && !tokens.is_fresh(now));
        let mut late = Request::get("https://h").body(Bytes::new()).unwrap();
        scheme.sign(&mut late, SystemTime::now()).unwrap();
        tokens.accept(&answer("t2", 3600), now).unwrap();
        assert!(tokens.refused(first), "another has fetched a new one");
        assert!(!tokens.refused(tokens.edition()));
        assert!(tokens.accept(b"{}", now).is_err());
    }

    #[test]
    fn tokens_that_expire_unused_are_not_fetched_without_end() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let mut request = Request::get("https://h").body(Bytes::new()).unwrap();
        for _ in 0..10 {
            tokens.accept(&answer("t", 1), now).unwrap();
            tokens.request().unwrap();
            scheme.sign(&mut request, SystemTime::now()).unwrap();
        }
        for _ in 0..UNUSED {
            tokens.request().unwrap();
            tokens.accept(&answer("t", 1), now).unwrap();
        }
        let why = tokens.request().unwrap_err();
        assert!(
            why.contains("its last 3 tokens had expired before"),
            "{why}"
        );
    }

    #[test]
    fn a_token_may_live_longer_than_any_clock() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let long = br#"{"access_token": "t", "expires_in": 1e18}"#;
        tokens.accept(long, now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(1_000_000)));
    }
}
