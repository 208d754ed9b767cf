//! Parts of the parsers of settings.

use std::fmt;
use std::time::Duration;

/// A text that is not a setting, with the form that it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    /// `right` is a whole clause, such as `a limit is N/PERIOD such as 22/5s`.
    pub(crate) fn new(right: &str, given: &str) -> ParseError {
        ParseError(format!("{right}, not {given:?}"))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// A duration such as `5s`, `1m 30s` or `250ms`; a bare unit is one of it.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return humantime::parse_duration(&format!("1{text}")).ok();
    }
    humantime::parse_duration(text).ok()
}

/// A share of the whole, 0 to 1: `5%` or `0.05`.
pub(crate) fn share(text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_unit_is_one_of_it() {
        assert_eq!(duration("m"), Some(Duration::from_secs(60)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("5"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn a_share_is_within_the_whole() {
        assert_eq!(share("5%"), Some(0.05));
        assert_eq!(share("0.05"), Some(0.05));
        assert_eq!(share("100 %"), Some(1.0));
        assert_eq!(share("101%"), None);
        assert_eq!(share("-0.1"), None);
        assert_eq!(share("NaN"), None);
    }
}
