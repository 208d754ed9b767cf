//! The scheme `bearer`: a token (RFC 6750).

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use super::scheme::{Scheme, SchemeSettings, set_secret};
use crate::error::Error;
use crate::render::StaticValue;

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The token, which is a secret.
    token: String,
}

struct Bearer {
    token: StaticValue,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    Ok(Box::new(Bearer { token: part.hidden("token", &settings.token)? }))
}

impl Scheme for Bearer {
    fn added_names(&self) -> Vec<String> {
        vec![AUTHORIZATION.to_string()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        let value = format!("Bearer {}", self.token.get()?.expose());
        set_secret(request.headers_mut(), &AUTHORIZATION, &value)
    }
}
