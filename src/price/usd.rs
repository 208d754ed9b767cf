//! Amounts of money, in millionths of a millionth of a US dollar: sums of them do not drift. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The decimal places of an amount.
const PLACES: usize = 12;
/// The parts of a dollar.
const PARTS: u64 = 1_000_000_000_000;

/// An amount of US dollars: a whole number of their millionths of a millionth, up to 18 million
/// dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub u64);

impl Usd {
    /// Nothing.
    pub const ZERO: Usd = Usd(0);

    /// Both amounts together.
    #[must_use]
    pub fn plus(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }

    /// What is left of this amount without the other.
    #[must_use]
    pub fn minus(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// This share of the amount, rounded up.
    #[must_use]
    pub fn times(self, numerator: u64, denominator: u64) -> Usd {
        let product = u128::from(self.0) * u128::from(numerator);
        let amount = product.div_ceil(u128::from(denominator.max(1)));
        Usd(u64::try_from(amount).unwrap_or(u64::MAX))
    }

    /// The number of dollars as a fraction, for programs.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PARTS as f64
    }

    /// The amount that is nearest to this number of dollars.
    #[must_use]
    pub fn of_dollars(dollars: f64) -> Usd {
        Usd((dollars * PARTS as f64).round() as u64)
    }

    /// Reads a number of dollars with at most twelve decimal places.
    pub(super) fn decimal(text: &str) -> Result<Usd, String> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if (whole.is_empty() && rest.is_empty()) || !is_digits(whole) || !is_digits(rest) {
            return Err(format!("\"{text}\" is no number of dollars, such as 0.15"));
        }
        if rest.len() > PLACES {
            return Err(format!("\"{text}\" has more than {PLACES} decimal places"));
        }
        let parts = format!("{whole}{rest:0<PLACES$}").parse();
        parts.map(Usd).map_err(|_| format!("\"{text}\" is more than 18 million dollars"))
    }
}

/// `25usd`, `25 USD`, `$25`, `25`.
impl FromStr for Usd {
    type Err = String;

    fn from_str(text: &str) -> Result<Usd, String> {
        let amount = text.trim().trim_start_matches('$');
        let lower = amount.to_ascii_lowercase();
        Usd::decimal(lower.strip_suffix("usd").unwrap_or(&lower).trim())
    }
}

/// `$1234.56`; small amounts have the digits that matter: `$0.00123`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Four digits of an amount below a dollar, and cents of others.
        let digits = self.0.checked_ilog10().unwrap_or(PLACES as u32) as usize + 1;
        let places = (PLACES + 4).saturating_sub(digits).clamp(2, PLACES);
        let places = if self.0 >= PARTS { 2 } else { places };
        let unit = 10_u64.pow((PLACES - places) as u32);
        let rounded = self.0.saturating_add(unit / 2) / unit;
        let scale = 10_u64.pow(places as u32);
        let rest = format!("{:0places$}", rounded % scale);
        let (cents, finer) = rest.split_at(2.min(rest.len()));
        let finer = finer.trim_end_matches('0');
        write!(f, "${}.{cents}{finer}", rounded / scale)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => plain(&number),
            other => {
                return Err(serde::de::Error::custom(format!("{other} is no amount of dollars")));
            }
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A number without an exponent.
pub(super) fn plain(number: &serde_json::Number) -> String {
    let fraction = number.as_f64().filter(|_| !number.is_u64());
    fraction.map_or_else(|| number.to_string(), |fraction| fraction.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_the_digits_that_matter() {
        for (text, shown) in [
            ("25usd", "$25.00"),
            ("$1234.567", "$1234.57"),
            ("0", "$0.00"),
            ("0.5 USD", "$0.50"),
            ("0.00012345", "$0.0001235"),
            ("0.0015", "$0.0015"),
            ("0.99999", "$1.00"),
            ("0.000000000001", "$0.000000000001"),
            (".25", "$0.25"),
        ] {
            assert_eq!(text.parse::<Usd>().unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "-1", "25eur", "1e3", "0.0000000000001", "20000000", "."] {
            assert!(text.parse::<Usd>().is_err(), "{text}");
        }
    }

    #[test]
    fn sums_do_not_drift_and_json_has_the_exact_amount() {
        let tenth: Usd = "0.1".parse().unwrap();
        let sum = (0..10).fold(Usd::ZERO, |sum, _| sum.plus(tenth));
        assert_eq!(serde_json::to_string(&sum).unwrap(), "1.0");
        let odd: Usd = "123.456789".parse().unwrap();
        let written = serde_json::to_string(&odd).unwrap();
        assert_eq!(written, "123.456789");
        assert_eq!(serde_json::from_str::<Usd>(&written).unwrap(), odd);
        assert_eq!(serde_json::from_str::<Usd>("0.0000001").unwrap(), Usd(100_000));
    }
}
