//! One limit as a job writes it: `22/5s`, `90000 tokens/1m`, `25/1d@America/Los_Angeles`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::Guard;
use crate::config::Rate;

/// One entry of `limit.rate`: an amount, how the server counts it, and whose it is.
///
/// As a text it is `[KIND:]N[ UNIT]/PERIOD[@EDGE]`; as a table it may say more.
///
/// | text | what the server does |
/// |---|---|
/// | `22/5s` | no 5 s, whenever they begin, hold more than 22 |
/// | `counter:300/1m` | the same, estimated from two fixed windows |
/// | `bucket:10/1s` | 10 tokens come back each second; `burst` is how many there can be |
/// | `100/1m@clock` | windows begin at multiples of a minute, UTC |
/// | `25/1d@America/Los_Angeles` | windows begin at midnight there |
/// | `100/1h@first` | a window begins with the first use after the last one |
/// | `5000/1h@reset` | windows end when the server's headers say |
/// | `90000 tokens/1m` | another unit; `cost` says how many a request needs |
/// | `5000/run` | a total for the whole run |
///
/// ```
/// use throng::limit::Limit;
///
/// let limit: Limit = "90000 tokens/1m".parse()?;
/// assert_eq!((limit.amount.units, limit.unit.as_deref()), (90_000, Some("tokens")));
/// assert!("0/5s".parse::<Limit>().is_err());
/// # Ok::<(), String>(())
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

/// How a server counts what it limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Counting {
    /// In every window of this length, whenever it begins.
    #[default]
    Sliding,
    /// By an estimate from two fixed windows.
    Counter,
    /// By tokens that come back at this rate.
    Bucket,
    /// In windows that begin at multiples of their length, UTC.
    Clock,
    /// In days that begin at midnight in this zone.
    Midnight(String),
    /// In windows that begin with their first use.
    FirstUse,
    /// In windows whose end the server's headers tell.
    Reset,
    /// Over the whole run.
    Run,
    /// In some way that is found out by being refused; the amount is a ceiling.
    Auto,
}

/// What a table can say of a limit beside its rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Details {
    /// The most that may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// A template: each of its values has this limit for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// The share of it that is ours: `80%`.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub share: Option<AccountShare>,
    /// What it is proven against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// By how much our clock and the server's may differ, and what it rounds.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub skew: Option<Duration>,
}

/// The part of a limit that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountShare(f64);

impl AccountShare {
    /// So much of this; never nothing.
    #[must_use]
    pub fn of(self, units: u64) -> u64 {
        ((units as f64 * self.0 + 1e-9).floor() as u64).max(1)
    }
}

impl FromStr for AccountShare {
    type Err = String;

    fn from_str(text: &str) -> Result<AccountShare, String> {
        let percent = text.trim().strip_suffix('%').map(str::trim_end);
        match percent.and_then(|number| number.parse::<f64>().ok()) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(AccountShare(percent / 100.0)),
            _ => Err(format!(
                "\"{text}\" is not a share such as 80% (more than 0, at most 100)"
            )),
        }
    }
}

impl TryFrom<String> for AccountShare {
    type Error = String;

    fn try_from(text: String) -> Result<AccountShare, String> {
        text.parse()
    }
}

impl From<AccountShare> for String {
    fn from(share: AccountShare) -> String {
        format!("{}%", share.0 * 100.0)
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
        Limit {
            amount,
            unit: None,
            counting: Counting::default(),
            details: Details::default(),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        parse(text).map_err(|why| {
            format!("\"{text}\" is not a rate: {why} (N/PERIOD, such as 22/5s, 300/1m or 90000 tokens/1m)")
        })
    }
}

/// What is tried at most, if nothing else is said.
const CEILING: &str = "auto:100/1s";

fn parse(text: &str) -> Result<Limit, String> {
    let text = if text.trim() == "auto" { CEILING } else { text };
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (Some(kind.trim()), rest),
        None => (None, text),
    };
    let (rest, edge) = match rest.split_once('@') {
        Some((rest, edge)) => (rest, Some(edge.trim())),
        None => (rest, None),
    };
    let (amount, period) = rest.split_once('/').ok_or("it has no \"/\"")?;
    let (units, unit) = amount_and_unit(amount.trim());
    let (period, whole_run) = match period.trim() {
        "run" => ("1ms", true),
        period => (period, false),
    };
    let amount = Rate::parse(units, period)?;
    let counting = match (kind, edge, whole_run) {
        (None, None, true) => Counting::Run,
        (_, _, true) => return Err("a total for the run has no kind and no edges".into()),
        (None, None, _) => Counting::Sliding,
        (Some("counter"), None, _) => Counting::Counter,
        (Some("bucket"), None, _) => Counting::Bucket,
        (Some("auto"), None, _) => Counting::Auto,
        (None | Some("fixed"), Some(edge), _) => edges(edge, amount.period)?,
        (Some("fixed"), None, _) => {
            return Err(
                "say where fixed windows begin: @clock, @first, @reset, or @ and a time zone"
                    .into(),
            );
        }
        (Some("counter" | "bucket" | "auto"), Some(_), _) => {
            return Err("only fixed windows have edges (@)".into());
        }
        (Some(other), ..) => {
            return Err(format!(
                "\"{other}:\" is not one of counter:, bucket:, fixed: and auto:"
            ));
        }
    };
    Ok(Limit {
        unit,
        counting,
        ..amount.into()
    })
}

/// `90000 tokens` to its two parts. A unit begins with a letter.
fn amount_and_unit(text: &str) -> (&str, Option<String>) {
    match text.split_once(char::is_whitespace) {
        Some((units, unit)) if unit.trim() == "requests" => (units, None),
        Some((units, unit)) => (units, Some(unit.trim().to_owned())),
        None => (text, None),
    }
}

fn edges(edge: &str, period: Duration) -> Result<Counting, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    match edge {
        "clock" => Ok(Counting::Clock),
        "first" => Ok(Counting::FirstUse),
        "reset" => Ok(Counting::Reset),
        zone if TimeZone::get(zone).is_err() => Err(format!(
            "\"@{zone}\" is not @clock, @first, @reset, or a time zone such as @America/Los_Angeles"
        )),
        _ if period != DAY => Err("windows that begin at midnight in a zone last 1d".into()),
        zone => Ok(Counting::Midnight(zone.to_owned())),
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counting {
            Counting::Counter => f.write_str("counter:")?,
            Counting::Bucket => f.write_str("bucket:")?,
            Counting::Auto => f.write_str("auto:")?,
            _ => {}
        }
        write!(f, "{}", self.amount.units)?;
        if let Some(unit) = &self.unit {
            write!(f, " {unit}")?;
        }
        match &self.counting {
            Counting::Run => return f.write_str("/run"),
            _ => write!(f, "/{}", self.amount.written_period())?,
        }
        match &self.counting {
            Counting::Clock => f.write_str("@clock"),
            Counting::Midnight(zone) => write!(f, "@{zone}"),
            Counting::FirstUse => f.write_str("@first"),
            Counting::Reset => f.write_str("@reset"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, counting, unit) in [
            ("22/5s", Counting::Sliding, None),
            ("counter:300/1m", Counting::Counter, None),
            ("bucket:10/1s", Counting::Bucket, None),
            ("100/1m@clock", Counting::Clock, None),
            (
                "25/1d@America/Los_Angeles",
                Counting::Midnight("America/Los_Angeles".into()),
                None,
            ),
            ("100/1h@first", Counting::FirstUse, None),
            ("5000/1h@reset", Counting::Reset, None),
            ("90000 tokens/1m", Counting::Sliding, Some("tokens")),
            ("5000/run", Counting::Run, None),
            ("auto:500/1m", Counting::Auto, None),
            ("auto", Counting::Auto, None),
        ] {
            let limit: Limit = text.parse().unwrap();
            assert_eq!(
                (&limit.counting, limit.unit.as_deref()),
                (&counting, unit),
                "{text}"
            );
            assert_eq!(limit.to_string().parse::<Limit>().unwrap(), limit, "{text}");
        }
        assert_eq!("22 requests/5s".parse::<Limit>(), "22/5s".parse());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("fast", "it has no \"/\""),
            ("0/5s", "a rate of 0 would never send anything"),
            ("burst:3/1s", "\"burst:\" is not one of counter:"),
            ("bucket:3/1s@clock", "only fixed windows have edges"),
            ("fixed:3/1s", "say where fixed windows begin"),
            ("3/1d@Mars/Olympus", "\"@Mars/Olympus\" is not @clock"),
            ("3/1h@Europe/Berlin", "last 1d"),
            ("3/run@clock", "no kind and no edges"),
        ] {
            let error = text.parse::<Limit>().unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("such as 22/5s"), "{error}");
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
        assert!(
            wrong
                .unwrap_err()
                .to_string()
                .contains("unknown field `bursts`")
        );
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
