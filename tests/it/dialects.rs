//! Servers that speak as known APIs do, and a job that believes in the right limit,
//! or in a fifth more.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::counted::{Counted, Left, go, serve};
use crate::harness::{Place, assert_one_record_per_row};
use crate::recorder::answer;

const UNITS: u64 = 20;
const PERIOD: Duration = Duration::from_secs(2);

/// How an API tells what is left, and how long that holds.
type Dialect = fn(left: u64, rest: Duration) -> Vec<(&'static str, String)>;

/// By profile: its headers, and the status of its refusals.
const DIALECTS: [(&str, Dialect, &str); 6] = [
    ("github", github, "403 Forbidden"),
    ("openai", openai, "429 Too Many Requests"),
    ("anthropic", anthropic, "429 Too Many Requests"),
    ("reddit", reddit, "429 Too Many Requests"),
    ("discord", discord, "429 Too Many Requests"),
    ("x", x, "429 Too Many Requests"),
];

#[test]
fn no_request_is_refused_where_the_declared_limit_is_right() {
    thread::scope(|threads| {
        for (api, dialect, status) in DIALECTS {
            threads.spawn(move || assert_eq!(refusals(api, dialect, status, UNITS), 0, "{api}"));
        }
    });
}

#[test]
fn where_the_declared_limit_is_a_fifth_too_high_two_are_refused_in_a_window_at_most() {
    thread::scope(|threads| {
        for (api, dialect, status) in DIALECTS {
            threads.spawn(move || {
                let refused = refusals(api, dialect, status, UNITS * 6 / 5);
                assert!(refused <= 2 * 3, "{api}: {refused}");
            });
        }
    });
}

/// Three windows' rows with this declared limit; gives how many the server refused.
fn refusals(api: &str, dialect: Dialect, status: &'static str, declared: u64) -> usize {
    let rows = 3 * UNITS as usize;
    let counted = Arc::new(Counted::new(UNITS, PERIOD));
    let count = counted.clone();
    let server = serve(move |_| {
        let Left(left, rest) = count.count();
        let headers = dialect(left.unwrap_or(0), rest);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let status = if left.is_some() { "200 OK" } else { status };
        answer(status, &headers, "{}")
    });
    let job = format!(
        "api = \"{api}\"\n[limit]\nrate = \"{declared}/2s\"\n[request.headers]\n\
         user-agent = \"me@example.com\"\nanthropic-version = \"2023-06-01\""
    );
    let ended = go(&Place::new(), &server, rows, &job, 0);
    assert_one_record_per_row(&ended.records(), rows);
    counted.refused()
}

fn github(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit", UNITS.to_string()),
        ("x-ratelimit-remaining", left.to_string()),
        ("x-ratelimit-used", (UNITS - left).to_string()),
        ("x-ratelimit-reset", at(rest).as_secs().to_string()),
    ]
}

fn x(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("x-rate-limit-limit", UNITS.to_string()),
        ("x-rate-limit-remaining", left.to_string()),
        ("x-rate-limit-reset", at(rest).as_secs().to_string()),
    ]
}

fn openai(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit-requests", UNITS.to_string()),
        ("x-ratelimit-remaining-requests", left.to_string()),
        ("x-ratelimit-reset-requests", format!("{}ms", rest.as_millis() + 1)),
        ("x-ratelimit-limit-tokens", "200000".to_owned()),
        ("x-ratelimit-remaining-tokens", "199000".to_owned()),
        ("x-ratelimit-reset-tokens", "6m0s".to_owned()),
    ]
}

fn anthropic(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    let reset = jiff::Timestamp::UNIX_EPOCH + at(rest);
    vec![
        ("anthropic-ratelimit-requests-limit", UNITS.to_string()),
        ("anthropic-ratelimit-requests-remaining", left.to_string()),
        ("anthropic-ratelimit-requests-reset", format!("{reset:.0}")),
    ]
}

fn reddit(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("X-Ratelimit-Used", (UNITS - left).to_string()),
        ("X-Ratelimit-Remaining", format!("{left}.0")),
        ("X-Ratelimit-Reset", (rest.as_secs() + 1).to_string()),
    ]
}

fn discord(left: u64, rest: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("X-RateLimit-Limit", UNITS.to_string()),
        ("X-RateLimit-Remaining", left.to_string()),
        ("X-RateLimit-Reset-After", format!("{:.3}", rest.as_secs_f64() + 0.001)),
        ("X-RateLimit-Bucket", "abcd1234".to_owned()),
    ]
}

/// That moment since 1970, in whole seconds, rounded up.
fn at(rest: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Duration::from_secs((now + rest).as_secs() + 1)
}
