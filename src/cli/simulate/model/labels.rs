//! What requests to a model say in their headers, and a real server knows by itself:
//! whose limits they count against, and what they cost.

use crate::limit::{Cost, Policy};
use crate::render::percent_encode;
use http::{HeaderName, HeaderValue, Request};

/// The header with the index of the key of the pool.
pub const POOL: HeaderName = HeaderName::from_static("throng-pool");

/// The header with the key of a request in the policy's scope with this index.
pub fn scope(index: usize) -> HeaderName {
    numbered("scope", index)
}

/// The header with the cost in the policy's unit with this index.
pub fn unit(index: usize) -> HeaderName {
    numbered("unit", index)
}

fn numbered(what: &str, index: usize) -> HeaderName {
    let name = format!("throng-{what}-{index}").parse();
    name.unwrap_or(POOL)
}

/// What each unit of a policy really costs, as a share of what a request declares.
#[derive(Debug, Clone, Default)]
pub struct CostShares(Vec<f64>);

impl CostShares {
    /// Units that answers settle cost this share, all others what is declared.
    pub fn new(policy: &Policy, settled: f64) -> CostShares {
        let share = |unit: &String| {
            if policy.settle().contains_key(unit) { settled } else { 1.0 }
        };
        CostShares(policy.units().iter().map(share).collect())
    }

    /// Writes what a request costs, and whose limits it counts against, into its headers.
    pub fn label<B>(&self, request: &mut Request<B>, cost: &Cost, key: Option<usize>) {
        let scopes = cost.keys().iter().enumerate();
        let scopes = scopes.map(|(index, key)| (scope(index), percent_encode(key)));
        let units = self.0.iter().enumerate();
        let units = units.map(|(index, share)| {
            let units = (cost.units_of(index) as f64 * share).ceil();
            (unit(index), units.to_string())
        });
        let pool = key.map(|key| (POOL, key.to_string()));
        for (name, value) in scopes.chain(units).chain(pool) {
            if let Ok(value) = HeaderValue::try_from(value) {
                request.headers_mut().insert(name, value);
            }
        }
    }
}
