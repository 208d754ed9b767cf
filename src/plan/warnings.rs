//! What users should know of a job before it starts.

use std::time::Duration;

use http::Uri;

use super::literals::{self, Literal};
use super::{Job, Stage};
use crate::auth::Tokens;
use crate::limit::{Policy, calendar_at_zero, now};
use crate::pages::Pages;
use crate::quota_store::QuotaBalance;
use crate::sink::{Identity, Output};

/// The warnings of a stage, one sentence each.
pub fn of(job: &Job, stage: &Stage) -> Vec<String> {
    let uris = [stage.renderer.fixed_uri(), stage.signer.tokens().map(|t| t.uri().clone())];
    let mut proxies: Vec<String> =
        uris.iter().flatten().filter_map(|uri| proxy(stage, uri)).collect();
    proxies.dedup();
    let insecure = job.tls.insecure.then(|| {
        "WARNING: certificates are NOT checked (tls.insecure or --insecure): anyone on the way can read and change all data".to_owned()
    });
    let mut rates = job.limit.rate.iter();
    let auto = rates.find(|limit| limit.counting.is_found_out()).map(|limit| {
        format!(
            "{limit} is found out by exceeding it now and then: don't use it with an API that bans clients for that"
        )
    });
    insecure
        .into_iter()
        .chain(auto)
        .chain(stage.pages.as_ref().and_then(Pages::fixed_step).map(fixed_step))
        .chain(proxies)
        .chain(stage.signer.tokens().and_then(Tokens::loss_warning))
        .chain(keys(job))
        .collect()
}

/// The warning that there are fewer connections than requests in flight.
pub fn of_connections(in_flight: usize, connections: usize, files: u64) -> Option<String> {
    (connections < in_flight).then(|| {
        format!(
            "{files} files may be open at a time (ulimit -n): each worker opens at most {connections} connections, although it may have {in_flight} requests in flight; a higher limit (ulimit -Hn) allows more"
        )
    })
}

fn proxy(stage: &Stage, uri: &Uri) -> Option<String> {
    let proxy = stage.transport.proxy_of(uri)?;
    Some(format!(
        "requests to {} go through the proxy {proxy} (--proxy none goes without)",
        uri.host().unwrap_or_default()
    ))
}

fn fixed_step(step: u64) -> String {
    format!(
        "pages.offset (--offset) grows by {step}, however many items a page has: if the server gives fewer than {step}, some are left out; \
         with a path to the list as items.each (--each '.items[]') it grows by the items that came"
    )
}

/// A warning of each key that the job itself holds, where history and backups keep it.
fn keys(job: &Job) -> Vec<String> {
    let all = literals::of(job).into_iter().filter(Literal::is_long);
    all.map(|literal| {
        format!(
            "{} holds what looks like a key: {{{{ env.NAME }}}} or {{{{ secret.NAME }}}} keeps it out of files and of the shell's history",
            literal.place
        )
    })
    .collect()
}

/// Shorter waits are not worth a warning.
const WORTH_IT: Duration = Duration::from_secs(1);

const UNCLEAN: &str = "did not end in good order (it was killed, or the machine stopped)";

/// Warnings that the first request has to wait, since earlier runs have used up a limit.
pub fn of_used_limits(
    output: &Output,
    identity: &Identity,
    policy: &Policy,
    quotas: &[QuotaBalance],
) -> Vec<String> {
    let quotas = quotas.iter().flat_map(of_quota);
    let output = of_output(output, identity, policy);
    output.into_iter().chain(quotas).collect()
}

fn of_output(output: &Output, identity: &Identity, policy: &Policy) -> Option<String> {
    let before = output.sent_before(identity);
    let sent = before.iter().map(|it| (it.ago, it.requests, it.lost));
    let held = policy.wait_after(now(), calendar_at_zero(), sent)?;
    if held.time < WORTH_IT {
        return None;
    }
    let lost: u64 = before.iter().filter(|it| it.lost).map(|it| it.requests).sum();
    let why = match lost {
        0 => format!("what earlier runs to {output} have sent still counts"),
        _ => format!(
            "an earlier run to {output} {UNCLEAN}: up to {lost} requests that it may have sent then count as sent"
        ),
    };
    let (wait, limit) = (seconds(held.time), held.name);
    Some(format!("{why}, so the first request waits {wait} for {limit}"))
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

/// The time in whole seconds, rounded up.
fn seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().ceil() as u64))
}
