//! The report of a run: its own figures, added to those of its records.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Zoned;

use super::brake::UniformFailure;
use super::context::{ObservedRecord, RunContext, RunSharing};
use super::ending::stop_reason;
use crate::error::Error;
use crate::extract::{AnswerContext, keys_of};
use crate::limit::{
    Estimate, FoundPace, Guard, LimitState, Policy, RateLimiter, SentRequests, Time, UsedBefore,
    UsedUnits, Workload, duration,
};
use crate::metrics::{self, TimeShare, Warning, free_at};
use crate::plan::{Plan, Stage};
use crate::price::Bill;
use crate::quota_store::AccountStore;
use crate::record::{FailureKind, excerpt};
use crate::report::{
    BillReport, BilledUnits, BrakeReport, EstimateReport, FoundLimit, LimitReport, RateReport,
    Report, RowReport, RunEnding, SendReport, SharingReport, WorkerReport,
};
use crate::tally::Tally;
use crate::wording::worded;

/// The tally of the records that earlier runs have left in the output; none if there are none.
/// Their files are noted as taken.
///
/// # Errors
/// The output can't be read.
pub fn tally_earlier(context: &RunContext) -> Result<Option<Tally>, Error> {
    let plan = &context.plan;
    let mut tally = Tally::new(&plan.aggregates, &[]);
    let mut observers = context.observers();
    for record in plan.output.earlier_records(&plan.columns.values)? {
        let record = record?;
        if let Some(file) = &record.saved {
            context.files.note(&file.path);
        }
        tally.add(&record);
        for observe in observers.iter_mut() {
            observe(ObservedRecord::Earlier(&record));
        }
    }
    Ok((tally.counts().rows > 0).then_some(tally))
}

/// The report of a run, from the time that it and each of its workers took.
pub fn report(context: &RunContext, tally: &Tally, took: Duration, workers: &[Duration]) -> Report {
    let of_records = Report::of(tally);
    let (sending, found) = (context.metrics.sending(), context.found_answers());
    let policy = context.plan.policy();
    let acked = bound(context, &policy.under(Guard::Acked), tally, took);
    let bound = bound(context, policy, tally, took);
    let causes = context.time_breakdown(took).shares();
    Report {
        rows: RowReport {
            skipped: context.plan.output.done().len(),
            skipped_failed: context.plan.output.failed_before(),
            ..of_records.rows
        },
        sent: SendReport {
            requests: sending.sent,
            retries: sending.retried,
            refused: sending.refused,
            refused_otherwise: sending.refused_otherwise,
            stored: found.all - found.shared,
            shared: found.shared,
        },
        pace: Some(RateReport {
            seconds: took.as_secs_f64(),
            best_possible_seconds: bound.as_ref().map(|bound| bound.time.as_secs_f64()),
            advice: advice(&context.plan, bound.as_ref(), acked.as_ref()).map(worded),
            at_a_time: bound.as_ref().and_then(|bound| bound.at_a_time),
            bound_by: bound.map(|bound| bound.binds),
            requests_per_second: sending.sent as f64 / took.as_secs_f64().max(f64::EPSILON),
        }),
        bill: context.spending.as_ref().map(|spending| bill(&context.plan, spending.bill())),
        estimates: estimates(&context.plan),
        batches: context.metrics.batches(),
        limits: limits(context),
        sharing: sharing(context),
        insecure: context.plan.first().transport.is_insecure(),
        header_warnings: header_warnings(context),
        warnings: warnings(context),
        why: why(context, &causes),
        causes,
        workers: worker_reports(context, workers),
        ending: ending(context, tally),
        brake: context.brake.failure().map(|uniform| brake(context, uniform)),
        ..of_records
    }
}

/// What the run has cost, and what it was billed for.
fn bill(plan: &Plan, bill: Bill) -> BillReport {
    let mut counts = bill.units.iter().copied();
    let mut units = BTreeMap::<String, BilledUnits>::new();
    for list in plan.price_lists() {
        for (place, unit) in list.units().into_iter().enumerate() {
            let count = counts.next().unwrap_or_default();
            let billed = units.entry(unit).or_default();
            let usd = list.price(place).map(|price| price.of(count)).unwrap_or_default();
            (billed.units, billed.usd) = (billed.units + count, billed.usd.plus(usd));
        }
    }
    BillReport {
        usd: bill.spent,
        unsettled: bill.unsettled,
        unsettled_requests: bill.unsettled_requests,
        total: bill.total(),
        budget: bill.budget,
        units,
    }
}

/// The costs of requests that were estimated by length.
fn estimates(plan: &Plan) -> Vec<EstimateReport> {
    let learned = plan.first().renderer.learned_costs();
    let report = |(unit, answers, factor): (&str, u32, f64)| EstimateReport {
        unit: unit.to_owned(),
        answers,
        factor,
    };
    learned.map(report).collect()
}

/// Headers with invalid values, which may echo a secret.
fn header_warnings(context: &RunContext) -> BTreeMap<String, String> {
    let warnings = context.metrics.header_warnings().into_iter();
    warnings.map(|(header, why)| (header, context.plan.secrets.hide(why))).collect()
}

/// The warnings of the run; an example of a server's may echo a secret.
fn warnings(context: &RunContext) -> Vec<Warning> {
    let mut warnings = context.warnings();
    for warning in &mut warnings {
        warning.example = context.plan.secrets.hide(std::mem::take(&mut warning.example));
    }
    warnings
}

/// The least time for the requests that the run needed, at their mean latency and at the
/// costs that answers have told; none for several stages.
pub fn bound(
    context: &RunContext,
    policy: &Policy,
    tally: &Tally,
    took: Duration,
) -> Option<Estimate> {
    // How the limits of several stages add up is not known.
    if context.plan.all_stages().count() > 1 || context.plan.first().batch_api.is_some() {
        return None;
    }
    let mean = tally.latency().mean()? / 1_000.0;
    let latency = Duration::try_from_secs_f64(mean).ok()?;
    let start = context.limiter(0).now().before(took);
    let sending = context.metrics.sending();
    let stage = context.plan.first();
    let needed = if stage.has_parts() || stage.batch.is_some() {
        sending.sent.saturating_sub(sending.retried + sending.refused)
    } else {
        (tally.counts().rows + sending.redirected).saturating_sub(context.found_answers().all)
    };
    let used_before = context.used_before(0).cloned().unwrap_or_default();
    let states = context.limiter(0).state();
    let mut demand = workload(context, needed, used_before);
    demand.first_answer = states.iter().filter_map(|it| it.first_answer).min();
    bound_of_search(&states, policy, &demand, latency, start)
}

/// The least time for the rows that are left, after these requests; none where that is not
/// known, or where no limit binds.
pub fn bound_of_rest(
    context: &RunContext,
    rows: u64,
    latency: Duration,
    sent: &[SentRequests],
) -> Option<Estimate> {
    if context.plan.all_stages().count() > 1 {
        return None;
    }
    let (policy, now) = (context.plan.policy(), context.limiter(0).now());
    let sending = context.metrics.sending();
    let requests = requests_for(context, rows)?.saturating_sub(sending.in_flight);
    let mut used = policy.used_by(sent, latency, now);
    let passed = now.since(context.started);
    for (limit, keys) in context.used_before(0).into_iter().flatten() {
        let later = |key: &UsedUnits| UsedUnits {
            units: key
                .units
                .iter()
                .filter_map(|it| Some((it.0.checked_sub(passed)?, it.1)))
                .collect(),
            wanted: key.wanted.clone(),
        };
        used.entry(limit.clone()).or_default().extend(keys.iter().map(later));
    }
    for units in used.values_mut().flatten() {
        units.units.sort_unstable();
    }
    let demand = workload(context, requests, used);
    // A search of each key has no bound, and there can be very many keys.
    let states = if policy.scopes().is_empty() { context.limiter(0).state() } else { Vec::new() };
    bound_of_search(&states, policy, &demand, latency, now)
}

/// Number of records after which the requests of a row are known well enough.
const ENOUGH_RECORDS: u64 = 20;

/// Number of requests that this number of rows will take, as the rows so far have taken; none
/// where that is not known yet.
fn requests_for(context: &RunContext, rows: u64) -> Option<u64> {
    let (metrics, stage) = (&context.metrics, context.plan.first());
    let sending = metrics.sending();
    let done = metrics.ok() + metrics.failed();
    if done >= ENOUGH_RECORDS {
        let each = sending.sent.saturating_sub(sending.in_flight) as f64 / done as f64;
        return Some((rows as f64 * each).ceil() as u64);
    }
    (!stage.has_parts()).then(|| rows.div_ceil(stage.batch_size() as u64))
}

/// The workload of this number of requests, at the costs that answers have told.
fn workload(context: &RunContext, requests: u64, used_before: UsedBefore) -> Workload {
    let mut demand = context.plan.workload_of(requests, used_before);
    for (unit, factor) in context.metrics.cost_factors() {
        demand.scale(unit, factor);
    }
    demand
}

/// The least time under these limits, or at the pace that a search has found.
fn bound_of_search(
    states: &[LimitState],
    policy: &Policy,
    demand: &Workload,
    latency: Duration,
    start: Time,
) -> Option<Estimate> {
    let bound = policy.bound(demand, latency, start);
    let of_search = states.iter().filter_map(|it| found_bound(it, policy, demand, latency));
    bound.into_iter().chain(of_search).max_by_key(|bound| bound.time)
}

/// The least time at the pace that a search has found, one unit after the other; none while it
/// goes on, and for one of each key.
fn found_bound(
    state: &LimitState,
    policy: &Policy,
    demand: &Workload,
    latency: Duration,
) -> Option<Estimate> {
    let found = state.found.filter(|found| found.is_settled && state.keys.is_none())?;
    let unit = policy.units().iter().position(|unit| *unit == state.unit)?;
    let units = *demand.units.get(unit)?;
    let first_to_last = found.per_unit.as_secs_f64() * units.saturating_sub(1) as f64;
    Some(Estimate {
        time: Duration::try_from_secs_f64(first_to_last).ok()? + latency,
        binds: state.name.clone(),
        at_a_time: None,
    })
}

/// Advice to use another guard, if it would save a tenth of the time.
fn advice(plan: &Plan, bound: Option<&Estimate>, acked: Option<&Estimate>) -> Option<String> {
    let bound = bound?.time.as_secs_f64();
    let acked = acked?.time.as_secs_f64();
    let is_worth_it = acked < 0.9 * bound && plan.blind().is_none();
    if plan.policy().guard() != Guard::Strict || !is_worth_it {
        return None;
    }
    Some(format!(
        "waiting for answers costs {:.0} % of the time: with --guard acked, which is proven up to the server's network stack, the bound is {acked:.1} s",
        (1.0 - acked / bound) * 100.0
    ))
}

/// Advice; and when to go on, for a run that was stopped while it waited.
fn why(context: &RunContext, causes: &[TimeShare]) -> Option<String> {
    let advice = context.advice(causes)?;
    let waited = context.shutdown.is_requested() && metrics::largest(causes)?.blocker.is_some();
    let free = context.limiters.iter().filter_map(RateLimiter::free_in).max();
    Some(match free {
        Some(wait) if waited => format!("{advice}; {}", free_at(&Zoned::now(), wait)),
        _ => advice,
    })
}

fn limits(context: &RunContext) -> Vec<LimitReport> {
    // Workers of other processes keep them, and count for themselves.
    if context.remote.get().is_some() {
        return Vec::new();
    }
    let blind = context.plan.first().transport.blind();
    let report = |(limiter, state): (usize, LimitState)| LimitReport {
        used_before: used_before(context, limiter, &state.name),
        other_runs: context.other_runs(&state.name),
        target: context.plan.target_of(limiter).map(|target| target.name.to_string()),
        ..limit(&state, blind)
    };
    let limiters = context.limiters.iter().enumerate();
    let states = limiters.flat_map(|(index, it)| it.state().into_iter().map(move |it| (index, it)));
    states.map(report).collect()
}

/// Units of this limit of a limiter that were used when the run began.
fn used_before(context: &RunContext, limiter: usize, limit: &str) -> u64 {
    let used = context.used_before(limiter).and_then(|all| all.get(limit));
    used.into_iter().flatten().map(UsedUnits::sum).sum()
}

/// The runs that share the limits; none without a limit that can be shared.
fn sharing(context: &RunContext) -> Option<SharingReport> {
    let is_alone = || context.plan.limited_stages().any(Stage::is_alone);
    match context.sharing.get() {
        Some(RunSharing::Shared { store: AccountStore::Machine(_), .. }) => {
            Some(SharingReport::Machine)
        }
        Some(RunSharing::Shared { .. }) => Some(SharingReport::Store),
        Some(RunSharing::Unavailable(_)) => Some(SharingReport::Unavailable),
        None => is_alone().then_some(SharingReport::None),
    }
}

fn limit(state: &LimitState, blind: Option<&str>) -> LimitReport {
    let blind = blind.filter(|_| state.guard == Guard::Acked);
    LimitReport {
        rate: state.name.clone(),
        target: None,
        guard: state.guard.name().to_owned(),
        kept_as_strict: blind.map(str::to_owned).or_else(|| gave_up(state)),
        unit: state.unit.clone(),
        units_allowed: state.units,
        period_seconds: state.period.as_ref().map(Duration::as_secs_f64),
        most_in_window: state.most,
        lost: state.lost,
        linger_seconds: state.linger.as_secs_f64(),
        margin_seconds: state.margin.as_ref().map(Duration::as_secs_f64),
        units_learnt: state.learnt,
        found: state.found.map(|found| found_limit(found, &state.unit)),
        units_named: state.named,
        cost_percent: state.cost_percent,
        refused_unexplained: (state.unexplained > 0).then_some(state.unexplained),
        kinds_to_try: state.kinds_to_try.clone(),
        spacing_seconds: state.spacing.as_ref().map(Duration::as_secs_f64),
        keys: state.keys,
        ..LimitReport::default()
    }
}

/// Why the limit was kept as under `strict` in the end, if the server refused what its network
/// stack had acknowledged.
fn gave_up(state: &LimitState) -> Option<String> {
    state.gave_up_acked.then(|| {
        "the server refused again and again what its network stack had acknowledged (a proxy?)"
            .to_owned()
    })
}

/// What a search has found, with the flags that keep it: the limit that headers name, requests
/// that are a gap apart wherever they arrive, or requests that are spread.
fn found_limit(found: FoundPace, unit: &str) -> FoundLimit {
    let per_second = 1.0 / found.per_unit.as_secs_f64();
    let (units, period) = match found.named {
        Some((units, period)) => (units, duration::exact(period)),
        None => round_rate(per_second),
    };
    let (kind, shape) = match found {
        FoundPace { named: Some(_), .. } => ("", ""),
        FoundPace { wants_gaps: true, .. } => ("gcra:", ""),
        _ => ("", " --shape spread"),
    };
    let rate = match unit {
        "requests" => format!("{kind}{units}/{period}"),
        unit => format!("'{kind}{units} {unit}/{period}'"),
    };
    FoundLimit {
        per_second,
        was_refused: found.was_refused,
        is_settled: found.is_settled,
        is_named: found.named.is_some(),
        next_time: worded(format!("--rate {rate}{shape}")),
    }
}

/// A pace as units in a round period in which there are enough for whole numbers to lose little.
fn round_rate(per_second: f64) -> (u64, String) {
    const ENOUGH: f64 = 100.0;
    const DAY: u64 = 86_400;
    const ROUND_SECONDS: [u64; 11] = [1, 2, 5, 10, 20, 30, 60, 300, 600, 3_600, DAY];
    let units_in = |seconds: u64| per_second * seconds as f64;
    let enough = |seconds: &u64| units_in(*seconds) >= ENOUGH;
    let seconds = ROUND_SECONDS.into_iter().find(enough).unwrap_or(DAY);
    let period = duration::exact(Duration::from_secs(seconds));
    ((units_in(seconds) as u64).max(1), period)
}

fn worker_reports(context: &RunContext, workers: &[Duration]) -> Vec<WorkerReport> {
    let answered = context.metrics.by_worker().map(|sending| sending.answered);
    (1..)
        .zip(workers.iter().zip(answered))
        .map(|(worker, (took, answered))| WorkerReport {
            worker,
            answered,
            seconds: took.as_secs_f64(),
        })
        .collect()
}

/// Maximum number of characters of the server's words.
const MAX_SAID: usize = 2_000;

/// The server's words, and the keys of its answer where values are missing.
fn brake(context: &RunContext, uniform: &UniformFailure) -> BrakeReport {
    let record = &uniform.example;
    let failure = record.outcome.as_ref().err();
    let body = record.body.as_deref();
    let stage = &context.plan.stages[uniform.stage_index];
    let read = stage.kept_context(AnswerContext::default());
    let keys = body.zip(failure).and_then(|(body, failure)| match &failure.kind {
        FailureKind::MissingValue(name) => stage.extractor.keys_near(name, body.as_bytes(), &read),
        FailureKind::MissingItems | FailureKind::MissingNextPage => keys_of(body.as_bytes(), &read),
        _ => None,
    });
    let detail = failure.map_or("", |failure| &failure.detail);
    BrakeReport {
        kind: failure.map_or_else(String::new, |failure| failure.kind.text().into_owned()),
        alike: uniform.alike as u64,
        row: record.row.number,
        status: record.status,
        said: excerpt(body.unwrap_or(detail), MAX_SAID),
        keys,
    }
}

fn ending(context: &RunContext, tally: &Tally) -> RunEnding {
    let output = &context.plan.output;
    let has_records = tally.counts().rows > 0 || !output.done().is_empty() || context.leaves_jobs();
    let path = output.path().filter(|_| has_records);
    let stopped = context.shutdown.reason().map(stop_reason);
    let is_cut = stopped.is_none() && context.plan.is_cut_short();
    let rest = path.as_ref().filter(|_| is_cut).map(|path| {
        worded(format!("the same command without --take, and with --resume, goes on with {path}"))
    });
    RunEnding {
        retry: None,
        extract: None,
        resume: stopped
            .as_ref()
            .and(path.as_ref())
            .map(|path| worded(format!("the same command with --resume goes on with {path}")))
            .or(rest),
        output: path,
        stopped,
    }
}
