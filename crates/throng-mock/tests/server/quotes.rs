//! Quotes, their limits, and the judge.

use hyper::Method;
use hyper::header::RETRY_AFTER;
use throng_mock::{Judgement, Refusal, Settings, price};

use crate::client::{Connection, QUOTE, ReceivedAnswer, get, limited, request, run, start};

#[test]
fn quotes_have_the_price_of_their_symbol() {
    let mock = start(Settings::default());
    run(async {
        let mut connection = Connection::to(&mock).await;
        for (method, body) in [(Method::GET, ""), (Method::POST, "x=1")] {
            let request = request(method, &format!("{QUOTE}BRK.B"), body);
            let answer = connection.send(request).await.unwrap();
            assert_eq!(answer.status, 200);
            let quote = &answer.json()["quoteResponse"]["result"][0];
            assert_eq!(quote["symbol"], "BRK.B");
            assert_eq!(quote["regularMarketPreviousClose"], price("BRK.B"));
        }
        let form = request(Method::POST, "/v6/finance/quote", "symbols=A%2CB");
        let answer = connection.send(form).await.unwrap();
        assert_eq!(answer.json()["quoteResponse"]["result"][1]["symbol"], "B");
    });
    let judgement = mock.judgement();
    assert_eq!(judgement.answers["200"], 3);
    assert_eq!(judgement.symbols["BRK.B"], 2);
    assert_eq!(judgement.symbols["B"], 1);
}

#[test]
fn padding_makes_quotes_longer() {
    let padding = 2000;
    let mock = start(Settings { padding, ..Settings::default() });
    let answer = get(&mock, &format!("{QUOTE}A")).unwrap();
    assert!(answer.body.len() > padding);
    let quote = &answer.json()["quoteResponse"]["result"][0];
    assert_eq!(quote["regularMarketPreviousClose"], price("A"));
}

#[test]
fn a_key_in_the_settings_is_required() {
    let mock = start(Settings { api_key: Some("secret".into()), ..Settings::default() });
    assert_eq!(get(&mock, &format!("{QUOTE}A")).unwrap().status, 401);
    let status_with_key = |key: &str| {
        let mut request = request(Method::GET, &format!("{QUOTE}A"), "");
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        run(async { Connection::to(&mock).await.send(request).await.unwrap().status })
    };
    assert_eq!(status_with_key("guess"), 401);
    assert_eq!(status_with_key("secret"), 200);
    assert_eq!(get(&mock, "/echo").unwrap().status, 200);
    assert_eq!(mock.judgement().requests, 4);
}

#[test]
fn the_limit_counts_arrivals() {
    let mock = start(limited("3/1h"));
    let answers: Vec<ReceivedAnswer> = (0..5).map(|_| get(&mock, "/echo").unwrap()).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let wait: u64 = answers[4].header(RETRY_AFTER).parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.refused), (5, 2));
    assert_eq!((judgement.answers["200"], judgement.answers["429"]), (3, 2));
    let window = &judgement.windows[0];
    assert_eq!((window.units, window.most), (3, 5));
}

#[test]
fn refusals_have_the_retry_after_of_the_settings() {
    for (refusal, expected) in [(Refusal::RetryAfterSeconds, Some("3600")), (Refusal::Bare, None)] {
        let mock = start(Settings { refusal, ..limited("fixed:1/1h") });
        get(&mock, "/echo").unwrap();
        let answer = get(&mock, "/echo").unwrap();
        assert_eq!(answer.headers.contains_key(RETRY_AFTER), expected.is_some());
    }
    let mock = start(Settings { refusal: Refusal::RetryAfterDate, ..limited("bucket:1/1h") });
    get(&mock, "/echo").unwrap();
    let answer = get(&mock, "/echo").unwrap();
    assert!(answer.header(RETRY_AFTER).ends_with(" GMT"), "{answer:?}");
}

#[test]
fn requests_to_the_judge_are_not_counted() {
    let mock = start(limited("1/1h"));
    run(async {
        let mut connection = Connection::to(&mock).await;
        connection.get(&format!("{QUOTE}A")).await.unwrap();
        let answer = connection.get("/judge").await.unwrap();
        let judgement: Judgement = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(judgement, mock.judgement());
        assert_eq!(judgement.requests, 1);
        for (method, path) in [(Method::DELETE, "/judge"), (Method::POST, "/judge/reset")] {
            connection.send(request(method, path, "")).await.unwrap();
            assert_eq!(mock.judgement().requests, 0);
            assert_eq!(connection.get("/echo").await.unwrap().status, 200);
        }
    });
}
