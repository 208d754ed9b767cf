//! Which hosts are asked, where rows have a say in it.

use http::Uri;

use super::{Job, Stage};
use crate::auth::Tokens;
use crate::error::Error;
use crate::source::Source;

/// So many rows are looked at for the hosts that are meant.
const ROWS: usize = 100;

/// Where rows name hosts and the job allows none, the hosts of the first rows are
/// allowed, unless something that others must not see would go along.
pub fn settle(step: &mut Stage, job: &Job, source: &Source) -> Result<(), Error> {
    let fixed = check_fixed(step)?;
    let is_open = step.renderer.hosts().is_some_and(|hosts| hosts.is_empty());
    if !is_open || !source.lasts() {
        return check_allowed(step, job, is_open);
    }
    let mut rows = Vec::new();
    for row in source.rows()?.take(ROWS) {
        rows.push(row?);
    }
    step.renderer.allow_hosts_of(rows.iter());
    let others = step
        .renderer
        .hosts()
        .map_or(0, |hosts| hosts.elsewhere(fixed.as_ref()));
    check_allowed(step, job, others > 0)
}

/// The values of a step before are a server's: they don't decide who is asked.
pub fn check_later(step: &Stage) -> Result<(), Error> {
    check_fixed(step)?;
    if step.renderer.hosts().is_some_and(|hosts| hosts.is_empty()) {
        Err(Error::plan(
            "its host comes from the answers of the step before: name the hosts that may be asked (step.request.allow-host)",
        ))
    } else {
        Ok(())
    }
}

/// What the job writes out itself: the host of its requests, which is given, and
/// where its tokens come from.
fn check_fixed(step: &Stage) -> Result<Option<Uri>, Error> {
    let fixed = step.renderer.fixed_uri();
    for uri in fixed.iter().chain(step.signer.tokens().map(Tokens::uri)) {
        step.check_plain(uri).map_err(Error::plan)?;
    }
    Ok(fixed)
}

fn check_allowed(step: &Stage, job: &Job, is_open: bool) -> Result<(), Error> {
    let keys = step.renderer.carries_secrets() || !step.signer.is_empty();
    if !is_open || !keys || !job.request.allow_host.is_empty() {
        return Ok(());
    }
    let hosts = step.renderer.hosts().map(crate::render::Hosts::names);
    let hosts = hosts.unwrap_or_default();
    let instead = if hosts.is_empty() {
        "--allow-host HOST".to_owned()
    } else {
        hosts
            .iter()
            .map(|host| format!("--allow-host {host}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    Err(Error::plan(format!(
        "rows decide which host gets the job's keys: name the hosts that may (request.allow-host): {instead}"
    )))
}
