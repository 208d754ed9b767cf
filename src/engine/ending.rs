//! Why a run ends before its last row, and when it can go on, in words.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::brake::UniformFailure;
use super::context::RunContext;
use crate::error::{Error, StopCause};
use crate::judge::OutageState;
use crate::limit::{AcquireError, Rule, duration};
use crate::plan::Deadline;
use crate::price::{Bill, Usd};
use crate::record::FailureKind;
use crate::send::{Origin, SendError};
use crate::shutdown::ShutdownReason;

/// Why no request of this stage gets a permit any more, and when it would get one.
pub fn no_permit(context: &RunContext, stage_index: usize, error: &AcquireError) -> Error {
    let why = why_no_permit(context, stage_index, error);
    Error::stopped_by(StopCause::NoPermit(error.clone()), why)
}

fn why_no_permit(context: &RunContext, stage_index: usize, error: &AcquireError) -> String {
    let stage = context.plan.stage(stage_index);
    match error {
        AcquireError::WaitTooLong { limit, free_in } => {
            let max_wait = stage.judge.max_wait();
            let rule = limit
                .as_ref()
                .and_then(|limit| stage.policy.rules().iter().find(|rule| rule.name == *limit));
            let (blocker, longest) = match limit {
                Some(limit) => (limit.as_str(), max_wait.limit),
                None => ("the server", max_wait.server),
            };
            let headers = match limit {
                Some(_) => "",
                None => "; if a header of its answers is wrong, --no-headers NAME ignores one",
            };
            let longest = duration::exact(longest.unwrap_or_default());
            let zone = rule.and_then(Rule::zone);
            let go_on = go_on_after(context, *free_in, zone);
            let failing = limit.as_ref().and_then(|_| context.outages.failing());
            // Requests to another target hold nothing of this one's limits.
            let own = stage.renderer.fixed_uri().as_ref().and_then(Origin::of);
            let failing = failing
                .filter(|(origin, _)| context.targets.is_none() || own.as_ref() == Some(origin));
            let (outage, linger) = match failing {
                Some((origin, cause)) => (
                    format!("{}: {cause}, and ", origin.authority()),
                    "; requests without an answer hold units of the limit for limit.linger (--linger)",
                ),
                None => (String::new(), ""),
            };
            format!(
                "{outage}the next request would have to wait for {blocker} for longer than {longest} (retry.max-wait or --max-wait): {go_on}{headers}{linger}"
            )
        }
        AcquireError::Store { problem } => problem.clone(),
        _ => {
            let totals = stage.policy.rules().iter().filter(|rule| rule.total().is_some());
            let totals: Vec<&str> = totals.map(|rule| rule.name.as_str()).collect();
            format!(
                "the total that the limits allow for a run is used up ({})",
                totals.join(" and ")
            )
        }
    }
}

/// That the budget allows no further request, the next of which may cost this amount.
pub fn budget_used_up(context: &RunContext, bill: &Bill, next: Usd) -> Error {
    let budget = bill.budget.unwrap_or_default();
    let resume = resume(context).map_or_else(String::new, |how| format!(" {how}"));
    let why = format!(
        "the budget of {budget} (budget or --budget) is used up: {} are spent, and the next request may cost {next}; a larger budget{resume} goes on",
        bill.total()
    );
    Error::stopped_by(StopCause::BudgetUsedUp, why)
}

/// That an origin has been out for too long.
pub fn outage(
    context: &RunContext,
    origin: &Origin,
    outage: &OutageState,
    max_wait: Option<Duration>,
    is_reached: bool,
) -> Error {
    let (origin, cause) = (origin.authority(), &outage.cause);
    let longest = duration::exact(max_wait.unwrap_or_default());
    let bound = format!("{longest} (retry.max-wait or --max-wait)");
    // An answer with a 5xx is no record.
    let metrics = &context.metrics;
    let has_records = metrics.ok() + metrics.failed() > 0 || !context.plan.output.done().is_empty();
    let why = match context.plan.output.path().filter(|_| has_records) {
        Some(_) => format!(
            "{origin}: {cause} for longer than {bound}: the same command with --resume goes on"
        ),
        None if is_reached => {
            format!(
                "{origin}: {cause} for longer than {bound}: give the same command again once the server is back"
            )
        }
        None => format!(
            "the server can't be reached: {cause} ({origin}) for longer than {bound}; check request.url (--url), the network and the proxy settings"
        ),
    };
    Error::stopped_by(StopCause::Unreachable, why)
}

/// That a server was never reached, and that waiting is no help.
pub fn unreachable(error: &SendError) -> Error {
    let SendError { kind, detail, .. } = error;
    let advice = "check request.url (--url), the network and the proxy settings";
    let why = if detail.ends_with('?') {
        format!("the server can't be reached: {kind}: {detail} Else {advice}")
    } else {
        format!("the server can't be reached: {kind}: {detail}; {advice}")
    };
    Error::stopped_by(StopCause::Unreachable, why)
}

/// The reason for which a run ended before its last row, in words.
pub fn stop_reason(reason: ShutdownReason) -> String {
    match reason {
        ShutdownReason::Interrupted(_) => "interrupted".to_owned(),
        ShutdownReason::Cancelled => "cancelled".to_owned(),
        ShutdownReason::Unread => "the reader of the output has closed it".to_owned(),
        ShutdownReason::Error(error) => error.to_string(),
    }
}

/// That the deadline has come.
pub fn deadline(context: &RunContext, deadline: Deadline) -> Error {
    let when = match deadline {
        Deadline::After(time) => format!("{} after the start", duration::exact(time)),
        Deadline::At(time) => {
            let time = time.to_zoned(TimeZone::system());
            time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
    };
    let resume = resume(context).map_or_else(String::new, |how| format!(": go on {how}"));
    let why = format!("the deadline ({when}; workers.deadline or --deadline) has come{resume}");
    Error::stopped_by(StopCause::Deadline, why)
}

/// That the first answers all failed alike, and what to do.
pub fn uniform_failure(context: &RunContext, uniform: &UniformFailure) -> Error {
    let UniformFailure { alike, answered, stage_index, example } = uniform;
    let Some(failure) = example.outcome.as_ref().err() else {
        return Error::stopped("the first answers all failed alike");
    };
    let kind = failure.kind.text();
    let who = match context.plan.stages[*stage_index].batch_size() {
        1 => "answers",
        _ => "answers to batches",
    };
    let which = if alike == answered {
        format!("the first {alike} {who} all failed alike, as {kind}")
    } else {
        format!("{alike} of the first {answered} {who} failed alike, as {kind}, and none is of use")
    };
    let place = match stage_index {
        0 => String::new(),
        index => format!(" of step {index}"),
    };
    let follows = context.plan.stages[*stage_index].transport.settings.follow > 0;
    let what_to_do = match &failure.kind {
        FailureKind::Status(300..=399) if follows => "check request.url (--url)".to_owned(),
        kind => what_to_do(kind),
    };
    let next = match (context.plan.output.path(), &failure.kind) {
        (None, _) => "run it again",
        (Some(_), FailureKind::MissingValue(_)) => {
            "give the same command with --resume, which asks for these rows again (throng extract takes values of their answers without a request)"
        }
        (Some(_), _) => "give the same command with --resume, which asks for these rows again",
    };
    let why = format!("{which}{place}: {what_to_do}, then {next}; --no-brake goes on even so");
    Error::stopped_by(StopCause::FailedAlike(failure.kind.clone()), why)
}

/// What to look at where all answers fail for this reason.
fn what_to_do(kind: &FailureKind) -> String {
    let what = match kind {
        FailureKind::Status(401 | 403 | 407) => {
            "check the key, and how it is sent (auth, request.headers)"
        }
        FailureKind::Status(300..=399) => {
            "check request.url (--url), or follow redirects (--follow 1)"
        }
        FailureKind::Status(404 | 405 | 410) => "check request.url (--url)",
        FailureKind::MissingValue(name) => {
            return format!("check the path extract.{name} (--extract)");
        }
        FailureKind::MissingItems => "check items.each (--each)",
        FailureKind::MissingJobStatus => "check poll.until and poll.failed",
        FailureKind::NothingToPoll => "check poll.url",
        FailureKind::NotJson | FailureKind::NotText => {
            "check whether the answer is a page for people, such as one to log in"
        }
        _ => "see what the server says",
    };
    what.to_owned()
}

/// When and how to go on, where requests have to wait this long: `go on after 00:00 PST
/// (5 h 13 m) with --resume`. Without a zone, the time is local.
fn go_on_after(context: &RunContext, wait: Duration, zone: Option<&TimeZone>) -> String {
    let zone = zone.cloned().unwrap_or_else(TimeZone::system);
    let time = point_in_time(context, wait).map_or_else(String::new, |time| {
        let time = time.to_zoned(zone);
        let date = if wait < DAY { "" } else { "%Y-%m-%d " };
        let clock = if time.second() == 0 { "%H:%M %Z" } else { "%H:%M:%S %Z" };
        format!("{} ", time.strftime(&format!("{date}{clock}")))
    });
    let resume = resume(context).map_or_else(String::new, |how| format!(" {how}"));
    format!("go on after {time}({}){resume}", duration::rounded(wait))
}

/// Times that lie further ahead need their date.
const DAY: Duration = Duration::from_secs(86_400);

/// The calendar's time after this wait, rounded up to seconds.
fn point_in_time(context: &RunContext, wait: Duration) -> Option<Timestamp> {
    let time = Timestamp::try_from(context.calendar_now()).ok()?.checked_add(wait).ok()?;
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil)).ok()
}

/// How to go on, if there are records to go on with.
fn resume(context: &RunContext) -> Option<&'static str> {
    let sending = context.metrics.sending();
    let has_records = sending.answered > sending.refused || !context.plan.output.done().is_empty();
    context.plan.output.path().filter(|_| has_records).map(|_| "with --resume")
}
