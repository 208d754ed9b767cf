//! `throng demo`: the mock and the shipped job in one process.

use std::path::Path;

use crate::plan::{Job, Layers};
use crate::source;
use crate::{Error, Plan};
use clap::Args;
use serde_json::{Value, json};
use throng_mock::{Fault, Faults, Latency, Mock, Settings};

use super::exit::Exit;
use super::flags::DisplayFlags;
use super::observe::WatchFlags;
use super::page::ReportFlags;
use super::{mock, run, say};

const JOB: &str = include_str!("../../examples/quotes.toml");
const TICKERS: &str = include_str!("../../examples/tickers.csv");
const ROWS: usize = 500;

#[derive(Args)]
#[group(skip)]
pub struct DemoArgs {
    /// The original job: 22 requests in any 5 s, which takes two minutes
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    show: DisplayFlags,
    #[command(flatten)]
    page: ReportFlags,
}

pub fn main(arguments: &DemoArgs) -> Result<Exit, Error> {
    let rate = if arguments.full { "22/5s" } else { "110/5s" };
    arguments.page.check(None, None)?;
    let mock = Mock::start(server(rate, arguments.full)?, "127.0.0.1:0")
        .map_err(|error| Error::stopped(format!("the mock server can't start: {error}")))?;
    // Each user has a folder of their own, and what an earlier demo left is not replaced.
    let folder = tempfile::Builder::new().prefix("throng-demo-").tempdir();
    let folder = folder
        .map_err(|error| Error::stopped(format!("the demo has no folder to write to: {error}")))?;
    let results = folder.keep().join("quotes.jsonl");
    let plan = Plan::new(&job(&mock.url(), rate, &results)?, &environment)?;
    say::note(&format!(
        "A mock quote API at {} allows {rate} and refuses more; throng requests {ROWS} quotes from it.\n",
        mock.url()
    ));
    let (exit, report) =
        run::carry_out(plan, &arguments.show, &arguments.page, &WatchFlags::default())?;
    let ours = report.limits.iter().map(|limit| limit.most_in_window).max();
    say::note(&format!(
        "\n{}\n        our own count: {} requests, {} refused; at most {} in any window",
        mock::count(&mock.judgement()),
        report.sent.requests,
        report.sent.refused,
        ours.unwrap_or_default(),
    ));
    if report.rows.failed > 0 {
        say::note(&format!(
            "The {} failed rows are planted: the mock leaves the price out of 1 % of its answers, to show how failures are reported.",
            report.rows.failed
        ));
    }
    let results = results.display();
    say::note(&format!(
        "More of it: throng report {results} --failed, or --html demo.html for a page with plots."
    ));
    Ok(match exit {
        // Some rows fail on purpose.
        Exit::SomeFailed => Exit::Ok,
        other => other,
    })
}

/// A server about 250 ms away. The short demo also has faults.
fn server(rate: &str, full: bool) -> Result<Settings, Error> {
    let faults =
        vec![(Fault::ServerError, 0.03), (Fault::DropBefore, 0.01), (Fault::MissingKey, 0.01)];
    let wrong = |error: throng_mock::ParseError| Error::plan(error.to_string());
    Ok(Settings {
        limits: vec![rate.parse().map_err(wrong)?],
        latency: "lognormal:250ms:0.6".parse::<Latency>().map_err(wrong)?,
        faults: Faults { rates: if full { Vec::new() } else { faults } },
        seed: 7,
        ..Settings::default()
    })
}

/// The shipped job with this server and the first of the shipped tickers.
fn job(server: &str, rate: &str, results: &Path) -> Result<Job, Error> {
    let rows: Vec<Value> =
        TICKERS.lines().skip(1).take(ROWS).map(|symbol| json!({ "symbol": symbol })).collect();
    let job = Layers::parse("examples/quotes.toml", JOB)?.overlay(json!({
        "request": { "url": format!("{server}/v6/finance/quote/") },
        "limit": { "rate": [rate] },
        "output": { "file": results },
    }));
    let input = source::Settings { list: Some(rows), ..Default::default() };
    Ok(Job { input, ..job.job()? })
}

/// The mock needs no key, but the job has one to show that it stays secret.
fn environment(name: &str) -> Option<String> {
    match name {
        "XAPIKEY" => Some("a-key-for-the-mock".into()),
        _ => None,
    }
}
