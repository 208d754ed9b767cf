//! What is done with each row: one part of a plan, checked.

use std::sync::Arc;

use crate::auth::Signer;
use crate::error::Error;
use crate::extract::Extractor;
use crate::judge::Judge;
use crate::limit::Policy;
use crate::render::{self, Renderer};
use crate::send::Transport;

use super::Job;

/// From a row to its values.
pub struct Step {
    pub(crate) renderer: Renderer,
    pub(crate) policy: Policy,
    pub(crate) signer: Signer,
    pub(crate) transport: Arc<Transport>,
    pub(crate) judge: Judge,
    pub(crate) extractor: Extractor,
    pub(crate) keeps_body: bool,
    /// Whether each request gets an `Idempotency-Key` that is made of the run and the row.
    pub(crate) makes_keys: bool,
}

impl Step {
    /// Checks what can be checked without rows.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub(super) fn new(
        job: &Job,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Step, Error> {
        let renderer = Renderer::new(&with_key(job), environment)?;
        Ok(Step {
            extractor: Extractor::new(&job.extract)?,
            policy: Policy::new(&job.limit, job.send.timeout),
            signer: Signer::new(renderer.secret_headers()?),
            transport: Arc::new(Transport::new(job.send.clone(), environment)),
            judge: Judge::new(job.retry.clone(), renderer.method()),
            makes_keys: job.retry.idempotency_key.as_deref() == Some(AUTO),
            keeps_body: job.output.keep_body || job.extract.is_empty(),
            renderer,
        })
    }
}

/// Keys that throng makes itself.
const AUTO: &str = "auto";

/// The request with its `Idempotency-Key`, where the job has a template for it.
fn with_key(job: &Job) -> render::Settings {
    let mut request = job.request.clone();
    if let Some(key) = job
        .retry
        .idempotency_key
        .as_ref()
        .filter(|key| *key != AUTO)
    {
        let headers = &mut request.headers;
        headers.insert("idempotency-key".to_owned(), key.as_str().into());
    }
    request
}
