//! (2) A row and the job's templates to an `http::Request`.
//!
//! - `settings`, `compile`: what a job says, and what that comes to
//! - `template`, `pieces`, `place`, `standing`: texts with values of a row in them, escaped for
//!   where they stand, or with none
//! - `url`, `hosts`: where a request goes, and where a row may send it
//! - `body`: the kinds of bodies; `json`, `listed`, `file`, `multipart` are theirs
//! - `key`, `embedded`: names that keys go by, and keys within URLs and bodies
//! - `ready`: rows that are requests already; `framing`: the headers that are not theirs

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
mod embedded;
mod file;
mod framing;
mod hosts;
mod json;
mod key;
mod label;
mod listed;
mod multipart;
mod param;
mod pieces;
mod place;
mod plain;
mod price;
mod ready;
mod scope;
mod settings;
mod standing;
mod template;
mod url;

use body::Body;
pub use embedded::{Embedded, keys_in_data, keys_in_url, may_be_key};
pub use hosts::Hosts;
pub(crate) use json::outside;
pub use key::looks_like_key;
pub use label::KeyTemplate;
pub use param::with_param;
pub(crate) use place::{EscapeContext, percent_encode};
use price::Pricing;
pub use price::{CostExpression, CostExpressions};
use ready::PrebuiltRequest;
pub(crate) use scope::TemplateScope;
pub use settings::Settings;
pub use standing::{Known, StaticValue};
pub(crate) use template::{Template, Templates};
use url::{Host, Url};

/// Makes requests of rows. Everything that can be known without a row has been checked.
pub struct Renderer {
    templates: Templates,
    headers: Vec<(HeaderName, Template)>,
    without: Without,
    form: BodyForm,
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
enum BodyForm {
    Job {
        method: Method,
        url: Box<Url>,
        body: Body,
    },
    Ready(PrebuiltRequest),
}

/// A header that depends on no row, and that only the server may see.
pub type SecretHeader = (HeaderName, StaticValue);

/// Whether the rows are values for the job's templates, or requests themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowBinding {
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
        rows: RowBinding,
        prices: &CostExpressions,
        known: &Known<'_>,
    ) -> Result<(Renderer, Vec<SecretHeader>), Error> {
        let mut templates = Templates::new();
        let hosts = Hosts::new(&settings.allow_host).map_err(Error::plan)?;
        let (form, headers) = match rows {
            RowBinding::Requests => {
                let headers = compile::headers(settings, &Body::None, &mut templates, known)?;
                (
                    BodyForm::Ready(PrebuiltRequest::new(settings, hosts)?),
                    headers,
                )
            }
            RowBinding::Values => {
                let url = Box::new(compile::url(settings, hosts, &mut templates)?);
                let body = Body::new(settings, &mut templates)?;
                let headers = compile::headers(settings, &body, &mut templates, known)?;
                let method = settings.method()?;
                (BodyForm::Job { method, url, body }, headers)
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
            BodyForm::Job { method, .. } => Some(method),
            BodyForm::Ready(_) => None,
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
            BodyForm::Job { url, .. } => url.fixed(),
            BodyForm::Ready(ready) => ready.base(),
        }
    }

    /// The hosts that rows may name, if they name any.
    #[must_use]
    pub fn hosts(&self) -> Option<&Hosts> {
        match &self.form {
            BodyForm::Job { url, .. } if url.host() == Host::Written => None,
            BodyForm::Job { url, .. } => Some(&url.hosts),
            BodyForm::Ready(ready) => Some(&ready.hosts),
        }
    }

    /// Allows the hosts that these rows name.
    pub fn allow_hosts_of<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        for row in rows {
            match &mut self.form {
                BodyForm::Job { url, .. } => {
                    let scope = self.templates.scope(&row.fields);
                    if let Ok(uri) = url.render_unchecked(&self.templates, &scope) {
                        url.hosts.allow(&uri);
                    }
                }
                BodyForm::Ready(ready) => {
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
            BodyForm::Job { .. } => &[],
            BodyForm::Ready(_) => &ready::LEFT_OUT,
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
    pub fn price(&self, row: &Row, request: &Request<Bytes>) -> Result<CostExpression, Failure> {
        let scope = self.templates.scope(&row.fields);
        let price = self.pricing.price(&self.templates, &scope, request);
        price.map_err(|why| Failure::new("input", why))
    }

    /// What limits want to know of any request, where that is the same for all.
    #[must_use]
    pub fn same_price(&self) -> Option<CostExpression> {
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
            BodyForm::Ready(ready) => ready.render(&row.fields, headers)?,
            BodyForm::Job { method, url, body } => {
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

    fn render_headers(&self, scope: &TemplateScope<'_>) -> Result<HeaderMap, String> {
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
mod tests;
