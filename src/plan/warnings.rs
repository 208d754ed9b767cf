//! What people should know of a job before it starts. Pure.

use http::Uri;

use super::literals::{self, Literal};
use super::{Job, Stage};
use crate::auth::Tokens;
use crate::pages::Pages;

/// One sentence each.
pub fn of(job: &Job, step: &Stage) -> Vec<String> {
    let uris = [
        step.renderer.fixed_uri(),
        step.signer.tokens().map(|t| t.uri().clone()),
    ];
    let mut proxies: Vec<String> = uris
        .iter()
        .flatten()
        .filter_map(|uri| proxy(step, uri))
        .collect();
    proxies.dedup();
    let insecure = job.tls.insecure.then(|| {
        "WARNING: certificates are NOT checked (tls.insecure or --insecure): whoever is on the way can read and change everything".to_owned()
    });
    let mut rates = job.limit.rate.iter();
    let auto = rates.find(|limit| limit.counting.is_found_out()).map(|limit| {
        format!("{limit} is found out by being refused now and then: not for an API that bans who is")
    });
    insecure
        .into_iter()
        .chain(auto)
        .chain(
            step.pages
                .as_ref()
                .and_then(Pages::fixed_step)
                .map(fixed_step),
        )
        .chain(proxies)
        .chain(step.signer.tokens().and_then(Tokens::loss_warning))
        .chain(keys(job))
        .collect()
}

/// That there are fewer connections than requests that may be in flight.
pub fn of_connections(in_flight: usize, connections: usize, files: u64) -> Option<String> {
    (connections < in_flight).then(|| {
        format!(
            "{files} files may be open at a time (ulimit -n): each worker opens at most {connections} connections, although it may have {in_flight} requests in flight; a higher limit (ulimit -Hn) allows more"
        )
    })
}

fn proxy(step: &Stage, uri: &Uri) -> Option<String> {
    let proxy = step.transport.proxy_of(uri)?;
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

/// Keys that stand in the job itself, where history and backups keep them.
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
