//! `throng simulate`: runs the job in virtual time against a model of the server.

use crate::limit::{self, Guard, duration};
use crate::plan::Job;
use crate::simulate::with_token_buckets;
use crate::{Error, Plan};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use throng_mock::{Latency, LimitKind, ServerLimit, Settings, WindowCount};

use super::exit::Exit;
use super::job::environment;
use super::run::RunArgs;
use super::say;
use super::server::Behaviour;
use model::{Answers, ModelLimits, ModelRun};

pub(crate) mod model;

#[derive(Args)]
#[group(skip)]
pub struct SimulateArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    server: ServerModelFlags,
    /// Compare all guards and a token bucket
    #[arg(long)]
    compare: bool,
    /// Write the arrivals at the server as CSV: guard, seconds
    #[arg(long, value_name = "FILE")]
    arrivals: Option<String>,
}

/// The model of the server.
#[derive(Args)]
#[command(next_help_heading = "Server")]
struct ServerModelFlags {
    /// What the server refuses instead of the job's limits: 22/5s, counter:22/5s, 22/5s@clock, bucket:22/5s:40 (a burst of 40), gcra:22/5s:4 (4 early) or in-flight:5 (repeat)
    #[arg(long, value_name = "N/PERIOD")]
    server: Vec<ServerLimit>,
    /// 0, 250ms, lognormal:250ms:0.6 or uniform:100ms:300ms
    #[arg(long, default_value = "lognormal:250ms:0.6")]
    latency: Latency,
    /// Pages of each list, where the job turns pages
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    answer_pages: u64,
    /// Items of each answer or page, where the job has items
    #[arg(long, default_value_t = 10, value_name = "N")]
    answer_items: u64,
    /// What requests turn out to cost, of what limit.cost says, where answers settle it
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = share)]
    settled: f64,
    #[command(flatten)]
    behaviour: Behaviour,
}

pub fn main(arguments: &SimulateArgs) -> Result<Exit, Error> {
    // Nothing is written, so it doesn't matter what is there.
    let job = Job { output: Default::default(), ..arguments.run.job.job()? };
    let own = plan(&job)?;
    let server = &arguments.server;
    let limits = match &*server.server {
        [] => ModelLimits::of(&own),
        limits => ModelLimits::with(&own, limits),
    };
    let answers = Answers { pages: server.answer_pages, items: server.answer_items };
    let job = answers.adapt_job(&job, &own)?;
    let models: Vec<Settings> = limits
        .iter()
        .map(|model| Settings {
            limits: model.limits.clone(),
            latency: server.latency,
            logs: arguments.arrivals.is_some(),
            ..server.behaviour.settings()
        })
        .collect();
    let plans = if arguments.compare {
        all(&job)?
    } else {
        vec![(own.policy().guard().name(), plan(&job)?)]
    };
    let is_acked = |(_, plan): &Candidate| plan.policy().guard() == Guard::Acked;
    let is_acked = plans.iter().any(is_acked);
    let mut runs = Vec::new();
    for (name, plan) in plans {
        runs.push((name, ModelRun::new(plan, &models, server.settled)?));
    }
    if let Some(path) = &arguments.arrivals {
        write_arrivals(path, &runs)?;
    }
    if arguments.run.show.quiet {
        return Ok(Exit::Ok);
    }
    say::result(&server.describe(&limits));
    let all_limits: Vec<&ServerLimit> = models.iter().flat_map(|it| &it.limits).collect();
    table(&runs, &all_limits).lines().for_each(|line| say::result(line.trim_end()));
    notes(is_acked, &runs);
    let differences = limits.iter().flat_map(|model| &model.differences);
    differences.for_each(|what| say::note(what));
    let assumptions = answers.assumptions(&job, server.settled)?;
    assumptions.iter().for_each(|what| say::note(what));
    Ok(Exit::Ok)
}

fn table(runs: &[(&str, ModelRun)], limits: &[&ServerLimit]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADS);
    for (name, model) in runs {
        table.add_row(row(name, model, limits));
    }
    for column in [1, 2, 3, 4, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

const HEADS: [&str; 8] =
    ["guard", "time", "bound", "share", "refused", "fullest window", "ok", "failed"];

/// What the table alone would not say.
fn notes(is_acked: bool, runs: &[(&str, ModelRun)]) {
    for (name, model) in runs {
        if let Some(advice) = &model.run.advice {
            say::note(&format!("{name}: {advice}"));
        }
        let (sent, records) = (model.run.sent, model.run.ok + model.run.failed);
        if sent.sent.saturating_sub(sent.retried + sent.refused) != records {
            say::note(&format!("{name}: {} requests for {records} records", sent.sent));
        }
        if let Some(why) = &model.run.stopped {
            let why = crate::report::escape(why);
            say::note(&format!("{name}: it would stop: {why}"));
        }
    }
    if is_acked {
        say::note(
            "acked: the model acknowledges a request when it arrives, which takes as long back as it took there",
        );
    }
}

fn write_arrivals(path: &str, runs: &[(&str, ModelRun)]) -> Result<(), Error> {
    let mut text = String::from("guard,seconds\n");
    for (name, model) in runs {
        for arrival in &model.arrivals {
            text += &format!("{name},{:.6}\n", arrival.at.as_secs_f64());
        }
    }
    std::fs::write(path, text).map_err(|error| {
        Error::stopped(format!("the arrivals can't be written to {path} (--arrivals): {error}"))
    })
}

fn plan(job: &Job) -> Result<Plan, Error> {
    Plan::new(job, &environment)
}

/// A plan, and what it is called among those that are compared.
type Candidate = (&'static str, Plan);

/// What can be chosen, and what is usual elsewhere.
fn all(job: &Job) -> Result<Vec<Candidate>, Error> {
    let under = |guard| {
        let limit = limit::Settings { guard, ..job.limit.clone() };
        plan(&Job { limit, ..job.clone() })
    };
    let mut all = Vec::new();
    for guard in Guard::ALL {
        all.push((guard.name(), under(guard)?));
    }
    all.push(("token bucket", with_token_buckets(under(Guard::Sent)?)));
    Ok(all)
}

fn row(name: &str, model: &ModelRun, limits: &[&ServerLimit]) -> [String; 8] {
    let run = &model.run;
    let took = run.took.as_secs_f64();
    let bound = run.bound.as_ref().map(|bound| bound.time.as_secs_f64());
    // The bound is of the mean latency, so that a run can be a little shorter.
    let share = bound.filter(|_| took > 0.0).map(|bound| (bound / took).min(1.0));
    let refused: u64 = model.servers.iter().map(|server| server.refused).sum();
    let windows = model.servers.iter().flat_map(|server| &server.windows);
    let windows = windows.zip(limits);
    let windows: Vec<String> = windows.map(|(it, limit)| fullest(it, limit)).collect();
    [
        name.to_owned(),
        duration::measured(run.took),
        run.bound.as_ref().map_or_else(String::new, |bound| duration::measured(bound.time)),
        share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        refused.to_string(),
        windows.join(", "),
        run.ok.to_string(),
        run.failed.to_string(),
    ]
}

/// How full a window of any beginning was, of how much if the server counts in those.
fn fullest(window: &WindowCount, limit: &ServerLimit) -> String {
    if [LimitKind::SLIDING, LimitKind::IN_FLIGHT].contains(&limit.kind) {
        format!("{} of {}", window.most, window.units)
    } else {
        format!("{} in {}", window.most, duration::exact(limit.period))
    }
}

impl ServerModelFlags {
    fn describe(&self, servers: &[ModelLimits]) -> String {
        let server = |model: &ModelLimits| match &*model.names {
            [] => "no limit".to_owned(),
            names => names.join(" and "),
        };
        let servers: Vec<String> = servers.iter().map(server).collect();
        format!(
            "in virtual time, against a server with {}, {:.0} % of the latency on the way there, seed {}:",
            servers.join(", and for later steps one with "),
            self.behaviour.there * 100.0,
            self.behaviour.seed
        )
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is 0 to 1, such as 0.6".into())
}
