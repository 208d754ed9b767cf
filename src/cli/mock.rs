//! `throng mock`: serves the quote API until Ctrl-C, then reports its counts.

use crate::Error;
use clap::Args;
use throng_mock::{
    BatchFaults, Dialect, Judgement, Latency, Mock, Partition, ServerLimit, Settings,
};

use super::exit::Exit;
use super::server::Behaviour;
use super::{say, signals};

#[derive(Args)]
#[group(skip)]
#[command(after_help = after_help())]
pub struct MockArgs {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8099")]
    addr: String,
    #[command(flatten)]
    limits: MockLimitFlags,
    /// 0, 250ms, lognormal:250ms:0.6 or uniform:100ms:300ms
    #[arg(long, default_value = "0")]
    latency: Latency,
    #[command(flatten)]
    behaviour: Behaviour,
    /// How batches of requests go (OpenAI's, Anthropic's, Gemini's and Mistral's): the time that they take, and the share of requests that expire or fail, or of submissions whose answer is lost
    #[arg(long, value_name = "time=2s,expired=10%", default_value = "time=0s")]
    batches: BatchFaults,
    /// Bytes of filler in each quote
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    padding: usize,
    /// The x-api-key that requests must have
    #[arg(long)]
    api_key: Option<String>,
}

fn after_help() -> String {
    format!("Routes, which / lists as well:\n\n{}", throng_mock::routes().trim_end())
}

/// The limits of the mock.
#[derive(Args)]
struct MockLimitFlags {
    /// Refuse more than this: 22/5s, fixed:22/5s, clock:100/1m, bucket:10/1s:40 (a burst of 40), gcra:30/1m:15 (15 early), counter:300/1m, '90000 tokens/1m' or in-flight:5 (repeat)
    #[arg(long, value_name = "N/PERIOD")]
    limit: Vec<ServerLimit>,
    /// Report limits as a known API does: github, openai, edgar and others; its limits apply if none are given
    #[arg(long, value_name = "NAME")]
    dialect: Option<Dialect>,
    /// Limit each value of this separately: header:x-api-key, query:tenant or path
    #[arg(long, value_name = "WHO")]
    per: Option<Partition>,
    /// Count refused requests against the limits as well
    #[arg(long)]
    count_refused: bool,
}

pub fn main(arguments: &MockArgs) -> Result<Exit, Error> {
    let mock = Mock::start(settings(arguments), &*arguments.addr).map_err(|error| {
        Error::plan(format!("the mock can't listen on {} (--addr): {error}", arguments.addr))
    })?;
    say::result(&format!(
        "a quote API is at {0}/v6/finance/quote/?symbols=AAPL, its judge at {0}/judge, its other routes at {0}/; Ctrl-C ends it",
        mock.url()
    ));
    signals::wait()?;
    say::result(&count(&mock.judgement()));
    Ok(Exit::Ok)
}

/// The server's counts in one line.
pub fn count(judgement: &Judgement) -> String {
    let mut text = format!(
        "the server's own count: {} requests, {} refused",
        judgement.requests, judgement.refused
    );
    for window in &judgement.windows {
        text += &format!("; at most {} in any window (limit {})", window.most, window.limit);
    }
    text
}

fn settings(arguments: &MockArgs) -> Settings {
    Settings {
        limits: arguments.limits.limit.clone(),
        dialect: arguments.limits.dialect.clone(),
        partition: arguments.limits.per.clone(),
        refusals_count: arguments.limits.count_refused,
        latency: arguments.latency,
        padding: arguments.padding,
        batches: arguments.batches,
        api_key: arguments.api_key.clone(),
        ..arguments.behaviour.settings()
    }
}
