//! The model of a job's servers: the mock, served over streams in memory.

use crate::limit::Cost;
use crate::simulate::{CALENDAR_AT_START, MemoryStream, Servers, Simulation, simulate};
use crate::{Error, Plan};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use throng_mock::{AckCounter, Arrival, Judgement, LocalServer, Settings};

mod answers;
mod labels;
mod limits;

pub use answers::Answers;
use labels::CostShares;
pub use limits::ModelLimits;

/// A stream holds this many bytes in each direction.
const STREAM: usize = 64 * 1024;

/// A simulated run, and what its servers have seen.
#[derive(Debug)]
pub struct ModelRun {
    /// The run.
    pub run: Simulation,
    /// The judgement of each server.
    pub servers: Vec<Judgement>,
    /// What arrived at them, if their settings keep it.
    pub arrivals: Vec<Arrival>,
}

impl ModelRun {
    /// Simulates a plan against servers with these settings, one for each of its stages
    /// with limits of its own. A unit that answers settle costs this share of what is
    /// declared.
    ///
    /// # Errors
    /// The input can't be read.
    pub fn new(plan: Plan, settings: &[Settings], settled: f64) -> Result<ModelRun, Error> {
        let seed = settings.first().map_or(0, |first| first.seed);
        let shares = plan.limits().map(|(_, policy)| policy);
        let shares: Vec<CostShares> = shares.map(|it| CostShares::new(it, settled)).collect();
        let start = || ModelServers::start(settings.iter().cloned().zip(shares));
        let (mut run, servers) = simulate(plan, seed, start)?;
        // It is reckoned with the costs that are declared.
        run.bound.take_if(|_| settled < 1.0);
        let servers = servers.0.iter().map(|(server, _)| server);
        Ok(ModelRun {
            run,
            servers: servers.clone().map(LocalServer::judgement).collect(),
            arrivals: servers.flat_map(LocalServer::arrivals).collect(),
        })
    }
}

/// Servers in memory, which are called within a virtual run.
pub struct ModelServers(Vec<(LocalServer, CostShares)>);

impl ModelServers {
    /// Starts a server with each of these settings; to be called within a virtual run.
    pub fn start(settings: impl IntoIterator<Item = (Settings, CostShares)>) -> ModelServers {
        let start = |(settings, shares)| {
            let settings = Settings {
                anything: true,
                clock: Some(Duration::from_secs(CALENDAR_AT_START.as_second().unsigned_abs())),
                ..settings
            };
            (LocalServer::new(settings), shares)
        };
        ModelServers(settings.into_iter().map(start).collect())
    }
}

impl Servers for ModelServers {
    fn connect(&self, limits: usize) -> MemoryStream {
        let (ours, theirs) = tokio::io::duplex(STREAM);
        let acks = AckCounter::default();
        if let Some((server, _)) = self.0.get(limits) {
            tokio::task::spawn_local(server.clone().serve(theirs, acks.clone()));
        }
        MemoryStream { io: ours, acked: Box::new(move || acks.bytes()) }
    }

    fn label(&self, limits: usize, request: &mut Request<Bytes>, cost: &Cost, key: Option<usize>) {
        if let Some((_, shares)) = self.0.get(limits) {
            shares.label(request, cost, key);
        }
    }
}
