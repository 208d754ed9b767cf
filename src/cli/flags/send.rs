//! Flags of workers, retries and timeouts.

use crate::judge::AnswerRule;
use clap::Args;
use serde_json::{Value, json};

use crate::judge::MaxFailures;

/// The workers.
#[derive(Args)]
#[command(next_help_heading = "Workers")]
pub struct WorkerFlags {
    /// Threads, each with its own connections [default: one for each core]
    #[arg(
        short = 'w',
        long = "workers",
        value_name = "N",
        visible_alias = "num-workers",
        alias = "num_workers"
    )]
    count: Option<usize>,
    /// sync: one request in flight per worker; async: up to the concurrency [default: async]
    #[arg(long, value_parser = ["sync", "async"])]
    mode: Option<String>,
    /// Maximum number of requests in flight per worker in async mode [default: 50]
    #[arg(short, long, value_name = "N")]
    concurrency: Option<usize>,
    /// The time for which Ctrl-C waits for the answers in flight [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<String>,
    /// End the run then, to be resumed: a duration from its start, a time of day such as 06:30, or RFC 3339
    #[arg(long, value_name = "DURATION|TIME")]
    deadline: Option<String>,
}

/// Retries and bounds.
#[derive(Args)]
#[command(next_help_heading = "Retries and timeouts")]
pub struct RetryFlags {
    /// Retries after transient failures: connections, timeouts, 408, 5xx [default: 4]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Time limit from sending a request to the end of its answer [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<String>,
    /// Time limit between two parts of a body, for streams [default: none]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    idle_timeout: Option<String>,
    /// Time limit of name resolution, TCP and TLS together [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    connect_timeout: Option<String>,
    /// The longest wait for a limit or for the server; a longer one ends the run, to be resumed [default: 1h for the server's pauses and outages, none for the job's limits]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_wait: Option<String>,
    /// Refusals in a row after which one more stops the run; those of requests that were in flight together count as one [default: 20]
    #[arg(long, value_name = "N")]
    max_refusals: Option<u32>,
    /// What an answer means, before the built-in rules: '404 = missing', '500,502 = retry 5s', '200 .error = fail', 'x-quota: 0 = stop'; the first that fits counts (repeat)
    #[arg(long, value_name = "FITS = MEANING")]
    answer: Vec<AnswerRule>,
    /// Failed rows, or their share in percent once 100 rows have ended, after which one more stops the run [default: none]
    #[arg(long, value_name = "N|N%", value_parser = max_failures)]
    max_failures: Option<String>,
    /// Go on even if the first answers all fail alike, which ends the run otherwise
    #[arg(long)]
    no_brake: bool,
    /// Attempts in a row without a success, of several rows, after which a server is taken to be out: rows wait for it; 0: never [default: 20]
    #[arg(long, value_name = "N")]
    outage_failures: Option<u32>,
    /// The time that these attempts must have lasted [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    outage_after: Option<String>,
    /// Maximum size of a decompressed body [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_body: Option<String>,
    /// Redirects to follow; each counts as a request against the limits [default: 0]
    #[arg(long, value_name = "N")]
    follow: Option<u32>,
    /// Retry a POST even if the server may have processed it
    #[arg(long)]
    resend_unknown: bool,
    /// An Idempotency-Key for each request, so that a POST can be sent again; or auto
    #[arg(long, value_name = "T")]
    idempotency_key: Option<String>,
    /// The time for which the server remembers a key, after which nothing is sent again [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    idempotency_ttl: Option<String>,
}

impl WorkerFlags {
    pub fn tree(&self) -> Value {
        json!({
            "count": self.count,
            "mode": self.mode,
            "concurrency": self.concurrency,
            "grace": self.grace,
            "deadline": self.deadline,
        })
    }
}

impl RetryFlags {
    pub fn send_tree(&self) -> Value {
        json!({
            "timeout": self.timeout,
            "idle-timeout": self.idle_timeout,
            "connect-timeout": self.connect_timeout,
            "max-body": self.max_body,
            "follow": self.follow,
        })
    }

    /// The rows of the table of answers, if any is given.
    pub fn answer_tree(&self) -> Option<&[AnswerRule]> {
        Some(self.answer.as_slice()).filter(|rules| !rules.is_empty())
    }

    pub fn retry_tree(&self) -> Value {
        json!({
            "retries": self.retries,
            "max-wait": self.max_wait,
            "max-refusals": self.max_refusals,
            "max-failures": self.max_failures,
            "brake": self.no_brake.then_some(false),
            "outage-failures": self.outage_failures,
            "outage-after": self.outage_after,
            "unknown": self.resend_unknown.then_some("resend"),
            "idempotency-key": self.idempotency_key,
            "idempotency-ttl": self.idempotency_ttl,
        })
    }
}

/// Checks a duration here, where the flag is known; the job parses it again.
pub(super) fn duration(text: &str) -> Result<String, String> {
    match humantime::parse_duration(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error} (such as 30s, 500ms or 1m30s)")),
    }
}

fn max_failures(text: &str) -> Result<String, String> {
    text.parse::<MaxFailures>().map(|_| text.into())
}

pub(super) fn size(text: &str) -> Result<String, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("write a size such as 64KiB or 10MiB".into()),
    }
}
