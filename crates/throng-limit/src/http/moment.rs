//! Times, in every spelling that a server uses. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::DATE;

use super::header_rules::HeardHeaders;

/// Maximum time until a window ends: 32 days, for a limit per month.
pub const MAX_WAIT: Duration = Duration::from_secs(32 * 86_400);

/// Smaller numbers are seconds from now, larger ones are since 1970.
const FIRST_EPOCH: f64 = 1e9;
/// Larger numbers are milliseconds since 1970.
const FIRST_EPOCH_MILLIS: f64 = 1e11;

/// The clock that the times of an answer refer to.
#[derive(Debug, Clone, Copy)]
pub struct AnswerClock {
    now: SystemTime,
    /// Time that is added to each time, which may be later than its text.
    margin: Duration,
}

impl AnswerClock {
    /// The server's clock, where the answer has a `Date` that differs from the local
    /// clock. A `Date` has whole seconds, so up to one more is added.
    pub fn of(headers: HeardHeaders<'_>, now: SystemTime) -> AnswerClock {
        const AGREES: Duration = Duration::from_secs(2);
        match date(headers) {
            Some(date) if difference(date, now) > AGREES => {
                AnswerClock { now: date, margin: Duration::from_secs(1) }
            }
            _ => AnswerClock { now, margin: Duration::ZERO },
        }
    }
}

/// The server's clock by the `Date` of an answer.
fn date(headers: HeardHeaders<'_>) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE.as_str())?.to_str().ok()?).ok()
}

fn difference(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|before| before.duration())
}

/// The time from now until a moment; zero if it has passed.
///
/// | written | as |
/// |---|---|
/// | `30`, `0.25` | seconds from now, if less than 30 years |
/// | `1700000000`, `1700000000.5` | seconds since 1970 |
/// | `1700000000000` | milliseconds since 1970 |
/// | `6m0s`, `20ms`, `1h30m` | a duration |
/// | `2026-01-27T12:00:30Z` | RFC 3339 |
/// | `Sun, 06 Nov 1994 08:49:37 GMT` | an HTTP date |
///
/// With a `unit`, a number counts such units instead of seconds.
///
/// # Errors
/// It can't be parsed, or is further away than [`MAX_WAIT`].
pub fn moment(text: &str, unit: Option<Duration>, clock: AnswerClock) -> Result<Duration, String> {
    let text = text.trim();
    let number = unit.and_then(|unit| Some(text.parse::<f64>().ok()? * unit.as_secs_f64()));
    let wait = match number {
        Some(seconds) if seconds < FIRST_EPOCH => Duration::try_from_secs_f64(seconds).ok(),
        Some(seconds) => until_epoch(seconds, clock),
        None => time_until(text, clock),
    };
    let wait = wait.ok_or_else(|| format!("\"{text}\" is no time"))?;
    if wait <= MAX_WAIT { Ok(wait) } else { Err(format!("\"{text}\" is more than 32 days away")) }
}

/// The pause that `Retry-After` asks for: a moment or a duration of any length, since it
/// is obeyed in full. A date has whole seconds, so one more is added.
#[must_use]
pub fn parse_pause(text: &str, headers: HeardHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let now = date(headers).unwrap_or(now);
    time_until(text.trim(), AnswerClock { now, margin: Duration::from_secs(1) })
}

fn time_until(text: &str, clock: AnswerClock) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(number) => of_number(number, clock),
        Err(_) => of_text(text, clock),
    }
}

fn of_number(number: f64, clock: AnswerClock) -> Option<Duration> {
    match number {
        n if n < FIRST_EPOCH => Duration::try_from_secs_f64(n).ok(),
        n if n < FIRST_EPOCH_MILLIS => until_epoch(n, clock),
        n => until_epoch(n / 1_000.0, clock),
    }
}

/// The time until this number of seconds since 1970.
fn until_epoch(seconds: f64, clock: AnswerClock) -> Option<Duration> {
    let moment = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?);
    Some(until(moment?, clock))
}

fn of_text(text: &str, clock: AnswerClock) -> Option<Duration> {
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

/// Durations of Go such as `1m2.5s`, whose last part may have a fraction.
fn with_fractions(text: &str) -> Option<Duration> {
    let dot = text.find('.')?;
    let digits = text[..dot].bytes().rev().take_while(u8::is_ascii_digit).count();
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
    wait.saturating_add(clock.margin)
}
