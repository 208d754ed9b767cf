//! The scheme `sigv4`: AWS Signature Version 4.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName, HeaderValue, USER_AGENT};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::hash::{Hash, hex};
use super::scheme::{Scheme, SchemeSettings, set_secret};
use crate::error::Error;
use crate::render::{StaticValue, percent_encode};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// The service, such as `s3`.
    service: String,
    /// The region.
    #[serde(default = "region")]
    region: String,
    /// The id of the access key.
    #[serde(default = "access_key")]
    access_key: String,
    /// The secret access key.
    #[serde(default = "secret_key")]
    secret_key: String,
    /// The token of a temporary session.
    session_token: Option<String>,
}

fn region() -> String {
    "{{ env.AWS_REGION }}".into()
}

fn access_key() -> String {
    "{{ env.AWS_ACCESS_KEY_ID }}".into()
}

fn secret_key() -> String {
    "{{ env.AWS_SECRET_ACCESS_KEY }}".into()
}

struct SigV4 {
    service: StaticValue,
    region: StaticValue,
    access_key: StaticValue,
    secret_key: StaticValue,
    session_token: Option<StaticValue>,
}

/// The parameters of one signature.
struct Signing<'a> {
    /// The time, such as `20150830T123600Z`.
    time: &'a str,
    region: &'a str,
    service: &'a str,
    access_key: &'a str,
    secret_key: &'a str,
    path_encoding: PathEncoding,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let mut settings: Settings = part.read()?;
    let from_environment = (part.context.environment)("AWS_SESSION_TOKEN").is_some()
        && settings.access_key == access_key();
    if settings.session_token.is_none() && from_environment {
        settings.session_token = Some("{{ env.AWS_SESSION_TOKEN }}".into());
    }
    Ok(Box::new(SigV4 {
        service: part.plain("service", &settings.service)?,
        region: part.plain("region", &settings.region)?,
        access_key: part.plain("access-key", &settings.access_key)?,
        secret_key: part.hidden("secret-key", &settings.secret_key)?,
        session_token: part.hidden_if("session-token", settings.session_token.as_ref())?,
    }))
}

impl Scheme for SigV4 {
    fn added_names(&self) -> Vec<String> {
        let token = self.session_token.as_ref().map(|_| TOKEN.to_string());
        let always = [AUTHORIZATION, DATE, CONTENT].map(|name| name.to_string());
        always.into_iter().chain(token).collect()
    }

    fn sign(&self, request: &mut Request<Bytes>, at: SystemTime) -> Result<(), String> {
        let (service, region) = (self.service.get()?, self.region.get()?);
        let (access_key, secret_key) = (self.access_key.get()?, self.secret_key.get()?);
        if let Some(token) = &self.session_token {
            set_secret(request.headers_mut(), &TOKEN, token.get()?.expose())?;
        }
        let digest = Hash::Sha256.hex(request.body());
        set_secret(request.headers_mut(), &CONTENT, &digest)?;
        let signing = Signing {
            time: &timestamp(at),
            region: region.expose(),
            service: service.expose(),
            access_key: access_key.expose(),
            secret_key: secret_key.expose(),
            path_encoding: PathEncoding::of(service.expose()),
        };
        signing.sign(request)
    }
}

impl Signing<'_> {
    /// Adds the time and the signature to a request.
    fn sign(&self, request: &mut Request<Bytes>) -> Result<(), String> {
        set_secret(request.headers_mut(), &DATE, self.time)?;
        let signature = self.signature(&canonical(request, self.path_encoding));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.access_key,
            self.scope(),
            signed_names(request).join(";"),
        );
        let value = HeaderValue::from_str(&value)
            .map_err(|_| "auth.access-key (--auth) holds a control character")?;
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    fn signature(&self, canonical: &str) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.time,
            self.scope(),
            Hash::Sha256.hex(canonical.as_bytes())
        );
        let start = format!("AWS4{}", self.secret_key).into_bytes();
        let key = [self.day(), self.region, self.service, "aws4_request"]
            .iter()
            .fold(start, |key, part| Hash::Sha256.sign(&key, part.as_bytes()));
        hex(&Hash::Sha256.sign(&key, text.as_bytes()))
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }

    fn day(&self) -> &str {
        self.time.get(..8).unwrap_or_default()
    }
}

fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string().replace(['-', ':'], "")
}

/// The encoding of a path in the canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PathEncoding {
    /// Whether `.`, `..` and empty segments are resolved first.
    normalize: bool,
    /// Whether the percent-encoded path is encoded once more.
    encode_twice: bool,
}

impl PathEncoding {
    /// The encoding of a service: S3 takes paths unchanged, all others normalised.
    fn of(service: &str) -> PathEncoding {
        let is_storage = service == "s3";
        PathEncoding { normalize: !is_storage, encode_twice: !is_storage }
    }
}

/// The canonical request.
fn canonical(request: &Request<Bytes>, paths: PathEncoding) -> String {
    let headers: Vec<String> = signed_names(request)
        .iter()
        .map(|name| format!("{name}:{}\n", value(request, name)))
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method(),
        path(request.uri().path(), paths),
        query(request.uri().query().unwrap_or_default()),
        headers.concat(),
        signed_names(request).join(";"),
        Hash::Sha256.hex(request.body()),
    )
}

/// The names of the signed headers: all but those that throng or a proxy may change
/// later.
fn signed_names(request: &Request<Bytes>) -> Vec<String> {
    let changing = [AUTHORIZATION, USER_AGENT, ACCEPT_ENCODING];
    let own = request.headers().keys().filter(|name| !changing.contains(name));
    let mut names: Vec<String> = own.map(HeaderName::to_string).collect();
    if !request.headers().contains_key(HOST) {
        names.push(HOST.to_string());
    }
    names.sort();
    names
}

fn value(request: &Request<Bytes>, name: &str) -> String {
    let values = request.headers().get_all(name);
    let values: Vec<String> = values
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    if values.is_empty() {
        request.uri().authority().map_or_else(String::new, ToString::to_string)
    } else {
        values.join(",")
    }
}

fn path(path: &str, paths: PathEncoding) -> String {
    let path = if paths.normalize { Cow::Owned(normalize(path)) } else { Cow::Borrowed(path) };
    let segment = |segment: &str| {
        if paths.encode_twice { percent_encode(segment) } else { recode(segment) }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn normalize(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recode(name), recode(value)))
        .collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// The text in strict percent-encoding, however it was encoded before.
fn recode(text: &str) -> String {
    percent_encode(&percent_decode_str(text).decode_utf8_lossy())
}

#[cfg(test)]
mod tests;
