//! `pages.next`: the page names the URL of the next one, in a `Link` header (RFC 8288)
//! or in its body. Pure.

use http::HeaderMap;
use http::header::LINK;
use serde_json::Value;

use super::strategy::{Page, PageAddress, Strategy, compile, is_end, run};
use crate::error::Error;
use crate::extract::Program;

struct LinkHeader;

struct NextUrl(Program);

pub fn build(text: &str, _counts_items: bool) -> Result<Box<dyn Strategy>, Error> {
    Ok(match text {
        "link" => Box::new(LinkHeader),
        code => Box::new(NextUrl(compile("next (--next)", code)?)),
    })
}

impl Strategy for LinkHeader {
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        Ok(next_link(page.headers).map(PageAddress::Url))
    }
}

impl Strategy for NextUrl {
    fn next(&self, page: &Page) -> Result<Option<PageAddress>, String> {
        match run(&self.0, page)? {
            value if is_end(&value) => Ok(None),
            Value::String(url) => Ok(Some(PageAddress::Url(url))),
            value => Err(format!("pages.next gave {value}, which is no URL")),
        }
    }

    fn reads_body(&self) -> bool {
        true
    }
}

/// The target of the first link whose relation is `next`.
fn next_link(headers: &HeaderMap) -> Option<String> {
    let headers = headers.get_all(LINK).iter();
    let texts = headers.filter_map(|value| str::from_utf8(value.as_bytes()).ok());
    let mut found = texts.flat_map(links).filter(|(_, rest)| is_next(rest) && !is_empty(rest));
    found.next().map(|(target, _)| target.to_owned())
}

/// The targets of a header, each with its parameters.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // A URL may contain a comma, so only `<` begins a link.
    let bracketed = text.split('<').skip(1).filter_map(|link| link.split_once('>'));
    // Some servers leave out the brackets.
    let is_bare = !text.contains('<');
    let bare = text.split(',').filter_map(|link| link.split_once(';'));
    let bare = bare.filter(move |_| is_bare).map(|(target, rest)| (target.trim(), rest));
    bracketed.chain(bare)
}

/// Whether a link says of itself that its page has no results, as Sentry's do.
fn is_empty(parameters: &str) -> bool {
    let mut parameters = parameters.split([';', ',']).map(str::trim);
    parameters.any(|parameter| parameter.replace('"', "").eq_ignore_ascii_case("results=false"))
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
    fn the_link_to_the_next_page_is_found() {
        for (text, next) in [
            (
                r#"<https://h/?page=2>; rel="next", <https://h/?page=9>; rel="last""#,
                Some("https://h/?page=2"),
            ),
            (r#"</a,b?c=1>;rel=prev , </d,e>; title="x"; REL="last Next""#, Some("/d,e")),
            (r#"<https://h/?page=1>; rel="prev""#, None),
            ("next", None),
            ("<a> rel=nextish", None),
            (
                r#"</x?c=0:100:1>; rel="next"; results="true"; cursor="0:100:1""#,
                Some("/x?c=0:100:1"),
            ),
            (r#"</x>; rel="previous"; results="false", </y>; rel="next"; results="false""#, None),
            (r#"/x?page=1; rel="prev", /x?page=3; rel="next""#, Some("/x?page=3")),
            ("<a", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, text.parse().unwrap())]);
            assert_eq!(next_link(&headers).as_deref(), next, "{text}");
        }
        assert_eq!(next_link(&HeaderMap::new()), None);
    }
}
