//! A URL made of a template, and of the names and values of its query, which forms have
//! too. Pure.

use bytes::Bytes;
use http::Uri;
use http::uri::{InvalidUri, PathAndQuery};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::escape_context::{EscapeContext, percent_encode};
use super::hosts::Hosts;
use super::pieces::{is_one_value, map_fixed};
use super::settings::{Settings, texts};
use super::template::{Template, TemplateScope, Templates};
use crate::error::Error;

/// Maximum number of bytes of a URL of which the path and the query are parsed by themselves.
const MAX_PARSED_APART: usize = 16 * 1_024;

/// The compiled URL of a job.
#[derive(Debug)]
pub struct Url {
    base: Template,
    host: HostOrigin,
    fixed_uri: Option<Uri>,
    /// The number of bytes of scheme and host, if the job writes them out and nothing else
    /// stands there.
    origin_length: Option<usize>,
    /// The hosts that rows may name.
    pub hosts: Hosts,
    /// The numbers of the path's segments that hold a value of the row.
    filled_segments: Vec<usize>,
    query: Pairs,
    has_query: bool,
    /// Estimated length of the URL of a row, in bytes.
    length: usize,
}

/// The origin of a URL's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOrigin {
    /// The job writes the host out.
    Fixed,
    /// A value of the row is part of the host.
    Composed,
    /// A value of the row is the whole URL.
    FromRow,
}

impl Url {
    /// Compiles the URL that the settings give.
    pub fn of_settings(
        settings: &Settings,
        hosts: Hosts,
        templates: &mut Templates,
    ) -> Result<Url, Error> {
        let text = settings.url.as_deref().ok_or_else(|| {
            Error::plan("no URL: give request.url in the job file, or --url 'https://…'")
        })?;
        let query = texts("request.query (--query)", &settings.query)?;
        Url::new(templates, text, &query, hosts)
            .map_err(|why| Error::plan(format!("request.url (--url): {why}")))
    }

    /// Compiles a URL, and checks all that needs no row: the scheme, and the origin of
    /// the host.
    pub fn new(
        templates: &mut Templates,
        text: &str,
        query: &[(&str, impl AsRef<str>)],
        hosts: Hosts,
    ) -> Result<Url, String> {
        let (host, path) =
            if is_one_value(text) { (HostOrigin::FromRow, "") } else { host_of(text)? };
        let context = match host {
            HostOrigin::FromRow => EscapeContext::Text,
            _ => EscapeContext::Url,
        };
        let origin = &text[..text.len() - path.len()];
        check_without_row(text)?;
        let fixed_uri = (host == HostOrigin::Fixed).then(|| format!("{origin}/").parse());
        let fixed_uri = fixed_uri.transpose();
        let fixed_uri = fixed_uri.map_err(|error| format!("{origin:?} is not a URL: {error}"))?;
        let query = Pairs::new(templates, query)?;
        Ok(Url {
            fixed_uri,
            length: text.len() + 32 + query.length(),
            query,
            origin_length: (host == HostOrigin::Fixed && !origin.contains('#'))
                .then_some(origin.len()),
            base: templates.add(context, text)?,
            host,
            hosts,
            filled_segments: filled_segments(path),
            has_query: text.contains('?'),
        })
    }

    /// The origin of the host.
    pub fn host(&self) -> HostOrigin {
        self.host
    }

    /// A URL of scheme and host, if the job writes them out.
    pub fn fixed_uri(&self) -> Option<Uri> {
        self.fixed_uri.clone()
    }

    /// The URL of one row, whose host must be allowed.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Result<Uri, String> {
        let uri = self.render_unchecked(scope)?;
        if self.host != HostOrigin::Fixed {
            self.hosts.check(&uri)?;
        }
        Ok(uri)
    }

    /// The URL of one row, whatever host it names.
    pub fn render_unchecked(&self, scope: &TemplateScope<'_>) -> Result<Uri, String> {
        let mut url = String::with_capacity(self.length);
        scope.render_to(self.base, &mut url)?;
        // A `?` in the name of a field is no query.
        let mut separator = if self.has_query && url.contains('?') { "&" } else { "?" };
        match self.host {
            HostOrigin::Fixed | HostOrigin::Composed => self.check_segments(&url)?,
            HostOrigin::FromRow => {
                url = parse_whole(&url)?;
                separator = if url.contains('?') { "&" } else { "?" };
            }
        }
        self.query.render(scope, separator, &mut url)?;
        let bytes = Bytes::from(url);
        let uri =
            self.at_fixed_host(&bytes).unwrap_or_else(|| Uri::from_maybe_shared(bytes.clone()));
        uri.map_err(|error| {
            let url = shortened(&String::from_utf8_lossy(&bytes));
            format!("{url:?} is not a URL: {error}")
        })
    }

    /// The URL of a row, of which the path and the query alone are parsed, if the job writes the
    /// host out.
    fn at_fixed_host(&self, url: &Bytes) -> Option<Result<Uri, InvalidUri>> {
        let length = self.origin_length?;
        // A longer URL is counted as a whole.
        if url.len() > MAX_PARSED_APART || url.get(length) != Some(&b'/') {
            return None;
        }
        let mut parts = self.fixed_uri.clone()?.into_parts();
        match PathAndQuery::from_maybe_shared(url.slice(length..)) {
            Ok(target) => parts.path_and_query = Some(target),
            Err(error) => return Some(Err(error)),
        }
        Uri::from_parts(parts).ok().map(Ok)
    }

    /// Refuses a value that is a whole segment `.` or `..`, which a server resolves, or
    /// an empty one, which means the collection above.
    fn check_segments(&self, url: &str) -> Result<(), String> {
        if self.filled_segments.is_empty() {
            return Ok(());
        }
        let path = after_host(url).split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        let bad = self
            .filled_segments
            .iter()
            .filter_map(|at| segments.get(*at))
            .find(|segment| matches!(**segment, "" | "." | ".."));
        match bad {
            Some(segment) => Err(format!(
                "the value makes \"{segment}\" a whole segment of the URL's path, which would ask for something else"
            )),
            None => Ok(()),
        }
    }
}

/// Checks a URL without templates, which is the same for all rows.
fn check_without_row(text: &str) -> Result<(), String> {
    if text.contains("{{") || text.contains("{%") {
        return Ok(());
    }
    let wrong = |error| {
        let braces = if text.contains('{') {
            "; a value of the row stands in two braces, {{ id }}"
        } else {
            ""
        };
        format!("{:?} is not a URL: {error}{braces}", shortened(text))
    };
    text.parse::<Uri>().map(|_| ()).map_err(wrong)
}

/// The beginning of a URL, for messages.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A whole URL of a row, parsed as browsers parse it, so that nothing hides in it.
pub fn parse_whole(text: &str) -> Result<String, String> {
    let shown = shortened(text);
    let mut url =
        url::Url::parse(text.trim()).map_err(|error| format!("{shown:?} is not a URL: {error}"))?;
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") || !text.trim().contains("://") {
        return Err(format!("the url {shown:?} must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the url holds a user or password, which are not sent: use a header".into());
    }
    Ok(url.into())
}

/// The part of a rendered URL after its host.
fn after_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?']).map_or("", |end| &rest[end..])
}

/// The origin of the host, and the part of the URL after it.
fn host_of(url: &str) -> Result<(HostOrigin, &str), String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or_else(|| format!("the url {url:?} must begin with https:// or http://"))?;
    let mut depth = 0usize;
    let end = rest.find(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(letter, '/' | '?')
    });
    let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
    if host.is_empty() {
        return Err(format!("the url {url:?} names no host"));
    }
    if host.contains('@') {
        return Err("the url holds a user or password: use a header instead".into());
    }
    if host.contains('{') {
        Ok((HostOrigin::Composed, path))
    } else {
        Ok((HostOrigin::Fixed, path))
    }
}

/// The numbers of the segments that hold a `{{ }}`, within which `/` separates nothing.
fn filled_segments(path: &str) -> Vec<usize> {
    let (mut segment, mut depth, mut filled) = (0, 0usize, Vec::new());
    for letter in path.chars() {
        match letter {
            '{' => {
                depth += 1;
                filled.push(segment);
            }
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => segment += 1,
            '?' if depth == 0 => break,
            _ => {}
        }
    }
    filled.dedup();
    filled
}

/// The URL with this parameter in its query, in place of others of its name.
pub fn with_param(uri: &Uri, name: &str, value: &str) -> Result<Uri, String> {
    let query = uri.query().unwrap_or_default();
    let is_other = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && percent_decode_str(key).decode_utf8_lossy() != name
    };
    let own = format!("{}={}", percent_encode(name), percent_encode(value));
    let pairs: Vec<&str> = query.split('&').filter(is_other).chain([own.as_str()]).collect();
    let mut parts = uri.clone().into_parts();
    let target = format!("{}?{}", uri.path(), pairs.join("&"));
    let target = target.parse().map_err(|error| format!("{target:?} is not a URL: {error}"))?;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

/// Characters that a server would not take for part of a value.
const SPECIAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Names and values of a query or a form.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, MultiValue)>);

/// One value, or the items of a row's list.
#[derive(Debug)]
struct MultiValue {
    single: Template,
    /// Estimated length of the value, in bytes.
    length: usize,
    /// The value as JSON, if it may be a list.
    list: Option<Template>,
}

impl Pairs {
    /// Compiles names and the texts of their values.
    pub fn new(
        templates: &mut Templates,
        pairs: &[(&str, impl AsRef<str>)],
    ) -> Result<Pairs, String> {
        let pairs = pairs.iter().map(|(name, text)| {
            Ok((percent_encode(name), MultiValue::new(templates, text.as_ref())?))
        });
        pairs.collect::<Result<_, _>>().map(Pairs)
    }

    /// Appends `NAME=VALUE` for each pair: the first after `separator`, the others after
    /// `&`.
    pub fn render(
        &self,
        scope: &TemplateScope<'_>,
        mut separator: &'static str,
        text: &mut String,
    ) -> Result<(), String> {
        for (name, value) in &self.0 {
            let start = text.len();
            begin_pair(text, separator, name);
            if let Err(why) = scope.render_to(value.single, text) {
                text.truncate(start);
                let items = value.items(scope).unwrap_or(Err(why));
                for item in items.map_err(|why| format!("{name}: {why}"))? {
                    begin_pair(text, separator, name);
                    text.push_str(&item);
                    separator = "&";
                }
            } else {
                separator = "&";
            }
        }
        Ok(())
    }

    /// Estimated length of the pairs of a row, in bytes.
    fn length(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.length + 2).sum()
    }
}

fn begin_pair(text: &mut String, separator: &str, name: &str) {
    text.push_str(separator);
    text.push_str(name);
    text.push('=');
}

impl MultiValue {
    fn new(templates: &mut Templates, text: &str) -> Result<MultiValue, String> {
        let fixed = |fixed: &str| utf8_percent_encode(fixed, SPECIAL).to_string();
        Ok(MultiValue {
            length: text.len() + 16,
            single: templates.add(EscapeContext::Url, &map_fixed(text, fixed))?,
            list: if is_one_value(text) {
                Some(templates.add(EscapeContext::JsonValue, text.trim())?)
            } else {
                None
            },
        })
    }

    /// The items of a row's list, encoded, or which of them is no text; none if it is no list.
    fn items(&self, scope: &TemplateScope<'_>) -> Option<Result<Vec<String>, String>> {
        let json = scope.render(self.list?).ok()?;
        let Ok(Value::Array(items)) = serde_json::from_str(&json) else {
            return None;
        };
        let items = items.into_iter().map(|item| match item {
            Value::String(text) => Ok(percent_encode(&text)),
            Value::Number(_) | Value::Bool(_) => Ok(percent_encode(&item.to_string())),
            _ => Err(format!("the list holds {item}, which is not a text")),
        });
        Some(items.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(url: &str, query: &[(&str, &str)], x: &str) -> Result<String, String> {
        render_at(url, query, x, &[])
    }

    fn render_at(
        url: &str,
        query: &[(&str, &str)],
        x: &str,
        hosts: &[&str],
    ) -> Result<String, String> {
        let mut templates = Templates::new();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let hosts = Hosts::new(&hosts).unwrap();
        let url = Url::new(&mut templates, url, query, hosts)?;
        let fields = serde_json::from_value(serde_json::json!({ "x": x })).unwrap();
        let scope = templates.scope(&fields);
        url.render(&scope).map(|uri| uri.to_string())
    }

    #[test]
    fn values_stay_in_their_component() {
        for (x, there) in [
            ("AAPL", "AAPL"),
            ("a/b", "a%2Fb"),
            ("a&c=d#e?f", "a%26c%3Dd%23e%3Ff"),
            ("..a", "..a"),
            ("%2e", "%252e"),
        ] {
            let url = render("http://h/v1/{{ x }}/q", &[("s p", "{{ x }}")], x).unwrap();
            assert_eq!(url, format!("http://h/v1/{there}/q?s%20p={there}"));
        }
        let more = render("http://h/?a={{ x }}", &[("b", "2")], "1").unwrap();
        assert_eq!(more, "http://h/?a=1&b=2");
    }

    #[test]
    fn a_url_comes_to_what_parsing_all_of_it_comes_to() {
        let long = "a".repeat(70_000);
        for rest in ["", "/", "?a=b", "/?a=b", "/a//b?c=d?e", "/a#b", "#b", "/ä", "/a b", &long] {
            for origin in ["http://h", "https://H.example:81", "http://[::1]:8080"] {
                let whole = format!("{origin}{rest}");
                let parsed = whole.parse::<Uri>().map(|uri| uri.to_string());
                assert_eq!(render(&whole, &[], "").ok(), parsed.ok(), "{whole}");
            }
        }
    }

    #[test]
    fn a_value_can_not_change_the_path() {
        for x in ["", ".", ".."] {
            let error = render("http://h/users/{{ x }}/x", &[], x).unwrap_err();
            assert!(error.contains("a whole segment"), "{error}");
            render("http://h/users/u{{ x }}/?q={{ x }}", &[], x).unwrap();
        }
    }

    #[test]
    fn a_host_is_written_out_or_allowed() {
        for (url, why) in [
            ("ftp://h/", "must begin with https:// or http://"),
            ("x{{ x }}", "must begin with https:// or http://"),
            ("http:///a", "names no host"),
            ("http://me:pass@h/", "holds a user or password"),
        ] {
            let error = render(url, &[], "evil").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let hosts = ["*.shop.example"];
        let built = |x: &str| render_at("http://{{ x }}.shop.example/{{ x }}", &[], x, &hosts);
        assert_eq!(built("a").unwrap(), "http://a.shop.example/a");
        for x in ["evil.com/", "evil.com#", "evil.com?", "me@evil.com", "a b", ""] {
            built(x).unwrap_err();
        }
        let elsewhere = render_at("https://api.{{ x }}/", &[], "evil.com", &hosts).unwrap_err();
        assert!(elsewhere.contains("\"api.evil.com\" is not allowed"), "{elsewhere}");
    }

    #[test]
    fn a_whole_url_is_read_as_browsers_read_it() {
        let at = |x: &str| render_at("{{ x }}", &[("n", "1")], x, &["h"]);
        assert_eq!(at("http://h/a?b=c#d").unwrap(), "http://h/a?b=c&n=1");
        assert_eq!(at("http://H:80/a/../b").unwrap(), "http://h/b?n=1");
        for (x, why) in [
            ("//evil", "is not a URL"),
            ("https://evil", "\"evil\" is not allowed"),
            ("\\\\evil", "is not a URL"),
            ("http:evil", "must begin with"),
            ("https:\\\\evil/", "must begin with"),
            ("http://h@evil/", "holds a user"),
            ("http://h\\@evil/", "is not a URL"),
            ("file:///etc/passwd", "must begin with"),
            ("/etc/passwd", "is not a URL"),
        ] {
            let error = at(x).map(|url| format!("accepted: {url}")).unwrap_or_else(|why| why);
            assert!(error.contains(why) || x.contains('@'), "{x}: {error}");
            assert!(!error.contains("accepted: http://evil"), "{x}: {error}");
        }
    }

    #[test]
    fn a_parameter_is_in_the_query_once() {
        for (from, to) in [
            ("http://h", "http://h/?p%20n=a%26b"),
            ("http://h/x?a=1&b", "http://h/x?a=1&b&p%20n=a%26b"),
            ("http://h/x?p%20n=0&a=%2F", "http://h/x?a=%2F&p%20n=a%26b"),
        ] {
            let uri = with_param(&from.parse().unwrap(), "p n", "a&b").unwrap();
            assert_eq!(uri, to);
        }
    }

    fn pairs(text: &str, row: Value) -> Result<String, String> {
        let mut templates = Templates::new();
        let pairs = Pairs::new(&mut templates, &[("a b", text), ("n", "1")])?;
        let scope = templates.scope(row.as_object().unwrap());
        let mut rendered = String::from("/");
        pairs.render(&scope, "?", &mut rendered)?;
        Ok(rendered)
    }

    #[test]
    fn a_list_gives_the_name_once_for_each_item() {
        let row = |x: Value| serde_json::json!({ "x": x });
        for (text, x, expected) in [
            ("{{ x }}", row("c&d".into()), "/?a%20b=c%26d&n=1"),
            (
                "{{ x }}",
                row(serde_json::json!(["c&d", 7, true])),
                "/?a%20b=c%26d&a%20b=7&a%20b=true&n=1",
            ),
            ("{{ x }}", row(serde_json::json!([])), "/?n=1"),
            ("{{ x | join(',') }}", row(serde_json::json!([1, 2])), "/?a%20b=1%2C2&n=1"),
            ("a b&{{ x }},1:2", row("^".into()), "/?a%20b=a%20b%26%5E,1:2&n=1"),
        ] {
            assert_eq!(pairs(text, x).unwrap(), expected);
        }
        let nested = pairs("{{ x }}", row(serde_json::json!([[1]]))).unwrap_err();
        assert!(nested.contains("the list holds [1]"), "{nested}");
        let inside = pairs("x{{ x }}", row(serde_json::json!([1]))).unwrap_err();
        assert!(inside.contains("a list or an object"), "{inside}");
    }
}
