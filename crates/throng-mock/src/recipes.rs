//! APIs that the recipes of the documentation ask, each with a few fixed answers.

use std::sync::Mutex;

use flate2::Crc;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, ETAG, HOST, HeaderName, HeaderValue, SET_COOKIE,
};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::MockAnswer;
use crate::chance::KeyCounts;
use crate::recorder::lock;
use crate::request::ClientRequest;

/// The titles that every list has.
const TITLES: [&str; 5] = ["Emma", "Kim", "Momo", "Nana", "Ulysses"];

/// Number of titles on a page.
const SIZE: usize = 2;

/// The cookie of a session.
const SESSION: &str = "session=4f1c-session-of-ann";

/// Answers these routes; none for other routes. `tries` counts the polls of operations.
pub(crate) fn answer(request: &ClientRequest, tries: &Mutex<KeyCounts>) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    let is_post = request.method == Method::POST;
    Some(match parts[..] {
        ["api", "generate"] => ollama(request),
        ["v1", "embeddings"] => embeddings(request),
        ["wp-json", "wp", "v2", "posts"] => wordpress(request),
        [_, "_search"] if is_post => scroll(0),
        ["_search", "scroll"] if is_post => next_scroll(request),
        ["oai"] => oai_pmh(request),
        ["graphql"] if is_post => graphql(request),
        ["odata", "Books"] => odata(request),
        ["subscriptions", ..] if request.method == Method::PUT => azure(request),
        ["operations", id] => operation(id, tries),
        ["account", "login"] if is_post => login(request),
        ["account", "orders", id] => order(request, id),
        ["uploads"] if is_post => upload(request),
        ["storage", name] if request.method == Method::PUT => stored(request, name),
        ["reports", id, "pdf"] => pdf(id),
        _ => return None,
    })
}

/// Ollama: the words of the answer as a stream of JSON documents.
fn ollama(request: &ClientRequest) -> MockAnswer {
    let body = body(request);
    let prompt = body["prompt"].as_str().unwrap_or_default();
    let words = ["You", " asked", ": ", prompt];
    let mut lines: String = words
        .map(|word| json!({ "model": body["model"], "response": word, "done": false }))
        .map(|line| format!("{line}\n"))
        .concat();
    let last = json!({ "model": body["model"], "response": "", "done": true, "eval_count": 4 });
    lines.push_str(&format!("{last}\n"));
    typed("application/x-ndjson", lines)
}

/// Embeddings as OpenAI has them, deliberately not in the order of the texts.
fn embeddings(request: &ClientRequest) -> MockAnswer {
    let body = body(request);
    let texts: Vec<&Value> = match &body["input"] {
        Value::Array(texts) => texts.iter().collect(),
        text => vec![text],
    };
    let embedding = |text: &Value| {
        let text = text.as_str().unwrap_or_default();
        let vowels = text.chars().filter(|letter| "aeiou".contains(*letter)).count();
        json!([text.chars().count(), vowels])
    };
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .rev()
        .map(|(n, text)| json!({ "object": "embedding", "index": n, "embedding": embedding(text) }))
        .collect();
    MockAnswer::value(&json!({ "object": "list", "model": body["model"], "data": data }))
}

/// WordPress: the number of pages is in a header, and 400 is after the last page.
fn wordpress(request: &ClientRequest) -> MockAnswer {
    let page: usize = number(request, "page").unwrap_or(1);
    let pages = TITLES.len().div_ceil(SIZE);
    if page == 0 || page > pages {
        let code = json!({ "code": "rest_post_invalid_page_number" });
        return MockAnswer::json(StatusCode::BAD_REQUEST, code.to_string());
    }
    let posts = titles((page - 1) * SIZE);
    let posts: Vec<Value> =
        posts.map(|(n, title)| json!({ "id": n, "title": { "rendered": title } })).collect();
    MockAnswer::value(&posts)
        .with(HeaderName::from_static("x-wp-total"), TITLES.len().into())
        .with(HeaderName::from_static("x-wp-totalpages"), pages.into())
}

/// Elasticsearch: a page of hits, with an id by which the next request gets the next page.
fn scroll(begin: usize) -> MockAnswer {
    let hits: Vec<Value> = titles(begin)
        .map(|(n, title)| json!({ "_id": n.to_string(), "_source": { "title": title } }))
        .collect();
    MockAnswer::value(&json!({
        "_scroll_id": format!("scroll-{}", begin + SIZE),
        "hits": { "total": { "value": TITLES.len(), "relation": "eq" }, "hits": hits },
    }))
}

fn next_scroll(request: &ClientRequest) -> MockAnswer {
    let body = body(request);
    match position(body["scroll_id"].as_str(), "scroll-") {
        Some(begin) => scroll(begin),
        None => MockAnswer::problem(StatusCode::NOT_FOUND, "there is no such scroll"),
    }
}

/// OAI-PMH: records as XML; an empty resumption token is on the last page.
fn oai_pmh(request: &ClientRequest) -> MockAnswer {
    let token = request.param("resumptionToken");
    let begin = if token.is_some() { position(token.as_deref(), "token ") } else { Some(0) };
    let Some(begin) = begin else {
        let error = r#"<error code="badResumptionToken">it is unknown</error>"#;
        return typed("text/xml", format!("<OAI-PMH>{error}</OAI-PMH>"));
    };
    let records: String = titles(begin)
        .map(|(n, title)| {
            format!(
                "<record><header><identifier>oai:books:{n}</identifier></header><metadata>\
                 <oai_dc:dc><dc:title>{title}</dc:title></oai_dc:dc></metadata></record>"
            )
        })
        .collect();
    let next = begin + SIZE;
    let next = if next < TITLES.len() { format!("token {next}") } else { String::new() };
    let list = format!("{records}<resumptionToken>{next}</resumptionToken>");
    let root = r#"<OAI-PMH xmlns:oai_dc="urn:oai_dc" xmlns:dc="urn:dc">"#;
    typed(
        "text/xml; charset=utf-8",
        format!("<?xml version=\"1.0\"?>{root}<ListRecords>{list}</ListRecords></OAI-PMH>"),
    )
}

/// GraphQL: a connection with its page's end.
fn graphql(request: &ClientRequest) -> MockAnswer {
    let body = body(request);
    let after = &body["variables"]["after"];
    let begin = if after.is_null() { Some(0) } else { position(after.as_str(), "after-") };
    let Some(begin) = begin else {
        return MockAnswer::value(&json!({ "errors": [{ "message": "the cursor is unknown" }] }));
    };
    let nodes: Vec<Value> =
        titles(begin).map(|(n, title)| json!({ "id": n, "title": title })).collect();
    let end = begin + nodes.len();
    MockAnswer::value(&json!({ "data": { "books": {
        "nodes": nodes,
        "pageInfo": { "hasNextPage": end < TITLES.len(), "endCursor": format!("after-{end}") },
    } } }))
}

/// OData: a page with the URL of the next one.
fn odata(request: &ClientRequest) -> MockAnswer {
    let token = request.param("$skiptoken");
    let begin = token.and_then(|token| token.parse().ok()).unwrap_or(0);
    let books: Vec<Value> =
        titles(begin).map(|(n, title)| json!({ "Id": n, "Title": title })).collect();
    let mut page = json!({ "@odata.context": "$metadata#Books", "value": books });
    if begin + SIZE < TITLES.len() {
        let path = format!("/odata/Books?$skiptoken={}", begin + SIZE);
        page["@odata.nextLink"] = url(request, &path).into();
    }
    MockAnswer::value(&page)
}

/// Azure: the answer to the PUT has the URL of its operation.
fn azure(request: &ClientRequest) -> MockAnswer {
    let name = request.path().rsplit('/').next().unwrap_or_default();
    let body = json!({ "name": name, "properties": { "provisioningState": "Creating" } });
    let answer = MockAnswer::json(StatusCode::CREATED, body.to_string());
    let place = url(request, &format!("/operations/{name}?api-version=2024-07-01"));
    with_text(answer, HeaderName::from_static("azure-asyncoperation"), &place)
}

/// Azure: an operation is done at its second poll. One whose name begins with `no` fails.
fn operation(id: &str, tries: &Mutex<KeyCounts>) -> MockAnswer {
    let polled = lock(tries).count_up(&format!("operation {id}"));
    MockAnswer::value(&match polled {
        0 => json!({ "name": id, "status": "InProgress" }),
        _ if id.starts_with("no") => json!({
            "name": id,
            "status": "Failed",
            "error": { "code": "QuotaExceeded", "message": "the quota of cores is used up" },
        }),
        _ => json!({ "name": id, "status": "Succeeded" }),
    })
}

/// A login by a form, whose session is a cookie.
fn login(request: &ClientRequest) -> MockAnswer {
    if request.form_field("user").is_none() || request.form_field("password").is_none() {
        return MockAnswer::problem(StatusCode::FORBIDDEN, "the user or the password is missing");
    }
    with_text(MockAnswer::empty(), SET_COOKIE, &format!("{SESSION}; Path=/; HttpOnly"))
}

/// What only a session may see.
fn order(request: &ClientRequest, id: &str) -> MockAnswer {
    let cookie = request.headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    if !cookie.is_some_and(|cookie| cookie.contains(SESSION)) {
        return MockAnswer::problem(StatusCode::UNAUTHORIZED, "log in first");
    }
    MockAnswer::value(&json!({ "id": id, "total": 10 * id.len() }))
}

/// A presigned URL, to which a file may be sent.
fn upload(request: &ClientRequest) -> MockAnswer {
    let body = body(request);
    let Some(name) = body["name"].as_str() else {
        return MockAnswer::problem(StatusCode::BAD_REQUEST, "the name is missing");
    };
    let signature = checksum(name.as_bytes());
    let path = format!("/storage/{name}?X-Signature={signature}");
    MockAnswer::value(&json!({ "id": signature, "upload_url": url(request, &path) }))
}

/// Takes the file for a presigned URL. As in S3, another authorization spoils the signature.
fn stored(request: &ClientRequest, name: &str) -> MockAnswer {
    let signature = request.param("X-Signature");
    let is_signed = signature.is_some_and(|it| it == checksum(name.as_bytes()));
    if !is_signed || request.headers.contains_key(AUTHORIZATION) {
        return MockAnswer::problem(StatusCode::FORBIDDEN, "the signature does not match");
    }
    let etag = format!("\"{}\"", checksum(request.body.as_deref().unwrap_or_default()));
    with_text(MockAnswer::json(StatusCode::OK, ""), ETAG, &etag)
}

/// A PDF, whose bytes are no text.
fn pdf(id: &str) -> MockAnswer {
    let mut bytes = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    bytes.extend_from_slice(format!("% report {id}\n%%EOF\n").as_bytes());
    let pdf = HeaderValue::from_static("application/pdf");
    MockAnswer::json(StatusCode::OK, bytes).with(CONTENT_TYPE, pdf)
}

/// The titles of the page from this one on, each with its number, from 1.
fn titles(begin: usize) -> impl Iterator<Item = (usize, &'static str)> {
    let numbered = TITLES.into_iter().enumerate().skip(begin).take(SIZE);
    numbered.map(|(n, title)| (n + 1, title))
}

/// The number in a cursor such as `after-4`.
fn position(cursor: Option<&str>, prefix: &str) -> Option<usize> {
    cursor?.strip_prefix(prefix)?.parse().ok()
}

fn number(request: &ClientRequest, name: &str) -> Option<usize> {
    request.param(name)?.parse().ok()
}

/// The JSON body of a request; null if it has none.
fn body(request: &ClientRequest) -> Value {
    serde_json::from_slice(request.body.as_deref().unwrap_or_default()).unwrap_or_default()
}

/// The URL of a path on the host that the request names.
fn url(request: &ClientRequest, path: &str) -> String {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri.authority().map(|authority| authority.as_str()));
    format!("http://{}{path}", host.unwrap_or_default())
}

fn checksum(bytes: &[u8]) -> String {
    let mut crc = Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}

fn typed(content_type: &'static str, body: String) -> MockAnswer {
    let content_type = HeaderValue::from_static(content_type);
    MockAnswer::json(StatusCode::OK, body).with(CONTENT_TYPE, content_type)
}

/// The answer with this header, if its text may stand there.
fn with_text(answer: MockAnswer, name: HeaderName, text: &str) -> MockAnswer {
    match HeaderValue::try_from(text) {
        Ok(value) => answer.with(name, value),
        Err(_) => answer,
    }
}
