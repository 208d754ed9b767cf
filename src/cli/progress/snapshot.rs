//! A run at one moment, as the full view shows it and as another process is told of it.

use serde::{Deserialize, Serialize};

use crate::engine::Run;
use crate::events::{self, RowFailed};

use super::facts::{Facts, Sampler};

/// A run at one moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The file of the records, or the server.
    pub name: String,
    /// The process.
    pub process: u32,
    /// What the two lines show.
    pub facts: Facts,
    /// Whether a person has paused the run.
    pub is_paused: bool,
    /// The share of each limit's rate that is taken.
    pub rate_share: f64,
    /// Whether the reader may pause the run, change its rate and stop it.
    pub may_control: bool,
    /// The last snapshot of the run's events.
    pub run: events::Snapshot,
    /// The last rows that failed, the latest first.
    pub failures: Vec<RowFailed>,
    /// The units that answers have told, by name.
    pub costs: Vec<(String, u64)>,
}

impl Snapshot {
    /// The run now.
    pub fn of(run: &Run, sampler: &mut Sampler) -> Snapshot {
        let facts = sampler.sample(run);
        let units = run.plan().policy().units();
        let costs = run.metrics().settled_costs().into_iter();
        Snapshot {
            name: name(run),
            process: std::process::id(),
            facts,
            is_paused: run.is_paused(),
            rate_share: run.rate_share(),
            may_control: true,
            run: sampler.news.snapshot.clone(),
            failures: sampler.news.failures.iter().cloned().collect(),
            costs: costs
                .filter_map(|(unit, cost)| Some((units.get(unit)?.clone(), cost)))
                .collect(),
        }
    }
}

/// The file of the records, or else the server.
fn name(run: &Run) -> String {
    let server = || run.plan().first().account.server.clone();
    run.plan().output_file().unwrap_or_else(server)
}
