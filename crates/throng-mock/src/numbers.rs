//! The numbers that a dialect reports of a limit, in each notation. Pure.

use std::time::{Duration, UNIX_EPOCH};

use crate::account::Count;
use crate::recorder::ArrivalInfo;

/// The values of the names in braces in a dialect's texts.
///
/// | name | such as |
/// |---|---|
/// | `{limit}`, `{left}`, `{used}` | `100` |
/// | `{reset}`, `{wait}` | `3`: seconds, rounded up |
/// | `{reset-float}`, `{wait-float}` | `2.501` |
/// | `{reset-go}` | `6m0.5s` |
/// | `{reset-epoch}`, `{reset-epoch-ms}` | since 1970 |
/// | `{reset-date}`, `{reset-rfc3339}` | as in HTTP and RFC 3339 |
pub(crate) struct DialectNumbers {
    /// The time on the server's clock, since 1970.
    clock: Duration,
    count: Count,
    wait: Duration,
}

impl DialectNumbers {
    /// The numbers of the limit at this index, with the time until it admits a request.
    pub(crate) fn of(info: &ArrivalInfo, limit: usize, wait: Duration) -> DialectNumbers {
        let none = Count { units: 0, left: 0, reset: Duration::ZERO };
        DialectNumbers {
            clock: info.clock,
            count: info.counts.get(limit).copied().unwrap_or(none),
            wait,
        }
    }

    /// The text with its names replaced by numbers.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let name = after.split_once('}').map(|(name, _)| name);
            let number = name.and_then(|name| Some((name, self.number(name)?)));
            match number {
                Some((name, number)) => {
                    filled.push_str(&number);
                    rest = &after[name.len() + 1..];
                }
                // A brace of JSON.
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled + rest
    }

    fn number(&self, name: &str) -> Option<String> {
        let Count { units, left, reset } = self.count;
        let end = self.clock + reset;
        let date = UNIX_EPOCH + Duration::from_secs(ceil(end));
        Some(match name {
            "limit" => units.to_string(),
            "left" => left.to_string(),
            "used" => units.saturating_sub(left).to_string(),
            "reset" => ceil(reset).to_string(),
            "reset-float" => float(reset),
            "reset-go" => go(reset),
            "reset-epoch" => ceil(end).to_string(),
            "reset-epoch-ms" => (end.as_nanos().div_ceil(1_000_000)).to_string(),
            "reset-date" => httpdate::fmt_http_date(date),
            "reset-rfc3339" => humantime::format_rfc3339_seconds(date).to_string(),
            "wait" => ceil(self.wait).to_string(),
            "wait-float" => float(self.wait),
            _ => return None,
        })
    }
}

/// Whole seconds, rounded up: by then the reported time has come.
fn ceil(time: Duration) -> u64 {
    time.as_nanos().div_ceil(1_000_000_000) as u64
}

/// Three decimals, rounded up.
fn float(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// A duration as Go writes it, rounded up to milliseconds.
fn go(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    let (minutes, seconds) = (millis / 60_000, (millis % 60_000) as f64 / 1_000.0);
    match (minutes, millis) {
        (_, 0..1_000) => format!("{millis}ms"),
        (0, _) => format!("{seconds}s"),
        (minutes, _) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_written_in_each_notation() {
        let count = Count { units: 100, left: 37, reset: Duration::from_micros(360_500_001) };
        let numbers = DialectNumbers {
            clock: Duration::from_secs(1_700_000_000),
            count,
            wait: Duration::from_millis(1_500),
        };
        for (text, filled) in [
            ("{used}/{limit}, {left}", "63/100, 37"),
            ("{reset} {reset-float} {reset-go}", "361 360.501 6m0.501s"),
            ("{reset-epoch} {reset-epoch-ms}", "1700000361 1700000360501"),
            (
                "{reset-rfc3339}, {reset-date}",
                "2023-11-14T22:19:21Z, Tue, 14 Nov 2023 22:19:21 GMT",
            ),
            ("{\"wait\": {wait-float}}", "{\"wait\": 1.500}"),
            ("{wait}{other", "2{other"),
        ] {
            assert_eq!(numbers.fill(text), filled);
        }
        assert_eq!([20, 1_500].map(|ms| go(Duration::from_millis(ms))), ["20ms", "1.5s"]);
    }
}
