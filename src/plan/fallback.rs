//! The targets of a job: its own, and those that answer in its place. Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Job, JobParts, Stage, checks, warnings};
use crate::error::Error;
use crate::extract::ItemSettings;
use crate::format::Format;
use crate::judge::StatusSet;
use crate::price::PriceList;
use crate::render::RenderContext;
use crate::send::Origin;
use crate::{auth, extract, judge, limit, pages, render, send};

/// The wait beyond which a row goes to the next target, where the job names none.
const AFTER: Duration = Duration::from_secs(60);

/// One `[[fallback]]` of a job: a target that answers where those before it can't. A part that
/// it leaves out is the job's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct FallbackConfig {
    /// Its name in records; the host of its URL if none is given.
    pub name: Option<String>,
    /// The wait for the target before it beyond which rows go here.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// Statuses of the target before it with which a row goes here, beside those with which each
    /// row does.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::Either<u16, String>"))]
    #[serde(skip_serializing_if = "StatusSet::is_empty")]
    pub on: StatusSet,
    /// What is different in its request. At another server, it has none of the job's headers and
    /// none of its query.
    pub request: render::Settings,
    /// How its requests are signed; at another server not at all, if this is left out.
    #[cfg_attr(feature = "cli", schemars(with = "Option<auth::AuthKeys>"))]
    pub auth: Option<auth::Settings>,
    /// Its limits; without them, another server has none, and those of the job hold for both
    /// together at the same server.
    pub limit: Option<limit::Settings>,
    /// Its prices.
    pub price: Option<PriceList>,
    /// How long to wait for its answers.
    pub send: Option<send::Settings>,
    /// When to try again.
    pub retry: Option<judge::Settings>,
    /// What its answers mean; the job's own rows of the table come after these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answer: Vec<judge::AnswerRule>,
    /// Where its answers have the values of the job.
    #[serde(skip_serializing_if = "extract::Settings::is_empty")]
    pub extract: extract::Settings,
}

/// A target of the rows' requests.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in records.
    pub name: Arc<str>,
    /// The wait beyond which rows go to the next target.
    pub patience: Duration,
    /// Statuses with which rows go to the next target, beside those with which each row does.
    pub on: StatusSet,
    /// The prices of its units.
    pub price: PriceList,
}

impl Default for FallbackConfig {
    fn default() -> FallbackConfig {
        FallbackConfig {
            name: None,
            after: AFTER,
            on: StatusSet::default(),
            request: render::Settings::default(),
            auth: None,
            limit: None,
            price: None,
            send: None,
            retry: None,
            answer: Vec::new(),
            extract: extract::Settings::new(),
        }
    }
}

impl FallbackConfig {
    /// Whether it is at another server than the job's own target.
    fn is_elsewhere(&self, whole: &Job) -> bool {
        !whole.request.is_at_server_of(&self.request)
    }

    /// Whether it has a limiter of its own.
    fn is_apart(&self, whole: &Job) -> bool {
        self.limit.is_some() || self.is_elsewhere(whole)
    }

    /// The job that this target would be on its own.
    pub(super) fn as_job(&self, whole: &Job) -> Job {
        let price = self.price.as_ref().unwrap_or(&whole.price);
        let is_elsewhere = self.is_elsewhere(whole);
        let none = limit::Settings::default();
        let limit = self.limit.as_ref().or(Some(&none).filter(|_| is_elsewhere));
        let limit = limit.map(|own| with_costs(own, &whole.limit, price));
        Job {
            request: whole.request.laid_over(&self.request),
            auth: match &self.auth {
                Some(own) => own.clone(),
                None if is_elsewhere => auth::Settings::new(),
                None => whole.auth.clone(),
            },
            limit: limit.unwrap_or_else(|| whole.limit.clone()),
            price: price.clone(),
            send: self.send.as_ref().unwrap_or(&whole.send).clone(),
            retry: self.retry.as_ref().unwrap_or(&whole.retry).clone(),
            answer: [self.answer.clone(), whole.answer.clone()].concat(),
            extract: if self.extract.is_empty() { &whole.extract } else { &self.extract }.clone(),
            fallback: Vec::new(),
            ..whole.clone()
        }
    }
}

/// Limits with the costs of the job's own, as far as they count these units and say nothing of
/// costs themselves.
fn with_costs(
    own: &limit::Settings,
    whole: &limit::Settings,
    price: &PriceList,
) -> limit::Settings {
    let mut limits = own.clone();
    if own.cost.is_empty() && own.settle.is_empty() {
        let priced = price.units();
        let is_counted = |unit: &String| {
            priced.contains(unit) || own.rate.iter().any(|rate| rate.unit.as_ref() == Some(unit))
        };
        limits.cost = whole.cost.clone();
        limits.settle = whole.settle.clone();
        limits.cost.retain(|unit, _| is_counted(unit));
        limits.settle.retain(|unit, _| is_counted(unit));
    }
    limits
}

/// The stages of a job's fallbacks, in their order, and the warnings of each. Those without limits of their own pass the
/// limiter of `first`, the job's own stage.
///
/// # Errors
/// Which fallback is wrong, and why; or what it can't be used with.
pub(super) fn stages(
    job: &Job,
    parts: &JobParts,
    first: &Stage,
    context: &RenderContext<'_>,
) -> Result<(Vec<Stage>, Vec<String>), Error> {
    if job.fallback.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    check(job, parts, first)?;
    let mut warnings = Vec::new();
    let (mut stages, mut limiters, mut prices) = (Vec::new(), 1, job.price.units().len());
    for (number, config) in (1..).zip(&job.fallback) {
        let limiter = if config.is_apart(job) { limiters } else { 0 };
        limiters = limiters.max(limiter + 1);
        let own = config.as_job(job);
        let stage = Stage::new(&own, parts.hooks(false, false), limiter, None, context)
            .and_then(|stage| check_stage(config, job, &stage, first).map(|()| stage));
        let mut stage = stage.map_err(|error| of_fallback(number, error))?;
        if !own.price.is_empty() {
            own.price
                .check(job.budget, &[&stage.policy])
                .map_err(|error| of_fallback(number, error))?;
        }
        stage.prices = stage.prices.map(|it| it.placed_after(prices));
        prices += own.price.units().len();
        warnings.extend(warnings::of(&own, &stage));
        stages.push(stage);
    }
    Ok((stages, warnings))
}

/// The error of the fallback of this number.
pub(super) fn of_fallback(number: usize, error: Error) -> Error {
    error.map(|why| format!("fallback {number}: {why}"))
}

/// The targets of a job with these stages of its fallbacks; empty if it has none.
///
/// # Errors
/// Two targets have one name.
pub(super) fn targets(job: &Job, first: &Stage, others: &[Stage]) -> Result<Vec<Target>, Error> {
    let Some(last) = job.fallback.last() else {
        return Ok(Vec::new());
    };
    let own = job.fallback.iter().map(|it| (&it.name, it.price.as_ref().unwrap_or(&job.price)));
    let own = std::iter::once((&job.target, &job.price)).chain(own);
    let stages = std::iter::once(first).chain(others);
    let next = job.fallback.iter().chain([last]);
    let mut targets: Vec<Target> = Vec::new();
    for (place, (((name, price), stage), next)) in own.zip(stages).zip(next).enumerate() {
        let host = || stage.renderer.fixed_uri()?.authority().map(ToString::to_string);
        let name = name.clone().or_else(host).unwrap_or_else(|| format!("target {}", place + 1));
        if targets.iter().any(|it| *it.name == *name) {
            return Err(Error::plan(format!(
                "two targets are called \"{name}\": give each fallback.name, and the job's own target"
            )));
        }
        let is_last = place == others.len();
        let on = if is_last { StatusSet::default() } else { next.on.clone() };
        let (patience, price) = (next.after, price.clone());
        targets.push(Target { name: name.into(), patience, on, price });
    }
    Ok(targets)
}

/// The limits of a job and of its fallbacks, with the names of the targets whose requests they count
/// together; without a name where the job has no fallback.
pub(super) fn limits(job: &Job, targets: &[Target]) -> Vec<(limit::Settings, Vec<String>)> {
    let mut names = targets.iter().map(|target| target.name.to_string());
    let mut all = vec![(job.limit.clone(), names.next().into_iter().collect::<Vec<_>>())];
    for (config, name) in job.fallback.iter().zip(names) {
        if config.is_apart(job) {
            all.push((config.as_job(job).limit, vec![name]));
        } else {
            all[0].1.push(name);
        }
    }
    all
}

/// Refuses what can't change its target between two requests.
fn check(job: &Job, parts: &JobParts, first: &Stage) -> Result<(), Error> {
    let has_hooks = parts.request.is_some() || parts.response.is_some();
    let what = if !job.step.is_empty() {
        "[[step]] goes on with the answers of one server: make the step a job of its own, with the results of this one for input"
    } else if job.batch_api.is_some() {
        "batch-api (--batch-api) submits at one provider: leave one of them out"
    } else if job.poll.is_any() {
        "[poll] polls a job at the server that has it: leave one of them out"
    } else if job.pages != pages::Settings::default() || job.items != ItemSettings::default() {
        "pages (--next, --page, --offset) and items (--each) go on at the server that began a list: leave one of them out"
    } else if job.batch.size.is_some() {
        "batch.size (--batch) asks for many rows at once, of which some may fail: leave one of them out"
    } else if job.save.is_some() {
        "save (--save) writes answers to files as they come: leave one of them out"
    } else if has_hooks {
        "render, process and a program's hooks know one server: use the job's template and extract"
    } else if !job.before.is_empty() {
        "a login ([[before]]) is of one server: leave one of them out"
    } else if job.cookies.is_some() {
        "cookies (--cookies) are of one server: leave one of them out"
    } else if follows_once(first) {
        FOLLOWS_ONCE
    } else if job.input.format == Some(Format::REQUESTS) {
        "with input.format = \"requests\" (--format) each row names its server itself: leave one of them out"
    } else if first.renderer.fixed_uri().is_none() {
        "the host of request.url (--url) must not come from the rows: a target is one host"
    } else {
        return Ok(());
    };
    Err(Error::plan(format!("[[fallback]]: {what}")))
}

/// Whether redirects of a request that must not be sent twice are followed: a row that is turned
/// away on the way could have been done.
fn follows_once(stage: &Stage) -> bool {
    stage.transport.settings.follow > 0 && !stage.resends()
}

const FOLLOWS_ONCE: &str = "send.follow (--follow) goes on with a request that must not be sent twice: give retry.unknown = \"resend\" (--resend-unknown) if it does no harm, or leave one of them out";

/// Checks one fallback: it gives the job's values, at a host that the job names, and gets no
/// secrets of another server.
fn check_stage(
    config: &FallbackConfig,
    job: &Job,
    stage: &Stage,
    first: &Stage,
) -> Result<(), Error> {
    checks::check_later_hosts(stage)?;
    let Some(uri) = stage.renderer.fixed_uri() else {
        return Err(Error::plan(
            "the host of request.url must not come from the rows: a target is one host",
        ));
    };
    let is_same_host =
        first.renderer.fixed_uri().is_some_and(|it| Origin::of(&it) == Origin::of(&uri));
    if !is_same_host && let Some(place) = job.request.secret_in_body(&config.request) {
        return Err(Error::plan(format!(
            "request.{place} has a secret of the job, which would go to another server: give request.{place} of its own"
        )));
    }
    if follows_once(stage) {
        return Err(Error::plan(FOLLOWS_ONCE));
    }
    if stage.value_names() != first.value_names() {
        return Err(Error::plan(
            "extract has other names than the job's: each target gives the same values, in the same order",
        ));
    }
    if stage.limiter == 0 && stage.policy.units() != first.policy.units() {
        return Err(Error::plan(
            "its prices name other units than the job's, and the limits of the job hold for both: give limits of its own (fallback.limit)",
        ));
    }
    Ok(())
}

/// What of the fallbacks decides on records: what is asked, and where the values are.
pub(super) fn identity(job: &Job) -> Option<Value> {
    let of_one = |it: &FallbackConfig| {
        let request = &it.request;
        serde_json::json!([
            it.name,
            request.url,
            request.method,
            request.query,
            request.headers,
            [&request.data, &request.jq, &request.body_file],
            request.json,
            [&request.form, &request.multipart],
            it.extract
        ])
    };
    let all: Vec<Value> = job.fallback.iter().map(of_one).collect();
    (!all.is_empty()).then(|| serde_json::json!([job.target, all]))
}
