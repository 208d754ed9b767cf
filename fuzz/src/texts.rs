//! Short texts: rates in a job, and what a server says of its limits in headers.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use throng::internals::extract::AnswerContext;
use throng::internals::judge::signals::{self, HeaderRules, MAX_WAIT, SignalSource};
use throng::internals::pages::{Page, PageAddress, PageHistory, Pages, Settings};
use throng::limit::Limit;

use crate::{halves, text};

/// A rate that can be read is written so that it reads the same.
pub fn rates(data: &[u8]) {
    let Ok(limit) = text(data).parse::<Limit>() else {
        return;
    };
    let written = limit.to_string();
    assert_eq!(written.parse::<Limit>().as_ref(), Ok(&limit), "{written}");
}

/// Headers that tell a count, by their usual names and by names of the job's own.
pub fn limit_headers(data: &[u8]) {
    let headers = headers(data);
    let said = SignalSource {
        unit: "tokens".into(),
        limit: "x-most".into(),
        remaining: "x-left".into(),
        used: "x-used".into(),
        reset: "x-end".into(),
        reset_unit: None,
    };
    let rules = HeaderRules::new(&[said], &[]).unwrap_or_default();
    for now in moments() {
        let heard = signals::read_headers(rules.heard(&headers), now);
        for signal in heard.signals {
            let reset = signal.info.reset.unwrap_or_default();
            // A second more, since a server may round.
            assert!(reset <= MAX_WAIT + Duration::from_secs(1), "{reset:?}");
        }
    }
}

/// `Retry-After`, and the `Link` header that leads to the next page.
pub fn retry_after(data: &[u8]) {
    let (pause, rest) = halves(data);
    let headers = headers(rest);
    for now in moments() {
        let _ = signals::parse_pause(text(pause), HeaderRules::default().heard(&headers), now);
    }
    let settings = Settings { next: Some("link".into()), ..Settings::default() };
    let pages = Pages::new(&settings, None).unwrap().unwrap();
    let page = Page {
        context: AnswerContext::default(),
        number: 0,
        address: &PageAddress::First,
        uri: &Uri::from_static("https://api.example/items"),
        headers: &headers,
        body: None,
        bytes: b"[1]",
        items: None,
        is_empty: false,
    };
    if let Ok(Some(turn)) = pages.advance(&page, &mut PageHistory::default()).next {
        assert!(matches!(turn, PageAddress::Url(_)), "{turn:?}");
    }
}

/// A clock that is right, and clocks that are far off.
fn moments() -> [SystemTime; 3] {
    let days = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    [days(0), days(20_000), days(3_000_000)]
}

/// Lines of `name: value`; what can be no header is passed over.
fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            // A map holds 32,768 names at most.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}
