//! The scheme `hmac`: a keyed digest over a message that the job's template makes of a
//! request.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::hash::{Encoding, Hash, hex};
use super::scheme::{Scheme, SchemeSettings, wrong};
use crate::error::Error;
use crate::render::{EscapeContext, StaticValue, Template, Templates};
use crate::row::Fields;

/// The variables of the templates.
const VARIABLES: [&str; 14] = [
    "method",
    "url",
    "path",
    "path_and_query",
    "query",
    "host",
    "body",
    "body_sha256",
    "timestamp",
    "timestamp_ms",
    "date",
    "iso",
    "nonce",
    "signature",
];

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// The secret key.
    key: String,
    /// A template of the text that is signed.
    message: String,
    /// Headers that are added, with `{{ signature }}` in one of them.
    #[serde(default)]
    headers: Map<String, Value>,
    /// Parameters that are added to the URL, with `{{ signature }}` in one of them.
    #[serde(default)]
    query: Map<String, Value>,
    /// The hash function.
    #[serde(default)]
    hash: Hash,
    /// The encoding of the signature.
    #[serde(default)]
    encoding: Encoding,
    /// The encoding of the key; without it, the key is the text itself.
    key_encoding: Option<Encoding>,
}

struct Hmac {
    key: StaticValue,
    key_encoding: Option<Encoding>,
    hash: Hash,
    encoding: Encoding,
    templates: Templates,
    message: Template,
    headers: Vec<(HeaderName, Template)>,
    query: Vec<(String, Template)>,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let mut templates = Templates::new();
    let mut add = |key: &str, context: EscapeContext, value: &Value| {
        let text = value.as_str().ok_or_else(|| wrong(key, "it is not a text"))?;
        templates.add(context, text).map_err(|why| wrong(key, why))
    };
    let message = add("message", EscapeContext::Text, &Value::from(settings.message))?;
    let mut headers = Vec::new();
    for (name, value) in &settings.headers {
        let header = name
            .parse()
            .map_err(|_| wrong("headers", format!("{name} is not the name of a header")))?;
        headers.push((header, add("headers", EscapeContext::Header, value)?));
    }
    let mut query = Vec::new();
    for (name, value) in &settings.query {
        query.push((name.clone(), add("query", EscapeContext::Url, value)?));
    }
    if headers.is_empty() && query.is_empty() {
        return Err(wrong(
            "headers",
            "nothing would carry the signature: give { x-signature = \"{{ signature }}\" }",
        ));
    }
    if let Some(name) =
        templates.used().fields.iter().find(|name| !VARIABLES.contains(&name.as_str()))
    {
        return Err(wrong(
            "message",
            format!("it uses {{{{ {name} }}}}; there are: {}", VARIABLES.join(", ")),
        ));
    }
    templates.set_context(&part.context)?;
    Ok(Box::new(Hmac {
        key: part.hidden("key", &settings.key)?,
        key_encoding: settings.key_encoding,
        hash: settings.hash,
        encoding: settings.encoding,
        templates,
        message,
        headers,
        query,
    }))
}

impl Hmac {
    fn key(&self) -> Result<Vec<u8>, String> {
        let key = self.key.get()?;
        match self.key_encoding {
            None => Ok(key.expose().as_bytes().to_vec()),
            Some(encoding) => encoding
                .decode(key.expose().trim())
                .ok_or_else(|| "auth.key (--auth) is not written as its key-encoding says".into()),
        }
    }
}

impl Scheme for Hmac {
    fn added_names(&self) -> Vec<String> {
        let query = self.query.iter().map(|(name, _)| format!("?{name}"));
        self.headers.iter().map(|(name, _)| name.to_string()).chain(query).collect()
    }

    fn sign(&self, request: &mut Request<Bytes>, at: SystemTime) -> Result<(), String> {
        let mut variables = variables(request, at);
        let message = self.templates.scope(&variables).render(self.message)?;
        let signature = self.hash.sign(&self.key()?, message.as_bytes());
        variables.insert("signature".into(), self.encoding.encode(&signature).into());
        let scope = self.templates.scope(&variables);
        for (name, template) in &self.headers {
            let text = scope.render(*template)?;
            let value = HeaderValue::from_bytes(text.as_bytes());
            let value = value
                .map_err(|_| format!("auth.headers (--auth): {name} holds a control character"))?;
            request.headers_mut().insert(name, value);
        }
        for (name, template) in &self.query {
            let text = scope.render(*template)?;
            *request.uri_mut() = with_query(request.uri(), &format!("{name}={text}"))?;
        }
        Ok(())
    }
}

fn with_query(uri: &Uri, pair: &str) -> Result<Uri, String> {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let text = format!("{uri}{separator}{pair}");
    text.parse().map_err(|error| format!("{text:?} is not a URL: {error}"))
}

/// The values of the variables, all but the signature.
fn variables(request: &Request<Bytes>, at: SystemTime) -> Fields {
    let uri = request.uri();
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let variables = [
        ("method", request.method().to_string()),
        ("url", uri.to_string()),
        ("path", uri.path().to_owned()),
        ("path_and_query", uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()),
        ("query", uri.query().unwrap_or_default().to_owned()),
        ("host", uri.authority().map_or("", |host| host.as_str()).to_owned()),
        ("body", String::from_utf8_lossy(request.body()).into_owned()),
        ("body_sha256", Hash::Sha256.hex(request.body())),
        ("timestamp", since.as_secs().to_string()),
        ("timestamp_ms", since.as_millis().to_string()),
        ("date", httpdate::fmt_http_date(at)),
        ("iso", humantime::format_rfc3339_seconds(at).to_string()),
        ("nonce", hex(&rand::random::<[u8; 16]>())),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::signed;
    use super::*;

    const SOME_TIME: Duration = Duration::from_millis(1_700_000_000_123);

    #[test]
    fn the_template_decides_the_message_and_the_place_of_the_signature() {
        let settings = serde_json::json!({
            "kind": "hmac", "key": "{{ env.KEY }}", "hash": "sha512", "encoding": "base64",
            "message": "{{ timestamp }}{{ method }}{{ path_and_query }}{{ body }}",
            "headers": {"x-time": "{{ timestamp }}", "x-sign": "v1={{ signature }}"},
            "query": {"t": "{{ timestamp_ms }}"},
        });
        let request = signed(settings, SystemTime::UNIX_EPOCH + SOME_TIME).unwrap();
        let expected = Hash::Sha512.sign(b"s3cret", b"1700000000POST/a?b=cbody");
        let expected = format!("v1={}", Encoding::Base64.encode(&expected));
        assert_eq!(request.headers()["x-sign"], expected);
        assert_eq!(request.headers()["x-time"], "1700000000");
        assert_eq!(request.uri(), "https://h/a?b=c&t=1700000000123");
    }

    #[test]
    fn a_wrong_key_is_named() {
        for (settings, why) in [
            (
                serde_json::json!({"kind": "hmac", "key": "k", "message": "{{ id }}", "headers": {"a": "b"}}),
                "it uses {{ id }}; there are: method, url",
            ),
            (
                serde_json::json!({"kind": "hmac", "key": "k", "message": "m"}),
                "nothing would carry the signature",
            ),
            (
                serde_json::json!({"kind": "hmac", "key": "zz", "key-encoding": "hex", "message": "m", "headers": {"a": "b"}}),
                "not written as its key-encoding says",
            ),
        ] {
            let error = signed(settings, SystemTime::UNIX_EPOCH).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
