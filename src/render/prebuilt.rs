//! Rows that are requests: method, URL, headers and body. Pure.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use serde_json::Value;

use super::headers::is_framing;
use super::hosts::Hosts;
use super::settings::Settings;
use super::url::parse_whole;
use crate::error::Error;
use crate::row::Fields;

/// Fields that a record leaves out, since they may be long or secret.
pub const OMITTED_FIELDS: [&str; 2] = ["headers", "body"];

/// That each row is a request, for messages.
pub const BY_ROW: &str = "with input.format = \"requests\" each row";

/// That a hook makes the requests, for messages.
pub const BY_HOOK: &str = "a hook makes the requests, so each";

/// Renders rows that are requests.
#[derive(Debug)]
pub struct PrebuiltRequest {
    /// Scheme and host for URLs that are only a path.
    base: Option<String>,
    /// The hosts that rows may name.
    pub hosts: Hosts,
}

impl PrebuiltRequest {
    /// Checks that the job gives no key that each request has its own value for, `by` this.
    pub fn new(settings: &Settings, hosts: Hosts, by: &str) -> Result<PrebuiltRequest, Error> {
        let mut given = settings.bodies().into_iter().chain(
            [
                (settings.method.is_some(), "request.method (--method)"),
                (!settings.query.is_empty(), "request.query (--query)"),
            ]
            .into_iter()
            .filter_map(|(is_given, key)| is_given.then_some(key)),
        );
        if let Some(key) = given.next() {
            return Err(Error::plan(format!("{key} is given, but {by} has its own: remove it")));
        }
        let base = settings.url.as_deref().map(base).transpose();
        Ok(PrebuiltRequest {
            base: base.map_err(|why| Error::plan(format!("request.url (--url): {why}")))?,
            hosts,
        })
    }

    /// The host of the job's URL is allowed, beside those of `request.allow-host`.
    pub fn allowing_base(mut self) -> PrebuiltRequest {
        if let Some(base) = self.base() {
            self.hosts.allow(&base);
        }
        self
    }

    /// Scheme and host for URLs that are only a path.
    pub fn base(&self) -> Option<Uri> {
        self.base.as_ref()?.parse().ok()
    }

    /// The row's URL, with any host.
    pub fn uri(&self, fields: &Fields) -> Result<Uri, String> {
        self.whole(fields.get("url").and_then(Value::as_str).unwrap_or_default())
    }

    /// The URL of a request, which may be only a path.
    fn whole(&self, url: &str) -> Result<Uri, String> {
        let full = match &self.base {
            Some(base) if url.starts_with('/') => {
                format!("{base}{}", url.split('#').next().unwrap_or_default())
            }
            None if url.starts_with('/') => {
                return Err(format!(
                    "the url {url:?} is only a path: give the host with request.url (--url https://…)"
                ));
            }
            _ => parse_whole(url)?,
        };
        full.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))
    }

    /// The row's request: `job` are the job's headers, which the row's own replace.
    pub fn render(&self, fields: &Fields, job: HeaderMap) -> Result<Request<Bytes>, String> {
        let uri = self.uri(fields)?;
        let is_base = self.base.as_deref().is_some_and(|base| is_at(&uri, base));
        if !is_base {
            self.hosts.check(&uri)?;
        }
        let body = body(fields.get("body"));
        let default = match body {
            None => Method::GET,
            Some(_) => Method::POST,
        };
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method(fields)?.unwrap_or(default);
        *request.uri_mut() = uri;
        *request.headers_mut() = headers(fields, job)?;
        if let Some((bytes, kind)) = body {
            let headers = request.headers_mut();
            if let Some(kind) = kind.filter(|_| !headers.contains_key(CONTENT_TYPE)) {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            *request.body_mut() = bytes;
        }
        Ok(request)
    }
}

impl PrebuiltRequest {
    /// The request of a hook: `job` are the job's headers, which its own replace. Without any
    /// allowed host, all are: secrets then go nowhere.
    pub fn complete(
        &self,
        mut request: Request<Bytes>,
        mut job: HeaderMap,
    ) -> Result<Request<Bytes>, String> {
        let uri = self.whole(&request.uri().to_string())?;
        if !self.hosts.is_empty() {
            self.hosts.check(&uri)?;
        }
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(addresses_way(request.method().as_str()));
        }
        if let Some(name) = request.headers().keys().find(|name| is_framing(name)) {
            return Err(sets_framing(name.as_str()));
        }
        *request.uri_mut() = uri;
        let own = std::mem::take(request.headers_mut());
        let mut latest = None;
        for (name, value) in own {
            match name {
                Some(name) => {
                    job.insert(name.clone(), value);
                    latest = Some(name);
                }
                None => {
                    latest.as_ref().map(|name| job.append(name, value));
                }
            }
        }
        *request.headers_mut() = job;
        Ok(request)
    }
}

fn addresses_way(method: &str) -> String {
    format!(
        "a row can't ask with the method {method:?}, which addresses a proxy or the path to a server"
    )
}

fn sets_framing(header: &str) -> String {
    format!(
        "header {header}: a row can't set it, since it says where a request goes or where it ends"
    )
}

/// Scheme and host of a URL that has no path and no query.
fn base(text: &str) -> Result<String, String> {
    let url = parse_whole(text)?;
    match url::Url::parse(&url) {
        Ok(url) if url.path() == "/" && url.query().is_none() => {
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        _ => Err(format!(
            "where each row (input.format = \"requests\") or a hook makes the request, it is a host alone, such as https://api.example, for requests whose url is a path: {text:?} is more, so shorten it or leave it out"
        )),
    }
}

fn is_at(uri: &Uri, base: &str) -> bool {
    let base: Option<Uri> = base.parse().ok();
    base.is_some_and(|base| base.scheme() == uri.scheme() && base.authority() == uri.authority())
}

fn method(fields: &Fields) -> Result<Option<Method>, String> {
    match fields.get("method").and_then(Value::as_str) {
        None => Ok(None),
        Some(name) => match name.to_uppercase().parse() {
            Ok(Method::CONNECT | Method::TRACE) => Err(addresses_way(name)),
            Ok(method) => Ok(Some(method)),
            Err(_) => Err(format!("{name:?} is not a method such as GET or POST")),
        },
    }
}

fn headers(fields: &Fields, mut headers: HeaderMap) -> Result<HeaderMap, String> {
    let Some(Value::Object(own)) = fields.get("headers") else {
        return Ok(headers);
    };
    for (name, value) in own {
        let header: HeaderName =
            name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
        if is_framing(&header) {
            return Err(sets_framing(name));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = HeaderValue::from_bytes(text.as_bytes());
        let value = value.map_err(|_| {
            format!("header {name}: a line break or control character can't be sent")
        })?;
        headers.insert(header, value);
    }
    Ok(headers)
}

/// The body, and its `content-type`: a text is sent unchanged, anything else as JSON.
fn body(body: Option<&Value>) -> Option<(Bytes, Option<&'static str>)> {
    match body {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some((text.clone().into(), None)),
        Some(json) => Some((json.to_string().into(), Some("application/json"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ready(url: Option<&str>, row: Value) -> Result<Request<Bytes>, String> {
        let settings = Settings { url: url.map(str::to_owned), ..Settings::default() };
        let hosts = Hosts::new(&["other.h".to_owned()]).unwrap();
        let ready =
            PrebuiltRequest::new(&settings, hosts, BY_ROW).map_err(|error| error.to_string())?;
        let job = HeaderMap::from_iter([("x-job".parse().unwrap(), HeaderValue::from_static("j"))]);
        ready.render(row.as_object().unwrap(), job)
    }

    #[test]
    fn a_row_becomes_a_request() {
        let row = json!({
            "custom_id": "r1", "method": "post", "url": "/v1/chat?x=1",
            "headers": {"X-Job": "mine", "n": 7}, "body": {"model": "m"},
        });
        let request = ready(Some("https://api.h/"), row).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://api.h/v1/chat?x=1");
        assert_eq!(request.headers()["x-job"], "mine");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body(), "{\"model\":\"m\"}");
        let plain = ready(None, json!({"url": "http://other.h"})).unwrap();
        assert_eq!((plain.method(), plain.uri().host()), (&Method::GET, Some("other.h")));
        assert_eq!(plain.headers()["x-job"], "j");
    }

    #[test]
    fn a_row_names_no_other_host() {
        for (base, row, why) in [
            (Some("https://api.h"), json!({"url": "https://evil.h/"}), "\"evil.h\" is not allowed"),
            (Some("https://api.h"), json!({"url": "http://api.h/"}), "\"api.h\" is not allowed"),
            (None, json!({"url": "/v1"}), "is only a path"),
            (None, json!({"url": "http://other.h/", "method": "G T"}), "is not a method"),
            (
                None,
                json!({"url": "http://other.h/", "headers": {"a": "b\r\nc: d"}}),
                "a line break",
            ),
            (
                None,
                json!({"url": "http://other.h/", "headers": {":authority": "evil.h"}}),
                "\":authority\" is not the name of a header",
            ),
            (Some("https://api.h/v1"), json!({}), "it is a host alone"),
        ] {
            let error = ready(base, row).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // A path stays a path, whatever it looks like.
        let odd = ready(Some("https://api.h"), json!({"url": "//evil.h/x"})).unwrap();
        assert_eq!(odd.uri().host(), Some("api.h"));
    }
}
