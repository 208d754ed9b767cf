//! What a token server's answer grants. Pure.

use std::time::Duration;

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::extract::json_text;

/// What a token server's answer grants.
#[derive(PartialEq, Eq)]
pub struct Granted {
    pub access: String,
    /// The refresh token for the next time, if there is another.
    pub refresh: Option<String>,
    /// How long the access token lives, if the answer says so; why it is dead, if it is.
    pub life: Result<Option<Duration>, String>,
}

/// How much of an error's description is shown.
const SNIPPET: usize = 200;

impl Granted {
    /// Reads an answer: JSON, or a form, as servers wrote it before RFC 6749.
    ///
    /// # Errors
    /// Why it grants nothing, and what to do.
    pub fn read(body: &[u8]) -> Result<Granted, String> {
        let answer = parse(body)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let Some(access) = text("access_token").filter(|token| !token.is_empty()) else {
            return Err(refused(&answer));
        };
        HeaderValue::from_str(access).map_err(
            |_| "its access_token can't be sent in a header: check auth.token-url (--auth)",
        )?;
        Ok(Granted {
            life: life(&answer),
            access: access.to_owned(),
            refresh: text("refresh_token")
                .filter(|token| !token.is_empty())
                .map(str::to_owned),
        })
    }
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    let text = json_text(body).map_err(|failure| failure.detail)?;
    let why = match serde_json::from_str(text) {
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

/// What an answer without a token says, and which key to look at.
fn refused(answer: &Map<String, Value>) -> String {
    let error = match answer.get("error") {
        None | Some(Value::Null) => {
            return "it has no access_token: check auth.token-url (--auth)".to_owned();
        }
        Some(Value::String(error)) => error.clone(),
        Some(other) => other.to_string(),
    };
    let described = answer.get("error_description").and_then(Value::as_str);
    let described = described.map_or_else(String::new, |text| format!(" ({})", cut(text)));
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
    format!("it says {}{described}{advice}", cut(&error))
}

fn cut(text: &str) -> String {
    text.chars().take(SNIPPET).collect()
}

/// Seconds, which some servers write as a text.
fn life(answer: &Map<String, Value>) -> Result<Option<Duration>, String> {
    let Some(said) = answer.get("expires_in") else {
        return Ok(None);
    };
    let seconds = match said {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    match seconds {
        Some(seconds) if seconds <= 0.0 => Err(format!(
            "its token is dead on arrival: expires_in is {}: have the server give tokens that live longer, or send a token of your own with auth.kind = \"bearer\"",
            cut(&said.to_string())
        )),
        // What is too long for a clock never ends.
        seconds => Ok(seconds.and_then(|it| Duration::try_from_secs_f64(it).ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(expires_in: &str) -> Result<Option<f64>, String> {
        let answer = format!(r#"{{"access_token": "t", "expires_in": {expires_in}}}"#);
        let granted = Granted::read(answer.as_bytes())?;
        Ok(granted.life?.map(|life| life.as_secs_f64()))
    }

    #[test]
    fn a_life_is_read_however_it_is_written() {
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
        assert!(Granted::read(b"{\"access_token\": \"t\"}").is_ok_and(|it| it.life == Ok(None)));
    }

    #[test]
    fn a_token_that_is_dead_on_arrival_is_an_error() {
        for written in ["0", "-1", "\"0\"", "-0.0", "-1e300", "\"-inf\""] {
            let why = life(written).unwrap_err();
            let why_so = "its token is dead on arrival: expires_in is ";
            assert!(why.starts_with(why_so), "{written}: {why}");
        }
    }

    #[test]
    fn a_form_is_read_too() {
        let form = b"access_token=a%2Bb&token_type=bearer&expires_in=3600&refresh_token=r";
        let granted = Granted::read(form).ok().unwrap();
        assert_eq!(granted.access, "a+b");
        assert_eq!(granted.refresh.as_deref(), Some("r"));
        assert_eq!(granted.life, Ok(Some(Duration::from_secs(3600))));
        let why = Granted::read(b"error=invalid_scope").err().unwrap();
        assert_eq!(why, "it says invalid_scope: check auth.scope (--auth)");
    }

    #[test]
    fn an_answer_that_grants_nothing_says_why() {
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
            let said = Granted::read(answer.as_bytes()).err().unwrap();
            assert!(said.starts_with(why) || said.contains(why), "{said}");
        }
    }
}
