//! A job, checked: once built, a plan can't be wrong. [door: files, environment by its caller]

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Secrets, Signer};
use crate::crew::Crew;
use crate::error::Error;
use crate::extract::Extractor;
use crate::judge::Judge;
use crate::limit::{Policy, best_possible};
use crate::render::Renderer;
use crate::send::Transport;
use crate::sink::{Columns, Output};
use crate::source::{Source, Survey};
use crate::tally::Aggregate;

mod file;
mod files;
mod job;
mod mistakes;
mod names;
mod older;
mod preview;

pub use files::check_apart;
pub use job::Job;

/// Everything that a run needs, checked.
pub struct Plan {
    pub(crate) source: Source,
    pub(crate) survey: Survey,
    pub(crate) renderer: Renderer,
    pub(crate) policy: Policy,
    pub(crate) signer: Signer,
    pub(crate) secrets: Secrets,
    pub(crate) transport: Arc<Transport>,
    pub(crate) judge: Judge,
    pub(crate) extractor: Extractor,
    pub(crate) keeps_body: bool,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) columns: Columns,
    pub(crate) output: Output,
    pub(crate) workers: Crew,
}

impl Plan {
    /// Checks a job. The input is read once, so that a bad line is found before
    /// anything is sent; only a pipe's can't be.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn new(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
        let renderer = Renderer::new(&job.request, environment)?;
        let extractor = Extractor::new(&job.extract)?;
        let aggregates = Aggregate::parse_all(&job.summary).map_err(Error::plan)?;
        let policy = Policy::new(&job.limit, job.send.timeout);
        let workers = Crew::new(&job.workers, &policy)?;
        check_apart(
            ("the input", job.input.file.as_deref()),
            ("the output", job.output.file.as_deref()),
        )?;
        let output = Output::new(&job.output)?;
        let source = Source::new(&job.input)?;
        let survey = source.survey()?;
        names::check_fields(&renderer, &source, &survey)?;
        names::check_aggregates(&aggregates, &extractor, &survey)?;
        let keeps_body = job.output.keep_body || job.extract.is_empty();
        let fields = survey.rows.map(|_| survey.names.clone());
        Ok(Plan {
            columns: Columns::new(fields, extractor.names(), keeps_body)?,
            policy,
            signer: Signer::new(renderer.secret_headers()?),
            secrets: Secrets::new(renderer.secrets()),
            transport: Arc::new(Transport::new(job.send.clone(), environment)),
            judge: Judge::new(job.retry.clone(), renderer.method()),
            source,
            survey,
            renderer,
            extractor,
            keeps_body,
            aggregates,
            output,
            workers,
        })
    }

    /// How many rows there are, if that is known before they are read.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.survey.rows
    }

    /// The file that the records go to, if they go to one.
    #[must_use]
    pub fn output_file(&self) -> Option<String> {
        self.output.path()
    }

    /// The limits, and what they are proven against.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The least time for `rows` when each answer takes `latency`.
    #[must_use]
    pub fn best_possible(&self, rows: u64, latency: Duration) -> Option<Duration> {
        best_possible(&self.policy.rates, self.policy.guard, rows, latency)
    }
}
