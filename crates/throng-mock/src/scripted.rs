//! Answers to any path, as the headers of the request ask for them.
//!
//! | header | the answer has |
//! |---|---|
//! | none | `value`: a number that no other answer or item has |
//! | `throng-items: N` | `items`: that many objects, each with a `value` |
//! | `throng-ids: A,B` | `items`: an object for each id, with it as `id` |
//! | `throng-pages: N` | `pages`, `last`; `next` and `cursor` up to the last page; no items after it |
//! | `throng-page: N` | nothing more: it is the page with this number, from 0; `?throng-page=N` is the same |
//! | `throng-unit-0: N`, ... | `units`: these numbers |

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::answer::MockAnswer;
use crate::lists::next_query;
use crate::request::ClientRequest;

/// The parameter of the query that says which page a link leads to.
const PAGE: &str = "throng-page";

/// Answers a request; `values` counts the values so far.
pub(crate) fn answer(request: &ClientRequest, values: &AtomicU64) -> MockAnswer {
    let next_value = || values.fetch_add(1, Ordering::Relaxed) + 1;
    let mut answer = Map::from_iter([("value".to_owned(), next_value().into())]);
    if let Some(ids) = header(request, "throng-ids") {
        let item = |id: &str| {
            let decoded = form_urlencoded::parse(id.as_bytes()).next();
            let id = decoded.map(|(id, _)| id).unwrap_or_default();
            json!({ "id": id, "value": next_value() })
        };
        let ids = ids.split_terminator(',');
        answer.insert("items".to_owned(), ids.map(item).collect());
    }
    let pages = number(request, "throng-pages");
    let page = request.param(PAGE).and_then(|page| page.parse().ok());
    let page = page.or_else(|| number(request, PAGE)).unwrap_or(0);
    if let Some(items) = number(request, "throng-items") {
        let is_over = pages.is_some_and(|pages| page >= pages);
        let items = (0..items).take_while(|_| !is_over);
        let items = items.map(|_| json!({ "value": next_value() }));
        answer.insert("items".to_owned(), items.collect());
    }
    if let Some(pages) = pages {
        let next = (page + 1 < pages).then_some(page + 1);
        let url = |next: u64| {
            let query = next_query(request, PAGE, &next.to_string());
            format!("{}?{query}", request.path())
        };
        answer.insert("pages".to_owned(), pages.into());
        answer.insert("last".to_owned(), next.is_none().into());
        answer.insert("cursor".to_owned(), next.into());
        answer.insert("next".to_owned(), next.map(url).into());
    }
    let units: Vec<u64> =
        (0..).map_while(|unit| number(request, &format!("throng-unit-{unit}"))).collect();
    if !units.is_empty() {
        answer.insert("units".to_owned(), units.into());
    }
    MockAnswer::value(&Value::Object(answer))
}

fn header<'a>(request: &'a ClientRequest, name: &str) -> Option<Cow<'a, str>> {
    let value = request.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

fn number(request: &ClientRequest, name: &str) -> Option<u64> {
    header(request, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn ask(uri: &str, headers: &[(&'static str, &str)]) -> Value {
        let header = |it: &(&'static str, &str)| {
            (HeaderName::from_static(it.0), it.1.parse::<HeaderValue>().unwrap())
        };
        let mut request = ClientRequest::test(uri, "");
        request.headers.extend(headers.iter().map(header));
        answer(&request, &AtomicU64::default()).test_value()
    }

    #[test]
    fn an_answer_has_what_its_request_asks_for() {
        assert_eq!(ask("/any", &[]), json!({ "value": 1 }));
        let units = [("throng-unit-0", "1"), ("throng-unit-1", "250")];
        assert_eq!(ask("/any", &units), json!({ "value": 1, "units": [1, 250] }));
        let ids = ask("/any", &[("throng-ids", "a%2Cb,7,")]);
        let items = json!([{ "id": "a,b", "value": 2 }, { "id": "7", "value": 3 }]);
        assert_eq!(ids["items"], items);
    }

    #[test]
    fn pages_lead_to_the_last_one_and_have_no_items_after_it() {
        let list = [("throng-items", "2"), ("throng-pages", "3")];
        let first = ask("/any?a=b", &list);
        assert_eq!(first["items"], json!([{ "value": 2 }, { "value": 3 }]));
        assert_eq!(first["next"], "/any?a=b&throng-page=1");
        assert_eq!((&first["cursor"], &first["pages"]), (&json!(1), &json!(3)));
        let last = ask("/any?throng-page=2", &list);
        assert_eq!((&last["last"], &last["next"]), (&json!(true), &json!(null)));
        let after = ask("/any", &[list[0], list[1], ("throng-page", "3")]);
        assert_eq!(after["items"], json!([]));
    }
}
