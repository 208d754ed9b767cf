//! The request for a token (RFC 6749). Pure.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::assertion::Assertion;
use crate::render::{StaticValue, percent_encode};
use crate::secret::{RotatingSecrets, Secret, Secrets};

/// The part of a token request that holds the client's id and secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ClientIn {
    /// An `Authorization: Basic` header.
    #[default]
    Basic,
    /// Fields of the body.
    Body,
}

/// The encoding of a token request's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TokenBody {
    /// `application/x-www-form-urlencoded`, as RFC 6749 says.
    #[default]
    Form,
    /// A JSON object of texts.
    Json,
}

/// The proof that a client gives for a token, if it has no refresh token.
pub enum Grant {
    /// The client's own id and secret.
    ClientCredentials,
    /// A user's name and password.
    Password { username: StaticValue, password: StaticValue },
    /// A signed assertion (RFC 7523).
    JwtBearer(Box<Assertion>),
}

/// Maximum number of texts of each kind that are hidden: they are replaced as long as a run
/// lasts.
const MAX_HIDDEN: usize = 16;

/// What a client and a token server send each other, of which the latest is hidden.
pub struct TokenSecrets {
    pub access: RotatingSecrets,
    pub refresh: RotatingSecrets,
    pub assertions: RotatingSecrets,
}

/// A client of a token server.
pub struct TokenClient {
    /// The URL of the token server.
    pub uri: Uri,
    pub grant: Grant,
    pub id: Option<StaticValue>,
    pub secret: Option<StaticValue>,
    pub client_in: ClientIn,
    pub body: TokenBody,
    /// Further fields of the body.
    pub fields: Vec<(String, StaticValue)>,
    /// The texts that are hidden.
    pub secrets: Secrets,
    /// The texts that are hidden until they are replaced.
    pub rotating: TokenSecrets,
}

/// The names and values of a request's body, in their order.
type BodyFields = Map<String, Value>;

impl TokenSecrets {
    pub fn new(secrets: &Secrets) -> TokenSecrets {
        TokenSecrets {
            access: secrets.rotating(MAX_HIDDEN),
            refresh: secrets.rotating(MAX_HIDDEN),
            assertions: secrets.rotating(MAX_HIDDEN),
        }
    }
}

impl TokenClient {
    /// The request for a token at this time.
    ///
    /// # Errors
    /// Which setting can't be sent.
    pub fn request(
        &self,
        refresh_token: Option<&Secret>,
        now: SystemTime,
    ) -> Result<Request<Bytes>, String> {
        let mut fields = match refresh_token {
            None => self.grant.fields(&self.rotating.assertions, now)?,
            Some(token) => {
                self.rotating.refresh.add(token.expose());
                of_pairs([("grant_type", "refresh_token"), ("refresh_token", token.expose())])
            }
        };
        for (name, text) in &self.fields {
            fields.insert(name.clone(), text.get()?.expose().into());
        }
        let kind = match self.body {
            TokenBody::Form => "application/x-www-form-urlencoded",
            TokenBody::Json => "application/json",
        };
        let mut request = Request::post(&self.uri)
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        self.identify(&mut request, &mut fields)?;
        *request.body_mut() = self.body.encode(fields).into();
        Ok(request)
    }

    /// Adds the client's id and secret; without a secret, the id as a field.
    fn identify(
        &self,
        request: &mut Request<Bytes>,
        fields: &mut BodyFields,
    ) -> Result<(), String> {
        let Some(id) = &self.id else { return Ok(()) };
        let id = id.get()?.expose().to_owned();
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
                fields.insert("client_id".to_owned(), id.into());
                let secret = secret.map(|secret| Value::from(secret.expose()));
                fields.extend(secret.map(|secret| ("client_secret".to_owned(), secret)));
            }
        }
        Ok(())
    }
}

impl Grant {
    /// The fields of the body that ask for a token by this proof.
    fn fields(&self, hidden: &RotatingSecrets, now: SystemTime) -> Result<BodyFields, String> {
        Ok(match self {
            Grant::ClientCredentials => of_pairs([("grant_type", "client_credentials")]),
            Grant::Password { username, password } => of_pairs([
                ("grant_type", "password"),
                ("username", username.get()?.expose()),
                ("password", password.get()?.expose()),
            ]),
            Grant::JwtBearer(assertion) => {
                let signed = assertion.sign(now)?;
                hidden.add(&signed);
                of_pairs([
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", &signed),
                ])
            }
        })
    }
}

fn of_pairs<const N: usize>(pairs: [(&str, &str); N]) -> BodyFields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

impl TokenBody {
    fn encode(self, fields: BodyFields) -> String {
        match self {
            TokenBody::Json => Value::Object(fields).to_string(),
            TokenBody::Form => {
                let pairs = fields.iter().map(|(name, value)| {
                    let value = percent_encode(value.as_str().unwrap_or_default());
                    format!("{}={value}", percent_encode(name))
                });
                pairs.collect::<Vec<String>>().join("&")
            }
        }
    }
}
