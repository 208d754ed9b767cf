//! The `Link` header of RFC 8288, as far as it leads to the next page.

use http::HeaderMap;
use http::header::LINK;

/// The target of the first link whose relation is `next`.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    let headers = headers.get_all(LINK).iter();
    let texts = headers.filter_map(|value| str::from_utf8(value.as_bytes()).ok());
    texts
        .flat_map(links)
        .find_map(|(target, rest)| is_next(rest).then(|| target.to_owned()))
}

/// Each target, and what stands between it and the next one.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // A comma may stand in a URL, so only `<` begins a link.
    text.split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|it| it.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_found_among_others() {
        for (text, next) in [
            (
                r#"<https://h/?page=2>; rel="next", <https://h/?page=9>; rel="last""#,
                Some("https://h/?page=2"),
            ),
            (
                r#"</a,b?c=1>;rel=prev , </d,e>; title="x"; REL="last Next""#,
                Some("/d,e"),
            ),
            (r#"<https://h/?page=1>; rel="prev""#, None),
            ("next", None),
            ("<a> rel=nextish", None),
            ("<a", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, text.parse().unwrap())]);
            assert_eq!(next_link(&headers).as_deref(), next, "{text}");
        }
        assert_eq!(next_link(&HeaderMap::new()), None);
    }
}
