//! The scheme `basic`: a user and a password (RFC 7617).

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use super::scheme::{Scheme, SchemeSettings, set_secret, wrong};
use crate::error::Error;
use crate::render::StaticValue;
use crate::secret::Secrets;

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The user's name.
    user: String,
    /// The user's password.
    #[serde(default)]
    password: String,
}

struct Basic {
    user: StaticValue,
    password: StaticValue,
    secrets: Secrets,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let basic = Basic {
        user: part.plain("user", &settings.user)?,
        password: part.hidden("password", &settings.password)?,
        secrets: part.context.vault.secrets().clone(),
    };
    let pair = basic.pair().map_err(|why| wrong("user", why))?;
    basic.secrets.add(&pair);
    Ok(Box::new(basic))
}

impl Basic {
    fn pair(&self) -> Result<String, String> {
        let (user, password) = (self.user.get()?, self.password.get()?);
        if user.expose().contains(':') {
            Err("a user's name can't contain a colon".into())
        } else {
            Ok(format!("{}:{}", user.expose(), password.expose()))
        }
    }
}

impl Scheme for Basic {
    fn added_names(&self) -> Vec<String> {
        vec![AUTHORIZATION.to_string()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        let value = format!("Basic {}", BASE64_STANDARD.encode(self.pair()?));
        set_secret(request.headers_mut(), &AUTHORIZATION, &value)
    }
}
