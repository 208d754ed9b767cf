//! The quote API: prices that follow from their symbols.

use std::borrow::Cow;
use std::fmt::Write;

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use crate::answer::MockAnswer;
use crate::chance::hash;
use crate::request::{ClientRequest, each_symbol};
use crate::{Fault, Settings};

/// Bytes of one filler field besides its text.
const FRAME: usize = ",\"filler000\":\"\"".len();

/// The price of a symbol, 1.00 to 1000.00 with at most two decimals. It
/// follows from the symbol alone and never changes.
pub fn price(symbol: &str) -> f64 {
    let cents = 100 + hash(symbol) % 99_901;
    cents as f64 / 100.0
}

/// Whether this path is the route of quotes.
pub(crate) fn is_route(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path == "/v6/finance/quote"
}

/// The requested symbols, from the query or, for a POST, from a form.
pub(crate) fn symbols(request: &ClientRequest) -> Option<String> {
    let symbols = request.param("symbols");
    let symbols = symbols.or_else(|| request.form_field("symbols"));
    symbols.map(Cow::into_owned)
}

/// The quotes for the requested symbols, with the effect of the fault.
pub(crate) fn answer(
    settings: &Settings,
    padding: &str,
    request: &ClientRequest,
    fault: Option<Fault>,
) -> MockAnswer {
    if !matches!(request.method, Method::GET | Method::POST | Method::HEAD) {
        return MockAnswer::problem(StatusCode::METHOD_NOT_ALLOWED, "quotes are read by GET");
    }
    if !is_allowed(settings.api_key.as_deref(), &request.headers) {
        return MockAnswer::problem(StatusCode::UNAUTHORIZED, "the x-api-key is wrong");
    }
    if request.symbols.is_none() {
        return MockAnswer::problem(StatusCode::BAD_REQUEST, "the parameter symbols is missing");
    }
    let answer = MockAnswer::json(StatusCode::OK, quotes(padding, request, fault));
    match fault {
        Some(fault) if fault.is_for_quotes() => answer.of_kind(fault),
        _ => answer,
    }
}

/// Filler fields of about this many bytes, as JSON that follows another field.
pub(crate) fn padding(bytes: usize) -> String {
    let fields = bytes.div_ceil(100);
    let text = "x".repeat(100 - FRAME);
    (0..fields).fold(String::new(), |mut padding, field| {
        // Writing to a string does not fail.
        let _ = write!(padding, ",\"filler{field:03}\":\"{text}\"");
        padding
    })
}

fn is_allowed(key: Option<&str>, headers: &HeaderMap) -> bool {
    let given = headers.get("x-api-key").map(|value| value.as_bytes());
    key.is_none_or(|key| given == Some(key.as_bytes()))
}

fn quotes(padding: &str, request: &ClientRequest, fault: Option<Fault>) -> String {
    let mut json = String::with_capacity(200 + padding.len());
    json.push_str("{\"quoteResponse\":{\"result\":[");
    if fault != Some(Fault::EmptyResult) {
        for (index, symbol) in each_symbol(request.symbols.as_deref()).enumerate() {
            json.push_str(if index == 0 { "" } else { "," });
            push_quote(&mut json, symbol, padding, fault);
        }
    }
    json.push_str("],\"error\":null}}");
    json
}

fn push_quote(json: &mut String, symbol: &str, padding: &str, fault: Option<Fault>) {
    let price = price(symbol);
    // Quoted by serde; the name goes on where the quoted symbol ends.
    let quoted = serde_json::Value::from(symbol).to_string();
    let open = quoted.strip_suffix('"').unwrap_or(&quoted);
    let _ = write!(json, "{{\"symbol\":{quoted}");
    if fault != Some(Fault::MissingKey) {
        let _ = write!(json, ",\"regularMarketPreviousClose\":{price}");
    }
    let _ = write!(json, ",\"longName\":{open} Inc.\"{padding}}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn result(symbols: &str, fault: Option<Fault>) -> Value {
        let mut request = ClientRequest::test("/v6/finance/quote/", "");
        request.symbols = Some(symbols.to_owned());
        let json = quotes(&padding(250), &request, fault);
        let mut value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["quoteResponse"]["error"], Value::Null);
        value["quoteResponse"]["result"].take()
    }

    #[test]
    fn prices_stay_the_same_and_in_range() {
        assert_eq!(price("ACME"), price("ACME"));
        for number in 0..1000 {
            let price = price(&number.to_string());
            assert!((1.0..=1000.0).contains(&price), "{price}");
        }
    }

    #[test]
    fn a_quote_has_its_price_whatever_the_symbol() {
        for symbol in ["ACME", "BRK.B", "^GSPC", "a\"b\\", "ü\nx"] {
            let result = result(symbol, None);
            assert_eq!(result[0]["symbol"], symbol);
            assert_eq!(result[0]["regularMarketPreviousClose"], price(symbol));
        }
        assert_eq!(result("ACME", None)[0]["longName"], "ACME Inc.");
        assert_eq!(result("A,B", None)[1]["symbol"], "B");
    }

    #[test]
    fn the_route_may_end_with_a_slash() {
        assert!(is_route("/v6/finance/quote") && is_route("/v6/finance/quote/"));
        assert!(!is_route("/v6/finance/quotes"));
    }

    #[test]
    fn faults_change_the_quotes() {
        assert_eq!(result("A", Some(Fault::EmptyResult)), Value::Array(vec![]));
        let missing = result("A", Some(Fault::MissingKey));
        assert_eq!(missing[0].get("regularMarketPreviousClose"), None);
        assert_eq!(missing[0]["symbol"], "A");
    }

    #[test]
    fn padding_has_about_its_length() {
        assert_eq!(padding(0), "");
        assert_eq!(padding(1000).len(), 1000);
    }
}
