//! A URL made of a template and named query values. Pure.

use http::Uri;
use minijinja::value::Value;

use super::template::{Place, Template, Templates, percent_encode};

/// The compiled URL of a job.
#[derive(Debug)]
pub struct Url {
    base: Template,
    /// Which segments of the path hold a value of the row.
    filled: Vec<usize>,
    query: Vec<(String, Template)>,
    has_query: bool,
}

impl Url {
    /// Checks what can be checked without a row: the scheme, and that no value
    /// of a row decides which host is asked.
    pub fn new<'a>(
        templates: &mut Templates,
        text: &str,
        query: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Url, String> {
        let path = path_of(text)?;
        let query = query
            .map(|(name, value)| Ok((percent_encode(name), templates.add(Place::Url, value)?)))
            .collect::<Result<_, String>>()?;
        Ok(Url {
            base: templates.add(Place::Url, text)?,
            filled: filled_segments(path),
            query,
            has_query: text.contains('?'),
        })
    }

    /// The URL of one row.
    pub fn render(&self, templates: &Templates, scope: &Value) -> Result<Uri, String> {
        let mut url = templates.render(self.base, scope)?;
        self.check_segments(&url)?;
        let mut separator = if self.has_query { '&' } else { '?' };
        for (name, value) in &self.query {
            url.push(separator);
            url.push_str(name);
            url.push('=');
            url.push_str(&templates.render(*value, scope)?);
            separator = '&';
        }
        url.parse()
            .map_err(|error| format!("{url:?} is not a URL: {error}"))
    }

    /// A server takes `.` and `..` for a way through the tree, and an empty
    /// segment for the collection above: a value must not turn into these.
    fn check_segments(&self, url: &str) -> Result<(), String> {
        let path = path_of(url)?.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        let bad = self
            .filled
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

/// What follows the host.
fn path_of(url: &str) -> Result<&str, String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or_else(|| format!("the url {url:?} must begin with https:// or http://"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.is_empty() {
        return Err(format!("the url {url:?} names no host"));
    }
    if host.contains('{') {
        return Err(format!(
            "the url {url:?} takes its host from a template; write the host out, so that no row can send your keys elsewhere"
        ));
    }
    if host.contains('@') {
        return Err("the url holds a user or password: use a header instead".into());
    }
    Ok(path)
}

/// The segments that a `{{ }}` takes part in. Inside of one, `/` separates nothing.
fn filled_segments(path: &str) -> Vec<usize> {
    let path = path.split('?').next().unwrap_or_default();
    let (mut segment, mut depth, mut filled) = (0, 0usize, Vec::new());
    for letter in path.chars() {
        match letter {
            '{' => {
                depth += 1;
                filled.push(segment);
            }
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => segment += 1,
            _ => {}
        }
    }
    filled.dedup();
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(url: &str, query: &[(&str, &str)], x: &str) -> Result<String, String> {
        let mut templates = Templates::new();
        let url = Url::new(&mut templates, url, query.iter().copied())?;
        let fields = serde_json::from_value(serde_json::json!({ "x": x })).unwrap();
        let scope = templates.scope(&fields);
        url.render(&templates, &scope).map(|uri| uri.to_string())
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
    fn a_value_can_not_change_the_path() {
        for x in ["", ".", ".."] {
            let error = render("http://h/users/{{ x }}/x", &[], x).unwrap_err();
            assert!(error.contains("a whole segment"), "{error}");
            render("http://h/users/u{{ x }}/?q={{ x }}", &[], x).unwrap();
        }
    }

    #[test]
    fn the_host_is_written_out() {
        for (url, why) in [
            ("http://{{ x }}/", "takes its host from a template"),
            ("{{ x }}", "must begin with https:// or http://"),
            ("ftp://h/", "must begin with https:// or http://"),
            ("http:///a", "names no host"),
            ("http://me:pass@h/", "holds a user or password"),
        ] {
            let error = render(url, &[], "evil").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
