//! The time at which a run ends even if rows are left. Pure: the clock is an argument.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan, Zoned};

/// The time at which a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// This long after the run's start.
    After(Duration),
    /// At this time.
    At(Timestamp),
}

impl Deadline {
    /// The deadline in a job, where the local time is `now`.
    ///
    /// | written | as |
    /// |---|---|
    /// | `2h30m` | a time after the run's start |
    /// | `06:30`, `18:00:30` | the next time when a local clock shows that |
    /// | `2026-11-28T06:30` | a local time |
    /// | `2026-11-28T06:30:00Z` | RFC 3339 |
    ///
    /// # Errors
    /// It is none of these, or has passed.
    pub fn parse(text: &str, now: &Zoned) -> Result<Deadline, String> {
        let text = text.trim();
        if let Ok(time) = humantime::parse_duration(text) {
            return Ok(Deadline::After(time));
        }
        let time = if let Ok(time) = text.parse::<Timestamp>() {
            Some(time)
        } else if let Some(clock) = time_of_day(text) {
            next(clock, now)
        } else {
            let local = text.parse::<DateTime>().ok();
            local
                .and_then(|time| time.to_zoned(now.time_zone().clone()).ok())
                .map(|it| it.timestamp())
        };
        let Some(time) = time else {
            return Err(format!(
                "\"{text}\" is no deadline: write a duration such as 2h30m, a time of day such as 06:30, or a time such as 2026-11-28T06:30:00Z"
            ));
        };
        if time <= now.timestamp() {
            Err(format!("{text} has passed"))
        } else {
            Ok(Deadline::At(time))
        }
    }
}

/// The next time when a local clock shows this.
fn next(clock: Time, now: &Zoned) -> Option<Timestamp> {
    let days = [now.date(), now.date().checked_add(1.day()).ok()?];
    let mut times = days.into_iter().filter_map(|day| {
        day.to_datetime(clock).to_zoned(now.time_zone().clone()).ok().map(|it| it.timestamp())
    });
    times.find(|time| *time > now.timestamp())
}

/// A time of day, also with one digit for its hour.
fn time_of_day(text: &str) -> Option<Time> {
    let is_time = text.contains(':') && !text.contains('-');
    let zero = if text.find(':') == Some(1) { "0" } else { "" };
    is_time.then(|| format!("{zero}{text}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_a_time_of_day_and_a_time_are_deadlines() {
        let now: Zoned = "2026-11-27T14:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let at = |text: &str| Ok(Deadline::At(text.parse().unwrap()));
        for (text, expected) in [
            ("2h30m", Ok(Deadline::After(Duration::from_secs(9_000)))),
            ("14:00:01", at("2026-11-27T13:00:01Z")),
            ("18:30", at("2026-11-27T17:30:00Z")),
            ("14:00", at("2026-11-28T13:00:00Z")),
            ("6:30", at("2026-11-28T05:30:00Z")),
            ("2026-12-01T06:30", at("2026-12-01T05:30:00Z")),
            ("2026-12-01 06:30:00", at("2026-12-01T05:30:00Z")),
            ("2026-11-27T06:30:00-08:00", at("2026-11-27T14:30:00Z")),
            ("2026-11-27T12:59:59Z", Err("2026-11-27T12:59:59Z has passed".into())),
        ] {
            assert_eq!(Deadline::parse(text, &now), expected, "{text}");
        }
        for text in ["", "soon", "25:00", "7"] {
            assert!(Deadline::parse(text, &now).unwrap_err().contains("is no deadline"), "{text}");
        }
    }
}
