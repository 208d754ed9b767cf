//! Times and dates of typed columns as text, in RFC 3339 and ISO 8601; none outside of the
//! years -9999 to 9999.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

/// The nanoseconds of a day.
pub(super) const DAY: i128 = 86_400_000_000_000;

/// A date, by its days since 1970.
pub(super) fn date(days: i128) -> Option<String> {
    let date = local(days.checked_mul(DAY)?)?;
    Some(date.date().to_string())
}

/// A time of day, by its nanoseconds.
pub(super) fn time(nanoseconds: i128) -> Option<String> {
    let is_one = (0..DAY).contains(&nanoseconds);
    let seconds = i32::try_from(nanoseconds / 1_000_000_000).ok().filter(|_| is_one)?;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let within = i32::try_from(nanoseconds % 1_000_000_000).ok()?;
    let [hour, minute, second] = [hour, minute, second].map(|it| i8::try_from(it).ok());
    let time = Time::new(hour?, minute?, second?, within).ok()?;
    Some(time.to_string())
}

/// A point in time, by its nanoseconds since 1970; in UTC, or on an unknown clock.
pub(super) fn timestamp(nanoseconds: i128, is_utc: bool) -> Option<String> {
    if is_utc {
        let time = Timestamp::from_nanosecond(nanoseconds).ok()?;
        return Some(time.to_string());
    }
    local(nanoseconds).map(|time| time.to_string())
}

/// The time on the same clock, by its nanoseconds since 1970.
fn local(nanoseconds: i128) -> Option<DateTime> {
    let time = Timestamp::from_nanosecond(nanoseconds).ok()?;
    Some(TimeZone::UTC.to_datetime(time))
}
