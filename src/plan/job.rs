//! A job as the user writes it: one part for each module. Pure.

use std::fmt;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::fallback::FallbackConfig;
use super::only::{self, Only};
use super::workers;
use crate::cookies::CookieScope;
use crate::helpers::HelperSettings;
use crate::price::{PriceList, Usd};
use crate::store::StoreSettings;
use crate::{
    auth, batch, batch_api, extract, judge, limit, pages, poll, render, secret, send, sink, source,
    tally, text_or_table,
};

/// A job as its file or its flags say it; each part is its module's.
///
/// ```
/// use throng::Job;
///
/// let job = Job::parse("quotes.toml", r#"
///     [input]
///     file = "tickers.csv"
///     [request]
///     url = "https://api.example/quote/{{ symbol }}"
///     [limit]
///     rate = "22/5s"
/// "#)?;
/// let plan = throng::Plan::new(&job, &|name| std::env::var(name).ok());
/// assert!(plan.is_err_and(|error| error.to_string().contains("tickers.csv")));
/// # Ok::<(), throng::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// The JSON Schema of the file, for editors; it changes nothing.
    #[serde(rename = "$schema", skip_serializing)]
    pub(crate) schema: Option<String>,
    /// The profile whose settings hold where the job has none: `github`, `github:anonymous`.
    /// [`Job::parse`] applies it and leaves none here.
    pub(crate) api: Option<String>,
    /// The name of the profile that [`Job::parse`] has applied.
    #[serde(skip)]
    pub(crate) profile: Option<String>,
    /// Where the prices come from that the profile has for a model.
    #[serde(skip)]
    pub(crate) price_source: Option<String>,
    /// Whether a stranger has written it: the hosts that it names are not trusted.
    #[serde(skip)]
    pub(crate) sandboxed: bool,
    /// Where rows come from.
    pub(crate) input: source::Settings,
    /// Which of several runs this is that divide the rows and the limits: `3/8`, or `auto` where
    /// a scheduler says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<String>,
    /// What to ask for each row.
    pub(crate) request: render::Settings,
    /// How requests are signed.
    #[cfg_attr(feature = "cli", schemars(with = "auth::AuthKeys"))]
    pub(crate) auth: auth::Settings,
    /// The login: requests before those of rows, whose answers give secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<auth::BeforeSettings>,
    /// Where secrets are read.
    pub(crate) secrets: secret::Settings,
    /// Which variables of the environment are secrets.
    pub(crate) env: secret::Variables,
    /// Whether the cookies of answers are kept and sent back, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cookies: Option<CookieScope>,
    /// The limits of the server.
    pub(crate) limit: limit::Settings,
    /// The prices of units in US dollars, by the names of `limit.cost` and `limit.settle`:
    /// `0.15/1M` is 0.15 dollars for a million.
    #[serde(skip_serializing_if = "PriceList::is_empty")]
    pub(crate) price: PriceList,
    /// The most that all runs of the same results may cost: `25usd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<crate::limit::schema::Either<String, f64>>")
    )]
    pub(crate) budget: Option<Usd>,
    /// How many workers send, and how much each has in flight.
    pub(crate) workers: workers::Settings,
    /// How long to wait for an answer.
    pub(crate) send: send::Settings,
    /// How servers are reached.
    pub(crate) network: send::Network,
    /// Which certificates to trust.
    pub(crate) tls: send::Tls,
    /// When to try again.
    pub(crate) retry: judge::Settings,
    /// The headers in which the server tells its count, beside the common ones.
    pub(crate) signal: Vec<judge::signals::SignalSource>,
    /// Names of headers with the state of limits that are ignored, since they are wrong; or
    /// `all`.
    #[serde(rename = "no-headers")]
    pub(crate) no_headers: Vec<String>,
    /// What answers mean: the first rows of the table of answers. As a text it is the kind of
    /// their bodies ([`Job::answer_format`]).
    #[cfg_attr(
        feature = "cli",
        schemars(
            with = "crate::limit::schema::Either<extract::AnswerKind, Vec<judge::AnswerRule>>"
        )
    )]
    #[serde(deserialize_with = "rules_or_format")]
    pub(crate) answer: Vec<judge::AnswerRule>,
    /// More rows of the table of answers, for a job whose `answer` is a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<judge::AnswerRule>,
    /// The kind of the answers' bodies; by their type and their first bytes if none is given.
    #[serde(rename = "answer-format", skip_serializing_if = "Option::is_none")]
    pub(crate) answer_format: Option<extract::AnswerKind>,
    /// The encoding of the answers' bodies, whatever their type says.
    #[serde(rename = "answer-encoding", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub(crate) answer_encoding: Option<extract::AnswerEncoding>,
    /// Which answers are refusals, beside a 429: rows of the table after those of `answer`.
    pub(crate) refusal: Vec<judge::RefusalRule>,
    /// What to keep of an answer.
    pub(crate) extract: extract::Settings,
    /// The check of the values before they count: a file with a JSON Schema, whose name ends in
    /// `.json`, or a jq condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<String>,
    /// Number of times that a row is asked again whose answer fails the check; templates see the
    /// answer and what is wrong with it as `{{ last.answer }}` and `{{ last.error }}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reask: Option<u32>,
    /// The helpers that make requests, in place of [`Job::request`]: a command, or a table with one.
    #[serde(
        deserialize_with = "text_or_table::deserialize",
        skip_serializing_if = "HelperSettings::is_none"
    )]
    #[cfg_attr(
        feature = "cli",
        schemars(with = "crate::limit::schema::Either<String, HelperSettings>")
    )]
    pub(crate) render: HelperSettings,
    /// The helpers that process answers, in place of [`Job::extract`]: a command, or a table with one.
    #[serde(
        deserialize_with = "text_or_table::deserialize",
        skip_serializing_if = "HelperSettings::is_none"
    )]
    #[cfg_attr(
        feature = "cli",
        schemars(with = "crate::limit::schema::Either<String, HelperSettings>")
    )]
    pub(crate) process: HelperSettings,
    /// The path of the file that each answer is saved to, with values of the row in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) save: Option<String>,
    /// What to keep a record of, if not of each row.
    pub(crate) items: extract::ItemSettings,
    /// How many rows are asked for at once.
    pub(crate) batch: batch::Settings,
    /// The provider whose batch endpoint takes the requests: `openai`, `anthropic`, `gemini` or
    /// `mistral`; each row has a request of its own if none is given.
    #[serde(rename = "batch-api", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub(crate) batch_api: Option<batch_api::Provider>,
    /// Whether rows whose requests are equal are asked for once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dedupe: bool,
    /// Where answers are kept, so that a request is asked for once: a directory, or a table with
    /// one.
    #[serde(
        deserialize_with = "text_or_table::deserialize",
        skip_serializing_if = "StoreSettings::is_none"
    )]
    #[cfg_attr(
        feature = "cli",
        schemars(with = "crate::limit::schema::Either<String, StoreSettings>")
    )]
    pub(crate) store: StoreSettings,
    /// The reasons for which rows are asked for; all rows are if none is given.
    #[serde(deserialize_with = "only::one_or_more", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::OneOrMany<String>"))]
    pub(crate) only: Vec<Only>,
    /// The earlier results that say which rows are new, changed, old or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<String>,
    /// How answers go on over pages.
    pub(crate) pages: pages::Settings,
    /// How jobs are polled that requests submit.
    pub(crate) poll: poll::Settings,
    /// The stages after the first: what to do with the values, in its turn.
    pub(crate) step: Vec<StageConfig>,
    /// The name of the job's own target in records, where it has fallbacks; the host of its URL if
    /// none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// The targets that answer where those before them can't, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fallback: Vec<FallbackConfig>,
    /// What to compute over all rows.
    pub(crate) summary: tally::Settings,
    /// Where records go.
    pub(crate) output: sink::Settings,
}

/// One `[[step]]` of a job: a stage after the first. A part that it leaves out is the
/// job's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// What to ask for each row, which has the values of the stage before.
    pub request: render::Settings,
    /// How requests are signed; without it, as in the first stage.
    #[cfg_attr(feature = "cli", schemars(with = "Option<auth::AuthKeys>"))]
    pub auth: Option<auth::Settings>,
    /// How often; without it, the limits of the first stage hold for both together.
    pub limit: Option<limit::Settings>,
    /// How long to wait for an answer.
    pub send: Option<send::Settings>,
    /// When to try again.
    pub retry: Option<judge::Settings>,
    /// What answers mean; the job's own rows of the table come after these. As a text it is the
    /// kind of their bodies.
    #[cfg_attr(
        feature = "cli",
        schemars(
            with = "crate::limit::schema::Either<extract::AnswerKind, Vec<judge::AnswerRule>>"
        )
    )]
    #[serde(deserialize_with = "rules_or_format")]
    pub answer: Vec<judge::AnswerRule>,
    /// More rows of the table of answers, for a step whose `answer` is a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<judge::AnswerRule>,
    /// The kind of the answers' bodies; by their type and their first bytes if none is given.
    #[serde(rename = "answer-format", skip_serializing_if = "Option::is_none")]
    pub answer_format: Option<extract::AnswerKind>,
    /// The encoding of the answers' bodies, whatever their type says.
    #[serde(rename = "answer-encoding", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub answer_encoding: Option<extract::AnswerEncoding>,
    /// What to keep of an answer.
    pub extract: extract::Settings,
    /// The check of the values before they count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Number of times that a row is asked again whose answer fails the check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reask: Option<u32>,
    /// What to keep a record of, if not of each row.
    pub items: extract::ItemSettings,
    /// How many rows are asked for at once.
    pub batch: batch::Settings,
    /// How answers go on.
    pub pages: pages::Settings,
    /// How jobs are polled that requests submit.
    pub poll: poll::Settings,
}

impl StageConfig {
    /// The job that this stage would be on its own.
    pub(super) fn as_job(&self, whole: &Job) -> Job {
        let stage = self.clone();
        Job {
            input: Default::default(),
            request: stage.request,
            auth: stage.auth.unwrap_or_else(|| whole.auth.clone()),
            limit: stage.limit.unwrap_or_else(|| whole.limit.clone()),
            send: stage.send.unwrap_or_else(|| whole.send.clone()),
            retry: stage.retry.unwrap_or_else(|| judge::Settings {
                // A key of the first stage's requests is no key of this one's.
                idempotency_key: None,
                ..whole.retry.clone()
            }),
            answer: [stage.answer, whole.answer.clone()].concat(),
            answer_format: stage.answer_format,
            answer_encoding: stage.answer_encoding.or(whole.answer_encoding),
            extract: stage.extract,
            check: stage.check,
            reask: stage.reask,
            items: stage.items,
            batch: stage.batch,
            pages: stage.pages,
            poll: stage.poll,
            step: Vec::new(),
            fallback: Vec::new(),
            ..whole.clone()
        }
    }
}

/// Rows of the table of answers. A text is a kind of bodies, which is checked here and read
/// where layers of settings are merged.
fn rules_or_format<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<judge::AnswerRule>, D::Error> {
    struct RulesOrFormat;

    impl<'de> Visitor<'de> for RulesOrFormat {
        type Value = Vec<judge::AnswerRule>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            extract::AnswerKind::deserialize(StrDeserializer::new(text)).map(|_| Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, rules: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(rules))
        }
    }

    deserializer.deserialize_any(RulesOrFormat)
}
