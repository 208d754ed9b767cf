//! Times and dates of typed columns as text, in RFC 3339 and ISO 8601; none outside of the
//! years -9999 to 9999.

use jiff::Span;
use jiff::civil::{Date, DateTime, Time};

/// The nanoseconds of a day.
pub(super) const DAY: i128 = 86_400_000_000_000;

/// A date, by its days since 1970.
pub(super) fn date(days: i128) -> Option<String> {
    date_of(days).map(|date| date.to_string())
}

fn date_of(days: i128) -> Option<Date> {
    let days = Span::new().try_days(i64::try_from(days).ok()?).ok()?;
    Date::constant(1970, 1, 1).checked_add(days).ok()
}

/// A time of day, by its nanoseconds.
pub(super) fn time(nanoseconds: i128) -> Option<String> {
    time_of(nanoseconds).map(|time| time.to_string())
}

fn time_of(nanoseconds: i128) -> Option<Time> {
    let is_one = (0..DAY).contains(&nanoseconds);
    let seconds = i32::try_from(nanoseconds / 1_000_000_000).ok().filter(|_| is_one)?;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let within = i32::try_from(nanoseconds % 1_000_000_000).ok()?;
    let [hour, minute, second] = [hour, minute, second].map(|it| i8::try_from(it).ok());
    Time::new(hour?, minute?, second?, within).ok()
}

/// A point in time, by its nanoseconds since 1970; in UTC, or on an unknown clock. The last hours
/// of the year 9999, which stand for a time that never comes, are beyond what a timestamp holds.
pub(super) fn timestamp(nanoseconds: i128, is_utc: bool) -> Option<String> {
    let local = local(nanoseconds)?;
    Some(if is_utc { format!("{local}Z") } else { local.to_string() })
}

/// The time on the same clock, by its nanoseconds since 1970.
fn local(nanoseconds: i128) -> Option<DateTime> {
    let date = date_of(nanoseconds.div_euclid(DAY))?;
    Some(date.to_datetime(time_of(nanoseconds.rem_euclid(DAY))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_known_to_the_end_of_the_year_9999() {
        let last = 253_402_300_799_999_999_999;
        assert_eq!(timestamp(last, true).as_deref(), Some("9999-12-31T23:59:59.999999999Z"));
        assert_eq!(timestamp(last + 1, true), None);
        assert_eq!(timestamp(-1, false).as_deref(), Some("1969-12-31T23:59:59.999999999"));
        assert_eq!(date(2_932_896).as_deref(), Some("9999-12-31"));
        assert_eq!(date(-719_162).as_deref(), Some("0001-01-01"));
        assert_eq!(date(2_932_897), None);
        assert_eq!(date(i128::MAX), None);
    }
}
