//! A job as the user writes it: one part for each module. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ExplicitKeys, workers};
use crate::error::Error;
use crate::{auth, batch, extract, judge, limit, pages, render, secret, send, sink, source, tally};

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
/// assert_eq!(job.limit.rate[0].amount.units, 22);
/// # Ok::<(), throng::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// The profile whose settings hold where the job has none: `github`, `github:anonymous`.
    pub api: Option<String>,
    /// The keys that are written out: they go before the profile even with the default as
    /// their value.
    #[serde(skip)]
    pub written: ExplicitKeys,
    /// Where rows come from.
    pub input: source::Settings,
    /// What to ask for each row.
    pub request: render::Settings,
    /// How requests are signed.
    pub auth: auth::Settings,
    /// Where secrets are read.
    pub secrets: secret::Settings,
    /// Which variables of the environment are secrets.
    pub env: secret::Variables,
    /// The limits of the server.
    pub limit: limit::Settings,
    /// How many workers send, and how much each has in flight.
    pub workers: workers::Settings,
    /// How long to wait for an answer.
    pub send: send::Settings,
    /// How servers are reached.
    pub network: send::Network,
    /// Which certificates to trust.
    pub tls: send::Tls,
    /// When to try again.
    pub retry: judge::Settings,
    /// The headers in which the server tells its count, beside the common ones.
    pub signal: Vec<judge::signals::SignalSource>,
    /// Which answers are refusals, beside a 429.
    pub refusal: Vec<judge::RefusalRule>,
    /// What to keep of an answer.
    pub extract: extract::Settings,
    /// What to keep a record of, if not of each row.
    pub items: extract::ItemSettings,
    /// How many rows are asked for at once.
    pub batch: batch::Settings,
    /// How answers go on over pages.
    pub pages: pages::Settings,
    /// The stages after the first: what to do with the values, in its turn.
    pub step: Vec<StageConfig>,
    /// What to compute over all rows.
    pub summary: tally::Settings,
    /// Where records go.
    pub output: sink::Settings,
}

impl Job {
    /// The job with `flags` laid over it: a tree of the same shape, in which null changes
    /// nothing, tables are merged, and any other value replaces the job's.
    ///
    /// # Errors
    /// Which flag doesn't fit.
    pub fn overlay(&self, flags: Value) -> Result<Job, Error> {
        let written = self.written.clone().and(ExplicitKeys::of(&flags));
        let mut tree = serde_json::to_value(self).map_err(unfit)?;
        lay_over(&mut tree, flags);
        let job: Job = serde_json::from_value(tree).map_err(unfit)?;
        Ok(Job { written, ..job })
    }
}

/// One `[[step]]` of a job: a stage after the first. A part that it leaves out is the
/// job's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// What to ask for each row, which has the values of the stage before.
    pub request: render::Settings,
    /// How requests are signed; without it, as in the first stage.
    pub auth: Option<auth::Settings>,
    /// How often; without it, the limits of the first stage hold for both together.
    pub limit: Option<limit::Settings>,
    /// How long to wait for an answer.
    pub send: Option<send::Settings>,
    /// When to try again.
    pub retry: Option<judge::Settings>,
    /// What to keep of an answer.
    pub extract: extract::Settings,
    /// What to keep a record of, if not of each row.
    pub items: extract::ItemSettings,
    /// How many rows are asked for at once.
    pub batch: batch::Settings,
    /// How answers go on.
    pub pages: pages::Settings,
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
            extract: stage.extract,
            items: stage.items,
            batch: stage.batch,
            pages: stage.pages,
            step: Vec::new(),
            ..whole.clone()
        }
    }
}

pub(super) fn unfit(error: serde_json::Error) -> Error {
    Error::plan(format!("the flags don't fit: {error}"))
}

pub(super) fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                lay_over_name(under, name, value);
            }
        }
        (under, over) => *under = over,
    }
}

fn lay_over_name(under: &mut Map<String, Value>, name: String, value: Value) {
    if name == "headers" {
        drop_same_headers(under.get_mut(&name), &value);
    }
    lay_over(under.entry(name).or_insert(Value::Null), value);
}

/// `X-Key` and `x-key` are one header.
fn drop_same_headers(under: Option<&mut Value>, over: &Value) {
    if let (Some(Value::Object(under)), Value::Object(over)) = (under, over) {
        under.retain(|name, _| !over.keys().any(|new| new.eq_ignore_ascii_case(name)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_replace_what_they_name_and_nothing_else() {
        let job: Job = serde_json::from_value(json!({
            "request": {"url": "http://a/", "query": {"a": "1", "b": "2"}, "headers": {"X-Key": "old"}},
            "limit": {"rate": ["1/1s", "9/1m"]},
            "send": {"timeout": "7s"},
        }))
        .unwrap();
        let flags = json!({
            "request": {"url": null, "query": {"b": "3"}, "headers": {"x-key": "new"}},
            "limit": {"rate": ["22/5s"]},
        });
        let both = job.overlay(flags).unwrap();
        assert_eq!(both.request.url.as_deref(), Some("http://a/"));
        assert_eq!(Value::Object(both.request.query), json!({"a": "1", "b": "3"}));
        assert_eq!(Value::Object(both.request.headers), json!({"x-key": "new"}));
        assert_eq!(both.limit.rate, ["22/5s".parse().unwrap()]);
        assert_eq!(both.send.timeout.as_secs(), 7);
    }

    #[test]
    fn a_job_survives_being_written_and_read() {
        let job = Job::default();
        assert_eq!(job.overlay(Value::Null).unwrap(), job);
    }
}
