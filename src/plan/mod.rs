//! A plan is a job that was checked against its files: once built, it can't be wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;

use crate::auth::{BeforeSettings, Login};
use crate::cookies::CookieScope;
use crate::error::Error;
use crate::format::KeepBody;
use crate::judge::MaxFailures;
use crate::limit::{self, Policy, UsedBefore, Workload};
use crate::limit_store::StoreAddress;
use crate::price::{PriceList, Usd};
use crate::quota_store::{self, QuotaAccount, SharedLimit, StoreAccess};
use crate::render::RenderContext;
use crate::save::SaveRules;
use crate::secret::{Secrets, Vault, Visibility};
use crate::sink::{self, Columns, Existing, Identity, Output};
use crate::source::{self, Source, Survey};
use crate::store::StoreSettings;
use crate::tally::{self, Aggregate};
use crate::wording::worded;
use requests::PlannedRequests;
use room::PlannedRoom;
use workers::WorkerConfig;
use workload::{LeftRows, PlannedWork};

mod account;
mod batch_endpoint;
mod before;
mod checks;
mod cleartext;
mod deadline;
mod diagnostics;
mod fallback;
mod file;
mod identity;
mod job;
mod layers;
mod legacy;
mod literals;
mod odd_ids;
mod only;
mod page_request;
mod parts;
mod preview;
mod profile;
mod requests;
mod resume;
mod room;
mod sandbox;
mod selection;
mod shard;
mod stage;
mod stages;
mod warnings;
pub mod workers;
mod workload;

pub use checks::check_apart;
pub use deadline::Deadline;
#[cfg(feature = "cli")]
pub(crate) use diagnostics::closest;
pub use fallback::{FallbackConfig, Target};
pub use job::{Job, StageConfig};
pub use layers::Layers;
pub(crate) use literals::places_of_keys;
pub use only::Only;
pub(crate) use page_request::set_param;
pub(crate) use parts::JobParts;
#[cfg(feature = "cli")]
pub(crate) use preview::{HIDDEN, shown_request};
pub use profile::{Need, Profile, ProfileSource as Reading};
pub use stage::{SaveMode, Stage};

/// Everything that a run needs, checked.
///
/// ```
/// use throng::{Job, Plan};
///
/// let job = Job::parse("items.toml", r#"
///     request.url = "https://api.example/{{ id }}"
///     input.list = [{ id = 1 }, { id = 2 }]
/// "#)?;
/// let plan = Plan::new(&job, &|name| std::env::var(name).ok())?;    // nothing is sent
/// assert_eq!(plan.rows(), Some(2));
/// # Ok::<(), throng::Error>(())
/// ```
pub struct Plan {
    pub(crate) source: Source,
    pub(crate) survey: Survey,
    /// The stages in their order, at least one: the values of one are the next one's rows.
    pub(crate) stages: Vec<Stage>,
    /// The stages that requests of the one stage pass at other targets, in their order.
    pub(crate) fallbacks: Vec<Stage>,
    /// The targets of requests, by the index of their stage; none if there is no fallback.
    pub(crate) targets: Vec<Target>,
    pub(crate) work: Option<PlannedWork>,
    /// The requests of the rows that are left, where they were counted.
    requests: Option<PlannedRequests>,
    pub(crate) secrets: Secrets,
    /// The secrets that can be read again; none if the job has none.
    pub(crate) vault: Option<Arc<Vault>>,
    /// The variables of the environment that the job uses, and where they may show.
    variables: BTreeMap<String, Visibility>,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) columns: Columns,
    pub(crate) output: Output,
    pub(crate) identity: Identity,
    pub(crate) notes: Vec<String>,
    pub(crate) workers: WorkerConfig,
    /// Where answers are kept.
    pub(crate) store: StoreSettings,
    /// Whether rows whose requests are equal are asked for once.
    pub(crate) dedupes: bool,
    /// The extent of the jars of cookies, if cookies are kept.
    pub(crate) cookies: Option<CookieScope>,
    /// The prices of units.
    pub(crate) prices: PriceList,
    /// The most that all runs of the same results may cost.
    pub(crate) budget: Option<Usd>,
    /// Whether the run ends when its first answers all fail alike.
    pub(crate) brakes: bool,
    /// Maximum number of rows that may fail; more end the run.
    pub(crate) max_failures: Option<MaxFailures>,
    /// Maximum number of connections that each worker has open in each stage.
    pub(crate) connections: usize,
    /// The directory of the accounts.
    state: Result<PathBuf, Error>,
    /// The store on the network that limits are shared through, if they are.
    pub(crate) limit_store: Option<StoreAccess>,
    /// The room on the output's disk, if the output is a file.
    room: Option<PlannedRoom>,
}

impl Plan {
    /// Checks a job. Reads the input once, unless it is a pipe, so that a bad line is an
    /// error before anything is sent.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn new(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
        Plan::with_parts(job, environment, &JobParts::default())
    }

    /// Checks a job with parts that are code.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub(crate) fn with_parts(
        job: &Job,
        environment: &dyn Fn(&str) -> Option<String>,
        parts: &JobParts,
    ) -> Result<Plan, Error> {
        if let Some(api) = &job.api {
            return Err(Error::plan(format!(
                "the profile {api} was set after the job was read: write it in the job's text (api)"
            )));
        }
        let names = BeforeSettings::names(&job.before);
        let vault = Vault::new(&job.secrets)?.with(job.env.clone()).with_logins(names)?;
        let vault = Arc::new(vault);
        let plan = Plan::checked(job, environment, parts, &vault);
        plan.map_err(|error| error.map(|text| vault.secrets().hide(text)))
    }

    /// The names of the values that can be taken anew from the answers that records keep.
    pub(crate) fn renewable_values(&self) -> &[String] {
        let is_hook = self.last().hooks.response.is_some();
        if self.columns.body == KeepBody::None || self.identity.joins_pages || is_hook {
            &[]
        } else {
            &self.columns.values
        }
    }

    fn checked(
        job: &Job,
        environment: &dyn Fn(&str) -> Option<String>,
        parts: &JobParts,
        vault: &Arc<Vault>,
    ) -> Result<Plan, Error> {
        let context = RenderContext { environment, vault };
        let whole_budget = job.budget;
        let job = &batch_endpoint::settled(shard::settled(job, environment)?);
        let parts = &parts.with_helpers(job, vault)?;
        before::check(job)?;
        job.store.check().map_err(Error::plan)?;
        let login = Login::new(&job.before, &job.limit.keys, &context)?.map(Arc::new);
        let (mut stages, mut notes) = stages::of(job, parts, login.as_ref(), &context)?;
        notes.extend(before::warning(job));
        notes.extend(shard::budget_note(job, whole_budget));
        notes.extend(job.price_source.clone());
        let policies: Vec<&Policy> = stages.iter().map(|stage| &stage.policy).collect();
        job.price.check(job.budget, &policies)?;
        let (fallbacks, warnings) = fallback::stages(job, parts, &stages[0], &context)?;
        for warning in warnings {
            if !notes.contains(&warning) {
                notes.push(warning);
            }
        }
        let targets = fallback::targets(job, &stages[0], &fallbacks)?;
        let aggregates = Aggregate::parse_all(&job.summary).map_err(Error::plan)?;
        let workers = WorkerConfig::new(&job.workers)?;
        check_files(job)?;
        let file = job.output.file.as_deref();
        let of_output = |error: Error| error.of_output(file);
        let announces = stages.iter().chain(&fallbacks).any(Stage::announces);
        let output = Output::new(&output_settings(job), !announces);
        let mut output = output.map_err(of_output)?;
        let key = job.output.key.as_deref();
        let source = parts.source(&input(job, parts, &stages[0]))?;
        let mut source = source.of_shard(job.limit.shard, key)?;
        let mut survey = source.survey()?;
        let of_run = selection::OfRun {
            run: output.run_number(),
            secrets: vault.secrets(),
            now: selection::now(),
        };
        let selected =
            selection::select(job, (&stages[0], &fallbacks), &source, &survey.names, &of_run)?;
        if let Some(selection) = selected {
            notes.push(selection.note);
            survey = source.select(selection.rows, survey)?;
        }
        checks::settle_hosts(&mut stages[0], job, &source)?;
        checks::check_fields(&stages[0], &source, &survey)?;
        for (number, stage) in (1..).zip(&fallbacks) {
            checks::check_fields(stage, &source, &survey)
                .map_err(|error| fallback::of_fallback(number, error))?;
        }
        checks::check_braces(job.request.url.as_deref().unwrap_or_default(), &survey.names)?;
        let fields = stages::check_fields(&stages, &survey)?;
        checks::check_files_of_rows(&stages[stages.len() - 1], &survey)?;
        let last = &stages[stages.len() - 1];
        if checks::are_known(&survey) && last.hooks.response.is_none() {
            checks::check_aggregates(&aggregates, &last.extractor, &fields)?;
        }
        let fields = survey.rows.map(|_| fields).filter(|_| !last.has_unnamed_values());
        let columns = columns(&stages, fields, job.output.replace_fields)?;
        let columns = Columns {
            stored: job.store.dir.is_some(),
            same_as: job.dedupe,
            target: !targets.is_empty(),
            arrived: columns.arrived || fallbacks.iter().any(|it| !it.policy.is_unlimited()),
            ..columns
        };
        output.check_columns(&columns).map_err(of_output)?;
        let identity = match &parts.identity {
            Some(identity) => identity.clone(),
            None => identity::of(job, parts, &source, &survey, &targets)?,
        };
        let confirmed = output.confirm(&identity, !announces);
        confirmed.map_err(of_output)?;
        let files = workers::file_limit();
        let free = files.saturating_sub(workers::open_files());
        let servers = stages.len() + fallbacks.len();
        let connections = workers::connections(workers.count, servers, free)?;
        let in_flight =
            fallbacks.iter().map(|it| it.in_flight).fold(stages[0].in_flight, usize::max);
        stages[0].in_flight = in_flight;
        notes.extend(warnings::of_connections(in_flight, connections, files));
        let resumed = resume::check(&mut output, &identity, &source, &survey, &columns);
        notes.extend(resumed.map_err(of_output)?);
        let money_left = job.budget.map(|budget| budget.minus(output.spent()));
        let left = LeftRows { done: output.done(), spared: None };
        let work = workload::of(&stages[0], &source, survey.rows, &left, money_left)?;
        notes.extend(warnings::of_costs(stages[0].policy.cost(), &survey));
        notes.extend(odd_ids(&stages[0], &source)?);
        let room = room(&output, &columns, &survey);
        notes.extend(room.and_then(|room| room.warning(&output.name())));
        let mut plan = Plan {
            columns,
            identity,
            notes,
            secrets: vault.secrets().clone(),
            variables: vault.variables()?,
            vault: (!vault.is_empty()).then(|| vault.clone()),
            source,
            survey,
            stages,
            fallbacks,
            targets,
            work,
            requests: None,
            aggregates,
            output,
            workers,
            store: job.store.clone(),
            dedupes: job.dedupe,
            cookies: job.cookies,
            prices: job.price.clone(),
            budget: job.budget,
            brakes: job.retry.brake,
            max_failures: job.retry.max_failures,
            connections,
            state: quota_store::directory(environment),
            limit_store: StoreAccess::of(&job.limit, environment)?,
            room,
        };
        let first = plan.first_uri();
        plan.notes.extend(warnings::of_host(job, &plan.stages, first.as_ref()));
        plan.notes = plan.notes.into_iter().map(worded).collect();
        Ok(plan)
    }

    /// Takes over what the plan of another process has found in the rows that this one collects.
    ///
    /// # Errors
    /// The output can't have these columns, or an aggregate is wrong.
    pub(crate) fn set_found(
        &mut self,
        columns: Columns,
        rows: Option<u64>,
        summary: &tally::Settings,
    ) -> Result<(), Error> {
        let file = self.output_file();
        let checked = self.output.check_columns(&columns);
        checked.map_err(|error| error.of_output(file.as_deref()))?;
        self.aggregates = Aggregate::parse_all(summary).map_err(Error::plan)?;
        self.columns = columns;
        self.survey.rows = rows;
        Ok(())
    }

    /// The stage that takes the input's rows.
    pub(crate) fn first(&self) -> &Stage {
        &self.stages[0]
    }

    /// The stage with this index: one of the job's, or after these that of a fallback, whose index
    /// is that of its target.
    pub(crate) fn stage(&self, index: usize) -> &Stage {
        self.stages.get(index).unwrap_or_else(|| &self.fallbacks[index - self.stages.len()])
    }

    /// The stages, and those of the fallbacks.
    pub(crate) fn all_stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().chain(&self.fallbacks)
    }

    /// The first target whose requests pass this limiter; none if there is no fallback.
    pub(crate) fn target_of(&self, limiter: usize) -> Option<&Target> {
        let all = self.targets.iter().zip(self.all_stages());
        all.into_iter().find(|(_, stage)| stage.limiter == limiter).map(|(target, _)| target)
    }

    /// The prices of units: of the job, and after these of each fallback.
    pub(crate) fn price_lists(&self) -> impl Iterator<Item = &PriceList> {
        let others = self.targets.iter().skip(1).map(|target| &target.price);
        std::iter::once(&self.prices).chain(others)
    }

    /// The URL of the first request, if a row is known.
    pub(crate) fn first_uri(&self) -> Option<Uri> {
        let row = self.first().batch_row(&self.survey.first)?;
        Some(self.first().render(&row).ok()?.uri().clone())
    }

    /// The secrets that a record may hold; none if there are none and the run learns none.
    pub(crate) fn secrets_of_records(&self) -> Option<&Secrets> {
        let learns = self.vault.is_some()
            || self.cookies.is_some()
            || self.all_stages().any(|it| !it.signer.is_empty());
        (learns || !self.secrets.is_empty()).then_some(&self.secrets)
    }

    /// The stages with limits of their own, by the index of their limiter.
    pub(crate) fn limited_stages(&self) -> impl Iterator<Item = &Stage> {
        let owner = |limiter| self.all_stages().find(|stage| stage.limiter == limiter);
        (0..).map_while(owner)
    }

    /// The limits of each stage that has limits of its own, as the job writes them and as
    /// they are kept.
    pub fn limits(&self) -> impl Iterator<Item = (&limit::Settings, &Policy)> {
        self.limited_stages().map(|stage| (&stage.limits, &stage.policy))
    }

    /// Whether there are requests that must be announced before they are sent.
    pub(crate) fn announces(&self) -> bool {
        self.all_stages().any(Stage::announces)
    }

    /// Number of rows, if it is known before the run.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.survey.rows
    }

    /// Whether all rows have a record in a finished output.
    pub(crate) fn has_nothing_to_do(&self) -> bool {
        self.output.is_finished() && self.survey.rows == Some(self.output.done().len())
    }

    /// Whether only the first rows are taken of an input that may have more.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.survey.of_all_shards().is_some_and(|rows| rows == self.source.most())
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

    /// What users should know before the run, such as of the file that it resumes.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What a run does with the files of its answers.
    pub(crate) fn save_rules(&self) -> SaveRules {
        let settings = self.output.settings();
        let send = &self.last().transport.settings;
        let own = self.input_file().into_iter().chain(self.output_file());
        SaveRules {
            replaces: settings.existing() != Existing::Refuse,
            syncs: settings.sync != sink::Sync::End,
            max_size: send.max_body.map(|size| size.as_u64()),
            max_decompressed: send.max_held_body(),
            own: own.map(PathBuf::from).collect(),
        }
    }

    /// The stage that gives the records their values.
    pub(crate) fn last(&self) -> &Stage {
        &self.stages[self.stages.len() - 1]
    }

    /// The directory of the accounts.
    pub(crate) fn state(&self) -> Result<PathBuf, Error> {
        self.state.clone()
    }

    /// Opens the accounts through which the limits are shared; none if they are not to be. If
    /// they can't be used, gives the sentence that the limits are this run's alone.
    ///
    /// # Errors
    /// They can't be used, although a limit's period is so long that it must not begin anew
    /// with each run, or other runs may go on that this one can't find.
    pub(crate) fn open_accounts<T>(
        &self,
        open: impl FnOnce(&Path, &QuotaAccount) -> Result<T, Error>,
    ) -> Result<Option<Result<T, String>>, Error> {
        let mut stages = self.limited_stages().filter(|stage| stage.shares());
        let Some(first) = stages.next() else {
            return Ok(None);
        };
        let must_share = first.must_share() || stages.any(Stage::must_share);
        let directory = match self.state() {
            Ok(directory) => directory,
            Err(error) if must_share => return Err(error),
            Err(error) => return Ok(Some(Err(alone(&error)))),
        };
        match open(&directory, &first.account) {
            Ok(opened) => Ok(Some(Ok(opened))),
            Err(error) if must_share || limit::is_salt_lost(&directory) => Err(error),
            Err(error) => Ok(Some(Err(alone(&error)))),
        }
    }

    /// Shares the limits with the runs that use this store, unless the job says how.
    pub(crate) fn share_limits_by(&mut self, store: &StoreAddress) {
        if self.limited_stages().any(Stage::shares) && self.limit_store.is_none() {
            self.limit_store = Some(StoreAccess::Store(store.clone()));
        }
    }

    /// Notes it if the limits would be this run's alone, because what other runs use can't be
    /// kept.
    ///
    /// # Errors
    /// A run would not begin without it.
    pub fn check_sharing(&mut self) -> Result<(), Error> {
        if let Some(store) = &self.limit_store {
            self.notes.extend(store.check()?.map(|error| error.to_string()));
            return Ok(());
        }
        if let Some(Err(why)) = self.open_accounts(quota_store::check)? {
            self.notes.push(worded(why));
            self.state = Err(Error::plan("the limits are this run's alone"));
        }
        Ok(())
    }

    /// What is left of the limits of each limiter that the runs of an account share. Reads
    /// their files.
    ///
    /// # Errors
    /// A limit's file can't be read: which, and what to do. Limits with short periods whose
    /// directory can't be used are left out.
    pub fn shared_limits(&self) -> Result<Vec<Vec<SharedLimit>>, Error> {
        let read = |stage: &Stage| {
            // What a store on the network knows, it tells when a run asks for units.
            if !stage.shares()
                || self.limit_store.is_some()
                || (self.state.is_err() && !stage.must_share())
            {
                return Ok(Vec::new());
            }
            // The costs of rows are those of the first stage.
            let work = self.work.as_ref().filter(|_| stage.limiter == self.first().limiter);
            let costs = work.map_or(&[][..], |work| &work.keys[..]);
            quota_store::balances(&self.state()?, &stage.account, &stage.policy, costs)
        };
        self.limited_stages().map(read).collect()
    }

    /// Warnings of these shared limits that earlier runs have used up, if any row is left to do.
    pub fn used_limits(&self, limits: &[Vec<SharedLimit>]) -> Vec<String> {
        let done = self.output.done().len();
        if !self.columns.items && self.rows().is_some_and(|rows| rows <= done) {
            return Vec::new();
        }
        // Two targets of one account may have a limit in common.
        let all = limits.iter().flatten().flat_map(warnings::of_used_limit);
        all.fold(Vec::new(), |mut warnings, warning| {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
            warnings
        })
    }

    /// The limits of the first stage, and the guard that they are kept under.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.first().policy
    }

    /// The workload of a part of the rows that took this number of requests, after what
    /// earlier runs of the account have used.
    pub(crate) fn workload_of(&self, requests: u64, used_before: UsedBefore) -> Workload {
        match &self.work {
            Some(all) => Workload { used_before, ..all.sum.clone() }.share(requests),
            None => Workload { used_before, ..Workload::requests(requests) },
        }
    }
}

/// That the limits are the run's alone, for this reason.
fn alone(error: &Error) -> String {
    format!("the limit is this run's alone: {error}")
}

/// Checks that the input and the output are not in each other's way.
fn check_files(job: &Job) -> Result<(), Error> {
    let (input, output) = (job.input.file.as_deref(), job.output.file.as_deref());
    check_apart("the input", input, "the output", output)?;
    checks::check_outside(input, job.output.parts.and(output))
}

/// Warnings of values of the first rows that other programs have changed.
fn odd_ids(stage: &Stage, source: &Source) -> Result<Vec<String>, Error> {
    let fields = stage.renderer.fields();
    if fields.is_empty() || !source.lasts() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = source.rows()?.take(odd_ids::ROWS).map_while(Result::ok).collect();
    Ok(odd_ids::warnings(fields, &rows))
}

/// The room on the output's disk, and the rows that are left.
fn room(output: &Output, columns: &Columns, survey: &Survey) -> Option<PlannedRoom> {
    let disk = output.room(columns, &survey.first)?;
    let rows = survey.rows.map(|rows| rows.saturating_sub(output.done().len()));
    Some(PlannedRoom { disk, rows })
}

/// The columns of the records, with the input's fields if they are known.
fn columns(
    stages: &[Stage],
    fields: Option<Vec<String>>,
    replace_fields: bool,
) -> Result<Columns, Error> {
    let (first, last) = (&stages[0], &stages[stages.len() - 1]);
    let omitted = first.renderer.omitted_fields();
    let values = last.value_names();
    let fields = fields.map(|mut names| {
        names.retain(|name| !omitted.contains(&name.as_str()));
        names.retain(|name| !(replace_fields && values.contains(name)));
        names
    });
    Ok(Columns {
        items: stages.iter().any(Stage::has_items) || last.hooks.makes_many(),
        // A job is polled too often for its record to tell all arrivals.
        arrived: !first.policy.is_unlimited() && stages.iter().all(Stage::sends_rows),
        files: last.save.is_some(),
        ..Columns::new(fields, values, last.keep_body)?
    })
}

/// The job's output, which says whether answers are saved to files. A shard is resumed if there is
/// something to resume: its scheduler starts a task by the same command each time.
fn output_settings(job: &Job) -> sink::Settings {
    let existing = match job.output.existing {
        Existing::Resume if job.limit.shard.is_some() => Existing::ResumeOrNew,
        existing => existing,
    };
    sink::Settings { saves: job.save.is_some(), existing, ..job.output.clone() }
}

/// The job's input; one empty row where no input is given and the request needs none.
fn input(job: &Job, parts: &JobParts, stage: &Stage) -> source::Settings {
    let mut input = job.input.clone();
    let has_rows = parts.rows.is_some() || input.file.is_some() || input.list.is_some();
    if !has_rows && stage.needs_no_row() {
        input.list = Some(vec![serde_json::json!({})]);
    }
    input
}
