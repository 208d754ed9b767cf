//! What a job says of its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::config::Guard;
use crate::config::{AccountShare, Limit, Shard};

/// The `[limit]` part of a job. All of its limits hold at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// At most so many units in each period.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "crate::schema::OneOrMany<crate::schema::LimitText>")
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub rate: Vec<Limit>,
    /// What the limits are proven against.
    pub guard: Guard,
    /// The most requests that may come at once, where the server allows fewer
    /// than a whole period's.
    pub burst: Option<u64>,
    /// The least time between two sendings.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub spacing: Option<Duration>,
    /// Whether a period's requests go out as early as they may, or spread.
    pub shape: Shape,
    /// The most requests that the server may be working on.
    pub in_flight: Option<u64>,
    /// A template: each of its values has the limits for itself.
    pub per: Option<String>,
    /// A template: the server has limits of its own for each of its values, which only
    /// it knows; what it says of one concerns no other.
    pub route: Option<String>,
    /// Whether a larger limit than ours that the server names counts.
    pub loosen: bool,
    /// Several API keys, each with the limits for itself; templates see the
    /// chosen one as `{{ key }}`.
    pub keys: Vec<String>,
    /// What a request costs in other units: a number, or an expression over the row.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "BTreeMap<String, crate::schema::Either<u64, String>>")
    )]
    #[serde(deserialize_with = "expressions")]
    pub cost: BTreeMap<String, String>,
    /// Units that are counted although no rate limits them.
    #[serde(skip)]
    pub counted: Vec<String>,
    /// What it turned out to cost: jq over the answer.
    pub settle: BTreeMap<String, String>,
    /// The share of the limits that is ours: `80%`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::ShareText>"))]
    #[serde(rename = "use")]
    pub share: Option<AccountShare>,
    /// The run's place among the runs on several machines that divide the limits.
    #[serde(skip)]
    pub shard: Option<Shard>,
    /// With which runs the limits are shared.
    #[serde(rename = "share")]
    pub sharing: Sharing,
    /// The source of the token of the store that limits are shared through: `env:NAME` or
    /// `file:PATH`.
    pub share_token: Option<String>,
    /// The file of the certificate that the store is trusted by.
    pub share_cacert: Option<PathBuf>,
    /// The name of the account whose limits these are, instead of host and credential.
    pub account: Option<String>,
    /// Which answers the server doesn't count.
    pub uncounted: Vec<UncountedOutcome>,
    /// By how much our clock and the server's may differ, and what it rounds.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub skew: Option<Duration>,
    /// How long a request that was given up may still arrive.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub linger: Option<Duration>,
}

/// With which runs limits are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub enum Sharing {
    /// With all runs of the account on this machine.
    #[default]
    Machine,
    /// With none: the limits are this run's alone.
    None,
    /// With all runs of the account that use the store at this URL.
    Store(String),
}

impl Settings {
    /// The shard that has its part of each limit; none where a store has the limits of all shards.
    pub(crate) fn dividing_shard(&self) -> Option<Shard> {
        self.shard.filter(|_| !matches!(self.sharing, Sharing::Store(_)))
    }
}

impl FromStr for Sharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Sharing, String> {
        match text {
            "machine" => Ok(Sharing::Machine),
            "none" => Ok(Sharing::None),
            url if url.contains("://") || url.starts_with("unix:") => {
                Ok(Sharing::Store(url.to_owned()))
            }
            _ => Err(format!(
                "share is machine, none, the URL of a limit server such as https://limits.example:8098 or unix:/run/limits.sock, or that of Redis, Valkey or PostgreSQL such as redis://limits.example or postgres://me@limits.example/throng, not {text:?}"
            )),
        }
    }
}

impl TryFrom<String> for Sharing {
    type Error = String;

    fn try_from(text: String) -> Result<Sharing, String> {
        text.parse()
    }
}

impl From<Sharing> for String {
    fn from(sharing: Sharing) -> String {
        match sharing {
            Sharing::Machine => "machine".to_owned(),
            Sharing::None => "none".to_owned(),
            Sharing::Store(url) => url,
        }
    }
}

/// When a period's requests go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// As early as they may; spread once the server refuses what it should have taken.
    #[default]
    Auto,
    /// As early as they may.
    Burst,
    /// A period's part apart.
    Spread,
}

/// How an attempt may end without being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UncountedOutcome {
    /// By a refusal for the limit's sake.
    Refused,
    /// By any other status of 400 and more.
    Failed,
}

/// Expressions over the row, of which a number is one.
fn expressions<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let text = |(unit, value): (String, Value)| match value {
        Value::String(text) => Ok((unit, text)),
        Value::Number(number) => Ok((unit, number.to_string())),
        _ => Err(D::Error::custom(format!(
            "the cost in {unit} is a number, or an expression over the row such as \"prompt | length\", not {value}"
        ))),
    };
    BTreeMap::<String, Value>::deserialize(deserializer)?.into_iter().map(text).collect()
}

/// `rate = "22/5s"` as well as `rate = ["22/5s", "1000/1h"]`.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Limit>, D::Error> {
    let one = |value: Value| match value {
        value @ (Value::String(_) | Value::Object(_)) => {
            Limit::deserialize(value).map_err(D::Error::custom)
        }
        _ => Err(D::Error::custom(
            "rate is a text such as \"22/5s\", a table with one, or a list of them",
        )),
    };
    match Value::deserialize(deserializer)? {
        Value::Array(many) => many.into_iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}
