//! (2) A row and the job's templates to an `http::Request`.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};
use minijinja::value::Value as Scope;

use crate::error::Error;
use crate::record::Failure;
use crate::source::Row;

mod compile;
mod json;
mod price;
mod settings;
mod template;
mod url;

use compile::Body;
use price::Pricing;
pub use price::{Price, Prices};
pub use settings::Settings;
use template::{Template, Templates};
use url::Url;

/// Makes requests of rows. Everything that can be known without a row has been checked.
pub struct Renderer {
    templates: Templates,
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, Template)>,
    secret_headers: Vec<(HeaderName, Template)>,
    body: Body,
    pricing: Pricing,
    keys: Vec<String>,
    secrets: Vec<String>,
}

/// What stands for a key of the pool until a request has got one: that is
/// decided last, when it is signed.
pub const KEY: &str = "throng0key0of0the0pool";

impl Renderer {
    /// Compiles the job's templates, and what its limits want to know, with the
    /// environment's variables that they name.
    ///
    /// # Errors
    /// Which key is wrong and why, or which variable is not set.
    pub fn new(
        settings: &Settings,
        prices: &Prices,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Renderer, Error> {
        let mut templates = Templates::new();
        let url = compile::url(settings, &mut templates)?;
        let body = compile::body(settings, &mut templates)?;
        let all = compile::headers(settings, &body, &mut templates)?;
        let (secret_headers, headers) = all.into_iter().partition(|(_, template)| {
            let (fields, variables) = templates.names_used(*template);
            fields.is_empty() && !variables.is_empty()
        });
        let pricing = Pricing::new(prices, &mut templates)?;
        let pool = compile::keys(&prices.keys, &mut templates)?;
        let values = compile::variables(&templates, environment)?;
        templates.set_environment(&values);
        let keys = compile::key_values(&templates, &pool)?;
        let mut secrets: Vec<String> = values.into_values().collect();
        secrets.extend(keys.iter().cloned());
        Ok(Renderer {
            method: settings.method()?,
            url,
            headers,
            secret_headers,
            body,
            templates,
            pricing,
            keys,
            secrets,
        })
    }

    /// The fields that a row must have.
    #[must_use]
    pub fn fields(&self) -> &BTreeSet<String> {
        self.templates.fields()
    }

    /// The method of every request.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The values of the environment that requests carry.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The headers that carry a secret and no value of a row. They are left out
    /// of [`render`](Renderer::render): signing adds them.
    ///
    /// # Errors
    /// Which header can't be written.
    pub fn secret_headers(&self) -> Result<HeaderMap, Error> {
        let scope = self.templates.scope(&serde_json::Map::new());
        let mut map = self
            .render_headers(&self.secret_headers, &scope)
            .map_err(Error::plan)?;
        for value in map.values_mut() {
            value.set_sensitive(true);
        }
        Ok(map)
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

    /// The request of one row, without its secret headers.
    ///
    /// # Errors
    /// A failure of kind `input`, which says which value doesn't fit where.
    pub fn render(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        self.try_render(row)
            .map_err(|why| Failure::new("input", why))
    }

    fn try_render(&self, row: &Row) -> Result<Request<Bytes>, String> {
        let scope = self.templates.scope(&row.fields);
        let mut request = Request::new(self.render_body(&scope)?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.render(&self.templates, &scope)?;
        *request.headers_mut() = self.render_headers(&self.headers, &scope)?;
        Ok(request)
    }

    fn render_headers(
        &self,
        headers: &[(HeaderName, Template)],
        scope: &Scope,
    ) -> Result<HeaderMap, String> {
        let mut map = HeaderMap::with_capacity(headers.len() + 4);
        for (name, template) in headers {
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

    fn render_body(&self, scope: &Scope) -> Result<Bytes, String> {
        match &self.body {
            Body::None => Ok(Bytes::new()),
            Body::Data(template) => Ok(self.templates.render(*template, scope)?.into()),
            Body::Json(json) => Ok(json.render(&self.templates, scope)?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn renderer(settings: Value) -> Result<Renderer, Error> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let environment = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        Renderer::new(&settings, &Prices::default(), &environment)
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
        let renderer = renderer(json!({
            "url": "https://h/v/{{ id }}",
            "query": {"lang": "en", "n": 3, "q": "{{ id }}"},
            "headers": {"x-id": "{{ id }}", "x-key": "{{ env.KEY }}"},
            "json": {"id": "{{ id }}"},
        }))
        .unwrap();
        let request = renderer.render(&row(json!({"id": "a b"}))).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://h/v/a%20b?lang=en&n=3&q=a%20b");
        assert_eq!(request.headers()["x-id"], "a b");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body(), "{\"id\":\"a b\"}");
        assert!(!request.headers().contains_key("x-key"), "signing adds it");
        let secret = renderer.secret_headers().unwrap();
        assert_eq!(secret["x-key"], "s3cret");
        assert!(secret["x-key"].is_sensitive());
    }

    #[test]
    fn a_form_is_escaped_as_a_form() {
        let job = json!({"url": "http://h/", "data": "a={{ id }}&b=2"});
        let request = renderer(job).unwrap().render(&row(json!({"id": "x&y"})));
        assert_eq!(request.unwrap().body(), "a=x%26y&b=2");
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
                json!({"url": "http://h/", "headers": {"a": ["c"]}}),
                "a is [\"c\"], not a text",
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
