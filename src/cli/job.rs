//! A job from a file, overlaid with flags.

use crate::Error;
use crate::plan::{Job, Layers, Plan};
use clap::Args;
use serde_json::json;

use super::{flags, unknown};

/// A job: a file, flags, or both.
#[derive(Args)]
#[group(skip)]
pub struct JobArgs {
    /// A job file: TOML, or JSON with the same keys
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// The older flag for the job file
    #[arg(
        long,
        alias = "config_json_file",
        value_name = "FILE",
        hide = true,
        conflicts_with = "job"
    )]
    config_json_file: Option<String>,
    #[command(flatten)]
    input: flags::InputFlags,
    #[command(flatten)]
    request: flags::RequestFlags,
    #[command(flatten)]
    auth: flags::AuthFlags,
    /// Use the limits and refusals of a known API (throng profiles)
    #[arg(long, value_name = "NAME[:TIER]", help_heading = "Limit")]
    api: Option<String>,
    #[command(flatten)]
    limit: flags::LimitFlags,
    #[command(flatten)]
    workers: flags::WorkerFlags,
    #[command(flatten)]
    network: flags::NetworkFlags,
    #[command(flatten)]
    tls: flags::TlsFlags,
    #[command(flatten)]
    patience: flags::RetryFlags,
    #[command(flatten)]
    values: flags::ValueFlags,
    #[command(flatten)]
    helpers: flags::HelperFlags,
    #[command(flatten)]
    pages: flags::PageFlags,
    #[command(flatten)]
    store: flags::StoreFlags,
    #[command(flatten)]
    output: flags::OutputFlags,
    #[command(flatten)]
    pub machines: flags::MachineFlags,
}

impl JobArgs {
    /// The checked plan.
    pub fn plan(&self) -> Result<Plan, Error> {
        Plan::new(&self.job()?, &environment)
    }

    /// The job, not checked yet.
    pub fn job(&self) -> Result<Job, Error> {
        let file = match self.job.as_ref().or(self.config_json_file.as_ref()) {
            Some(path) => match unknown::argument(path) {
                Some(what) => return Err(Error::plan(what)),
                None => Layers::read(path)?,
            },
            None => Layers::default(),
        };
        let flags = json!({
            "input": self.input.tree(),
            "shard": self.input.shard(),
            "request": self.request.tree(),
            "auth": self.auth.auth_tree(),
            "secrets": self.auth.secrets_tree(),
            "env": self.auth.env_tree(),
            "api": self.api,
            "cookies": self.auth.cookies(),
            "limit": self.limit.tree().map_err(Error::plan)?,
            "no-headers": self.limit.no_headers(),
            "price": self.limit.price_tree(),
            "budget": self.limit.budget(),
            "workers": self.workers.tree(),
            "send": self.patience.send_tree(),
            "network": self.network.tree(),
            "tls": self.tls.tree(),
            "retry": self.patience.retry_tree(),
            "answer": self.patience.answer_tree(),
            "answer-format": self.values.answer_format(),
            "answer-encoding": self.values.answer_encoding(),
            "extract": self.values.extract_tree(),
            "check": self.values.check(),
            "reask": self.values.reask(),
            "render": self.helpers.render_tree(),
            "process": self.helpers.process_tree(),
            "items": self.pages.items_tree(),
            "batch": self.pages.batch_tree(),
            "batch-api": self.pages.batch_api(),
            "pages": self.pages.tree(),
            "dedupe": self.store.dedupe(),
            "only": self.store.only(),
            "against": self.store.against(),
            "store": self.store.tree(),
            "summary": self.values.summary_tree(),
            "save": self.output.save(),
            "output": self.output.tree(),
        });
        self.request.curl_over(file)?.overlay(flags).job()
    }
}

/// The environment, as templates and proxies see it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
