//! `throng probe URL`: finds an unknown limit with real requests.

use std::time::Duration;

use crate::Error;
use crate::limit::duration;
use crate::plan::{Job, Layers};
use crate::probe::{Bounds, Observation, ProbeAnswer, ProbeEvent, probe};
use crate::shutdown::{Shutdown, ShutdownReason};
use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::job::environment;
use super::{flags, say, signals};

const EXAMPLES: &str = "\
Examples:
  throng probe https://api.example/v1/items/7 -H 'Authorization: Bearer {{ env.TOKEN }}'
  throng probe https://api.example/v1/items/7 --refusals 5 --max-time 2h

It sends one request after the other, so a limit that is higher than that is not
found: --concurrency N fills it with N requests at a time, of which as many may be
refused together. Ctrl-C ends it with what it has learnt. Some APIs block clients
that are refused too often: read their documentation first.

Exit codes:
  0  a rate was found      1  none, or not all of it
  2  the request is wrong  3  it could not go on  130  interrupted";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub struct ProbeArgs {
    /// The URL to request repeatedly
    #[arg(value_name = "URL")]
    probed: Option<String>,
    #[command(flatten)]
    bounds: ProbeBoundFlags,
    #[command(flatten)]
    request: flags::RequestFlags,
    #[command(flatten)]
    auth: flags::AuthFlags,
    #[command(flatten)]
    network: flags::NetworkFlags,
    #[command(flatten)]
    tls: flags::TlsFlags,
}

/// The bounds of a probe.
#[derive(Args)]
#[command(next_help_heading = "Probe")]
struct ProbeBoundFlags {
    /// Maximum number of refusals
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    refusals: u32,
    /// Maximum number of requests
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: u64,
    /// Maximum time
    #[arg(long, default_value = "15m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_time: Duration,
    /// The most requests at a time, which reach a higher limit; as many may be refused together
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    concurrency: u64,
    /// Whether runs of the account on this machine count its requests: machine or none [default: machine]
    #[arg(long, value_name = "WITH", value_parser = ["machine", "none"])]
    share: Option<String>,
    /// The name of the account, instead of host and credential
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

pub fn main(arguments: &ProbeArgs) -> Result<Exit, Error> {
    let job = arguments.job()?;
    let bounds = &arguments.bounds;
    let together = match bounds.concurrency {
        1 => "one after the other".to_owned(),
        most => format!("up to {most} at a time"),
    };
    say::note(&format!(
        "throng: probing with real requests, {together}: at most {} requests, {} refusals, {}",
        bounds.max_requests,
        bounds.refusals,
        duration::exact(bounds.max_time)
    ));
    let bounds = Bounds {
        refusals: bounds.refusals,
        requests: bounds.max_requests,
        time: bounds.max_time,
        concurrency: bounds.concurrency,
    };
    let shutdown = Shutdown::default();
    signals::listen(&shutdown, signals::AWAITING)?;
    let answer = probe(&job, &environment, bounds, &shutdown, &mut say_event)?;
    show(&answer);
    Ok(match (shutdown.reason(), answer.found.rate()) {
        (Some(ShutdownReason::Interrupted(signal)), _) => Exit::of_signal(signal),
        (_, Some(_)) => Exit::Ok,
        (_, None) => Exit::SomeFailed,
    })
}

fn say_event(event: ProbeEvent<'_>) {
    match event {
        ProbeEvent::Refused(seen) => refused(seen),
        ProbeEvent::Waits { requests, pause } => say::note(&format!(
            "throng: {requests} requests so far; the next one in {:.1} s",
            pause.as_secs_f64()
        )),
        ProbeEvent::Sends { requests, elapsed } => say::note(&format!(
            "throng: {requests} requests so far, in {:.1} s",
            elapsed.as_secs_f64()
        )),
    }
}

fn refused(seen: &Observation) {
    let wait = seen.wait.map(duration::rounded);
    let pause = wait.map_or_else(
        || "nothing says for how long".to_owned(),
        |wait| format!("for {wait}, it says"),
    );
    say::note(&format!("throng: refused after {:.1} s: {pause}", seen.at.as_secs_f64()));
}

fn show(answer: &ProbeAnswer) {
    for line in answer.found.lines() {
        say::result(&line);
    }
    for signal in &answer.signals {
        let limit = signal.info.limit.map(|limit| format!(" of {limit}"));
        let reset =
            signal.info.reset.map(|reset| format!(" for {} more", duration::rounded(reset)));
        say::result(&format!(
            "its headers say: {} {} left{}{}",
            signal.info.remaining.map_or("?".to_owned(), |left| left.to_string()),
            crate::report::escape(&signal.unit),
            limit.unwrap_or_default(),
            reset.unwrap_or_default()
        ));
    }
    say::result(&format!(
        "requests: {}, {} of them refused",
        answer.found.requests,
        answer.found.refused()
    ));
    if let Some(rate) = answer.found.rate() {
        say::result(&rate);
        // A run elsewhere that begins at once would be refused, and believe in a smaller limit.
        let wait = answer.found.period.map_or_else(|| "a while".to_owned(), duration::exact);
        say::note(&format!(
            "throng: what was sent to find this out still counts, which runs on this machine know; elsewhere, wait {wait} before a run"
        ));
    }
}

impl ProbeArgs {
    fn job(&self) -> Result<Job, Error> {
        let settings = self.request.curl_over(Layers::default())?;
        let url = self.probed.as_ref();
        let job = settings
            .overlay(json!({
                "request": self.request.tree(),
                "limit": { "share": self.bounds.share, "account": self.bounds.account },
                "auth": self.auth.auth_tree(),
                "secrets": self.auth.secrets_tree(),
                "env": self.auth.env_tree(),
                "network": self.network.tree(),
                "tls": self.tls.tree(),
            }))
            .overlay(json!({ "request": { "url": url } }))
            .job()?;
        match job.request.url {
            Some(_) => Ok(job),
            None => Err(Error::plan(
                "there is nothing to probe: give it a URL, throng probe https://api.example/v1/items/7",
            )),
        }
    }
}
