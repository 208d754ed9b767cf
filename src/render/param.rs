//! A parameter of a URL that is already there. Pure.

use http::Uri;
use percent_encoding::percent_decode_str;

use super::place::percent_encode;

/// The URL with this parameter in its query, instead of any of that name.
pub fn with_param(uri: &Uri, name: &str, value: &str) -> Result<Uri, String> {
    let query = uri.query().unwrap_or_default();
    let is_other = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && percent_decode_str(key).decode_utf8_lossy() != name
    };
    let own = format!("{}={}", percent_encode(name), percent_encode(value));
    let pairs: Vec<&str> = query
        .split('&')
        .filter(is_other)
        .chain([own.as_str()])
        .collect();
    let mut parts = uri.clone().into_parts();
    let target = format!("{}?{}", uri.path(), pairs.join("&"));
    let target = target
        .parse()
        .map_err(|error| format!("{target:?} is not a URL: {error}"))?;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once() {
        for (from, to) in [
            ("http://h", "http://h/?p%20n=a%26b"),
            ("http://h/x?a=1&b", "http://h/x?a=1&b&p%20n=a%26b"),
            ("http://h/x?p%20n=0&a=%2F", "http://h/x?a=%2F&p%20n=a%26b"),
        ] {
            let uri = with_param(&from.parse().unwrap(), "p n", "a&b").unwrap();
            assert_eq!(uri, to);
        }
    }
}
