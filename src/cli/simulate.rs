//! `throng simulate`: the job in virtual time, against a model of the server.

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use throng::limit::{Guard, Policy};
use throng::plan::Job;
use throng::simulate::{Simulation, simulate};
use throng::{Error, Plan};
use throng_mock::{Faults, Latency, Limit, Refusal, Settings};

use super::{Exit, environment, job, say};

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    job: job::Arguments,
    #[command(flatten)]
    server: Server,
    /// All guards, and a token bucket, beside each other
    #[arg(long)]
    compare: bool,
    /// When requests arrived at the server, as CSV: guard, seconds
    #[arg(long, value_name = "FILE")]
    arrivals: Option<String>,
}

/// The model of the server.
#[derive(Args)]
#[command(next_help_heading = "Server")]
struct Server {
    /// What the server refuses: 22/5s, counter:22/5s, fixed:22/5s or bucket:22/5s [default: the job's rates]
    #[arg(long, value_name = "N/PERIOD")]
    server: Vec<Limit>,
    /// 0, 250ms, lognormal:250ms:0.6 or uniform:100ms:300ms
    #[arg(long, default_value = "lognormal:250ms:0.6")]
    latency: Latency,
    /// The share of the latency that passes before a request arrives
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    there: f64,
    /// Spoil a share of the answers: 429, 500, drop or cut (repeat)
    #[arg(long, value_name = "KIND=5%")]
    fault: Vec<Faults>,
    /// What a refusal says about when to come back: seconds, date or bare
    #[arg(long, default_value = "seconds")]
    refusal: Refusal,
    /// Latencies and faults follow from this
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn main(arguments: &Arguments) -> Result<Exit, Error> {
    // Nothing is written, so it doesn't matter what is there.
    let job = Job {
        output: Default::default(),
        ..arguments.job.job()?
    };
    if !job.step.is_empty() {
        say::note("only the first step is simulated: what comes of it decides on the others");
    }
    let model = Settings {
        logs: arguments.arrivals.is_some(),
        ..arguments.server.model(&job)?
    };
    let plans = match arguments.compare {
        false => vec![own(plan(&job)?)],
        true => all(&job)?,
    };
    let is_acked = |(_, plan, _): &(_, Plan, _)| plan.policy().guard() == Guard::Acked;
    let is_acked = plans.iter().any(is_acked);
    let mut runs = Vec::new();
    for (name, plan, policy) in plans {
        runs.push((name, simulate(plan, &policy, model.clone())?));
    }
    say::result(&arguments.server.describe(&model));
    table(&runs)
        .lines()
        .for_each(|line| say::result(line.trim_end()));
    notes(is_acked, &runs);
    arguments
        .arrivals
        .as_deref()
        .map_or(Ok(()), |path| write_arrivals(path, &runs))?;
    Ok(Exit::Ok)
}

fn table(runs: &[(&str, Simulation)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADS);
    for (name, simulation) in runs {
        table.add_row(row(name, simulation));
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
            let why = throng::report::escape(why);
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

fn own(plan: Plan) -> Candidate {
    let policy = plan.policy().clone();
    (policy.guard().name(), plan, policy)
}

/// What can be chosen, and what is usual elsewhere.
fn all(job: &Job) -> Result<Vec<Candidate>, Error> {
    let under = |guard| plan(&job.overlay(json!({ "limit": { "guard": guard } }))?);
    let mut all = Vec::new();
    for guard in Guard::ALL {
        all.push(own(under(guard)?));
    }
    let other = under(Guard::Sent)?;
    let buckets = other.policy().as_token_buckets();
    all.push(("token bucket", other, buckets));
    Ok(all)
}

fn row(name: &str, simulation: &Simulation) -> [String; 8] {
    let took = simulation.took.as_secs_f64();
    let bound = simulation
        .bound
        .as_ref()
        .map(|bound| bound.time.as_secs_f64());
    let windows = simulation.server.windows.iter();
    let windows: Vec<String> = windows
        .map(|window| format!("{} of {}", window.most, window.units))
        .collect();
    [
        name.to_owned(),
        format!("{took:.1} s"),
        bound.map_or_else(String::new, |bound| format!("{bound:.1} s")),
        bound.map_or_else(String::new, |bound| {
            format!("{:.1} %", bound / took * 100.0)
        }),
        simulation.server.refused.to_string(),
        windows.join(", "),
        simulation.ok.to_string(),
        simulation.failed.to_string(),
    ]
}

impl Server {
    /// A server that has the limits that the job takes it to have, or others.
    fn model(&self, job: &Job) -> Result<Settings, Error> {
        let limits = match self.server.is_empty() {
            false => self.server.clone(),
            true => {
                let of_job = job.limit.rate.iter().map(|limit| limit.to_string().parse());
                of_job.collect::<Result<_, _>>().map_err(|error| {
                    Error::plan(format!(
                        "the model has no such limit: {error}; say with --server what it refuses"
                    ))
                })?
            }
        };
        Ok(Settings {
            limits,
            latency: self.latency,
            there: self.there,
            faults: Faults {
                rates: self
                    .fault
                    .iter()
                    .flat_map(|faults| faults.rates.clone())
                    .collect(),
            },
            refusal: self.refusal,
            seed: self.seed,
            ..Settings::default()
        })
    }

    fn describe(&self, model: &Settings) -> String {
        let limits: Vec<String> = model.limits.iter().map(ToString::to_string).collect();
        let limits = match limits.is_empty() {
            true => "no limit".to_owned(),
            false => limits.join(" and "),
        };
        format!(
            "in virtual time, against a server with {limits}, {:.0} % of the latency on the way there, seed {}:",
            self.there * 100.0,
            self.seed
        )
    }
}
