//! The limits of the servers that a plan takes itself to deal with. Pure.

use std::time::Duration;

use crate::Plan;
use crate::limit::{Limit, Policy, Settings, UncountedOutcome};
use crate::simulate::CALENDAR_AT_START;
use throng_mock::{LimitKind, Partition, ServerLimit, ServerUnit};

use super::labels;

/// The limits of a server.
#[derive(Debug, Clone, Default)]
pub struct ModelLimits {
    /// What it refuses.
    pub limits: Vec<ServerLimit>,
    /// The limits as people read them.
    pub names: Vec<String>,
    /// How it differs from the real server, a sentence each.
    pub differences: Vec<String>,
}

impl ModelLimits {
    /// The limits of each stage of a plan that has its own, as the plan or its profile
    /// declares them.
    pub fn of(plan: &Plan) -> Vec<ModelLimits> {
        let limits = plan.limits();
        limits.map(|(settings, policy)| ModelLimits::declared(settings, policy)).collect()
    }

    /// These limits in the place of the first stage's; its clients are told apart as the
    /// plan does.
    pub fn with(plan: &Plan, limits: &[ServerLimit]) -> Vec<ModelLimits> {
        let mut all = ModelLimits::of(plan);
        if let (Some(first), Some((settings, policy))) = (all.first_mut(), plan.limits().next()) {
            *first = ModelLimits::default();
            for limit in limits {
                first.put(limit.to_string(), limit.clone(), settings, policy, None);
            }
            first.differences = differences_of(settings);
        }
        all
    }

    fn declared(settings: &Settings, policy: &Policy) -> ModelLimits {
        let mut server = ModelLimits::default();
        for limit in &settings.rate {
            server.add(limit, settings, policy);
        }
        if let Some(cap) = settings.in_flight {
            let limit = ServerLimit::new(LimitKind::IN_FLIGHT, amount(cap), Duration::ZERO);
            let name = format!("at most {cap} in flight");
            server.put(name, limit, settings, policy, None);
        }
        server.differences.extend(differences_of(settings));
        server
    }

    fn add(&mut self, limit: &Limit, settings: &Settings, policy: &Policy) {
        let Some(kind) = self.kind(limit) else {
            return;
        };
        let of_requests = limit.unit.is_none();
        let burst = limit.details.burst;
        let burst = burst.or(settings.burst.filter(|_| of_requests));
        let model = ServerLimit {
            unit: unit(limit, policy),
            burst: burst.filter(|_| kind.has_burst()).map(amount),
            later: later(limit),
            ..ServerLimit::new(kind, amount(limit.amount.units), limit.amount.period)
        };
        let per = limit.details.per.as_ref();
        let name = match (burst, kind) {
            (Some(burst), kind) if kind.has_burst() => format!("{limit} with a burst of {burst}"),
            _ => limit.to_string(),
        };
        self.put(name, model.clone(), settings, policy, per);
        // A smaller burst than a window's holds is a bucket beside it.
        if let Some(burst) = burst.filter(|burst| *burst < limit.amount.units)
            && !kind.has_burst()
        {
            let beside =
                ServerLimit { kind: LimitKind::BUCKET, burst: Some(amount(burst)), ..model };
            let name = format!("a burst of {burst} of {limit}");
            self.put(name, beside, settings, policy, per);
        }
    }

    /// How the model counts it, if it does.
    fn kind(&mut self, limit: &Limit) -> Option<LimitKind> {
        let counting = &limit.counting;
        self.differences.extend(counting.model_differs(&limit.to_string()));
        counting.model()?.parse().ok()
    }

    /// Adds a limit that each value of `per` has for itself; without it, each value of
    /// what the settings name, or each key of the pool.
    fn put(
        &mut self,
        name: String,
        limit: ServerLimit,
        settings: &Settings,
        policy: &Policy,
        per: Option<&String>,
    ) {
        let template = per.or(settings.per.as_ref());
        let scope = template.and_then(|template| {
            let mut scopes = policy.scopes().iter();
            Some((template, scopes.position(|scope| scope == template)?))
        });
        let (per, whose) = match (scope, policy.keys().len()) {
            (Some((template, index)), _) => {
                (Some(labels::scope(index)), format!(" for each {template}"))
            }
            (None, 0) => (None, String::new()),
            (None, keys) => (Some(labels::POOL), format!(" for each of {keys} API keys")),
        };
        self.names.push(name + &whose);
        self.limits.push(ServerLimit { partition: per.map(Partition::Header), ..limit });
    }
}

fn unit(limit: &Limit, policy: &Policy) -> ServerUnit {
    let name = limit.unit.as_ref();
    let index = name.and_then(|name| policy.units().iter().position(|unit| unit == name));
    index.map_or(ServerUnit::Requests, |index| ServerUnit::Header(labels::unit(index)))
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
    let east = i64::from(zone.to_offset(CALENDAR_AT_START).seconds());
    Duration::from_secs((-east).rem_euclid(DAY).unsigned_abs())
}

/// The differences to the real server that come from no single limit.
fn differences_of(settings: &Settings) -> Vec<String> {
    let route = settings.route.as_ref().map(|route| {
        format!("what the server allows each {route} (limit.route) is not known, and left out")
    });
    let uncounted = settings
        .uncounted
        .contains(&UncountedOutcome::Failed)
        .then(|| "the model counts answers that fail, too (limit.uncounted)".to_owned());
    route.into_iter().chain(uncounted).collect()
}
