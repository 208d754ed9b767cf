//! A token server's answer (RFC 6749), as servers give it. Pure.

use std::time::Duration;

use http::header::HeaderValue;
use serde_json::{Map, Value};

use crate::extract::{self, AnswerContext};
use crate::record::excerpt;

/// Maximum number of characters of an error's description in a message.
const MAX_CHARS: usize = 200;

/// Maximum number of characters of an answer that is not understood, in a message.
const MAX_START: usize = 80;

/// Maximum number of objects around the object that has the token.
const MAX_DEPTH: usize = 3;

/// The names of a token, of its lifetime and of a refresh token.
const ACCESS: [&str; 2] = ["access_token", "accessToken"];
const LIFETIME: [&str; 2] = ["expires_in", "expiresIn"];
const REFRESH: [&str; 2] = ["refresh_token", "refreshToken"];

/// The names of an error, and of the words that explain it.
const ERROR: [&str; 3] = ["error", "errors", "error_code"];
const DESCRIPTION: [&str; 4] = ["error_description", "errorDescription", "message", "detail"];

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
        let Some(holder) = holder(&answer, &ACCESS, MAX_DEPTH) else {
            return Err(refused(&answer));
        };
        let text = |names: &[&str]| {
            let found = named(holder, names).or_else(|| named(&answer, names));
            found.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = || named(holder, &ACCESS).filter(|token| token.is_number());
        let token = text(&ACCESS).or_else(|| number().map(Value::to_string));
        let access_token =
            token.ok_or("its access_token is no text: check auth.token-url (--auth)")?;
        HeaderValue::from_str(&access_token).map_err(
            |_| "its access_token can't be sent in a header: check auth.token-url (--auth)",
        )?;
        let lifetime_of = named(holder, &LIFETIME).or_else(|| named(&answer, &LIFETIME));
        Ok(TokenResponse {
            lifetime: lifetime_of.map_or(Ok(None), lifetime),
            access_token,
            refresh_token: text(&REFRESH),
        })
    }

    /// The error that an answer with a failing status holds, and the key to check; none if it
    /// holds none.
    pub fn error(body: &str) -> Option<String> {
        let answer = parse(body.as_bytes()).ok()?;
        holder(&answer, &ERROR, MAX_DEPTH)
            .or_else(|| holder(&answer, &DESCRIPTION, MAX_DEPTH))
            .map(|_| refused(&answer))
    }
}

/// The object that has a value of one of these names: the answer itself, or one within it, such
/// as `data`.
fn holder<'a>(
    answer: &'a Map<String, Value>,
    names: &[&str],
    depth: usize,
) -> Option<&'a Map<String, Value>> {
    if named(answer, names).is_some() {
        return Some(answer);
    }
    let inner = answer.values().filter_map(Value::as_object);
    inner.filter(|_| depth > 0).find_map(|inner| holder(inner, names, depth - 1))
}

/// The first value with one of these names that says anything.
fn named<'a>(answer: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let is_something =
        |value: &&Value| !matches!(value, Value::Null | Value::Bool(false)) && *value != "";
    names.iter().find_map(|name| answer.get(*name).filter(is_something))
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    let text = extract::text(body, &AnswerContext::default());
    let text = text.map_err(|failure| failure.detail)?;
    let why = match serde_json::from_str(&text) {
        Ok(Value::Object(answer)) => return Ok(answer),
        Ok(_) => "it is no JSON object".to_owned(),
        Err(error) => {
            let start = excerpt(&text, MAX_START);
            format!("it is not JSON: {error}; it begins {start:?}")
        }
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
    let value = |names: &[&str]| holder(answer, names, MAX_DEPTH).and_then(|it| named(it, names));
    let described = value(&DESCRIPTION).map(words);
    let Some(error) = value(&ERROR).map(words) else {
        return match described {
            Some(message) => format!("it has no access_token, and says {}", shortened(&message)),
            None => {
                format!(
                    "it has no access_token{}: check auth.token-url (--auth), or take a token of another name by a login ([[before]])",
                    names_of(answer)
                )
            }
        };
    };
    let described = described.filter(|text| *text != error);
    let described = described.map_or_else(String::new, |text| format!(" ({})", shortened(&text)));
    let advice = match error.as_str() {
        "invalid_client" | "unauthorized_client" => {
            ": check auth.client-id and auth.client-secret (--auth)"
        }
        "invalid_grant" => {
            ": the refresh token, the password or the assertion (auth.refresh-token, auth.password, auth.private-key or --auth) is wrong, has expired or was revoked, or another program has used it and has the new one"
        }
        "invalid_scope" => ": check auth.scope (--auth)",
        "unsupported_grant_type" => ": check auth.grant (--auth)",
        _ => "",
    };
    format!("it says {}{described}{advice}", shortened(&error))
}

/// A text as it is, and anything else as JSON.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names of an answer's values, which may themselves be secrets.
fn names_of(answer: &Map<String, Value>) -> String {
    let names = answer.keys().map(String::as_str);
    let names: Vec<&str> = names.filter(|name| !ACCESS.contains(name)).collect();
    if names.is_empty() { String::new() } else { format!(", but {}", shortened(&names.join(", "))) }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

/// The lifetime in seconds, which some servers write as a text.
fn lifetime(expires_in: &Value) -> Result<Option<Duration>, String> {
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
    fn a_token_is_found_within_other_objects() {
        for answer in [
            r#"{"data": {"access_token": "t", "expires_in": 60, "refresh_token": "r"}}"#,
            r#"{"error": null, "result": {"auth": {"accessToken": "t", "refreshToken": "r"}}, "expires_in": 60}"#,
            r#"{"error": false, "access_token": "t", "expiresIn": "60", "refresh_token": "r"}"#,
        ] {
            let response = TokenResponse::read(answer.as_bytes()).ok().unwrap();
            assert_eq!(response.access_token, "t", "{answer}");
            assert_eq!(response.refresh_token.as_deref(), Some("r"), "{answer}");
            assert_eq!(response.lifetime, Ok(Some(Duration::from_secs(60))), "{answer}");
        }
        let deep = r#"{"a": {"b": {"c": {"d": {"access_token": "t"}}}}}"#;
        assert!(TokenResponse::read(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_error_of_a_failing_answer_is_shown() {
        let error = |body| TokenResponse::error(body);
        let told = error(r#"{"error": "access_denied", "error_description": "Locked"}"#);
        assert_eq!(told.as_deref(), Some("it says access_denied (Locked)"));
        assert_eq!(error("<html>"), None);
        assert_eq!(error("{}"), None);
    }

    #[test]
    fn a_token_may_be_a_number() {
        let response = TokenResponse::read(br#"{"access_token": 12345678901}"#).ok().unwrap();
        assert_eq!(response.access_token, "12345678901");
    }

    #[test]
    fn an_answer_without_a_token_is_an_error() {
        for (answer, why) in [
            (
                r#"{"error": "invalid_grant", "error_description": "Token has been revoked."}"#,
                "it says invalid_grant (Token has been revoked.): the refresh token, the password",
            ),
            (r#"{"error": {"code": 7}}"#, r#"it says {"code":7}"#),
            (r#"{"error": null, "data": {}}"#, "it has no access_token, but error, data: check"),
            (r#"{"access_token": null, "id": 1}"#, "it has no access_token, but id: check"),
            (r#"{"access_token": {"a": 1}}"#, "its access_token is no text"),
            (r#"{"token": "t"}"#, "or take a token of another name by a login ([[before]])"),
            (
                r#"{"success": false, "message": "Bad key"}"#,
                "it has no access_token, and says Bad key",
            ),
            (r#"{"data": {"error": "locked"}}"#, "it says locked"),
            (r#"{"access_token": ""}"#, "it has no access_token"),
            (r#"{"access_token": "a\nb"}"#, "can't be sent in a header"),
            ("<html>", "it is not JSON: expected value at line 1 column 1; it begins \"<html>\""),
            ("[]", "it is no JSON object"),
            ("", "it is not JSON"),
        ] {
            let said = TokenResponse::read(answer.as_bytes()).err().unwrap();
            assert!(said.starts_with(why) || said.contains(why), "{said}");
        }
    }
}
