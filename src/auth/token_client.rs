//! The request for a token: client credentials, or a refresh token (RFC 6749).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;

use crate::render::{StaticValue, percent_encode};
use crate::secret::{Secret, Secrets};

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
