//! A catalogue: lists in pages, single items, and batches of items.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LINK};
use serde_json::{Value, json};

use crate::answer::MockAnswer;
use crate::quotes::price;
use crate::request::ClientRequest;

/// Default number of items on a page.
const SIZE: u64 = 100;

/// The symbols by which the judge counts these requests: `list:300` for the page from
/// item 300 on, else the ids; none for other routes.
pub(crate) fn symbols(request: &ClientRequest) -> Option<String> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts[..] {
        ["list", _] => Some(format!("list:{}", begin(request).unwrap_or_default())),
        ["detail", id] => Some(id.to_owned()),
        ["batch"] => Some(ids(request).join(",")),
        ["token"] => Some("token".to_owned()),
        _ => None,
    }
}

/// Answers these routes; none for other routes.
pub(crate) fn answer(request: &ClientRequest) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts[..] {
        ["list", total] => Some(match total.parse() {
            Ok(total) => list(request, total),
            Err(_) => bad("the number of items is missing"),
        }),
        ["detail", id] => Some(match item(id) {
            Some(item) => MockAnswer::value(&item),
            None => MockAnswer::problem(StatusCode::NOT_FOUND, "there is no such item"),
        }),
        ["batch"] => Some(batch(request)),
        _ => None,
    }
}

/// The requested page, with each kind of link to the next one.
fn list(request: &ClientRequest, total: u64) -> MockAnswer {
    let (size, begin) = (number(request, "size", SIZE).max(1), begin(request));
    let Some(begin) = begin else {
        return bad("the cursor is unknown");
    };
    if number(request, "broken", u64::MAX) <= begin {
        return MockAnswer::problem(StatusCode::INTERNAL_SERVER_ERROR, "this page is broken");
    }
    let end = begin.saturating_add(size).min(total);
    let next = (end < total)
        .then(|| format!("{}?{}", request.path(), next_query(request, "cursor", &cursor(end))));
    let answer = MockAnswer::value(&json!({
        "items": (begin..end).map(|n| item(&n.to_string())).collect::<Vec<_>>(),
        "total": total,
        "pages": total.div_ceil(size),
        "more": end < total,
        "next": next,
        "cursor": (end < total).then(|| cursor(end)),
    }));
    match next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok()) {
        Some(link) => answer.with(LINK, link),
        None => answer,
    }
}

/// The request's query with another value of a parameter.
pub(crate) fn next_query(request: &ClientRequest, name: &str, value: &str) -> String {
    let own = format!("{name}={value}");
    let is_other = |pair: &&str| !pair.is_empty() && !pair.starts_with(&format!("{name}="));
    let pairs = request.query().split('&').filter(is_other);
    pairs.chain([own.as_str()]).collect::<Vec<_>>().join("&")
}

fn cursor(begin: u64) -> String {
    format!("after-{begin}")
}

/// Index of the requested page's first item, by cursor, offset or page number.
fn begin(request: &ClientRequest) -> Option<u64> {
    if let Some(cursor) = param(request, "cursor") {
        return cursor.strip_prefix("after-")?.parse().ok();
    }
    let page = number(request, "page", 1).max(1) - 1;
    let size = number(request, "size", SIZE);
    Some(number(request, "offset", page.saturating_mul(size)))
}

/// A parameter of the query, or a field of a JSON body.
fn param<'a>(request: &'a ClientRequest, name: &str) -> Option<Cow<'a, str>> {
    request.param(name).or_else(|| {
        let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
        match body.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into()),
            other => Some(other.to_string().into()),
        }
    })
}

fn number(request: &ClientRequest, name: &str, default: u64) -> u64 {
    param(request, name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The item with this id; none if the id begins with `no`.
fn item(id: &str) -> Option<Value> {
    let item = json!({ "id": id, "name": format!("Item {id}"), "price": price(id) });
    (!id.starts_with("no")).then_some(item)
}

/// The requested items that exist; 413 for too many ids.
fn batch(request: &ClientRequest) -> MockAnswer {
    let ids = ids(request);
    if ids.len() as u64 > number(request, "most", 50) {
        return MockAnswer::problem(StatusCode::PAYLOAD_TOO_LARGE, "too many ids");
    }
    // Deliberately not in the requested order.
    let found: Vec<Value> = ids.iter().rev().filter_map(|id| item(id)).collect();
    MockAnswer::value(&json!({ "found": found }))
}

/// `?ids=A,B` or `{"ids": ["A", "B"]}`.
fn ids(request: &ClientRequest) -> Vec<String> {
    if let Some(ids) = request.param("ids") {
        return ids.split(',').map(str::to_owned).collect();
    }
    let body: Option<Value> =
        request.body.as_deref().and_then(|body| serde_json::from_slice(body).ok());
    let ids = body.as_ref().and_then(|body| body.get("ids")).and_then(Value::as_array);
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    ids.into_iter().flatten().map(text).collect()
}

fn bad(message: &str) -> MockAnswer {
    MockAnswer::problem(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str, body: &str) -> (u16, Value, Option<String>) {
        let answer = answer(&ClientRequest::test(uri, body)).unwrap();
        let link = answer.headers.get(LINK).map(|link| link.to_str().unwrap().to_owned());
        (answer.status.as_u16(), answer.test_value(), link)
    }

    #[test]
    fn cursor_offset_and_page_number_lead_to_the_same_page() {
        for (query, body) in [
            ("?size=2&page=2", ""),
            ("?size=2&offset=2", ""),
            ("?size=2&cursor=after-2", ""),
            ("", r#"{"size": 2, "cursor": "after-2"}"#),
        ] {
            let (status, page, _) = ask(&format!("/list/5{query}"), body);
            assert_eq!((status, &page["items"][0]["id"]), (200, &json!("2")), "{query}{body}");
            assert_eq!(page["cursor"], "after-4");
        }
        let (_, _, link) = ask("/list/5?size=2&x=1", "");
        assert_eq!(link.unwrap(), "</list/5?size=2&x=1&cursor=after-2>; rel=\"next\"");
        let (_, last, link) = ask("/list/5?size=2&page=3", "");
        assert_eq!((last["more"].as_bool(), link), (Some(false), None));
        assert_eq!(ask("/list/5?broken=2&offset=2", "").0, 500);
    }

    #[test]
    fn a_batch_has_a_size_and_unknown_ids_are_left_out() {
        let (_, found, _) = ask("/batch?ids=a,nope,b", "");
        assert_eq!(found["found"].as_array().unwrap().len(), 2);
        assert_eq!(ask("/batch?most=1", r#"{"ids": [1, 2]}"#).0, 413);
        assert_eq!(ask("/detail/nothing", "").0, 404);
    }
}
