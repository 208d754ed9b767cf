//! Names of keys and passwords, and keys within a URL, form data or JSON. Pure.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode_str;

use crate::secret::literal;

/// Whether a header or variable of this name is probably a secret.
pub fn looks_like_key(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let ends = ["key", "token", "secret", "password", "passwd", "signature"];
    let whole = ["authorization", "proxyauthorization", "cookie", "auth", "apikey", "sig"];
    whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end))
}

/// A value in a URL or a body whose name says that it is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedKey {
    /// The name of the value.
    pub name: String,
    /// The place of the value in the text, without quotes.
    pub range: Range<usize>,
    /// The value without escapes.
    pub value: String,
}

/// Ends of names of keys, besides those of [`looks_like_key`].
const MORE_ENDS: [&str; 7] =
    ["pwd", "pass", "passphrase", "jwt", "credential", "credentials", "sessionid"];

/// Whether a value of this name in a URL or a body is probably a secret. Tokens of pages
/// are none.
pub fn may_be_key(name: &str) -> bool {
    let small: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let small = small.to_ascii_lowercase();
    let of_pages = ["page", "next", "cursor", "continuation", "sync"];
    let is_more = MORE_ENDS.iter().any(|end| small.ends_with(end));
    !of_pages.iter().any(|start| small.starts_with(start)) && (looks_like_key(name) || is_more)
}

/// The keys in a URL: its password, and keys in its query. Templates are none.
pub fn keys_in_url(url: &str) -> Vec<EmbeddedKey> {
    let end = url.find('#').unwrap_or(url.len());
    let query = url[..end].find('?').map_or(end, |at| at + 1);
    let mut keys: Vec<EmbeddedKey> = password(&url[..query]).into_iter().collect();
    keys.extend(pairs(url, query..end));
    keys
}

/// The keys in a body: fields of a form, or texts of JSON. Templates are none.
pub fn keys_in_data(data: &str) -> Vec<EmbeddedKey> {
    let start = data.trim_start();
    let is_json = start.starts_with(['{', '[']) && !start.starts_with("{{");
    if is_json { members(data) } else { pairs(data, 0..data.len()) }
}

/// The password of `user:password@` before the host.
fn password(url: &str) -> Option<EmbeddedKey> {
    let start = url.find("://")? + 3;
    let end = start + url[start..].find(['/', '?']).unwrap_or(url.len() - start);
    let at = start + url[start..end].rfind('@')?;
    let colon = start + url[start..at].find(':')?;
    key("password", url, colon + 1..at)
}

/// The keys in `name=value&…`.
fn pairs(text: &str, within: Range<usize>) -> Vec<EmbeddedKey> {
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

fn key(name: &str, text: &str, range: Range<usize>) -> Option<EmbeddedKey> {
    let value = &text[range.clone()];
    (!value.is_empty() && !value.contains("{{")).then(|| EmbeddedKey {
        name: name.to_owned(),
        value: decoded(value).into_owned(),
        range,
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The keys in JSON: texts that follow `"name":`.
fn members(json: &str) -> Vec<EmbeddedKey> {
    let mut keys = Vec::new();
    let mut before: Option<(String, usize)> = None;
    let mut from = 0;
    while let Some((text, range)) = literal(json, from) {
        from = range.end + 1;
        if let Some((name, end)) = before.take()
            && json[end..range.start - 1].trim() == ":"
            && may_be_key(&name)
            && !text.is_empty()
            && !text.contains("{{")
        {
            keys.push(EmbeddedKey { name, range: range.clone(), value: text.clone() });
        }
        before = Some((text, from));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, keys: Vec<EmbeddedKey>) -> Vec<(String, &str, String)> {
        keys.into_iter().map(|key| (key.name, &text[key.range], key.value)).collect()
    }

    #[test]
    fn keys_are_known_by_their_names() {
        for name in ["Authorization", "x-api-key", "X-Auth-Token", "client_secret", "Cookie"] {
            assert!(looks_like_key(name), "{name}");
        }
        for name in ["accept", "x-request-id", "keyword", "page_tokens"] {
            assert!(!looks_like_key(name), "{name}");
        }
    }

    #[test]
    fn keys_of_a_url_are_found() {
        for (url, name, written, value) in [
            ("https://h/a?id=1&api_key=ab%2Fc&x=2", "api_key", "ab%2Fc", "ab/c"),
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
