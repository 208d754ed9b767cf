//! The sampler: a thread that takes a snapshot of the run twice a second, notices what has
//! begun or ended since the last one, and hands all events to their subscribers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::context::RunContext;
use super::ending;
use super::forecast::Forecast;
use crate::error::Error;
use crate::events::{
    AggregateSnapshot, BillSnapshot, BreakerClosed, BreakerOpened, EventKind, EventsLost,
    FailureCount, GroupValue, LatencySnapshot, LimitSnapshot, Message, OutageSnapshot, Outcome,
    PauseStarted, RequestCounts, RowCounts, RunEnded, RunStarted, Snapshot, Stalled, StopRequested,
    Subscribers, TimeSpent, UnknownUse, VERSION, WaitSnapshot, WarningEvent, WorkerSnapshot,
};
use crate::judge::OutageState;
use crate::limit::{LimitState, RateLimiter};
use crate::metrics::{Sending, TimeBreakdown, TimeShare, largest, upper_bound};
use crate::price::{Bill, Usd};
use crate::record::FailureKind;
use crate::report::Report;
use crate::send::Origin;
use crate::shutdown::ShutdownReason;
use crate::tally::{AggregateResult, Figures, ResultGroup, Tally};

/// Time between two snapshots.
const EVERY: Duration = Duration::from_millis(500);

/// The time over which it is measured what rows wait for.
const LATELY: Duration = Duration::from_secs(10);

/// Minimum time without the end of a row that is a stall, unless another is set.
const STALL: Duration = Duration::from_secs(300);

/// Part of the time that the states of the limits may take: those of very many keys are looked
/// at less often.
const PART_FOR_LIMITS: u32 = 200;

/// Maximum number of groups of an aggregate in a snapshot.
const MAX_GROUPS: usize = 20;

/// The figures of a tally that snapshots have.
#[derive(Debug, Clone, Default)]
pub struct TallySnapshot {
    failures: Vec<FailureCount>,
    aggregates: Vec<AggregateSnapshot>,
}

fn bill(bill: &Bill) -> BillSnapshot {
    BillSnapshot {
        usd: bill.spent.dollars(),
        unsettled_usd: bill.unsettled.dollars(),
        total_usd: bill.total().dollars(),
        budget_usd: bill.budget.map(Usd::dollars),
    }
}

/// Takes snapshots of a run, and notices what changes between them.
struct Sampler {
    limits: Vec<LimitSnapshot>,
    /// When the states of the limits are looked at next.
    limits_due: Instant,
    /// The breakdowns of the last seconds.
    lately: VecDeque<(Instant, TimeBreakdown)>,
    is_paused: bool,
    /// The servers that are out, and for how long they have been.
    out: BTreeMap<String, Duration>,
    /// Number of warnings that were published.
    warnings: usize,
    header_warnings: Vec<String>,
    is_stopping: bool,
    /// None before the first snapshot.
    forecast: Option<Forecast>,
    /// Number of rows that had ended, and when that was noticed first.
    progress: (u64, Instant),
    is_stalled: bool,
}

/// Hands events to the subscribers until the run ends, or is dropped.
pub fn run(
    context: &Weak<RunContext>,
    messages: &Receiver<Message>,
    subscribers: &Subscribers,
    lost: &AtomicU64,
) {
    let mut sampler = Sampler::new();
    let mut due = Instant::now() + EVERY;
    loop {
        match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message::Events(events)) => {
                events.into_iter().for_each(|it| subscribers.publish(it))
            }
            Ok(Message::End(event)) => {
                if let Some(context) = context.upgrade() {
                    sampler.sample(&context, subscribers);
                }
                return subscribers.end(Arc::from(event));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() < due {
            continue;
        }
        let Some(context) = context.upgrade() else {
            return;
        };
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            subscribers.publish(context.event(EventKind::EventsLost(EventsLost { count })));
        }
        if context.metrics.has_started() && subscribers.are_any() {
            sampler.sample(&context, subscribers);
        }
        due = Instant::now() + EVERY;
    }
}

impl Sampler {
    fn new() -> Sampler {
        let now = Instant::now();
        Sampler {
            limits: Vec::new(),
            limits_due: now,
            lately: VecDeque::new(),
            is_paused: false,
            out: BTreeMap::new(),
            warnings: 0,
            header_warnings: Vec::new(),
            is_stopping: false,
            forecast: None,
            progress: (0, now),
            is_stalled: false,
        }
    }

    /// Publishes what has changed, and a snapshot.
    fn sample(&mut self, context: &RunContext, subscribers: &Subscribers) {
        let snapshot = self.snapshot(context);
        let mut kinds = Vec::new();
        self.notice_pause(&snapshot, &mut kinds);
        self.notice_outages(&snapshot, &mut kinds);
        self.notice_warnings(context, &mut kinds);
        self.notice_stop(context, &mut kinds);
        let stall = context.events.stall().unwrap_or(STALL);
        self.notice_stall(&snapshot, stall, &mut kinds);
        kinds.push(EventKind::Snapshot(Box::new(snapshot)));
        for kind in kinds {
            subscribers.publish(context.event(kind));
        }
    }

    fn snapshot(&mut self, context: &RunContext) -> Snapshot {
        let breakdown = context.time_breakdown(context.metrics.elapsed());
        let causes = breakdown.shares().into_iter().map(time_spent).collect();
        let tally = context.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut snapshot = Snapshot {
            rows: RowCounts {
                to_do: context.rows_to_do(),
                ok: context.metrics.ok(),
                failed: context.metrics.failed(),
                failures: tally.failures,
            },
            requests: requests(context.metrics.sending()),
            statuses: context.metrics.statuses(),
            latency: latency(context),
            batches: context.metrics.batches(),
            bill: context.spending.as_ref().map(|spending| bill(&spending.bill())),
            limits: self.limits(context),
            pause: context.limiters.iter().filter_map(RateLimiter::paused).max(),
            waits_for: self.waits_for(context, breakdown),
            unknown_use: context.unknown_use().map(unknown_use),
            outages: outages(context),
            causes,
            workers: context.metrics.by_worker().map(worker).collect(),
            aggregates: tally.aggregates,
            deadline: context.time_left(),
            paused: context.limiter(0).is_paused(),
            stopping: context.shutdown.is_requested(),
            rate_share: Some(context.limiter(0).rate_share()).filter(|share| *share < 1.0),
            costs: costs(context),
            makes: context.makes(),
            ..Snapshot::default()
        };
        let forecast = self.forecast.get_or_insert_with(|| Forecast::new(context));
        forecast.complete(context, &mut snapshot);
        snapshot
    }

    /// The states of the limits, which may be a little old.
    fn limits(&mut self, context: &RunContext) -> Vec<LimitSnapshot> {
        let before = Instant::now();
        if before >= self.limits_due {
            self.limits = limits(context);
            let now = Instant::now();
            self.limits_due = now + (now - before) * PART_FOR_LIMITS;
        }
        self.limits.clone()
    }

    /// The largest share of the last seconds, and the end of its wait.
    fn waits_for(
        &mut self,
        context: &RunContext,
        breakdown: TimeBreakdown,
    ) -> Option<WaitSnapshot> {
        let now = Instant::now();
        while self.lately.len() > 1 && now - self.lately[0].0 > LATELY {
            self.lately.pop_front();
        }
        let before = self.lately.front().map(|(_, before)| before.clone());
        let shares = breakdown.since(&before.unwrap_or_default()).shares();
        self.lately.push_back((now, breakdown));
        let first = largest(&shares)?;
        let ends_in = context.limiters.iter().filter_map(RateLimiter::free_in).max();
        Some(WaitSnapshot {
            cause: first.cause.to_owned(),
            name: first.name.clone(),
            description: first.describe(),
            share: first.share,
            ends_in: ends_in.filter(|wait| first.blocker.is_some() && !wait.is_zero()),
        })
    }

    fn notice_pause(&mut self, snapshot: &Snapshot, kinds: &mut Vec<EventKind>) {
        let pause = snapshot.pause.filter(|pause| !pause.is_zero());
        match pause {
            Some(pause) if !self.is_paused => {
                kinds.push(EventKind::PauseStarted(PauseStarted { pause }));
            }
            None if self.is_paused => kinds.push(EventKind::PauseEnded),
            _ => {}
        }
        self.is_paused = pause.is_some();
    }

    fn notice_outages(&mut self, snapshot: &Snapshot, kinds: &mut Vec<EventKind>) {
        let mut ended = std::mem::take(&mut self.out);
        for OutageSnapshot { server, cause, out, .. } in &snapshot.outages {
            if ended.remove(server).is_none() {
                let (server, cause) = (server.clone(), cause.clone());
                kinds.push(EventKind::BreakerOpened(Box::new(BreakerOpened {
                    server,
                    cause,
                    out: *out,
                })));
            }
            self.out.insert(server.clone(), *out);
        }
        for (server, out) in ended {
            kinds.push(EventKind::BreakerClosed(Box::new(BreakerClosed { server, out })));
        }
    }

    fn notice_warnings(&mut self, context: &RunContext, kinds: &mut Vec<EventKind>) {
        let mut push = |message: String, example: String| {
            let example = context.plan.secrets.hide(example);
            kinds.push(EventKind::Warning(Box::new(WarningEvent { message, example })));
        };
        let warnings = context.warnings();
        for warning in warnings.iter().skip(self.warnings) {
            push(warning.message.clone().into_owned(), warning.example.clone());
        }
        self.warnings = warnings.len();
        for (header, why) in context.metrics.header_warnings() {
            if !self.header_warnings.contains(&header) {
                push(format!("the header {header} was ignored"), why);
                self.header_warnings.push(header);
            }
        }
    }

    fn notice_stop(&mut self, context: &RunContext, kinds: &mut Vec<EventKind>) {
        if !self.is_stopping
            && let Some(reason) = context.shutdown.reason()
        {
            self.is_stopping = true;
            let reason = ending::stop_reason(reason);
            kinds.push(EventKind::StopRequested(StopRequested { reason }));
        }
    }

    fn notice_stall(&mut self, snapshot: &Snapshot, stall: Duration, kinds: &mut Vec<EventKind>) {
        let (now, ended) = (Instant::now(), snapshot.rows.ok + snapshot.rows.failed);
        let (before, since) = self.progress;
        let is_over = snapshot.rows.to_do.is_some_and(|to_do| ended >= to_do);
        if ended > before || is_over {
            self.progress = (ended, now);
            if self.is_stalled {
                kinds.push(EventKind::StallEnded);
            }
            self.is_stalled = false;
        } else if !self.is_stalled && now - since >= stall {
            self.is_stalled = true;
            let waits_for = snapshot.waits_for.clone();
            kinds.push(EventKind::Stalled(Box::new(Stalled { stalled: now - since, waits_for })));
        }
    }
}

impl TallySnapshot {
    /// The figures of a tally so far.
    pub fn of(tally: &Tally) -> TallySnapshot {
        let failure = |(kind, count): (FailureKind, u64)| FailureCount {
            kind: kind.text().into_owned(),
            count,
        };
        TallySnapshot {
            failures: tally.failure_counts().into_iter().map(failure).collect(),
            aggregates: tally.results().into_iter().map(aggregate).collect(),
        }
    }
}

/// The setting of a run that is about to begin.
pub fn run_started(context: &RunContext) -> RunStarted {
    let plan = &context.plan;
    let in_flight: usize = plan.stages.iter().map(|stage| stage.in_flight).sum();
    RunStarted {
        version: VERSION,
        throng: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        input: plan.input_file(),
        output: plan.output_file(),
        server: plan.first().account.server.clone(),
        rows_to_do: context.rows_to_do(),
        rows_skipped: plan.output.done().len(),
        workers: plan.workers.count,
        max_in_flight: plan.workers.count * in_flight,
        limits: limits(context),
    }
}

/// The end of a run with this report.
pub fn run_ended(context: &RunContext, report: &Report) -> RunEnded {
    let reason = context.shutdown.reason();
    let outcome = match &reason {
        None => Outcome::Finished,
        Some(ShutdownReason::Interrupted(_) | ShutdownReason::Cancelled) => Outcome::Interrupted,
        Some(ShutdownReason::Unread) => Outcome::Unread,
        Some(ShutdownReason::Error(_)) => Outcome::Stopped,
    };
    let is_observed = context.events.is_observed();
    RunEnded {
        outcome,
        reason: reason.map(ending::stop_reason),
        ok: context.metrics.ok(),
        failed: context.metrics.failed(),
        seconds: context.metrics.elapsed(),
        summary: is_observed.then(|| serde_json::to_value(report).ok()).flatten(),
    }
}

/// The end of a run that could not begin.
pub fn not_begun(error: &Error) -> RunEnded {
    let (outcome, reason) = (Outcome::Stopped, Some(error.to_string()));
    RunEnded { outcome, reason, ..RunEnded::default() }
}

fn aggregate(result: AggregateResult) -> AggregateSnapshot {
    let AggregateResult { name, expression, figures } = result;
    let group = |group: ResultGroup| GroupValue { key: group.key, value: group.figure.value };
    let (value, groups) = match figures {
        Figures::One(figure) => (figure.value, Vec::new()),
        Figures::Many { groups } => {
            (None, groups.into_iter().take(MAX_GROUPS).map(group).collect())
        }
    };
    AggregateSnapshot { name, expression, value, groups }
}

fn requests(sending: Sending) -> RequestCounts {
    let Sending { sent, answered, refused, retried, redirected, in_flight, waiting, .. } = sending;
    RequestCounts { sent, answered, refused, retried, redirected, in_flight, waiting }
}

fn worker(sending: Sending) -> WorkerSnapshot {
    let Sending { sent, answered, in_flight, waiting, .. } = sending;
    WorkerSnapshot { sent, answered, in_flight, waiting }
}

fn latency(context: &RunContext) -> LatencySnapshot {
    let (counts, sum) = context.metrics.latencies();
    let buckets = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    LatencySnapshot {
        count: counts.iter().sum(),
        sum,
        buckets: buckets.map(|(bucket, count)| (upper_bound(bucket), *count)).collect(),
    }
}

fn limits(context: &RunContext) -> Vec<LimitSnapshot> {
    context.limiters.iter().flat_map(RateLimiter::state).map(limit).collect()
}

/// The units that answers have told, by their name.
fn costs(context: &RunContext) -> BTreeMap<String, u64> {
    let units = context.plan.policy().units();
    let costs = context.metrics.settled_costs().into_iter();
    costs.filter_map(|(unit, cost)| Some((units.get(unit)?.clone(), cost))).collect()
}

fn limit(state: LimitState) -> LimitSnapshot {
    LimitSnapshot {
        name: state.name,
        unit: state.unit,
        units: state.units,
        period: state.period,
        used: state.used,
        peak: state.most,
        learnt: state.learnt,
        lost: state.lost,
        keys: state.keys,
    }
}

fn unknown_use((limit, ends_in): (String, Duration)) -> UnknownUse {
    UnknownUse { limit, ends_in }
}

/// The servers that are out.
pub fn outages(context: &RunContext) -> Vec<OutageSnapshot> {
    let now = context.limiters[0].now();
    let outages = context.outages.now().into_iter();
    let outage = |(origin, outage): (Origin, OutageState)| OutageSnapshot {
        server: origin.authority(),
        cause: outage.cause,
        out: now.since(outage.since),
        next_probe: outage.next_probe.map(|next| next.since(now)),
    };
    outages.map(outage).collect()
}

fn time_spent(share: TimeShare) -> TimeSpent {
    TimeSpent {
        cause: share.cause.to_owned(),
        name: share.name,
        seconds: Duration::try_from_secs_f64(share.seconds).unwrap_or_default(),
    }
}
