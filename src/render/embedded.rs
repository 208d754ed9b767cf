//! Keys and passwords that stand within a URL, form data or JSON. Pure.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::key::looks_like_key;
use crate::secret::literal;

/// A value whose name says that it is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// What it is called.
    pub name: String,
    /// Where it is written, without quotes.
    pub place: Range<usize>,
    /// What it means there: without escapes.
    pub value: String,
}

/// Names of keys beside those that [`looks_like_key`] knows.
const MORE: [&str; 7] = [
    "pwd",
    "pass",
    "passphrase",
    "jwt",
    "credential",
    "credentials",
    "sessionid",
];

/// Whether what is called this, in a URL or a body, is probably a secret. Tokens of
/// pages are none.
#[must_use]
pub fn may_be_key(name: &str) -> bool {
    let small: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let small = small.to_ascii_lowercase();
    let turns = ["page", "next", "cursor", "continuation", "sync"];
    let is_more = MORE.iter().any(|end| small.ends_with(end));
    !turns.iter().any(|start| small.starts_with(start)) && (looks_like_key(name) || is_more)
}

/// The keys in a URL: its password, and those in its query. Templates are none.
#[must_use]
pub fn keys_in_url(url: &str) -> Vec<Embedded> {
    let end = url.find('#').unwrap_or(url.len());
    let query = url[..end].find('?').map_or(end, |at| at + 1);
    let mut keys: Vec<Embedded> = password(&url[..query]).into_iter().collect();
    keys.extend(pairs(url, query..end));
    keys
}

/// The keys in a body: a form's fields, or the texts of JSON. Templates are none.
#[must_use]
pub fn keys_in_data(data: &str) -> Vec<Embedded> {
    let start = data.trim_start();
    let is_json = start.starts_with(['{', '[']) && !start.starts_with("{{");
    if is_json {
        members(data)
    } else {
        pairs(data, 0..data.len())
    }
}

/// `user:password@` before the host.
fn password(url: &str) -> Option<Embedded> {
    let start = url.find("://")? + 3;
    let end = start + url[start..].find(['/', '?']).unwrap_or(url.len() - start);
    let at = start + url[start..end].rfind('@')?;
    let colon = start + url[start..at].find(':')?;
    key("password", url, colon + 1..at)
}

/// Of `name=value&…`.
fn pairs(text: &str, within: Range<usize>) -> Vec<Embedded> {
    let (mut keys, mut start) = (Vec::new(), within.start);
    for pair in text[within].split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && may_be_key(&decoded(name))
        {
            let from = start + name.len() + 1;
            keys.extend(key(&decoded(name), text, from..from + value.len()));
        }
        start += pair.len() + 1;
    }
    keys
}

fn key(name: &str, text: &str, place: Range<usize>) -> Option<Embedded> {
    let value = &text[place.clone()];
    (!value.is_empty() && !value.contains("{{")).then(|| Embedded {
        name: name.to_owned(),
        value: decoded(value).into_owned(),
        place,
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Of `"name": "value"`.
fn members(json: &str) -> Vec<Embedded> {
    let mut keys = Vec::new();
    let mut before: Option<(String, usize)> = None;
    let mut from = 0;
    while let Some((text, place)) = literal(json, from) {
        from = place.end + 1;
        if let Some((name, end)) = before.take()
            && json[end..place.start - 1].trim() == ":"
            && may_be_key(&name)
            && !text.is_empty()
            && !text.contains("{{")
        {
            keys.push(Embedded {
                name,
                place: place.clone(),
                value: text.clone(),
            });
        }
        before = Some((text, from));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, keys: Vec<Embedded>) -> Vec<(String, &str, String)> {
        keys.into_iter()
            .map(|key| (key.name, &text[key.place], key.value))
            .collect()
    }

    #[test]
    fn keys_of_a_url_are_found() {
        for (url, name, written, value) in [
            (
                "https://h/a?id=1&api_key=ab%2Fc&x=2",
                "api_key",
                "ab%2Fc",
                "ab/c",
            ),
            ("https://h/?Signature=ab#sig=no", "Signature", "ab", "ab"),
            ("https://h?token=ab", "token", "ab", "ab"),
            ("{{ base }}/x?sig=ab", "sig", "ab", "ab"),
            ("https://me:p%40@h/x?y=:@", "password", "p%40", "p@"),
        ] {
            let keys = found(url, keys_in_url(url));
            assert_eq!(keys, [(name.into(), written, value.into())], "{url}");
        }
        for url in [
            "https://h/token=ab",
            "https://h/?token={{ token }}&api_key=&page_token=x",
            "https://h:80/?nextToken=a@b&id=7",
        ] {
            assert_eq!(keys_in_url(url), [], "{url}");
        }
    }

    #[test]
    fn keys_of_a_body_are_found() {
        for (data, name, written, value) in [
            ("a=1&client_secret=x%20y", "client_secret", "x%20y", "x y"),
            (
                r#"{"a": "token", "b": [{"pass\u0077ord" : "x\"y"}], "token": 7}"#,
                "password",
                r#"x\"y"#,
                "x\"y",
            ),
        ] {
            let keys = found(data, keys_in_data(data));
            assert_eq!(keys, [(name.into(), written, value.into())], "{data}");
        }
        let data = r#"{"token": "{{ env.T }}", "list": ["token", "x"]}"#;
        assert_eq!(keys_in_data(data), []);
    }
}
