//! One limit as a job writes it: `22/5s`, `90000 tokens/1m`, `25/1d@America/Los_Angeles`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::counting::{Counting, KindText};
use crate::config::{Guard, Rate};
use crate::error::LimitError;
use crate::kinds::Measure;

/// One entry of `limit.rate`: an amount, how the server counts it, and whose it is.
///
/// As a text it is `[KIND:]N[ UNIT]/PERIOD[@EDGE]`; as a table it may say more.
///
/// | text | what the server does |
/// |---|---|
/// | `22/5s` | no 5 s, whenever they begin, hold more than 22 |
/// | `counter:300/1m` | the same, estimated from two fixed windows |
/// | `bucket:10/1s` | 10 tokens come back each second; `burst` is how many there can be |
/// | `gcra:30/1m` | requests are due 2 s apart; `burst` is how many may come early |
/// | `100/1m@clock` | windows begin at multiples of a minute, UTC |
/// | `25/1d@America/Los_Angeles` | windows begin at midnight there |
/// | `100/1h@first` | a window begins with the first use after the last one |
/// | `5000/1h@reset` | windows end when the server's headers say |
/// | `90000 tokens/1m` | another unit; `cost` says how many a request needs |
/// | `5000/run` | a total for the whole run |
///
/// ```
/// use throng_limit::Limit;
///
/// let limit: Limit = "90000 tokens/1m".parse()?;
/// assert_eq!((limit.amount.units, limit.unit.as_deref()), (90_000, Some("tokens")));
/// assert!("0/5s".parse::<Limit>().is_err());
/// # Ok::<(), throng_limit::LimitError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// How much in which time; the time doesn't matter to a total.
    pub amount: Rate,
    /// What is counted, if not requests.
    pub unit: Option<String>,
    /// How the server counts.
    pub counting: Counting,
    /// What is said of it beside that.
    pub details: Details,
}

/// What a table can say of a limit beside its rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Details {
    /// The most that may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// A template: each of its values has this limit for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// The share of it that is ours: `80%`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::ShareText>"))]
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub share: Option<AccountShare>,
    /// What it is proven against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// By how much our clock and the server's may differ, and what it rounds.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::DurationText>"))]
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub skew: Option<Duration>,
}

/// The part of a limit that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountShare(f64);

impl AccountShare {
    /// Whether this number of equal shares is more than the whole.
    pub(crate) fn exceeds_whole(self, shares: u64) -> bool {
        self.0 * shares as f64 > 1.0 + 1e-9
    }

    /// So much of this; never nothing.
    #[must_use]
    pub fn of(self, units: u64) -> u64 {
        ((units as f64 * self.0 + 1e-9).floor() as u64).max(1)
    }
}

impl FromStr for AccountShare {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<AccountShare, LimitError> {
        let percent = text.trim().strip_suffix('%').map(str::trim_end);
        match percent.and_then(|number| number.parse::<f64>().ok()) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(AccountShare(percent / 100.0)),
            _ => Err(LimitError::InvalidShare { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for AccountShare {
    type Error = LimitError;

    fn try_from(text: String) -> Result<AccountShare, LimitError> {
        text.parse()
    }
}

impl From<AccountShare> for String {
    fn from(share: AccountShare) -> String {
        format!("{}%", share.0 * 100.0)
    }
}

impl Limit {
    /// A limit of so many requests in any second.
    #[must_use]
    pub fn per_second(units: u64) -> Limit {
        Limit::per(units, Duration::from_secs(1))
    }

    /// A limit of so many requests in any minute.
    #[must_use]
    pub fn per_minute(units: u64) -> Limit {
        Limit::per(units, Duration::from_secs(60))
    }

    /// A limit of so many requests in any period. Whether it makes sense is found out when
    /// the limiter is built.
    #[must_use]
    pub fn per(units: u64, period: Duration) -> Limit {
        Rate { units, period }.into()
    }

    /// The limit with other units than requests.
    ///
    /// ```
    /// # use throng_limit::Limit;
    /// assert_eq!(Limit::per_minute(90_000).of("tokens"), "90000 tokens/1m".parse()?);
    /// # Ok::<(), throng_limit::LimitError>(())
    /// ```
    #[must_use]
    pub fn of(mut self, unit: &str) -> Limit {
        self.unit = Some(unit.to_owned()).filter(|unit| unit != "requests");
        self
    }

    /// What the times of arrivals prove of it; none if only the server knows whether it
    /// was kept.
    #[must_use]
    pub fn measure(&self) -> Option<Measure> {
        let counting = &self.counting;
        counting.measure(self.amount.units, self.details.burst)
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rate = self.to_string();
        if self.details == Details::default() {
            return serializer.serialize_str(&rate);
        }
        let details = serde_json::to_value(&self.details).map_err(S::Error::custom)?;
        let rate = std::iter::once(("rate".to_owned(), Value::from(rate)));
        let details = details.as_object().cloned().unwrap_or_default();
        serializer.collect_map(rate.chain(details))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

/// A limit as files have it: a text or a table.
struct TextOrTable;

impl<'de> Visitor<'de> for TextOrTable {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate such as \"22/5s\", or a table with one")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit, A::Error> {
        let mut table = Map::deserialize(MapAccessDeserializer::new(map))?;
        let rate = table.remove("rate");
        let rate = rate.ok_or_else(|| A::Error::custom("a limit needs its rate"))?;
        let limit = Limit::deserialize(rate).map_err(A::Error::custom)?;
        let details = Details::deserialize(Value::Object(table)).map_err(A::Error::custom)?;
        Ok(Limit { details, ..limit })
    }
}

impl From<Rate> for Limit {
    fn from(amount: Rate) -> Limit {
        Limit { amount, unit: None, counting: Counting::default(), details: Details::default() }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Limit, LimitError> {
        parse(text).map_err(|problem| LimitError::InvalidRate {
            text: text.to_owned(),
            problem,
            such_as: "22/5s, 300/1m or 90000 tokens/1m",
        })
    }
}

/// What is tried at most, if nothing else is said.
const CEILING: &str = "auto:100/1s";

fn parse(text: &str) -> Result<Limit, String> {
    let text = if text.trim() == "auto" { CEILING } else { text };
    let (prefix, rest) = match text.split_once(':') {
        Some((prefix, rest)) => (Some(prefix.trim()), rest),
        None => (None, text),
    };
    let (rest, edge) = match rest.split_once('@') {
        Some((rest, edge)) => (rest, Some(edge.trim())),
        None => (rest, None),
    };
    let (amount, period) = rest.split_once('/').ok_or("it has no \"/\"")?;
    let (units, unit) = amount_and_unit(amount.trim());
    let (period, is_total) = match period.trim() {
        "run" => ("1ms", true),
        period => (period, false),
    };
    let amount = Rate::parse(units, period)?;
    let kind = KindText { prefix, edge, is_total };
    Ok(Limit { unit, counting: Counting::read(&kind, amount)?, ..amount.into() })
}

/// `90000 tokens` to its two parts. A unit begins with a letter.
fn amount_and_unit(text: &str) -> (&str, Option<String>) {
    match text.split_once(char::is_whitespace) {
        Some((units, unit)) if unit.trim() == "requests" => (units, None),
        Some((units, unit)) => (units, Some(unit.trim().to_owned())),
        None => (text, None),
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.counting.prefix(), self.amount.units)?;
        if let Some(unit) = &self.unit {
            write!(f, " {unit}")?;
        }
        if self.counting.is_total() {
            return f.write_str("/run");
        }
        let period = self.amount.written_period();
        write!(f, "/{period}{}", self.counting.suffix())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::Form;

    #[test]
    fn reads_what_people_write() {
        for (text, form, unit) in [
            ("22/5s", Form::Plain, None),
            ("counter:300/1m", Form::Prefix("counter"), None),
            ("bucket:10/1s", Form::Prefix("bucket"), None),
            ("100/1m@clock", Form::Edge("clock"), None),
            ("25/1d@America/Los_Angeles", Form::Zone, None),
            ("100/1h@first", Form::Edge("first"), None),
            ("5000/1h@reset", Form::Edge("reset"), None),
            ("90000 tokens/1m", Form::Plain, Some("tokens")),
            ("5000/run", Form::Total, None),
            ("auto:500/1m", Form::Prefix("auto"), None),
            ("auto", Form::Prefix("auto"), None),
        ] {
            let limit: Limit = text.parse().unwrap();
            let read = (limit.counting.spec().form, limit.unit.as_deref());
            assert_eq!(read, (form, unit), "{text}");
            assert_eq!(limit.to_string().parse::<Limit>().unwrap(), limit, "{text}");
        }
        assert_eq!("22 requests/5s".parse::<Limit>(), "22/5s".parse());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("fast", "it has no \"/\""),
            ("0/5s", "a rate of 0 would never send anything"),
            ("burst:3/1s", "\"burst:\" is not one of counter:, bucket:, "),
            ("burst:3/1s", ", fixed: and auto:"),
            ("bucket:3/1s@clock", "only fixed windows have edges"),
            (
                "fixed:3/1s",
                "say where fixed windows begin: @clock, @first, @reset, or @ and a time zone",
            ),
            (
                "3/1d@Mars/Olympus",
                "\"@Mars/Olympus\" is not @clock, @first, @reset, or a time zone",
            ),
            ("3/1h@Europe/Berlin", "last 1d"),
            ("3/run@clock", "no kind and no edges"),
        ] {
            let error = text.parse::<Limit>().unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.to_string().contains("such as 22/5s"), "{error}");
        }
    }

    #[test]
    fn a_table_says_more_and_survives_being_written() {
        let table = json!({"rate": "100/1m", "per": "{{ tenant }}", "use": "80%", "skew": "1s"});
        let limit: Limit = serde_json::from_value(table).unwrap();
        assert_eq!(limit.details.share.unwrap().of(100), 80);
        assert_eq!(limit.details.skew, Some(Duration::from_secs(1)));
        let again = serde_json::to_value(&limit).unwrap();
        assert_eq!(serde_json::from_value::<Limit>(again).unwrap(), limit);
        let wrong = serde_json::from_value::<Limit>(json!({"rate": "1/1s", "bursts": 3}));
        assert!(wrong.unwrap_err().to_string().contains("unknown field `bursts`"));
        let text: Limit = serde_json::from_value(json!("22/5s")).unwrap();
        assert_eq!(serde_json::to_value(&text).unwrap(), json!("22/5s"));
    }

    #[test]
    fn a_share_is_never_nothing() {
        assert_eq!("80%".parse::<AccountShare>().unwrap().of(22), 17);
        assert_eq!("70%".parse::<AccountShare>().unwrap().of(10), 7);
        assert_eq!("1%".parse::<AccountShare>().unwrap().of(10), 1);
        for text in ["80", "0%", "101%", "much%"] {
            assert!(text.parse::<AccountShare>().is_err(), "{text}");
        }
    }
}
