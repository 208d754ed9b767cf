//! What earlier runs have used of the limits, if the first request has to wait for it:
//! no run waits without a word. [door: files, clock]

use std::time::Duration;

use super::Plan;
use crate::limit::{calendar_at_zero, now};
use crate::quota_store::QuotaBalance;

/// Whoever waits for less needn't know.
const WORTH_IT: Duration = Duration::from_secs(1);

const UNCLEAN: &str = "did not end in good order (it was killed, or the machine stopped)";

/// One sentence for each limit.
pub fn of(plan: &Plan) -> Vec<String> {
    let done = plan.output.done().len();
    let all_done = !plan.columns.items && plan.rows().is_some_and(|rows| rows <= done);
    if all_done {
        return Vec::new();
    }
    // What can't be read is said when the plan is shown, and stops the run.
    let quotas = plan.quotas().unwrap_or_default();
    let quotas = quotas.iter().flat_map(of_quota);
    of_output(plan).into_iter().chain(quotas).collect()
}

fn of_output(plan: &Plan) -> Option<String> {
    let before = plan.output.sent_before(&plan.identity);
    let sent = before.iter().map(|it| (it.ago, it.requests, it.lost));
    let held = plan.policy().wait_after(now(), calendar_at_zero(), sent)?;
    if held.time < WORTH_IT {
        return None;
    }
    let lost: u64 = before
        .iter()
        .filter(|it| it.lost)
        .map(|it| it.requests)
        .sum();
    let why = match lost {
        0 => format!(
            "what earlier runs to {} have sent still counts",
            plan.output
        ),
        _ => format!(
            "an earlier run to {} {UNCLEAN}: up to {lost} requests that it may have sent then count as sent",
            plan.output
        ),
    };
    let (wait, limit) = (seconds(held.time), held.name);
    Some(format!(
        "{why}, so the first request waits {wait} for {limit}"
    ))
}

fn of_quota(quota: &QuotaBalance) -> Vec<String> {
    let (limit, unit) = (&quota.limit, &quota.unit);
    let unclosed = (quota.unclosed > 0).then(|| {
        let units = quota.unclosed;
        format!("an earlier run {UNCLEAN}: up to {units} {unit} of {limit} that it had taken count as used")
    });
    let used_up = quota.wait.filter(|wait| *wait >= WORTH_IT).map(|wait| {
        let wait = seconds(wait);
        format!("earlier runs have used {limit} up, so the first request waits {wait}")
    });
    unclosed.into_iter().chain(used_up).collect()
}

/// Rounded up.
fn seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().ceil() as u64))
}
