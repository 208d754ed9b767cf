//! Whether a job can go through a provider's batch endpoint, and what follows from that. Pure.

use std::time::Duration;

use bytesize::ByteSize;
use http::Method;

use super::Job;
use crate::error::Error;
use crate::extract::ItemSettings;
use crate::hooks::Hooks;
use crate::judge::UnknownOutcome;
use crate::limit::Policy;
use crate::pages;
use crate::render::Renderer;

/// Minimum time limit of a request: a file with many rows goes up, or comes down.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Maximum size of the results of a batch, where the job names none.
const MAX_RESULTS: ByteSize = ByteSize::gib(1);
/// The time for which a lost submission may still arrive, where the job names none: what it
/// would be by the job's own time limit.
const LINGER: Duration = Duration::from_secs(30);

/// The job with what a batch endpoint needs: one worker, so that batches are full; time and
/// memory for large files; and no brake, as the rows of a batch end together.
pub(super) fn settled(job: Job) -> Job {
    if job.batch_api.is_none() {
        return job;
    }
    let mut job = job;
    job.workers.count = Some(1);
    job.retry.brake = false;
    let linger = job.send.timeout.max(LINGER);
    job.limit.linger = job.limit.linger.or(Some(linger));
    job.send.timeout = job.send.timeout.max(TIMEOUT);
    job.send.max_body = job.send.max_body.or(Some(MAX_RESULTS));
    job
}

/// Refuses what a row of a batch can't have.
pub(super) fn check(
    job: &Job,
    hooks: &Hooks,
    policy: &Policy,
    renderer: &Renderer,
) -> Result<(), Error> {
    let Some(provider) = job.batch_api else {
        return Ok(());
    };
    let has_hooks = hooks.request.is_some() || hooks.response.is_some();
    let is_post = renderer.method().is_none_or(|method| *method == Method::POST);
    let what = if !job.step.is_empty() {
        "[[step]] goes on with each answer at once, and the answers of a batch come together: make the step a job of its own, with the results of this one for input"
    } else if job.poll.is_any() {
        "[poll] submits a job for each row, and batch-api polls its batches itself: leave [poll] out"
    } else if job.pages != pages::Settings::default() {
        "pages go on with the answer to a row, and a batch has one answer for it: leave the pages out"
    } else if job.items != ItemSettings::default() {
        "items.each (--each) makes many records of a row's answer, and a batch makes one: take the list as a value (extract)"
    } else if job.save.is_some() {
        "save (--save) writes answers to files as they come: take values of them (extract), or keep them (--keep-body)"
    } else if job.store.dir.is_some() {
        "store (--store) keeps the answers to single requests: leave it out"
    } else if job.dedupe {
        "dedupe (--dedupe) gives the answer to one request to all rows that make it, and a batch has one for each row: leave it out"
    } else if job.check.is_some() || job.reask.is_some() {
        "check (--check) and reask (--reask) go with single requests: leave them out"
    } else if has_hooks {
        "render, process and a program's hooks make one request and read one answer at a time: use the job's template and extract"
    } else if job.cookies.is_some() {
        "cookies are for answers that follow one another: leave them out"
    } else if job.retry.idempotency_key.is_some() || job.retry.unknown == UnknownOutcome::Resend {
        "a batch whose submission had no answer is looked for at the provider, and never submitted twice: leave out retry.idempotency-key (--idempotency-key) and retry.unknown (--resend-unknown)"
    } else if !policy.keys().is_empty() {
        "limit.keys (--keys) spreads requests over keys, and only the key that has submitted a batch can collect it: give one key, or a job for each"
    } else if !policy.scopes().is_empty() {
        "limit.per (--per) counts by the rows of requests, and a batch has rows of all kinds: leave it out"
    } else if !is_post {
        "a batch has POST requests only: give request.method = \"POST\" (-X POST)"
    } else if renderer.fixed_uri().is_none() {
        "the host of request.url (--url) must not come from the rows: a batch goes to one host"
    } else {
        return Ok(());
    };
    Err(Error::plan(format!("batch-api = \"{}\" (--batch-api): {what}", provider.name())))
}
