//! (2) A row and the job's templates to an `http::Request`.
//!
//! - `settings`, `compile`: what a job says, and what that comes to
//! - `template`, `standing`: texts with values of a row in them, or with none
//! - `url`, `hosts`: where a request goes, and where a row may send it
//! - `body`: the kinds of bodies; `json`, `listed`, `file`, `multipart` are theirs
//! - `ready`: rows that are requests already

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};

use crate::error::Error;
use crate::record::Failure;
use crate::source::Row;

mod body;
mod compile;
mod file;
mod hosts;
mod json;
mod key;
mod label;
mod listed;
mod multipart;
mod param;
mod plain;
mod price;
mod ready;
mod scope;
mod settings;
mod standing;
mod template;
mod url;

use body::Body;
pub use hosts::Hosts;
pub(crate) use json::outside;
pub use key::looks_like_key;
pub use label::Label;
pub use param::with_param;
use price::Pricing;
pub use price::{Price, Prices};
use ready::Ready;
pub(crate) use scope::Scope;
pub use settings::Settings;
pub use standing::{Known, Standing};
pub(crate) use template::{Place, Template, Templates, percent_encode};
use url::{Host, Url};

/// Makes requests of rows. Everything that can be known without a row has been checked.
pub struct Renderer {
    templates: Templates,
    headers: Vec<(HeaderName, Template)>,
    without: Without,
    form: Form,
    pricing: Pricing,
    keys: Vec<String>,
}

/// What stands for a key of the pool until a request has got one: that is
/// decided last, when it is signed.
pub const KEY: &str = "throng0key0of0the0pool";

/// Headers that throng adds to requests by itself, but shall not to these: an
/// extension of a request.
#[derive(Debug, Clone)]
pub struct Without(pub Arc<[HeaderName]>);

/// What gives a request its shape.
enum Form {
    Job {
        method: Method,
        url: Box<Url>,
        body: Body,
    },
    Ready(Ready),
}

/// A header that depends on no row, and that only the server may see.
pub type SecretHeader = (HeaderName, Standing);

/// Whether the rows are values for the job's templates, or requests themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Named values.
    Values,
    /// `method`, `url`, `headers` and `body`.
    Requests,
}

impl Renderer {
    /// Compiles the job's templates, and what its limits want to know, with what
    /// they know besides the rows. Gives
    /// the headers that carry a secret apart: signing adds them.
    ///
    /// # Errors
    /// Which key is wrong and why, or which variable is not set.
    pub fn new(
        settings: &Settings,
        rows: Rows,
        prices: &Prices,
        known: &Known<'_>,
    ) -> Result<(Renderer, Vec<SecretHeader>), Error> {
        let mut templates = Templates::new();
        let hosts = Hosts::new(&settings.allow_host).map_err(Error::plan)?;
        let (form, headers) = match rows {
            Rows::Requests => {
                let headers = compile::headers(settings, &Body::None, &mut templates, known)?;
                (Form::Ready(Ready::new(settings, hosts)?), headers)
            }
            Rows::Values => {
                let url = Box::new(compile::url(settings, hosts, &mut templates)?);
                let body = Body::new(settings, &mut templates)?;
                let headers = compile::headers(settings, &body, &mut templates, known)?;
                let method = settings.method()?;
                (Form::Job { method, url, body }, headers)
            }
        };
        let pricing = Pricing::new(prices, &mut templates)?;
        let pool = compile::keys(&prices.keys, &mut templates)?;
        templates.settle(known)?;
        let keys = compile::key_values(&templates, &pool)?;
        for key in &keys {
            known.vault.secrets().add(key);
        }
        let renderer = Renderer {
            templates,
            pricing,
            keys,
            headers: headers.of_rows,
            without: Without(headers.without),
            form,
        };
        Ok((renderer, headers.secret))
    }

    /// The fields that a row must have.
    #[must_use]
    pub fn fields(&self) -> &BTreeSet<String> {
        self.templates.fields()
    }

    /// The method of every request, unless rows name theirs.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        match &self.form {
            Form::Job { method, .. } => Some(method),
            Form::Ready(_) => None,
        }
    }

    /// Whether requests carry what nobody may see.
    #[must_use]
    pub fn carries_secrets(&self) -> bool {
        self.templates.carry_secrets()
    }

    /// A URL with the host that all requests go to, unless rows name theirs.
    #[must_use]
    pub fn fixed_uri(&self) -> Option<Uri> {
        match &self.form {
            Form::Job { url, .. } => url.fixed(),
            Form::Ready(ready) => ready.base(),
        }
    }

    /// The hosts that rows may name, if they name any.
    #[must_use]
    pub fn hosts(&self) -> Option<&Hosts> {
        match &self.form {
            Form::Job { url, .. } if url.host() == Host::Written => None,
            Form::Job { url, .. } => Some(&url.hosts),
            Form::Ready(ready) => Some(&ready.hosts),
        }
    }

    /// Allows the hosts that these rows name.
    pub fn allow_hosts_of<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        for row in rows {
            match &mut self.form {
                Form::Job { url, .. } => {
                    let scope = self.templates.scope(&row.fields);
                    if let Ok(uri) = url.render_unchecked(&self.templates, &scope) {
                        url.hosts.allow(&uri);
                    }
                }
                Form::Ready(ready) => {
                    if let Ok(uri) = ready.uri(&row.fields) {
                        ready.hosts.allow(&uri);
                    }
                }
            }
        }
    }

    /// The fields of a row that its record leaves out.
    #[must_use]
    pub fn left_out(&self) -> &'static [&'static str] {
        match self.form {
            Form::Job { .. } => &[],
            Form::Ready(_) => &ready::LEFT_OUT,
        }
    }

    /// The keys of the pool, of which each request gets one in the place of [`KEY`].
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// What limits want to know of a row's request.
    ///
    /// # Errors
    /// A failure of kind `input`, which says which value is of no use.
    pub fn price(&self, row: &Row, request: &Request<Bytes>) -> Result<Price, Failure> {
        let scope = self.templates.scope(&row.fields);
        let price = self.pricing.price(&self.templates, &scope, request);
        price.map_err(|why| Failure::new("input", why))
    }

    /// What limits want to know of any request, where that is the same for all.
    #[must_use]
    pub fn same_price(&self) -> Option<Price> {
        self.pricing.same()
    }

    /// The request of one row, without its secret headers.
    ///
    /// # Errors
    /// A failure of kind `input`, which says which value doesn't fit where.
    pub fn render(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        let request = self.try_render(row);
        request.map_err(|why| Failure::new("input", why))
    }

    fn try_render(&self, row: &Row) -> Result<Request<Bytes>, String> {
        let scope = self.templates.scope(&row.fields);
        let headers = self.render_headers(&scope)?;
        let mut request = match &self.form {
            Form::Ready(ready) => ready.render(&row.fields, headers)?,
            Form::Job { method, url, body } => {
                let uri = url.render(&self.templates, &scope)?;
                let (bytes, kind) = body.render(&self.templates, &scope, &row.fields)?;
                let mut request = Request::new(bytes);
                *request.method_mut() = method.clone();
                *request.uri_mut() = uri;
                *request.headers_mut() = headers;
                if let Some(Ok(kind)) = kind.map(HeaderValue::try_from) {
                    request.headers_mut().insert(CONTENT_TYPE, kind);
                }
                request
            }
        };
        if !self.without.0.is_empty() {
            request.extensions_mut().insert(self.without.clone());
        }
        Ok(request)
    }

    fn render_headers(&self, scope: &Scope<'_>) -> Result<HeaderMap, String> {
        let mut map = match self.headers.len() {
            0 => HeaderMap::new(),
            many => HeaderMap::with_capacity(many + 4),
        };
        for (name, template) in &self.headers {
            let text = self
                .templates
                .render(*template, scope)
                .map_err(|why| format!("header {name}: {why}"))?;
            let value = HeaderValue::from_str(&text)
                .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
                .map_err(|_| format!("header {name}: the value holds a control character"))?;
            map.append(name, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn renderer(settings: Value) -> Result<Renderer, Error> {
        Ok(compiled(settings)?.0)
    }

    fn compiled(settings: Value) -> Result<(Renderer, Vec<SecretHeader>), Error> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let known = Known {
            environment: &|name| (name == "KEY").then(|| "s3cret".to_owned()),
            vault: &Arc::default(),
        };
        Renderer::new(&settings, Rows::Values, &Prices::default(), &known)
    }

    fn row(fields: Value) -> Row {
        let fields = serde_json::from_value(fields).unwrap();
        Row {
            fields,
            ..Row::default()
        }
    }

    #[test]
    fn a_row_becomes_a_request() {
        let (renderer, secret) = compiled(json!({
            "url": "https://h/v/{{ id }}",
            "query": {"lang": "en", "n": [3, 4], "q": "{{ id }}"},
            "headers": {"x-id": "{{ id }}", "x-key": "{{ env.KEY }}"},
            "json": {"id": "{{ id }}"},
        }))
        .unwrap();
        let request = renderer.render(&row(json!({"id": "a b"}))).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://h/v/a%20b?lang=en&n=3&n=4&q=a%20b");
        assert_eq!(request.headers()["x-id"], "a b");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body(), "{\"id\":\"a b\"}");
        assert!(!request.headers().contains_key("x-key"), "signing adds it");
        assert_eq!(secret[0].0, "x-key");
        assert_eq!(secret[0].1.get().unwrap().expose(), "s3cret");
    }

    #[test]
    fn a_form_is_escaped_as_a_form() {
        let job = json!({"url": "http://h/", "data": "a={{ id }}&b=2"});
        let request = renderer(job).unwrap().render(&row(json!({"id": "x&y"})));
        assert_eq!(request.unwrap().body(), "a=x%26y&b=2");
    }

    #[test]
    fn bodies_are_of_many_kinds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), b"raw").unwrap();
        let file = format!("{}/{{{{ id }}}}.bin", folder.path().display());
        for (body, kind, expected) in [
            (
                json!({"form": {"id": "{{ id }}", "n": [1, "&"], "l": "{{ list }}"}}),
                "application/x-www-form-urlencoded",
                "id=a&n=1&n=%26&l=x&l=y",
            ),
            (
                json!({"jq": "{ids: .list, n: (.list | length)}"}),
                "application/json",
                "{\"ids\":[\"x\",\"y\"],\"n\":2}",
            ),
            (
                json!({"body-file": file}),
                "application/octet-stream",
                "raw",
            ),
            (
                json!({"data": "<a>{{ id }}</a>", "headers": {"Content-Type": "text/xml"}}),
                "text/xml",
                "<a>a</a>",
            ),
        ] {
            let mut job = body.as_object().unwrap().clone();
            job.insert("url".into(), "http://h/".into());
            let renderer = renderer(job.into()).unwrap();
            let row = row(json!({"id": "a", "list": ["x", "y"]}));
            let request = renderer.render(&row).unwrap();
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.headers()["content-type"], kind);
            assert_eq!(request.body(), expected);
        }
    }

    #[test]
    fn a_row_that_does_not_fit_fails_as_input() {
        let renderer = renderer(json!({
            "url": "http://h/", "headers": {"x-id": "{{ id }}"},
        }))
        .unwrap();
        for (fields, detail) in [
            (json!({}), "header x-id: the row has no field \"id\""),
            (
                json!({"id": "a\nb"}),
                "header x-id: a header can't contain a line break",
            ),
            (
                json!({"id": "a\u{1}b"}),
                "header x-id: the value holds a control character",
            ),
        ] {
            assert_eq!(
                renderer.render(&row(fields)).unwrap_err(),
                Failure::new("input", detail)
            );
        }
    }

    #[test]
    fn what_is_wrong_without_any_row_is_said_at_once() {
        for (job, message) in [
            (json!({}), "no URL"),
            (
                json!({"url": "http://h/{{ x"}),
                "request.url (--url): the template",
            ),
            (
                json!({"url": "http://h/", "method": "G T"}),
                "\"G T\" is not a method",
            ),
            (
                json!({"url": "http://h/", "headers": {"a b": "c"}}),
                "a b: is not the name of a header",
            ),
            (
                json!({"url": "http://h/", "headers": {"a": {"c": 1}}}),
                "a is {\"c\":1}, not a text",
            ),
            (
                json!({"url": "http://h/", "data": "x", "json": {}}),
                "a request has one body",
            ),
            (
                json!({"url": "http://h/", "json": "{\"a\": {{ id }}}"}),
                "put templates in quotes",
            ),
            (
                json!({"url": "http://h/{{ env.NOPE }}"}),
                "the environment variable NOPE is not set",
            ),
        ] {
            let error = renderer(job).err().expect("the job is wrong").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
