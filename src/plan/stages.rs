//! The stages of a plan: the values of one are the next one's rows. Pure.

use std::sync::Arc;

use http::Method;

use super::{Job, JobParts, Stage, checks, warnings};
use crate::auth::Login;
use crate::error::Error;
use crate::judge::Meaning;
use crate::render::RenderContext;
use crate::source::Survey;

/// The stages of a job, in their order, and the warnings of each: most hold for all
/// stages, and are given once.
///
/// # Errors
/// Which stage is wrong, and why; or that the values of one are no rows for the next.
pub fn of(
    job: &Job,
    parts: &JobParts,
    login: Option<&Arc<Login>>,
    context: &RenderContext<'_>,
) -> Result<(Vec<Stage>, Vec<String>), Error> {
    let hooks = parts.hooks(true, job.step.is_empty());
    let mut first = if job.step.is_empty() {
        Stage::new(job, hooks, 0, login, context)?
    } else {
        // The answers of the last stage are saved.
        Stage::new(&Job { save: None, ..job.clone() }, hooks, 0, login, context)?
    };
    first.shared_limiter = parts.limiter.clone();
    let mut warnings = warnings::of(job, &first);
    let mut stages = vec![first];
    let mut limiters = 1;
    for (number, config) in (2..).zip(&job.step) {
        let limiter = if config.limit.is_some() { limiters } else { 0 };
        limiters = limiters.max(limiter + 1);
        let is_last = number == job.step.len() + 1;
        let own = Job { save: job.save.clone().filter(|_| is_last), ..config.as_job(job) };
        let hooks = parts.hooks(false, is_last);
        let stage = Stage::new(&own, hooks, limiter, login, context).and_then(|stage| {
            check_key(limiter, login)?;
            check_repeatable(&own, &stage, &stages)?;
            checks::check_later_hosts(&stage)?;
            Ok(stage)
        });
        let stage = stage.map_err(|error| error.map(|why| format!("step {number}: {why}")))?;
        for warning in warnings::of(&own, &stage) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        stages.push(stage);
    }
    check_values(&stages)?;
    check_end(job, &stages)?;
    Ok((stages, warnings))
}

/// Checks that every stage but the last gives values, and that one stage at most makes many
/// rows of one.
fn check_values(stages: &[Stage]) -> Result<(), Error> {
    let followed = &stages[..stages.len() - 1];
    let names_nothing = |stage: &Stage| stage.names().is_empty();
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

/// Checks that a rule for the end of pages has pages.
fn check_end(job: &Job, stages: &[Stage]) -> Result<(), Error> {
    let rules = job.answer.iter().chain(job.step.iter().flat_map(|step| &step.answer));
    let has_pages = stages.iter().any(|stage| stage.pages.is_some());
    match rules.filter(|_| !has_pages).find(|rule| rule.then == Meaning::End) {
        None => Ok(()),
        Some(rule) => Err(Error::plan(format!(
            "the answer rule '{rule}' (answer, --answer) ends a list of pages, and the job has none: write missing for rows that have nothing, or give pages (--next, --page)"
        ))),
    }
}

/// Checks that the request of a later stage may be repeated, as a row that was cut off begins
/// again with its first stage: unless the logs say of each row what was sent.
fn check_repeatable(job: &Job, stage: &Stage, before: &[Stage]) -> Result<(), Error> {
    if stage.makes_keys {
        return Err(Error::plan(
            "step.retry.idempotency-key = \"auto\" makes one key for all that comes of a row: give a template, such as \"{{ id }}\"",
        ));
    }
    let method = stage.renderer.method().map_or("POST", Method::as_str);
    let is_logged = stage.poll.is_some()
        && before.iter().all(|earlier| earlier.resends() && !earlier.has_items());
    let is_resumable = job.output.file.as_ref().is_some_and(|file| file != "-");
    if !is_resumable || is_logged || stage.resends() {
        Ok(())
    } else {
        Err(Error::plan(format!(
            "its {method} must not be sent twice, and a chain that was cut off asks again from its first step: \
             give step.retry.idempotency-key a template, such as \"{{{{ id }}}}\"; or step.retry.unknown = \"resend\", if {method} does no harm here; \
             or run this step as a job of its own, with the records of the one before for input"
        )))
    }
}

/// Checks that a login of each key has the keys of all stages.
fn check_key(limiter: usize, login: Option<&Arc<Login>>) -> Result<(), Error> {
    if limiter != 0 && login.is_some_and(|login| login.is_by_key()) {
        Err(Error::plan(
            "the login uses {{ key }} (before), so each key of the pool logs in, and this step has limits of its own (step.limit): leave them out",
        ))
    } else {
        Ok(())
    }
}

/// Checks the fields that stages after the first use; gives the fields of the last
/// stage's rows.
pub fn check_fields(stages: &[Stage], survey: &Survey) -> Result<Vec<String>, Error> {
    let mut fields = survey.names.clone();
    for (index, stage) in stages.iter().enumerate() {
        if let Some(before) = index.checked_sub(1) {
            fields.append(&mut stages[before].extractor.names());
            if checks::are_known(survey) {
                checks::check_later_fields(stage, index + 1, &fields)?;
            }
        }
        if let Some(poll) = &stage.poll {
            checks::check_poll(poll, &mut fields, checks::are_known(survey))?;
        }
    }
    Ok(fields)
}
