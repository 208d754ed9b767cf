//! A job, checked: once built, a plan can't be wrong. [door: files, environment by its caller]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::descriptors;
use crate::error::Error;
use crate::limit::{self, Estimate, Policy, Time, Workload};
use crate::quota_store::{self, QuotaBalance};
use crate::render::Known;
use crate::secret::{Secrets, Vault, Visibility};
use crate::sink::{Columns, Identity, Output};
use crate::source::{self, Source, Survey};
use crate::tally::Aggregate;
use workers::WorkerConfig;

mod account;
mod chain;
mod check_fields;
mod check_paths;
mod cleartext;
mod diagnostics;
mod explicit;
mod file;
mod hosts;
mod identity;
mod job;
mod legacy;
mod literals;
mod preview;
mod profile;
mod resume;
mod step;
pub(crate) mod told;
mod waits;
mod warnings;
pub mod workers;
mod workload;

pub use chain::{Later, StageConfig};
pub use check_paths::check_apart;
pub use explicit::ExplicitKeys;
pub use job::Job;
pub use profile::{Need, Profile, ProfileSource as Reading};
pub use step::Stage;

/// Everything that a run needs, checked.
pub struct Plan {
    pub(crate) source: Source,
    pub(crate) survey: Survey,
    pub(crate) step: Stage,
    /// Its limits as the job and its profile write them.
    pub(crate) limits: limit::Settings,
    pub(crate) later: Vec<Later>,
    pub(crate) demand: Option<Workload>,
    pub(crate) secrets: Secrets,
    pub(crate) vault: Arc<Vault>,
    /// The environment's variables, and where they show.
    variables: BTreeMap<String, Visibility>,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) columns: Columns,
    pub(crate) output: Output,
    pub(crate) identity: Identity,
    pub(crate) notes: Vec<String>,
    pub(crate) workers: WorkerConfig,
    /// How many connections each worker may have open in each step at a time.
    pub(crate) connections: usize,
    /// Where quotas are kept.
    state: Result<PathBuf, Error>,
}

impl Plan {
    /// Checks a job. The input is read once, so that a bad line is found before
    /// anything is sent; only a pipe's can't be.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn new(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
        let job = &*profile::under(job)?;
        let vault = Arc::new(Vault::new(&job.secrets)?.with(job.env.clone()));
        let plan = Plan::checked(job, environment, &vault);
        plan.map_err(|error| error.map(|text| vault.secrets().hide(text)))
    }

    fn checked(
        job: &Job,
        environment: &dyn Fn(&str) -> Option<String>,
        vault: &Arc<Vault>,
    ) -> Result<Plan, Error> {
        let known = Known { environment, vault };
        let mut step = Stage::new(job, &known)?;
        let later = chain::later(job, &step, &known)?;
        let aggregates = Aggregate::parse_all(&job.summary).map_err(Error::plan)?;
        let mut workers = WorkerConfig::new(&job.workers, &step.policy)?;
        if let Some(batch) = &step.batch {
            workers.chunk = batch.size();
        }
        check_apart(
            ("the input", job.input.file.as_deref()),
            ("the output", job.output.file.as_deref()),
        )?;
        let parts = job.output.parts.and(job.output.file.as_deref());
        check_paths::check_outside(job.input.file.as_deref(), parts)?;
        let mut output = Output::new(&job.output, !announces(&step, &later))?;
        let source = Source::new(&input(job, &step))?;
        let survey = source.survey()?;
        hosts::settle(&mut step, job, &source)?;
        check_fields::check_fields(&step, &source, &survey)?;
        check_fields::check_braces(
            job.request.url.as_deref().unwrap_or_default(),
            &survey.names,
        )?;
        let fields = chain::check_fields(&step, &later, &survey)?;
        let last = later.last().map_or(&step, |last| &last.step);
        if check_fields::are_known(&survey) {
            check_fields::check_aggregates(&aggregates, &last.extractor, &fields)?;
        }
        let demand = workload::demand(&step, &source, survey.rows)?;
        let fields = survey.rows.map(|_| fields);
        let left_out = step.renderer.left_out();
        let fields = fields.map(|mut names| {
            names.retain(|name| !left_out.contains(&name.as_str()));
            names
        });
        let columns = Columns {
            items: step.has_items() || later.iter().any(|it| it.step.has_items()),
            arrived: !step.policy.is_unlimited(),
            ..Columns::new(fields, last.extractor.names(), last.keeps_body)?
        };
        output.check_columns(&columns)?;
        let identity = identity::of(job, &source)?;
        let files = descriptors::most();
        let free = files.saturating_sub(descriptors::open());
        let connections = workers::connections(workers.count, 1 + later.len(), free)?;
        let mut notes = warnings::of(job, &step);
        notes.extend(warnings::of_connections(&workers, connections, files));
        for note in later.iter().flat_map(|later| &later.notes) {
            // Most hold for all steps.
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        notes.extend(resume::check(
            &mut output,
            &identity,
            &source,
            &survey,
            &columns,
        )?);
        let mut plan = Plan {
            columns,
            identity,
            notes,
            secrets: vault.secrets().clone(),
            variables: vault.variables()?,
            vault: vault.clone(),
            source,
            survey,
            step,
            limits: job.limit.clone(),
            later,
            demand,
            aggregates,
            output,
            workers,
            connections,
            state: quota_store::directory(environment),
        };
        plan.notes.extend(waits::of(&plan));
        Ok(plan)
    }

    /// The step at this place, from 0.
    pub(crate) fn step_at(&self, place: usize) -> &Stage {
        let later = place.checked_sub(1).and_then(|place| self.later.get(place));
        later.map_or(&self.step, |later| &later.step)
    }

    /// Who carries out the step at this place.
    pub(crate) fn crew_at(&self, place: usize) -> WorkerConfig {
        let later = place.checked_sub(1).and_then(|place| self.later.get(place));
        later.map_or(self.workers, |later| later.crew)
    }

    /// Whether there are requests that must be announced before they are sent.
    pub(crate) fn announces(&self) -> bool {
        announces(&self.step, &self.later)
    }

    /// How many rows there are, if that is known before they are read.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.survey.rows
    }

    /// The file or directory that the rows come from, if they come from one.
    #[must_use]
    pub fn input_file(&self) -> Option<String> {
        self.source.file()
    }

    /// The file that the records go to, if they go to one.
    #[must_use]
    pub fn output_file(&self) -> Option<String> {
        self.output.path()
    }

    /// What people should know before it starts, such as of the file that is resumed.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where quotas are kept.
    pub(crate) fn state(&self) -> Result<PathBuf, Error> {
        self.state.clone()
    }

    /// What is left of the limits whose periods are so long that they outlive a run.
    ///
    /// # Errors
    /// Where it is not known, and what to do.
    pub fn quotas(&self) -> Result<Vec<QuotaBalance>, Error> {
        let later = self.later.iter().filter(|later| later.limits_itself);
        let steps = std::iter::once(&self.step).chain(later.map(|later| &later.step));
        let mut all = Vec::new();
        for step in steps.filter(|step| step.has_quotas()) {
            let (parts, keys) = (step.policy.parts(), step.policy.keys().len());
            all.extend(quota_store::left(
                &self.state()?,
                &step.account,
                parts,
                keys,
            )?);
        }
        Ok(all)
    }

    /// The limits, and what they are proven against.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.step.policy
    }

    /// The least time for all rows when each answer takes `latency`, and the
    /// limit that binds; none without a limit, or if the rows aren't known.
    #[must_use]
    pub fn bound(&self, latency: Duration) -> Option<Estimate> {
        let now = crate::limit::now();
        self.step.policy.bound(self.demand.as_ref()?, latency, now)
    }

    /// The least time under a policy such as its own, from `start` on, for a part of
    /// the rows that went out as so many requests.
    #[must_use]
    pub fn bound_for(
        &self,
        policy: &Policy,
        requests: u64,
        latency: Duration,
        start: Time,
    ) -> Option<Estimate> {
        // What several limits come to together is not known.
        if !self.later.is_empty() {
            return None;
        }
        let demand = self.demand_of(requests);
        policy.bound(&demand, latency, start)
    }

    /// What a part of the rows that went out as so many requests asked.
    pub(crate) fn demand_of(&self, requests: u64) -> Workload {
        match &self.demand {
            Some(all) => all.share(requests),
            None => Workload::requests(requests),
        }
    }
}

/// A request that needs no row is sent once.
fn input(job: &Job, step: &Stage) -> source::Settings {
    let mut input = job.input.clone();
    if input.file.is_none() && input.list.is_none() && step.needs_no_row() {
        input.list = Some(vec![serde_json::json!({})]);
    }
    input
}

fn announces(step: &Stage, later: &[Later]) -> bool {
    step.announces() || later.iter().any(|later| later.step.announces())
}
