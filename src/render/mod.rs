//! (2) A row and the job's templates to an `http::Request`.
//!
//! - `settings`: the `[request]` part of a job
//! - `template`: texts with values of a row in them; `escape_context` escapes the values,
//!   `pieces` finds them, and `row_names` are names of fields that are no words; a
//!   `static_value` depends on no row, and a `text_template` is one value of it
//! - `url`, `hosts`: the URL of a request, and the hosts that a row may name
//! - `headers`: the headers of a request
//! - `body`: the kinds of bodies; `json`, `file` and `multipart` are theirs
//! - `saved_path`: the file that an answer is saved to
//! - `prebuilt`: rows that are requests already
//! - `cost`: the units that a request costs, and the keys of its limits
//! - `keys`: names of keys, and keys within URLs and bodies

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};

use crate::error::Error;
use crate::record::{Failure, FailureKind};
use crate::row::Row;

mod auto_cost;
mod body;
mod cost;
mod escape_context;
mod file;
mod headers;
mod hosts;
mod json;
mod keys;
mod multipart;
mod pieces;
mod prebuilt;
mod row_names;
mod saved_path;
mod settings;
mod static_value;
mod template;
mod text_template;
mod url;

use body::Body;
pub use cost::{CostExpressions, KEY_PLACEHOLDER, KeyTemplate, RequestCost};
use cost::{CostTemplates, pool_keys, pool_templates};
pub(crate) use escape_context::{EscapeContext, percent_encode};
pub use headers::WrittenNames;
use headers::{HeaderText, Headers};
pub use hosts::Hosts;
pub use keys::{EmbeddedKey, keys_in_data, keys_in_url, looks_like_key, may_be_key};
pub(crate) use pieces::map_fixed;
use prebuilt::PrebuiltRequest;
pub use row_names::{is_word, quoted, written as written_field};
use saved_path::SavedPath;
pub use saved_path::{RowPath, UNFINISHED};
pub use settings::Settings;
pub use static_value::StaticValue;
pub use template::RenderContext;
pub(crate) use template::{LAST, Template, TemplateScope, Templates};
pub use text_template::TextTemplate;
pub use url::with_param;
use url::{HostOrigin, Url};

/// Renders requests of rows. All checks that need no row have been made.
pub struct Renderer {
    templates: Templates,
    headers: Vec<(HeaderName, HeaderText)>,
    suppressed: SuppressHeaders,
    written: Option<WrittenNames>,
    shape: RequestShape,
    cost_templates: CostTemplates,
    saved_path: Option<SavedPath>,
    uses_key: bool,
    keys: Vec<String>,
}

/// An extension of a request: headers that throng adds to requests by itself, and must
/// leave out of this one.
#[derive(Debug, Clone)]
pub struct SuppressHeaders(pub Arc<[HeaderName]>);

/// The source of a request's method, URL and body.
enum RequestShape {
    /// The job's templates.
    Templated { method: Method, url: Box<Url>, body: Option<Box<Body>> },
    /// The row itself.
    Prebuilt(PrebuiltRequest),
    /// A hook of the program.
    Hook(PrebuiltRequest),
}

/// A header that depends on no row and may be shown to the server alone.
pub type SecretHeader = (HeaderName, StaticValue);

/// The use of a row: as values for the job's templates, or as a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowBinding {
    /// Named values.
    Values,
    /// `method`, `url`, `headers` and `body`.
    Requests,
    /// Values for a hook of the program, which makes the request.
    Hook,
}

impl Renderer {
    /// Compiles the job's templates and the expressions of its limits' costs. Returns
    /// the headers that carry a secret apart: signing adds them.
    ///
    /// # Errors
    /// Which key is wrong and why, or which variable is not set.
    pub fn new(
        settings: &Settings,
        rows: RowBinding,
        costs: &CostExpressions,
        context: &RenderContext<'_>,
    ) -> Result<(Renderer, Vec<SecretHeader>), Error> {
        let mut templates = Templates::new();
        if settings.has_last {
            templates.set_last();
        }
        let hosts = Hosts::new(&settings.allow_host).map_err(Error::plan)?;
        let (shape, headers) = match rows {
            RowBinding::Requests | RowBinding::Hook => {
                let headers = Headers::new(settings, None, &mut templates, context)?;
                let is_hook = rows == RowBinding::Hook;
                let by = if is_hook { prebuilt::BY_HOOK } else { prebuilt::BY_ROW };
                let prebuilt = PrebuiltRequest::new(settings, hosts, by)?;
                let shape = if is_hook {
                    RequestShape::Hook(prebuilt.allowing_base())
                } else {
                    RequestShape::Prebuilt(prebuilt)
                };
                (shape, headers)
            }
            RowBinding::Values => {
                let url = Box::new(Url::of_settings(settings, hosts, &mut templates)?);
                let body = Body::new(settings, &mut templates)?.map(Box::new);
                let headers = Headers::new(settings, body.as_deref(), &mut templates, context)?;
                let method = settings.method()?;
                (RequestShape::Templated { method, url, body }, headers)
            }
        };
        let cost_templates = CostTemplates::new(costs, &mut templates)?;
        let uses_key = templates.uses_key();
        let pool = pool_templates(costs, &mut templates)?;
        let saved_path = settings.save.as_deref().map(|path| SavedPath::new(&mut templates, path));
        let saved_path = saved_path.transpose();
        let saved_path = saved_path.map_err(|why| Error::plan(format!("save (--save): {why}")))?;
        templates.set_context(context)?;
        let keys = pool_keys(&templates, &pool)?;
        for key in &keys {
            context.vault.secrets().add(key);
        }
        let of_rows = headers.of_rows.into_iter();
        let of_rows = of_rows.map(|(name, text)| (name, HeaderText::new(text, &templates)));
        let renderer = Renderer {
            headers: of_rows.collect(),
            templates,
            cost_templates,
            saved_path,
            uses_key,
            keys,
            suppressed: SuppressHeaders(headers.suppressed),
            written: None,
            shape,
        };
        Ok((renderer, headers.secret))
    }

    /// Headers with these names are written so in HTTP/1.1, where others are in lower case.
    #[must_use]
    pub fn writing(self, names: impl Iterator<Item = String>) -> Renderer {
        Renderer { written: WrittenNames::of(names), ..self }
    }

    /// The fields that the templates use.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.templates.used().fields
    }

    /// How the templates take the field that they mean where they name `missing`, which
    /// these `names` lack.
    pub fn remedy<'a>(
        &self,
        missing: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        self.templates.remedy(missing, names)
    }

    /// How the templates take a field of these names that they write as a number or a truth
    /// value.
    pub fn mistaken_literal<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        self.templates.mistaken_literal(names)
    }

    /// The method of all requests, unless each row has its own.
    pub fn method(&self) -> Option<&Method> {
        match &self.shape {
            RequestShape::Templated { method, .. } => Some(method),
            RequestShape::Prebuilt(_) | RequestShape::Hook(_) => None,
        }
    }

    /// Whether requests carry secrets.
    pub fn carries_secrets(&self) -> bool {
        self.templates.carry_secrets()
    }

    /// A URL with the host of all requests, unless each row names its own.
    pub fn fixed_uri(&self) -> Option<Uri> {
        match &self.shape {
            RequestShape::Templated { url, .. } => url.fixed_uri(),
            RequestShape::Prebuilt(ready) | RequestShape::Hook(ready) => ready.base(),
        }
    }

    /// The hosts that rows may name, unless the job fixes the host.
    pub fn hosts(&self) -> Option<&Hosts> {
        match &self.shape {
            RequestShape::Templated { url, .. } if url.host() == HostOrigin::Fixed => None,
            RequestShape::Templated { url, .. } => Some(&url.hosts),
            RequestShape::Prebuilt(ready) | RequestShape::Hook(ready) => Some(&ready.hosts),
        }
    }

    /// Whether a hook of the program makes the requests, so that no row tells its host.
    pub fn is_hook(&self) -> bool {
        matches!(self.shape, RequestShape::Hook(_))
    }

    /// Allows the hosts that these rows name.
    pub fn allow_hosts_of<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        for row in rows {
            match &mut self.shape {
                RequestShape::Templated { url, .. } => {
                    let scope = self.templates.scope(&row.fields);
                    if let Ok(uri) = url.render_unchecked(&scope) {
                        url.hosts.allow(&uri);
                    }
                }
                RequestShape::Prebuilt(ready) => {
                    if let Ok(uri) = ready.uri(&row.fields) {
                        ready.hosts.allow(&uri);
                    }
                }
                RequestShape::Hook(_) => {}
            }
        }
    }

    /// Fields of a row that its record leaves out.
    pub fn omitted_fields(&self) -> &'static [&'static str] {
        match self.shape {
            RequestShape::Templated { .. } | RequestShape::Hook(_) => &[],
            RequestShape::Prebuilt(_) => &prebuilt::OMITTED_FIELDS,
        }
    }

    /// The keys of the pool, one of which replaces [`KEY_PLACEHOLDER`] in each request.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether requests use a key of the pool.
    pub fn uses_key(&self) -> bool {
        self.uses_key
    }

    /// The cost of a row's request.
    ///
    /// # Errors
    /// A failure of kind `input`, which names the value that is no cost.
    pub fn cost(&self, row: &Row, request: &Request<Bytes>) -> Result<RequestCost, Failure> {
        let scope = self.templates.scope(&row.fields);
        let cost = self.cost_templates.cost(&scope, request);
        cost.map_err(|why| Failure::new(FailureKind::Input, why))
    }

    /// Learns what a request has cost in the unit with this index, if that is estimated.
    pub fn learn_cost(&self, unit: usize, request: &Request<Bytes>, used: u64) {
        self.cost_templates.learn(unit, request, used);
    }

    /// The units whose cost is estimated, and what the estimate is made of.
    pub fn estimated_costs(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.cost_templates.estimated()
    }

    /// The units whose cost is estimated, with the number of answers that have told theirs, and
    /// the factor of estimates that was learnt from them.
    pub fn learned_costs(&self) -> impl Iterator<Item = (&str, u32, f64)> {
        self.cost_templates.learned()
    }

    /// The cost of every request, where it is the same for all.
    pub fn fixed_cost(&self) -> Option<RequestCost> {
        self.cost_templates.fixed()
    }

    /// The path of the file that a row's answer is saved to, if answers are.
    ///
    /// # Errors
    /// A failure of kind `input`, which names the value that is no part of a file's name.
    pub fn saved_path(&self, row: &Row) -> Option<Result<RowPath, Failure>> {
        let saved = self.saved_path.as_ref()?;
        let path = saved.path(&self.templates.scope(&row.fields), &self.templates);
        Some(path.map_err(|why| Failure::new(FailureKind::Input, format!("save: {why}"))))
    }

    /// Whether the answers of all rows would be saved to one file.
    pub fn saves_to_one_file(&self) -> bool {
        self.saved_path.as_ref().is_some_and(|path| !path.varies())
    }

    /// The request of one row, without its secret headers.
    ///
    /// # Errors
    /// A failure of kind `input`, which names the value that does not fit, and its place.
    pub fn render(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        let request = self.try_render(row);
        request.map_err(|why| Failure::new(FailureKind::Input, why))
    }

    fn try_render(&self, row: &Row) -> Result<Request<Bytes>, String> {
        let scope = self.templates.scope(&row.fields);
        let headers = self.render_headers(&scope)?;
        let request = match &self.shape {
            RequestShape::Prebuilt(ready) => ready.render(&row.fields, headers)?,
            RequestShape::Hook(_) => return Err("the program's hook makes its request".into()),
            RequestShape::Templated { method, url, body } => {
                let uri = url.render(&scope)?;
                let mut request = Request::new(Bytes::new());
                *request.method_mut() = method.clone();
                *request.uri_mut() = uri;
                *request.headers_mut() = headers;
                if let Some(body) = body {
                    let (bytes, kind) = body.render(&scope)?;
                    *request.body_mut() = bytes;
                    if let Some(Ok(kind)) = kind.map(HeaderValue::try_from) {
                        request.headers_mut().insert(CONTENT_TYPE, kind);
                    }
                }
                request
            }
        };
        Ok(self.extended(request))
    }

    /// The request that a hook has made of a row, with the job's headers where it has none.
    ///
    /// # Errors
    /// A failure of kind `input`: its URL or a header can't be sent.
    pub fn complete(&self, row: &Row, request: Request<Bytes>) -> Result<Request<Bytes>, Failure> {
        let completed = self.try_complete(row, request);
        completed.map_err(|why| Failure::new(FailureKind::Input, why))
    }

    fn try_complete(&self, row: &Row, request: Request<Bytes>) -> Result<Request<Bytes>, String> {
        let RequestShape::Hook(ready) = &self.shape else {
            return Ok(request);
        };
        let headers = self.render_headers(&self.templates.scope(&row.fields))?;
        Ok(self.extended(ready.complete(request, headers)?))
    }

    /// A request with what else the job says of its headers.
    fn extended(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        if !self.suppressed.0.is_empty() {
            request.extensions_mut().insert(self.suppressed.clone());
        }
        if let Some(written) = &self.written {
            request.extensions_mut().insert(written.clone());
        }
        request
    }

    fn render_headers(&self, scope: &TemplateScope<'_>) -> Result<HeaderMap, String> {
        let mut map = match self.headers.len() {
            0 => HeaderMap::new(),
            many => HeaderMap::with_capacity(many + 4),
        };
        for (name, text) in &self.headers {
            let value = text.render(scope).map_err(|why| format!("header {name}: {why}"))?;
            map.append(name, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
