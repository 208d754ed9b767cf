//! The parts of a job that are code of a program, and stand beside its text.

use std::sync::Arc;

use super::Job;
use crate::error::Error;
use crate::helpers;
use crate::hooks::{Hooks, RequestHook, ResponseStep};
use crate::limit::RateLimiter;
use crate::secret::Vault;
use crate::sink::Identity;
use crate::source::{ProgramRows, Source};

/// The parts of a job that are code of a program.
#[derive(Clone, Default)]
pub(crate) struct JobParts {
    /// The rows, in place of the job's input.
    pub rows: Option<ProgramRows>,
    /// The hook that makes the requests of the first stage.
    pub request: Option<Arc<dyn RequestHook>>,
    /// The hook that makes the values of the last stage.
    pub response: Option<ResponseStep>,
    /// The limiter that the first stage shares with others.
    pub limiter: Option<RateLimiter>,
    /// What identifies the run, where the rows that are given are those of another plan.
    pub identity: Option<Identity>,
}

impl JobParts {
    /// These parts, and the helpers that the job names.
    ///
    /// # Errors
    /// What is wrong with the helpers, or which hook the program has itself.
    pub fn with_helpers(&self, job: &Job, vault: &Arc<Vault>) -> Result<JobParts, Error> {
        let mut parts = self.clone();
        let twice = |key: &str| {
            Error::plan(format!(
                "the program has a hook where the job has {key} (--{key}): leave one of them out"
            ))
        };
        if let Some(hook) = helpers::request_hook(&job.render, vault).map_err(Error::plan)?
            && parts.request.replace(hook).is_some()
        {
            return Err(twice("render"));
        }
        if let Some(step) = helpers::response_step(&job.process, vault).map_err(Error::plan)?
            && parts.response.replace(step).is_some()
        {
            return Err(twice("process"));
        }
        Ok(parts)
    }

    /// The hooks of a stage.
    pub fn hooks(&self, is_first: bool, is_last: bool) -> Hooks {
        Hooks {
            request: self.request.clone().filter(|_| is_first),
            response: self.response.clone().filter(|_| is_last),
        }
    }

    /// The source of the rows: the program, or that of the settings.
    pub fn source(&self, settings: &crate::source::Settings) -> Result<Source, Error> {
        match &self.rows {
            Some(rows) => Source::of_program(settings, rows.clone()),
            None => Source::new(settings),
        }
    }
}

/// Refuses hooks where the job makes several requests or records of a row by itself.
pub(super) fn check(
    job: &Job,
    hooks: &Hooks,
    has_items: bool,
    has_pages: bool,
) -> Result<(), Error> {
    let Hooks { request, response } = hooks;
    let has_parts =
        has_pages || job.poll.is_any() || (job.batch.size.is_some() && job.batch_api.is_none());
    let processes = if job.process.is_none() { "a hook" } else { "process (--process)" };
    let renders = if job.render.is_none() { "a hook" } else { "render (--render)" };
    let why = if request.is_some() && job.dedupe {
        format!(
            "dedupe (--dedupe) compares the requests of rows before they ask, and {renders} makes them: leave one of them out"
        )
    } else if response.is_some() && !job.extract.is_empty() {
        format!(
            "{processes} makes the values of the answers, and extract (--extract) does too: leave one of them out"
        )
    } else if response.is_some() && (has_items || has_parts || job.save.is_some()) {
        format!(
            "{processes} makes the values of the one answer of a row: leave out items, pages, poll, batch and save, or {}",
            it(processes)
        )
    } else if job.check.is_some() && (response.is_some() || request.is_some()) {
        "check (--check) goes by the values of extract, and a hook makes the requests or the values: leave one of them out".to_owned()
    } else if request.is_some() && has_parts {
        format!(
            "{renders} makes the one request of a row: leave out pages, poll and batch, or {}",
            it(renders)
        )
    } else {
        return Ok(());
    };
    Err(Error::plan(why))
}

/// A hook where it is named again.
fn it(hook: &str) -> &str {
    if hook == "a hook" { "the hook" } else { hook.split(' ').next().unwrap_or(hook) }
}
