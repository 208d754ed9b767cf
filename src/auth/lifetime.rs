//! The lifetime of secrets, as servers write it: seconds, or the time of their end. Pure.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

/// Number of seconds from which on a number is a time since 1970: 30 years are no lifetime.
const LEAST_TIME: f64 = 1e9;
/// Number from which on a time since 1970 is in milliseconds.
const LEAST_MILLISECONDS: f64 = 1e11;

/// The time from `now` to the end that this value says: a number of seconds, a time since 1970
/// in seconds or milliseconds, a time as in RFC 3339, or one as in HTTP's headers.
///
/// # Errors
/// That it is none of these, or has passed.
pub fn of(value: &Value, now: SystemTime) -> Result<Duration, String> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = match (number, value) {
        (Some(number), _) if number >= LEAST_MILLISECONDS => Some(number / 1e3 - since),
        (Some(number), _) if number >= LEAST_TIME => Some(number - since),
        (Some(number), _) => Some(number),
        (None, Value::String(text)) => time(text.trim()).map(|time| time - since),
        (None, _) => None,
    };
    let seconds = seconds.ok_or_else(|| {
        "before.expires gives no number of seconds, and no time (2026-11-27T12:00:00Z)".to_owned()
    })?;
    if seconds <= 0.0 {
        return Err(format!(
            "its secrets have expired on arrival (before.expires gives {value}): have the server give some that live longer, or leave before.expires out"
        ));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// The seconds since 1970 of a time in words.
fn time(text: &str) -> Option<f64> {
    let timestamp: Option<Timestamp> = text.parse().ok();
    let of_header = || {
        let time = httpdate::parse_http_date(text).ok()?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
    };
    timestamp.map(|time| time.as_millisecond() as f64 / 1e3).or_else(of_header)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_is_read_in_each_spelling() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (value, seconds) in [
            (json!(3600), 3600.0),
            (json!("3600"), 3600.0),
            (json!(0.5), 0.5),
            (json!(1_800_000_060), 60.0),
            (json!(1_800_000_060_500_u64), 60.5),
            (json!("2027-01-15T08:01:00Z"), 60.0),
            (json!("2027-01-15T09:01:00+01:00"), 60.0),
            (json!("Fri, 15 Jan 2027 08:01:00 GMT"), 60.0),
        ] {
            let found = of(&value, now).unwrap().as_secs_f64();
            assert!((found - seconds).abs() < 1e-3, "{value}: {found}");
        }
        for (value, why) in [
            (json!(0), "have expired on arrival"),
            (json!("2027-01-15T07:00:00Z"), "have expired on arrival"),
            (json!(null), "gives no number of seconds"),
            (json!("soon"), "gives no number of seconds"),
            (json!([1]), "gives no number of seconds"),
        ] {
            let found = of(&value, now).unwrap_err();
            assert!(found.contains(why), "{value}: {found}");
        }
    }
}
