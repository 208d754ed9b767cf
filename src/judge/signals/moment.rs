//! Moments, in every way that some server writes them. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;

/// No limit's window ends later than this: 32 days, for those of a month.
pub const LONGEST: Duration = Duration::from_secs(32 * 86_400);

/// Smaller numbers are seconds from now; larger ones a time since 1970.
const FIRST_EPOCH: f64 = 1e9;
/// Larger ones are milliseconds since 1970.
const FIRST_EPOCH_MILLIS: f64 = 1e11;

/// The time by which an answer's moments are meant.
#[derive(Debug, Clone, Copy)]
pub struct AnswerClock {
    now: SystemTime,
    /// By how much a moment may be later than it seems.
    doubt: Duration,
}

impl AnswerClock {
    /// The server's own clock, where the answer tells it and it differs from
    /// ours. It tells whole seconds only: up to one more may be meant.
    pub fn of(headers: &HeaderMap, now: SystemTime) -> AnswerClock {
        const AGREES: Duration = Duration::from_secs(2);
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let ours = AnswerClock {
            now,
            doubt: Duration::ZERO,
        };
        match date.and_then(|date| httpdate::parse_http_date(date).ok()) {
            Some(date) if apart(date, now) > AGREES => AnswerClock {
                now: date,
                doubt: Duration::from_secs(1),
            },
            _ => ours,
        }
    }
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b)
        .unwrap_or_else(|before| before.duration())
}

/// How long from now a moment is; zero if it has passed.
///
/// | written | as |
/// |---|---|
/// | `30`, `0.25` | seconds from now, if less than 30 years |
/// | `1700000000`, `1700000000.5` | seconds since 1970 |
/// | `1700000000000` | milliseconds since 1970 |
/// | `6m0s`, `20ms`, `1h30m` | a length |
/// | `2026-01-27T12:00:30Z` | RFC 3339 |
/// | `Sun, 06 Nov 1994 08:49:37 GMT` | an HTTP date |
///
/// # Errors
/// It can't be read, or is further away than [`LONGEST`].
pub fn moment(text: &str, clock: AnswerClock) -> Result<Duration, String> {
    let text = text.trim();
    let wait = match text.parse::<f64>() {
        Ok(number) => of_number(number, clock),
        Err(_) => of_words(text, clock),
    };
    let wait = wait.ok_or_else(|| format!("\"{text}\" is no time"))?;
    if wait <= LONGEST {
        Ok(wait)
    } else {
        Err(format!("\"{text}\" is more than 32 days away"))
    }
}

/// How long `Retry-After` asks for: a moment, or a length of any size, since it
/// is obeyed in full. Dates are cut to whole seconds: one more may be meant.
#[must_use]
pub fn pause(text: &str, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>()
        && seconds < FIRST_EPOCH
    {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let clock = AnswerClock {
        now: date
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or(now),
        doubt: Duration::from_secs(1),
    };
    match text.parse::<f64>() {
        Ok(number) => of_number(number, clock),
        Err(_) => of_words(text, clock),
    }
}

fn of_number(number: f64, clock: AnswerClock) -> Option<Duration> {
    let since = |seconds: f64| {
        let moment = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?);
        Some(until(moment?, clock))
    };
    match number {
        n if n < FIRST_EPOCH => Duration::try_from_secs_f64(n).ok(),
        n if n < FIRST_EPOCH_MILLIS => since(n),
        n => since(n / 1_000.0),
    }
}

fn of_words(text: &str, clock: AnswerClock) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    if let Ok(length) = humantime::parse_duration(text) {
        return Some(length);
    }
    if let Some(length) = with_fractions(text) {
        return Some(length);
    }
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => SystemTime::from(moment),
        Err(_) => httpdate::parse_http_date(text).ok()?,
    };
    Some(until(moment, clock))
}

/// `1m2.5s`: only the last part of what Go writes may have a fraction.
fn with_fractions(text: &str) -> Option<Duration> {
    let dot = text.find('.')?;
    let digits = text[..dot]
        .bytes()
        .rev()
        .take_while(u8::is_ascii_digit)
        .count();
    let (whole, last) = text.split_at(dot - digits);
    let whole = match whole {
        "" => Duration::ZERO,
        whole => humantime::parse_duration(whole).ok()?,
    };
    let unit = last.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = last.split_at(unit);
    let unit = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        _ => return None,
    };
    let last = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
    whole.checked_add(last)
}

fn until(moment: SystemTime, clock: AnswerClock) -> Duration {
    let wait = moment.duration_since(clock.now).unwrap_or_default();
    wait.saturating_add(clock.doubt)
}
