//! The server that a plan takes itself to deal with. Pure.

use std::time::Duration;

use throng_mock::{LimitKind, Partition, ServerLimit as Model, ServerUnit};

use super::CALENDAR;
use crate::limit::{Limit, UncountedOutcome};
use crate::plan::{Plan, told};

/// A server with the limits that a plan takes it to have.
#[derive(Debug, Clone, Default)]
pub struct SimulatedServer {
    /// What it refuses.
    pub limits: Vec<Model>,
    /// The same for people, one by one.
    pub names: Vec<String>,
    /// What it does not do as the real one does, a sentence each.
    pub unlike: Vec<String>,
}

impl SimulatedServer {
    /// One with the limits that the plan, or its profile, declares.
    #[must_use]
    pub fn of(plan: &Plan) -> SimulatedServer {
        let mut server = SimulatedServer::default();
        for limit in &plan.first().limits.rate {
            server.add(limit, plan);
        }
        if let Some(cap) = plan.first().limits.in_flight {
            let limit = Model::new(LimitKind::InFlight, amount(cap), Duration::ZERO);
            server.put(format!("at most {cap} in flight"), limit, plan, None);
        }
        server.unlike.extend(unlike(plan));
        server
    }

    /// One with these limits in their place; whose they are is as the plan says.
    #[must_use]
    pub fn with(plan: &Plan, limits: &[Model]) -> SimulatedServer {
        let mut server = SimulatedServer::default();
        for limit in limits {
            server.put(limit.to_string(), limit.clone(), plan, None);
        }
        server.unlike.extend(unlike(plan));
        server
    }

    fn add(&mut self, limit: &Limit, plan: &Plan) {
        let Some(kind) = self.kind(limit) else {
            return;
        };
        let of_requests = limit.unit.is_none();
        let burst = limit.details.burst;
        let burst = burst.or(plan.first().limits.burst.filter(|_| of_requests));
        let model = Model {
            unit: unit(limit, plan),
            burst: burst.filter(|_| kind.has_burst()).map(amount),
            later: later(limit),
            ..Model::new(kind, amount(limit.amount.units), limit.amount.period)
        };
        // A smaller burst than a window's holds is a bucket beside it.
        let beside = Model {
            kind: LimitKind::Bucket,
            burst: burst.map(amount),
            ..model.clone()
        };
        let per = limit.details.per.as_ref();
        match (burst, kind) {
            (Some(burst), kind) if kind.has_burst() => {
                self.put(format!("{limit} with a burst of {burst}"), model, plan, per);
            }
            (Some(burst), _) if burst < limit.amount.units => {
                self.put(limit.to_string(), model, plan, per);
                self.put(format!("a burst of {burst} of {limit}"), beside, plan, per);
            }
            _ => self.put(limit.to_string(), model, plan, per),
        }
    }

    /// How the model counts it, if it does.
    fn kind(&mut self, limit: &Limit) -> Option<LimitKind> {
        let counting = &limit.counting;
        self.unlike
            .extend(counting.model_differs(&limit.to_string()));
        counting.model()?.parse().ok()
    }

    /// Adds a limit, whose clients the plan tells apart by this, or else as it does by
    /// and large.
    fn put(&mut self, name: String, limit: Model, plan: &Plan, per: Option<&String>) {
        let policy = plan.policy();
        let template = per.or(plan.first().limits.per.as_ref());
        let scope = template.and_then(|template| {
            let mut scopes = policy.scopes().iter();
            Some((template, scopes.position(|scope| scope == template)?))
        });
        let (per, whose) = match (scope, policy.keys().len()) {
            (Some((template, place)), _) => {
                (Some(told::scope(place)), format!(" for each {template}"))
            }
            (None, 0) => (None, String::new()),
            (None, keys) => (Some(told::pool()), format!(" for each of {keys} API keys")),
        };
        self.names.push(name + &whose);
        self.limits.push(Model {
            partition: per.map(Partition::Header),
            ..limit
        });
    }
}

fn unit(limit: &Limit, plan: &Plan) -> ServerUnit {
    let mut units = plan.policy().units().iter();
    let place = limit
        .unit
        .as_ref()
        .and_then(|name| units.position(|unit| unit == name));
    place.map_or(ServerUnit::Requests, |place| {
        ServerUnit::Header(told::unit(place))
    })
}

/// More than the model can count is as good as no limit.
fn amount(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// How much later than by UTC its days begin, on the day of the simulation.
fn later(limit: &Limit) -> Duration {
    const DAY: i64 = 86_400;
    let Some(zone) = limit.counting.zone() else {
        return Duration::ZERO;
    };
    let east = i64::from(zone.to_offset(CALENDAR).seconds());
    Duration::from_secs((-east).rem_euclid(DAY).unsigned_abs())
}

/// What does not come from any one limit.
fn unlike(plan: &Plan) -> Vec<String> {
    let limits = &plan.first().limits;
    let chain = (plan.stages.len() > 1).then(|| {
        "only the first step is simulated: what comes of it decides on the others".to_owned()
    });
    let pages = plan.first().pages.is_some().then(|| {
        "each row is one request: how many pages its answer has is not known before".to_owned()
    });
    let route = limits.route.as_ref().map(|route| {
        format!("what the server allows each {route} (limit.route) is not known, and left out")
    });
    let settle = (!limits.settle.is_empty()).then(|| {
        "each request costs what limit.cost says: the model's answers don't settle it".to_owned()
    });
    let uncounted = limits
        .uncounted
        .contains(&UncountedOutcome::Failed)
        .then(|| "the model counts answers that fail, too (limit.uncounted)".to_owned());
    let all = [chain, pages, route, settle, uncounted];
    all.into_iter().flatten().collect()
}
