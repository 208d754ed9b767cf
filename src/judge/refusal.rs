//! What a server says when the limit is hit. Pure.

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

/// The server won't take more for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// How long it wants to be left alone, if it says so.
    pub pause: Option<Duration>,
}

/// What an answer that came at `now` says about the limit, if it is a refusal.
#[must_use]
pub fn refusal(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Refusal> {
    is_refusal(status, headers).then(|| Refusal {
        pause: retry_after(headers, now),
    })
}

/// Whether an answer is a refusal: a 429, or a 503 that says when to come back.
#[must_use]
pub fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}

/// Seconds, whole or not, or an HTTP date, which is read against the server's
/// own clock where the answer tells it.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let now = date
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now);
    // Both dates are cut to whole seconds: up to one more may be meant.
    let rest = until.duration_since(now).unwrap_or_default();
    Some(rest + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(status: u16, headers: &[(&'static str, &str)]) -> Option<Option<u128>> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        refusal(StatusCode::from_u16(status).unwrap(), &headers, now)
            .map(|refusal| refusal.pause.map(|pause| pause.as_millis()))
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_a_date() {
        let date = "Sun, 06 Nov 1994 08:49:47 GMT";
        for (text, millis) in [
            ("3", Some(3_000)),
            (" 0.25 ", Some(250)),
            (date, Some(11_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1_000)),
            ("-1", None),
            ("soon", None),
            ("1e400", None),
        ] {
            assert_eq!(heard(429, &[("retry-after", text)]), Some(millis), "{text}");
        }
        let skewed = [
            ("retry-after", date),
            ("date", "Sun, 06 Nov 1994 08:49:45 GMT"),
        ];
        assert_eq!(heard(429, &skewed), Some(Some(3_000)));
    }

    #[test]
    fn only_what_speaks_of_the_limit_is_a_refusal() {
        assert_eq!(heard(429, &[]), Some(None));
        assert_eq!(heard(503, &[("retry-after", "1")]), Some(Some(1_000)));
        assert_eq!(heard(503, &[]), None);
        assert_eq!(heard(500, &[("retry-after", "1")]), None);
        assert_eq!(heard(200, &[("retry-after", "1")]), None);
    }
}
