//! The stages of a plan: the values of one are the next one's rows. Pure.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Job, Stage, check_fields, hosts};
use crate::error::Error;
use crate::render::RenderContext;
use crate::source::Survey;
use crate::{auth, batch, extract, judge, limit, pages, render, send};

/// One `[[step]]` of a job: a stage after the first. A part that it leaves out is the
/// job's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// What is asked for each item of the step before.
    pub request: render::Settings,
    /// Who asks.
    pub auth: Option<auth::Settings>,
    /// How often; without it, the limits of the first step are shared.
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
    fn job(&self, whole: &Job) -> Job {
        let step = self.clone();
        Job {
            input: Default::default(),
            request: step.request,
            auth: step.auth.unwrap_or_else(|| whole.auth.clone()),
            limit: step.limit.unwrap_or_else(|| whole.limit.clone()),
            send: step.send.unwrap_or_else(|| whole.send.clone()),
            retry: step.retry.unwrap_or_else(|| judge::Settings {
                // A key of the first step's requests is none of this one's.
                idempotency_key: None,
                ..whole.retry.clone()
            }),
            extract: step.extract,
            items: step.items,
            batch: step.batch,
            pages: step.pages,
            step: Vec::new(),
            ..whole.clone()
        }
    }
}

/// The stages of a job, in their order.
///
/// # Errors
/// Which stage is wrong, and why; or that the values of one are no rows for the next.
pub fn of(job: &Job, known: &RenderContext<'_>) -> Result<Vec<Stage>, Error> {
    let mut stages = vec![Stage::new(job, 0, known)?];
    let mut limiters = 1;
    for (number, config) in (2..).zip(&job.step) {
        let limiter = if config.limit.is_some() { limiters } else { 0 };
        limiters = limiters.max(limiter + 1);
        let own = config.job(job);
        let stage = Stage::new(&own, limiter, known).and_then(|stage| {
            check_repeatable(&own, &stage)?;
            hosts::check_later(&stage)?;
            Ok(stage)
        });
        let stage = stage.map_err(|error| Error::plan(format!("step {number}: {error}")))?;
        stages.push(stage);
    }
    check_values(&stages)?;
    Ok(stages)
}

/// Every stage but the last must give values, and a row may become many only once.
fn check_values(stages: &[Stage]) -> Result<(), Error> {
    let followed = &stages[..stages.len() - 1];
    let names_nothing = |stage: &Stage| stage.extractor.names().is_empty();
    if let Some(index) = followed.iter().position(names_nothing) {
        return Err(Error::plan(format!(
            "step {} extracts nothing (extract), so step {} would have no rows",
            index + 1,
            index + 2
        )));
    }
    if stages.iter().filter(|stage| stage.has_items()).count() > 1 {
        return Err(Error::plan(
            "items.each (--each) may stand in one step of a chain only: run the second list as a job of its own, with the first one's results for input",
        ));
    }
    Ok(())
}

/// A row that was cut off is asked again from its first stage, so later stages may
/// be asked again for what they have done already.
fn check_repeatable(job: &Job, step: &Stage) -> Result<(), Error> {
    if step.makes_keys {
        return Err(Error::plan(
            "step.retry.idempotency-key = \"auto\" makes one key for all that comes of a row: give a template, such as \"{{ id }}\"",
        ));
    }
    let method = step.renderer.method().map_or("POST", Method::as_str);
    let is_resumable = job.output.file.as_ref().is_some_and(|file| file != "-");
    if !is_resumable || step.resends() {
        Ok(())
    } else {
        Err(Error::plan(format!(
            "its {method} must not be sent twice, and a chain that was cut off asks again from its first step: \
             give step.retry.idempotency-key a template, such as \"{{{{ id }}}}\"; or step.retry.unknown = \"resend\", if {method} does no harm here; \
             or run this step as a job of its own, with the records of the one before for input"
        )))
    }
}

/// Checks the fields that stages after the first use; gives the fields of the last
/// stage's rows.
///
/// # Errors
/// Which stage uses a field that neither the input nor a stage before it has.
pub fn check_fields(stages: &[Stage], survey: &Survey) -> Result<Vec<String>, Error> {
    let mut fields = survey.names.clone();
    for (number, pair) in (2..).zip(stages.windows(2)) {
        fields.append(&mut pair[0].extractor.names());
        check_fields::check_later(&pair[1], number, &fields, check_fields::are_known(survey))?;
    }
    Ok(fields)
}
