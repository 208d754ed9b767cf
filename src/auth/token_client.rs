//! The request for a token, and the server's answer (RFC 6749). Pure.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::extract::{self, AnswerContext};
use crate::render::{StaticValue, percent_encode};
use crate::secret::{Secret, Secrets};

/// Maximum number of characters of an error's description in a message.
const MAX_CHARS: usize = 200;

/// The part of a token request that holds the client's id and secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientIn {
    /// An `Authorization: Basic` header.
    #[default]
    Basic,
    /// Fields of the form.
    Body,
}

/// A client of a token server.
pub struct TokenClient {
    /// The URL of the token server.
    pub uri: Uri,
    pub id: StaticValue,
    pub secret: Option<StaticValue>,
    pub client_in: ClientIn,
    /// Further fields of the form.
    pub fields: Vec<(&'static str, StaticValue)>,
    /// The texts that are hidden.
    pub secrets: Secrets,
}

impl TokenClient {
    /// The request for a token.
    ///
    /// # Errors
    /// Which setting can't be sent.
    pub fn request(&self, refresh_token: Option<&Secret>) -> Result<Request<Bytes>, String> {
        let mut form = Vec::new();
        match refresh_token {
            None => form.push(("grant_type", "client_credentials".to_owned())),
            Some(token) => {
                self.secrets.add(token.expose());
                form.push(("grant_type", "refresh_token".to_owned()));
                form.push(("refresh_token", token.expose().to_owned()));
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
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        *request.body_mut() = pairs.join("&").into();
        Ok(request)
    }

    /// Adds the client's id and secret; without a secret, the id as a field.
    fn identify(
        &self,
        request: &mut Request<Bytes>,
        form: &mut Vec<(&'static str, String)>,
    ) -> Result<(), String> {
        let id = self.id.get()?.expose().to_owned();
        let secret = self.secret.as_ref().map(StaticValue::get).transpose()?;
        match (secret, self.client_in) {
            (Some(secret), ClientIn::Basic) => {
                let secret = percent_encode(secret.expose());
                let pair = format!("{}:{secret}", percent_encode(&id));
                self.secrets.add(&pair);
                let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
                let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                request.headers_mut().append(AUTHORIZATION, value);
            }
            (secret, _) => {
                form.push(("client_id", id));
                form.extend(secret.map(|secret| ("client_secret", secret.expose().to_owned())));
            }
        }
        Ok(())
    }
}

/// A token server's answer that holds a token.
#[derive(PartialEq, Eq)]
pub struct TokenResponse {
    pub access_token: String,
    /// The refresh token for the next request, if there is a new one.
    pub refresh_token: Option<String>,
    /// The lifetime of the access token, if the answer states it; the error is that it
    /// has expired already.
    pub lifetime: Result<Option<Duration>, String>,
}

impl TokenResponse {
    /// Parses an answer: JSON, or a form, as servers sent it before RFC 6749.
    ///
    /// # Errors
    /// Why it holds no token, and what to do.
    pub fn read(body: &[u8]) -> Result<TokenResponse, String> {
        let answer = parse(body)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let Some(access) = text("access_token").filter(|token| !token.is_empty()) else {
            return Err(refused(&answer));
        };
        HeaderValue::from_str(access).map_err(
            |_| "its access_token can't be sent in a header: check auth.token-url (--auth)",
        )?;
        Ok(TokenResponse {
            lifetime: lifetime(&answer),
            access_token: access.to_owned(),
            refresh_token: text("refresh_token")
                .filter(|token| !token.is_empty())
                .map(str::to_owned),
        })
    }
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    let text = extract::text(body, &AnswerContext::default());
    let text = text.map_err(|failure| failure.detail)?;
    let why = match serde_json::from_str(&text) {
        Ok(Value::Object(answer)) => return Ok(answer),
        Ok(_) => "it is no JSON object".to_owned(),
        Err(error) => format!("it is not JSON: {error}"),
    };
    let form: Map<String, Value> = url::form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), value.into()))
        .collect();
    if form.contains_key("access_token") || form.contains_key("error") {
        Ok(form)
    } else {
        Err(format!("{why}: check auth.token-url (--auth)"))
    }
}

/// The error of an answer without a token, and the key to check.
fn refused(answer: &Map<String, Value>) -> String {
    let error = match answer.get("error") {
        None | Some(Value::Null) => {
            return "it has no access_token: check auth.token-url (--auth)".to_owned();
        }
        Some(Value::String(error)) => error.clone(),
        Some(other) => other.to_string(),
    };
    let described = answer.get("error_description").and_then(Value::as_str);
    let described = described.map_or_else(String::new, |text| format!(" ({})", shortened(text)));
    let advice = match error.as_str() {
        "invalid_client" | "unauthorized_client" => {
            ": check auth.client-id and auth.client-secret (--auth)"
        }
        "invalid_grant" => {
            ": auth.refresh-token (--auth) has expired, was revoked, or was used by another program, which has the new one"
        }
        "invalid_scope" => ": check auth.scope (--auth)",
        _ => "",
    };
    format!("it says {}{described}{advice}", shortened(&error))
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

/// The lifetime in seconds, which some servers write as a text.
fn lifetime(answer: &Map<String, Value>) -> Result<Option<Duration>, String> {
    let Some(expires_in) = answer.get("expires_in") else {
        return Ok(None);
    };
    let seconds = match expires_in {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    match seconds {
        Some(seconds) if seconds <= 0.0 => Err(format!(
            "its token is dead on arrival: expires_in is {}: have the server give tokens that live longer, or send a token of your own with auth.kind = \"bearer\"",
            shortened(&expires_in.to_string())
        )),
        // A time beyond the range of the clock never comes.
        seconds => Ok(seconds.and_then(|it| Duration::try_from_secs_f64(it).ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(expires_in: &str) -> Result<Option<f64>, String> {
        let answer = format!(r#"{{"access_token": "t", "expires_in": {expires_in}}}"#);
        let response = TokenResponse::read(answer.as_bytes())?;
        Ok(response.lifetime?.map(|life| life.as_secs_f64()))
    }

    #[test]
    fn a_lifetime_is_parsed_in_each_spelling() {
        for (written, seconds) in [
            ("3600", Some(3600.0)),
            ("\"3600\"", Some(3600.0)),
            ("\" 5 \"", Some(5.0)),
            ("0.5", Some(0.5)),
            ("1e15", Some(1e15)),
            // Longer than any clock.
            ("1e300", None),
            ("\"inf\"", None),
            ("\"NaN\"", None),
            ("null", None),
            ("\"soon\"", None),
            ("{}", None),
        ] {
            assert_eq!(life(written), Ok(seconds), "{written}");
        }
        assert!(
            TokenResponse::read(b"{\"access_token\": \"t\"}")
                .is_ok_and(|it| it.lifetime == Ok(None))
        );
    }

    #[test]
    fn a_token_that_has_expired_on_arrival_is_an_error() {
        for written in ["0", "-1", "\"0\"", "-0.0", "-1e300", "\"-inf\""] {
            let why = life(written).unwrap_err();
            let why_so = "its token is dead on arrival: expires_in is ";
            assert!(why.starts_with(why_so), "{written}: {why}");
        }
    }

    #[test]
    fn a_form_is_parsed_too() {
        let form = b"access_token=a%2Bb&token_type=bearer&expires_in=3600&refresh_token=r";
        let response = TokenResponse::read(form).ok().unwrap();
        assert_eq!(response.access_token, "a+b");
        assert_eq!(response.refresh_token.as_deref(), Some("r"));
        assert_eq!(response.lifetime, Ok(Some(Duration::from_secs(3600))));
        let why = TokenResponse::read(b"error=invalid_scope").err().unwrap();
        assert_eq!(why, "it says invalid_scope: check auth.scope (--auth)");
    }

    #[test]
    fn an_answer_without_a_token_is_an_error() {
        for (answer, why) in [
            (
                r#"{"error": "invalid_grant", "error_description": "Token has been revoked."}"#,
                "it says invalid_grant (Token has been revoked.): auth.refresh-token",
            ),
            (r#"{"error": {"code": 7}}"#, r#"it says {"code":7}"#),
            (r#"{"error": null, "data": {}}"#, "it has no access_token"),
            (r#"{"access_token": ""}"#, "it has no access_token"),
            (r#"{"access_token": "a\nb"}"#, "can't be sent in a header"),
            ("<html>", "it is not JSON: expected value"),
            ("[]", "it is no JSON object"),
            ("", "it is not JSON"),
        ] {
            let said = TokenResponse::read(answer.as_bytes()).err().unwrap();
            assert!(said.starts_with(why) || said.contains(why), "{said}");
        }
    }
}
