//! What comes after the first step: its values are the next one's rows.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Job, Stage, check_fields, hosts, warnings};
use crate::error::Error;
use crate::plan::workers::WorkerConfig;
use crate::render::Known;
use crate::source::Survey;
use crate::{auth, batch, extract, judge, limit, pages, render, send};

/// One `[[step]]` of a job. What it doesn't say is as in the job itself.
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

/// A step after the first, checked.
pub struct Later {
    pub(crate) step: Stage,
    pub(crate) crew: WorkerConfig,
    /// Whether its limits are its own, and not those of the first step.
    pub(crate) limits_itself: bool,
    /// For people: what it asks.
    pub(crate) about: String,
    /// What they should know of it.
    pub(crate) notes: Vec<String>,
}

impl StageConfig {
    /// The job that this step would be on its own.
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

impl Later {
    fn new(job: &Job, limits_itself: bool, known: &Known<'_>) -> Result<Later, Error> {
        let step = Stage::new(job, known)?;
        check_repeatable(job, &step)?;
        hosts::check_later(&step)?;
        let mut crew = WorkerConfig::new(&job.workers, &step.policy)?;
        if let Some(batch) = &step.batch {
            crew.chunk = batch.size();
        }
        Ok(Later {
            about: job.request.url.clone().unwrap_or_default(),
            notes: warnings::of(job, &step),
            step,
            crew,
            limits_itself,
        })
    }
}

/// A row that was cut off is asked again from its first step, so later steps may
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

/// The later steps of a job.
///
/// # Errors
/// Which step is wrong, and why; or that the chain doesn't hold.
pub fn later(job: &Job, first: &Stage, known: &Known<'_>) -> Result<Vec<Later>, Error> {
    let later = (2..).zip(&job.step).map(|(number, next)| {
        Later::new(&next.job(job), next.limit.is_some(), known)
            .map_err(|error| Error::plan(format!("step {number}: {error}")))
    });
    let later: Vec<Later> = later.collect::<Result<_, _>>()?;
    let steps: Vec<&Stage> = std::iter::once(first)
        .chain(later.iter().map(|it| &it.step))
        .collect();
    if let Some(at) = steps[..steps.len() - 1]
        .iter()
        .position(|step| step.extractor.names().is_empty())
    {
        return Err(Error::plan(format!(
            "step {} extracts nothing (extract), so step {} would have no rows",
            at + 1,
            at + 2
        )));
    }
    if steps.iter().filter(|step| step.has_items()).count() > 1 {
        return Err(Error::plan(
            "items.each (--each) may stand in one step of a chain only: run the second list as a job of its own, with the first one's results for input",
        ));
    }
    Ok(later)
}

/// Checks the fields that later steps use; gives those that the last one's rows have.
///
/// # Errors
/// Which step uses a field that neither the input nor a step before it has.
pub fn check_fields(first: &Stage, later: &[Later], survey: &Survey) -> Result<Vec<String>, Error> {
    let mut fields = survey.names.clone();
    let mut values = first.extractor.names();
    for (number, next) in (2..).zip(later) {
        fields.append(&mut values);
        check_fields::check_later(&next.step, number, &fields, check_fields::are_known(survey))?;
        values = next.step.extractor.names();
    }
    Ok(fields)
}
