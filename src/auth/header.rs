//! The scheme `header`: an API key in a header.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::HeaderName;
use serde::Deserialize;

use super::scheme::{Scheme, SchemeSettings, set_secret, wrong};
use crate::error::Error;
use crate::render::StaticValue;

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The name of the header.
    name: String,
    /// A template of its value, which is a secret.
    value: String,
}

struct HeaderScheme {
    name: HeaderName,
    /// The name as the job writes it.
    written: String,
    value: StaticValue,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let name = settings.name.parse();
    Ok(Box::new(HeaderScheme {
        written: settings.name.clone(),
        name: name.map_err(|_| wrong("name", "it is not the name of a header"))?,
        value: part.hidden("value", &settings.value)?,
    }))
}

impl Scheme for HeaderScheme {
    fn added_names(&self) -> Vec<String> {
        vec![self.written.clone()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        set_secret(request.headers_mut(), &self.name, self.value.get()?.expose())
    }
}
