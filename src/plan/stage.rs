//! One stage of a plan, checked: from a row to its values.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Uri};
use serde_json::Value;

use crate::auth::{Login, Signer};
use crate::batch::{self, Batch};
use crate::batch_api::BatchApi;
use crate::check::Check;
use crate::cookies::CookieScope;
use crate::error::Error;
use crate::extract::{
    AnswerContext, AnswerEncoding, AnswerKind, CostExtractor, Extractor, Items, list_names,
};
use crate::format::{Format, KeepBody};
use crate::hooks::{Hooks, ResponseStep, RowRequest};
use crate::judge::signals::{BodySignals, HeaderRules};
use crate::judge::{AnswerTable, Judge, RefusalRule, Tries};
use crate::limit::{self, Cost, Guard, LimitError, Policy, RateLimiter, Rule, Sharing};
use crate::pages::Pages;
use crate::poll::Poll;
use crate::price::StagePrices;
use crate::quota_store::QuotaAccount;
use crate::record::{Failure, FailureKind};
use crate::render::{
    self, CostExpressions, Hosts, RenderContext, Renderer, RequestCost, RowBinding,
};
use crate::row::Row;
use crate::send::{self, Answer, Arrivals, Origin, Transport};

use super::cleartext::Cleartext;
use super::{Job, account, batch_endpoint, literals, parts, workers};

/// A stage of a plan, from a row to its values.
pub struct Stage {
    pub(crate) renderer: Renderer,
    /// The limits as the job and its profile write them.
    pub(crate) limits: limit::Settings,
    pub(crate) policy: Policy,
    /// Index of the limiter that its requests pass: stages without limits of their own
    /// share the first one's.
    pub(crate) limiter: usize,
    /// Maximum number of requests that a worker has in flight.
    pub(crate) in_flight: usize,
    /// Maximum number of rows that a worker takes at a time.
    pub(crate) chunk: usize,
    /// The URL as the job writes it.
    pub(crate) url: String,
    /// The cost of every request, where all rows cost the same.
    fixed_cost: Option<Cost>,
    /// The account whose quotas its requests count against.
    pub(crate) account: QuotaAccount,
    pub(crate) signer: Signer,
    pub(crate) transport: Arc<Transport>,
    pub(crate) cleartext: Cleartext,
    pub(crate) judge: Judge,
    pub(crate) answers: AnswerTable,
    pub(crate) headers: HeaderRules,
    pub(crate) body_signals: Option<BodySignals>,
    /// The kind of the answers' bodies, where the job says it.
    pub(crate) answer_kind: Option<AnswerKind>,
    /// The encoding of its answers, where the job says it.
    pub(crate) answer_encoding: Option<AnswerEncoding>,
    /// The names that programs of the job read as lists.
    lists: Vec<String>,
    pub(crate) extractor: Extractor,
    /// The check of the values, if there is one.
    pub(crate) check: Option<Check>,
    /// Number of times that a row is asked again whose answer fails the check.
    pub(crate) reask: Option<u32>,
    pub(crate) true_costs: Option<CostExtractor>,
    /// The prices of its units, if any has one.
    pub(crate) prices: Option<StagePrices>,
    pub(crate) each: Option<Items>,
    pub(crate) pages: Option<Pages>,
    pub(crate) batch: Option<Batch>,
    /// How its requests go through a provider's batch endpoint, if they do.
    pub(crate) batch_api: Option<BatchApi>,
    /// How jobs are polled that its requests submit.
    pub(crate) poll: Option<Poll>,
    /// The answers whose body is kept.
    pub(crate) keep_body: KeepBody,
    /// How answers are saved to files, if they are.
    pub(crate) save: Option<SaveMode>,
    /// Whether each request gets an `Idempotency-Key` that is made of the run and the row.
    pub(crate) makes_keys: bool,
    /// The program's hooks.
    pub(crate) hooks: Hooks,
    /// The limiter that its requests share with others of the program, if they share one.
    pub(crate) shared_limiter: Option<RateLimiter>,
}

/// How the answers of a stage get into their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveMode {
    /// As they come: nothing reads their bodies.
    Streamed,
    /// From memory, where programs read them.
    Held,
}

impl Stage {
    /// Checks the settings of a stage, without reading rows.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub(super) fn new(
        job: &Job,
        hooks: Hooks,
        limiter: usize,
        login: Option<&Arc<Login>>,
        context: &RenderContext<'_>,
    ) -> Result<Stage, Error> {
        let rows = if hooks.request.is_some() {
            RowBinding::Hook
        } else if job.input.format == Some(Format::REQUESTS) {
            RowBinding::Requests
        } else {
            RowBinding::Values
        };
        let policy =
            Policy::new(&job.price.counted_in(&job.limit), job.send.timeout).map_err(|error| {
                let text = limit_error(&error);
                Error::limit(error, text)
            })?;
        if hooks.request.is_none() {
            check_costs(&policy)?;
        }
        let headers = HeaderRules::new(&job.signal, &job.no_headers).map_err(Error::plan)?;
        let arrivals = arrivals(&policy);
        let (renderer, secret_headers) =
            Renderer::new(&with_key_and_file(job), rows, &cost_expressions(&policy), context)?;
        let each = Items::new(&job.items)?;
        let pages = Pages::new(&job.pages, each.as_ref())?;
        let batch_api = BatchApi::new(job.batch_api, &job.batch)?;
        let batch = match &batch_api {
            Some(_) => Batch::new(&batch::Settings::default(), &job.items)?,
            None => Batch::new(&job.batch, &job.items)?,
        };
        let poll = Poll::new(&job.poll, &job.request.allow_host, context)?;
        check_combinations(job, rows, each.is_some(), pages.is_some())?;
        batch_endpoint::check(job, &hooks, &policy, &renderer)?;
        parts::check(job, &hooks, each.is_some(), pages.is_some())?;
        for literal in literals::of(job) {
            literal.hide(context.vault.secrets());
        }
        let signer =
            Signer::new(secret_headers, renderer.keys(), &job.auth, login.cloned(), context)?;
        let names = job.request.headers.keys().cloned().chain(signer.added_names());
        let renderer = renderer.writing(names);
        let judge = Judge::new(job.retry.clone());
        let extractor = Extractor::new(&job.extract)?;
        let true_costs = CostExtractor::new(policy.settle(), policy.units())?;
        let body_signals = BodySignals::new(&job.signal)?;
        let reads_bodies = extractor.reads_body() || true_costs.is_some() || body_signals.is_some();
        // Whether the answer to a poll is the last one is known by its body at the earliest.
        let is_held = reads_bodies || poll.is_some();
        let mode = if is_held { SaveMode::Held } else { SaveMode::Streamed };
        let save = job.save.as_ref().map(|_| mode);
        let sends_once = !judge.resends(Tries::of(renderer.method().unwrap_or(&Method::POST)));
        Ok(Stage {
            account: account::of(job, &renderer, context.environment),
            answer_kind: job.answer_format,
            answer_encoding: job.answer_encoding,
            lists: lists(job),
            prices: job.price.of_stage(&policy),
            extractor,
            check: job.check.as_deref().map(Check::new).transpose()?,
            reask: job.reask,
            true_costs,
            fixed_cost: renderer
                .fixed_cost()
                .filter(|_| hooks.request.is_none())
                .map(of_request_cost)
                .filter(|cost| policy.check(cost).is_ok()),
            limits: job.limit.clone(),
            limiter,
            in_flight: workers::in_flight(&job.workers, &policy)?,
            chunk: batch.as_ref().map_or_else(|| workers::chunk(&policy), Batch::size),
            url: job.request.url.clone().unwrap_or_default(),
            policy,
            transport: Arc::new(
                transport(job, &renderer, &signer, arrivals, poll.as_ref(), context)?
                    .sending_once(sends_once),
            ),
            signer,
            cleartext: Cleartext::of(job),
            judge,
            answers: AnswerTable::new(
                &job.answer,
                &refusal_rules(job),
                headers.clone(),
                job.retry.max_server_wait(),
                job.retry.max_refusals,
            )?,
            headers,
            body_signals,
            makes_keys: job.retry.idempotency_key.as_deref() == Some(AUTO),
            keep_body: if job.extract.is_empty() && save.is_none() && hooks.response.is_none() {
                KeepBody::All
            } else {
                job.output.keep_body
            },
            save,
            renderer,
            each,
            pages,
            batch,
            batch_api,
            poll,
            hooks,
            shared_limiter: None,
        })
    }

    /// What programs can read of an answer beside its body, where values are taken of it.
    pub(crate) fn read_context<'a>(
        &'a self,
        answer: &'a Answer,
        url: &'a Uri,
        row: Option<&'a Row>,
    ) -> AnswerContext<'a> {
        AnswerContext { row, ..self.kept_context(answer.context(url)) }
    }

    /// The context of a body of which this is known.
    pub(crate) fn kept_context<'a>(&'a self, known: AnswerContext<'a>) -> AnswerContext<'a> {
        let (kind, encoding) = (self.answer_kind, self.answer_encoding);
        AnswerContext { kind, encoding, lists: &self.lists, ..known }
    }

    /// What the table of answers can read of an answer beside its body. The kind that the job
    /// says is that of its successes.
    pub(crate) fn judge_context<'a>(
        &'a self,
        answer: &'a Answer,
        url: &'a Uri,
        row: Option<&'a Row>,
    ) -> AnswerContext<'a> {
        let kind = self.answer_kind.filter(|_| answer.status.is_success());
        AnswerContext { kind, ..self.read_context(answer, url, row) }
    }

    /// The request of a row. A host that the row names is checked.
    pub(crate) fn render(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        let request = self.renderer.render(row)?;
        if self.renderer.hosts().is_some() {
            let checked = self.check_cleartext(request.uri());
            checked.map_err(|why| Failure::new(FailureKind::Input, why))?;
        }
        Ok(request)
    }

    /// The request that a hook has made of a row, and its cost: by the hook, or else by the job.
    pub(crate) fn complete(
        &self,
        row: &Row,
        made: RowRequest,
    ) -> Result<(Request<Bytes>, Cost), Failure> {
        let wrong = |why| Failure::new(FailureKind::Input, why);
        let request = self.renderer.complete(row, made.request)?;
        self.check_cleartext(request.uri()).map_err(wrong)?;
        let mut cost = self.renderer.cost(row, &request)?;
        let units = self.policy.units();
        for (unit, _) in &made.cost {
            if !units.contains(unit) {
                return Err(wrong(format!("no limit counts \"{unit}\", which the hook names")));
            }
        }
        for (index, unit) in units.iter().enumerate() {
            match made.cost.iter().rfind(|(name, _)| name == unit) {
                Some((_, units)) => cost.units[index] = *units,
                None if self.policy.is_limited(index)
                    && index > 0
                    && !self.policy.cost().contains_key(unit) =>
                {
                    return Err(wrong(format!(
                        "a limit counts {unit}, and the hook names no cost in them"
                    )));
                }
                None => {}
            }
        }
        let cost = of_request_cost(cost);
        self.policy.check(&cost).map_err(wrong)?;
        Ok((request, cost))
    }

    /// The cost of every request, where it is the same for all, and the limits can keep it.
    pub(super) fn fixed_cost(&self) -> Option<&Cost> {
        self.fixed_cost.as_ref()
    }

    /// The cost of a row's request.
    pub(crate) fn cost(&self, row: &Row, request: &Request<Bytes>) -> Result<Cost, Failure> {
        if let Some(same) = &self.fixed_cost {
            return Ok(same.clone());
        }
        let cost = of_request_cost(self.renderer.cost(row, request)?);
        let checked = self.policy.check(&cost);
        checked.map_err(|why| Failure::new(FailureKind::Input, why))?;
        Ok(cost)
    }

    /// Whether the job itself, and no row, names this host or the whole way there.
    pub(crate) fn names_host(&self, uri: &Uri) -> bool {
        let fixed = self.renderer.fixed_uri();
        let is_fixed = fixed.is_some_and(|fixed| Origin::of(&fixed) == Origin::of(uri));
        is_fixed || self.transport.has_no_way()
    }

    /// Refuses a URL that would take a secret over a network in clear.
    pub(crate) fn check_cleartext(&self, uri: &Uri) -> Result<(), String> {
        let polls_with_secrets = self.poll.as_ref().is_some_and(Poll::carries_secrets);
        if self.renderer.carries_secrets() || !self.signer.is_empty() || polls_with_secrets {
            self.cleartext.check(uri)
        } else {
            Ok(())
        }
    }

    /// Whether its limits are shared with other runs of the account.
    pub(crate) fn shares(&self) -> bool {
        let is_any = self.policy.rules().iter().any(|rule| rule.quota().is_some());
        is_any && self.limits.sharing != Sharing::None && self.shared_limiter.is_none()
    }

    /// Whether it has limits that other runs could share, and the job keeps them to itself.
    pub(crate) fn is_alone(&self) -> bool {
        let is_any = self.policy.rules().iter().any(|rule| rule.quota().is_some());
        is_any && self.limits.sharing == Sharing::None
    }

    /// Whether a limit's period is so long that it must not begin anew with each run.
    pub(crate) fn must_share(&self) -> bool {
        let mut quotas = self.policy.rules().iter().filter_map(Rule::quota);
        self.shares() && quotas.any(|quota| quota.is_durable())
    }

    /// Whether a request may be sent again although the server may have done it.
    pub(crate) fn resends(&self) -> bool {
        let method = self.renderer.method().unwrap_or(&Method::POST);
        self.judge.resends(Tries::of(method))
    }

    /// Whether a request must be noted in the log of intents before it is sent.
    pub(crate) fn announces(&self) -> bool {
        let method = self.renderer.method().unwrap_or(&Method::POST);
        self.batch_api.is_none() && self.judge.needs_intent(Tries::of(method))
    }

    /// Whether its requests are those of rows, as records can tell them.
    pub(crate) fn sends_rows(&self) -> bool {
        self.poll.is_none() && self.batch_api.is_none()
    }

    /// Whether its request is the same for all rows.
    pub(super) fn needs_no_row(&self) -> bool {
        let turned = self.pages.as_ref().and_then(Pages::param);
        let mut fields = self.renderer.fields().iter();
        let is_the_job_s = self.renderer.method().is_some() && self.batch.is_none();
        is_the_job_s && fields.all(|field| turned == Some(field))
    }

    /// The one row of which the request of all these rows is made.
    pub(crate) fn batch_row(&self, rows: &[Row]) -> Option<Row> {
        match &self.batch {
            Some(batch) => (!rows.is_empty()).then(|| batch.merge(rows)),
            None => rows.first().cloned(),
        }
    }

    /// Maximum number of rows of one request.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch.as_ref().map_or(1, Batch::size)
    }

    /// Whether a row has a record for each item of its answer.
    pub(crate) fn has_items(&self) -> bool {
        self.each.is_some() && self.batch.is_none()
    }

    /// Whether a row takes several requests, or has items.
    pub(crate) fn has_parts(&self) -> bool {
        self.has_items() || self.pages.is_some() || self.poll.is_some()
    }

    /// The names of the values of its answers, as far as the job tells them.
    pub(crate) fn value_names(&self) -> Vec<String> {
        let of_hook = self.hooks.response.as_ref().map(ResponseStep::names);
        of_hook.unwrap_or_else(|| self.extractor.names())
    }

    /// Whether only a hook knows the names of the values.
    pub(crate) fn has_unnamed_values(&self) -> bool {
        self.hooks.response.as_ref().is_some_and(|step| step.values.is_none())
    }

    /// The names of the values that it adds to a row for the stage after it.
    pub(crate) fn names(&self) -> Vec<String> {
        let submitted = self.poll.as_ref().map(Poll::names).unwrap_or_default();
        [submitted, self.extractor.names()].concat()
    }
}

/// Refuses a limit on units whose cost nothing says: as one for each request it would be a
/// limit that is hardly there.
fn check_costs(policy: &Policy) -> Result<(), Error> {
    let mut units = policy.units().iter().enumerate().skip(1);
    let is_unknown = |(index, unit): &(usize, &String)| {
        policy.is_limited(*index) && !policy.cost().contains_key(*unit)
    };
    let Some((_, unit)) = units.find(is_unknown) else {
        return Ok(());
    };
    let settled = match policy.settle().get(unit) {
        Some(_) => "; limit.settle corrects it by the answer",
        None => "",
    };
    Err(Error::plan(format!(
        "a rate counts {unit}, and nothing says how many {unit} a request costs: give limit.cost (--cost), such as --cost {unit}='prompt | length / 4 + 200', or --cost {unit}=1{settled}"
    )))
}

/// The names that the programs of a job read as lists.
fn lists(job: &Job) -> Vec<String> {
    let pages = &job.pages;
    let of_body = [&pages.next, &pages.cursor, &pages.until, &pages.count, &job.items.each];
    let of_rules = job.answer.iter().flat_map(|rule| [&rule.when, &rule.wait]);
    let of_refusals = job.refusal.iter().flat_map(|rule| [&rule.when, &rule.wait]);
    let programs = of_body.into_iter().chain(of_rules).chain(of_refusals).flatten();
    let of_values = job.extract.values().filter_map(Value::as_str);
    list_names(programs.map(String::as_str).chain(of_values))
}

/// Refuses parts of a job that exclude each other, or need one that is missing.
fn check_combinations(
    job: &Job,
    rows: RowBinding,
    has_items: bool,
    has_pages: bool,
) -> Result<(), Error> {
    let is_batch = job.batch.size.is_some() && job.batch_api.is_none();
    let polls = job.poll.is_any();
    let has_key = job.retry.idempotency_key.is_some();
    let has_file = job.save.is_some();
    let has_store = job.store.dir.is_some();
    let why = if has_file && is_batch {
        "save (--save) writes the answer of each row to a file, and batch.size (--batch) asks for many rows at once: leave one of them out"
    } else if has_file && (has_items || has_pages) {
        "save (--save) writes the one answer of a row to a file, and a row with pages (--next, --page, --offset) or items (--each) has several: list them in a step before, or in a job of its own, whose results are the input of this one"
    } else if has_file && job.output.keep_body == KeepBody::All {
        "save (--save) keeps answers in files, and output.keep-body = \"all\" (--keep-body) in the records: leave one of them out"
    } else if job.dedupe && has_file {
        "dedupe (--dedupe) gives the answer of one row to others, and save (--save) writes it to the file of the row that asked: leave one of them out"
    } else if job.dedupe && is_batch {
        "dedupe (--dedupe) compares the requests of rows, and batch.size (--batch) asks for many rows at once: leave one of them out"
    } else if job.dedupe && polls {
        "dedupe (--dedupe) gives one answer to all rows that ask for it, and [poll] submits a job for each: leave one of them out"
    } else if has_file && has_store {
        "save (--save) keeps the answers in files, and store (--store) keeps them in its directory: leave one of them out"
    } else if polls && has_store {
        "[poll] asks for the same address until its answer is another one, and store (--store) keeps the first: leave one of them out"
    } else if has_pages && !has_items && job.extract.is_empty() {
        "nothing says what to keep of the pages: give items.each (--each) for a record of each item, or extract (--extract) for one record with the values of all pages"
    } else if polls && job.pages.count.is_some() {
        "pages.count (--page-count) asks for pages in any order, and the pages of a job with [poll] follow its last answer: leave one of them out"
    } else if polls && is_batch {
        "[poll] submits a job for each row, and batch.size (--batch) asks for many rows at once: leave one of them out, or let the file that makes the input put many rows into each of its own"
    } else if is_batch && has_pages {
        "batch.size (--batch) asks for many rows at once, and pages go on with one: leave one of them out"
    } else if is_batch && rows == RowBinding::Requests {
        "batch.size (--batch) makes one request of many rows, and with input.format = \"requests\" (--format) each row is one already: leave one of them out"
    } else if is_batch && job.cookies == Some(CookieScope::Row) {
        "cookies = \"row\" (--cookies) keeps cookies for each row, and batch.size (--batch) makes one request of many rows: choose \"run\""
    } else if has_items && !is_batch && job.output.key.is_some() {
        "output.key (--key) goes by rows, and items.each (--each) makes many records of one: leave one of them out"
    } else if job.reask.is_some() && job.check.is_none() {
        "reask (--reask) asks again where a check fails, and there is none: give check (--check)"
    } else if job.check.is_some() && (has_items || has_pages || is_batch || polls || has_file) {
        "check (--check) goes by the one answer of a row: leave out items (--each), pages (--next, --page, --offset), batch.size (--batch), poll and save, or check"
    } else if (has_items || has_pages) && has_key {
        "retry.idempotency-key (--idempotency-key) is for one request of one row, and here a row has several or shares one: leave one of them out"
    } else if job.retry.idempotency_ttl.is_some() && !has_key {
        "retry.idempotency-ttl (--idempotency-ttl) says how long the server knows a key, and there is none: give retry.idempotency-key (--idempotency-key) as well"
    } else {
        return Ok(());
    };
    Err(Error::plan(why))
}

/// The transport of a stage, with the addresses that it may connect to.
fn transport(
    job: &Job,
    renderer: &Renderer,
    signer: &Signer,
    arrivals: Arrivals,
    poll: Option<&Poll>,
    context: &RenderContext<'_>,
) -> Result<Transport, Error> {
    let fixed = [renderer.fixed_uri(), poll.and_then(Poll::fixed_uri)];
    let named = fixed.iter().flatten().chain(signer.uris());
    let hosts = Hosts::new(&job.request.allow_host).map_err(Error::plan)?;
    let guard = send::AddressPolicy::new(named, hosts, job.network.allow_private);
    let guard = if job.sandboxed { guard.distrusting_names() } else { guard };
    let environment = context.environment;
    let keep_gzip = job.answer_format == Some(AnswerKind::Bytes) || job.save.is_some();
    let send = send::Settings { keep_gzip, ..job.send.clone() };
    Transport::new(&send, &job.network, &job.tls, guard, arrivals, environment)
}

/// The setting by which throng makes idempotency keys itself.
const AUTO: &str = "auto";

/// The request with its `Idempotency-Key`, where the job has a template for it, and with the
/// file of its answer.
fn with_key_and_file(job: &Job) -> render::Settings {
    let mut request = render::Settings {
        save: job.save.clone(),
        has_last: job.reask.is_some(),
        ..job.request.clone()
    };
    if let Some(key) = job.retry.idempotency_key.as_ref().filter(|key| *key != AUTO) {
        let headers = &mut request.headers;
        headers.insert("idempotency-key".to_owned(), key.as_str().into());
    }
    request
}

fn of_request_cost(cost: RequestCost) -> Cost {
    Cost::new(cost.units, cost.keys)
}

/// The message of an error in the job's limits, with the names of its keys and flags.
fn limit_error(error: &LimitError) -> String {
    match error {
        LimitError::Zero { setting } => format!("limit.{setting} (--{setting}) is 0: nothing would be sent; give at least 1"),
        LimitError::UncountedUnit { unit, known } => format!(
            "limit.cost or limit.settle names \"{unit}\", which no rate counts: write a rate such as \"90000 {unit}/1m\" (the units are: {})",
            known.join(", ")
        ),
        LimitError::RouteAndKeys => "limit.route (--route) and limit.keys (--keys) both say for whom a pause holds: leave one of them out".into(),
        other => other.to_string(),
    }
}

/// Acknowledgements are watched only if a limit uses them.
fn arrivals(policy: &Policy) -> Arrivals {
    let mut guards = policy.rules().iter().map(Rule::guard);
    if guards.any(|guard| guard == Guard::Acked) { Arrivals::Acked } else { Arrivals::Answered }
}

/// The units, scopes and keys that the limits need of each request.
fn cost_expressions(policy: &Policy) -> CostExpressions {
    // Of units that only have a price, what is not said is not known before the answer.
    let unknown = |index| (index > 0 && !policy.is_limited(index)).then(|| "0".to_owned());
    let cost = |(index, unit): (usize, &String)| {
        let cost = policy.cost().get(unit).cloned();
        (unit.clone(), cost.or_else(|| unknown(index)))
    };
    CostExpressions {
        costs: policy.units().iter().enumerate().map(cost).collect(),
        scopes: policy.scopes().to_vec(),
        keys: policy.keys().to_vec(),
        is_key_optional: false,
    }
}

/// The rules of a job. Where a limit is found out, each 503 counts as a refusal: gateways limit
/// with it.
fn refusal_rules(job: &Job) -> Vec<RefusalRule> {
    let is_found_out = job.limit.rate.iter().any(|limit| limit.counting.is_found_out());
    let unavailable = is_found_out.then(RefusalRule::unavailable);
    job.refusal.iter().cloned().chain(unavailable).collect()
}
