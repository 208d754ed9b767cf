//! `throng simulate`: runs the job in virtual time against a model of the server.

use crate::limit::{Guard, Policy};
use crate::plan::Job;
use crate::simulate::{self, Simulation, simulate};
use crate::{Error, Plan};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use humantime::format_duration;
use serde_json::json;
use throng_mock::{Latency, LimitKind, ServerLimit, Settings, WindowCount};

use super::exit::Exit;
use super::job::environment;
use super::server::Behaviour;
use super::{job, say};

#[derive(Args)]
#[group(skip)]
pub struct SimulateArgs {
    #[command(flatten)]
    job: job::JobArgs,
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
    #[command(flatten)]
    behaviour: Behaviour,
}

pub fn main(arguments: &SimulateArgs) -> Result<Exit, Error> {
    // Nothing is written, so it doesn't matter what is there.
    let job = Job {
        output: Default::default(),
        ..arguments.job.job()?
    };
    let own = plan(&job)?;
    let server = match &*arguments.server.server {
        [] => simulate::SimulatedServer::of(&own),
        limits => simulate::SimulatedServer::with(&own, limits),
    };
    let model = Settings {
        limits: server.limits,
        latency: arguments.server.latency,
        logs: arguments.arrivals.is_some(),
        ..arguments.server.behaviour.settings()
    };
    let plans = if arguments.compare {
        all(&job)?
    } else {
        vec![as_planned(own)]
    };
    let is_acked = |(_, plan, _): &(_, Plan, _)| plan.policy().guard() == Guard::Acked;
    let is_acked = plans.iter().any(is_acked);
    let mut runs = Vec::new();
    for (name, plan, policy) in plans {
        runs.push((name, simulate(plan, &policy, model.clone())?));
    }
    say::result(&arguments.server.describe(&server.names));
    table(&runs, &model.limits)
        .lines()
        .for_each(|line| say::result(line.trim_end()));
    notes(is_acked, &runs);
    server.unlike.iter().for_each(|what| say::note(what));
    arguments
        .arrivals
        .as_deref()
        .map_or(Ok(()), |path| write_arrivals(path, &runs))?;
    Ok(Exit::Ok)
}

fn table(runs: &[(&str, Simulation)], limits: &[ServerLimit]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADS);
    for (name, simulation) in runs {
        table.add_row(row(name, simulation, limits));
    }
    for column in [1, 2, 3, 4, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

const HEADS: [&str; 8] = [
    "guard",
    "time",
    "bound",
    "share",
    "refused",
    "fullest window",
    "ok",
    "failed",
];

/// What the table alone would not say.
fn notes(is_acked: bool, runs: &[(&str, Simulation)]) {
    for (name, simulation) in runs {
        if let Some(advice) = &simulation.advice {
            say::note(&format!("{name}: {advice}"));
        }
        if let Some(why) = &simulation.stopped {
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

fn write_arrivals(path: &str, runs: &[(&str, Simulation)]) -> Result<(), Error> {
    let mut text = String::from("guard,seconds\n");
    for (name, simulation) in runs {
        for arrival in &simulation.arrivals {
            text += &format!("{name},{:.6}\n", arrival.at.as_secs_f64());
        }
    }
    std::fs::write(path, text).map_err(|error| {
        Error::stopped(format!(
            "the arrivals can't be written to {path} (--arrivals): {error}"
        ))
    })
}

fn plan(job: &Job) -> Result<Plan, Error> {
    Plan::new(job, &environment)
}

/// A plan, and the policy that it is carried out under.
type Candidate = (&'static str, Plan, Policy);

fn as_planned(plan: Plan) -> Candidate {
    let policy = plan.policy().clone();
    (policy.guard().name(), plan, policy)
}

/// What can be chosen, and what is usual elsewhere.
fn all(job: &Job) -> Result<Vec<Candidate>, Error> {
    let under = |guard| plan(&job.overlay(json!({ "limit": { "guard": guard } }))?);
    let mut all = Vec::new();
    for guard in Guard::ALL {
        all.push(as_planned(under(guard)?));
    }
    let other = under(Guard::Sent)?;
    let buckets = other.policy().as_token_buckets();
    all.push(("token bucket", other, buckets));
    Ok(all)
}

fn row(name: &str, simulation: &Simulation, limits: &[ServerLimit]) -> [String; 8] {
    let took = simulation.took.as_secs_f64();
    let bound = simulation
        .bound
        .as_ref()
        .map(|bound| bound.time.as_secs_f64());
    let share = bound.filter(|_| took > 0.0).map(|bound| bound / took);
    let windows = simulation.server.windows.iter().zip(limits);
    let windows: Vec<String> = windows.map(|(it, limit)| fullest(it, limit)).collect();
    [
        name.to_owned(),
        format!("{took:.1} s"),
        bound.map_or_else(String::new, |bound| format!("{bound:.1} s")),
        share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        simulation.server.refused.to_string(),
        windows.join(", "),
        simulation.ok.to_string(),
        simulation.failed.to_string(),
    ]
}

/// How full a window of any beginning was, of how much if the server counts in those.
fn fullest(window: &WindowCount, limit: &ServerLimit) -> String {
    match limit.kind {
        LimitKind::Sliding | LimitKind::InFlight => format!("{} of {}", window.most, window.units),
        _ => format!("{} in {}", window.most, format_duration(limit.period)),
    }
}

impl ServerModelFlags {
    fn describe(&self, limits: &[String]) -> String {
        let limits = if limits.is_empty() {
            "no limit".to_owned()
        } else {
            limits.join(" and ")
        };
        format!(
            "in virtual time, against a server with {limits}, {:.0} % of the latency on the way there, seed {}:",
            self.behaviour.there * 100.0,
            self.behaviour.seed
        )
    }
}
