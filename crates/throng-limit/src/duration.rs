//! Durations as people write them. Pure.

use std::time::Duration;

const MINUTE: u128 = 60_000_000_000;

const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", MINUTE),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A duration as a job has it: `1d`, `1h30m`, `250ms`.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::duration;
///
/// assert_eq!(duration::exact(Duration::from_secs(86_400)), "1d");
/// assert_eq!(duration::exact(Duration::from_millis(90_250)), "1m30s250ms");
/// ```
#[must_use]
pub fn exact(duration: Duration) -> String {
    let parts = parts(duration.as_nanos());
    match parts.as_slice() {
        [] => "0s".into(),
        parts => parts.iter().map(|(count, unit)| format!("{count}{unit}")).collect(),
    }
}

/// A time to wait in its two largest units: `5 h 13 m`. Less than a minute is rounded up, to
/// seconds or a smaller unit: `28 s`, `250 ms`.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::duration;
///
/// assert_eq!(duration::rounded(Duration::from_secs(18_779)), "5 h 13 m");
/// assert_eq!(duration::rounded(Duration::from_millis(27_300)), "28 s");
/// ```
#[must_use]
pub fn rounded(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let largest = UNITS.iter().position(|(_, unit)| *unit <= nanos).unwrap_or(UNITS.len() - 1);
    let nanos = if nanos < MINUTE {
        let unit = UNITS[largest].1;
        nanos.div_ceil(unit) * unit
    } else {
        let unit = UNITS[largest + 1].1;
        (nanos + unit / 2) / unit * unit
    };
    match parts(nanos).as_slice() {
        [] => "0 s".into(),
        parts => {
            let parts: Vec<String> =
                parts.iter().map(|(count, unit)| format!("{count} {unit}")).collect();
            parts.join(" ")
        }
    }
}

/// A time that was measured or computed: below ten minutes in seconds with the digits that
/// matter, from there on in its two largest units.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::duration;
///
/// assert_eq!(duration::measured(Duration::from_millis(117_730)), "117.7 s");
/// assert_eq!(duration::measured(Duration::from_millis(18_779_500)), "5 h 13 m");
/// ```
#[must_use]
pub fn measured(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= LONG {
        return rounded(duration);
    }
    let places = match seconds {
        ..1.0 => 3,
        1.0..100.0 => 2,
        _ => 1,
    };
    let text = format!("{seconds:.places$}");
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Seconds from which on a measured time is given in larger units.
const LONG: f64 = 600.0;

/// The counts of each unit that occurs.
fn parts(nanos: u128) -> Vec<(u128, &'static str)> {
    let mut left = nanos;
    let mut parts = Vec::new();
    for (name, unit) in UNITS {
        if left >= unit {
            parts.push((left / unit, name));
            left %= unit;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["1d", "400d", "1h30m", "5s", "1ms", "2s536ms", "1us1ns", "0s"] {
            let duration = humantime::parse_duration(text).unwrap();
            assert_eq!(exact(duration), text);
        }
    }

    #[test]
    fn a_measured_time_has_the_digits_that_matter() {
        for (millis, expected) in [
            (0, "0 s"),
            (250, "0.25 s"),
            (2_151, "2.15 s"),
            (5_000, "5 s"),
            (60_000, "60 s"),
            (118_234, "118.2 s"),
            (599_960, "600 s"),
            (600_000, "10 m"),
            (18_779_500, "5 h 13 m"),
            (347_589_500, "4 d 1 h"),
        ] {
            assert_eq!(measured(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_wait_has_two_units() {
        for (millis, expected) in [
            (0, "0 s"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1_001, "2 s"),
            (59_001, "1 m"),
            (61_000, "1 m 1 s"),
            (3_599_999, "1 h"),
            (18_779_000, "5 h 13 m"),
            (86_400_000, "1 d"),
            (86_444_000, "1 d"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(rounded(Duration::from_millis(millis)), expected);
        }
    }
}
