//! The cost of all rows together. Reads the input.

use std::collections::HashMap;
use std::sync::Arc;

use super::Stage;
use crate::error::Error;
use crate::limit::{Cost, Workload};
use crate::row::Row;
use crate::source::Source;

/// Maximum number of keys of a scope whose costs are kept apart. Beyond it, the busiest key
/// is unknown.
const KEYS: usize = 100_000;

/// Adds up the costs of the rows: a request for each row or batch, unless limits count
/// something else. None if the rows can't be read twice.
///
/// # Errors
/// A row costs more than some limit ever allows at once.
pub fn of(stage: &Stage, source: &Source, rows: Option<u64>) -> Result<Option<Workload>, Error> {
    let Some(rows) = rows else {
        return Ok(None);
    };
    let (policy, at_once) = (&stage.policy, stage.batch_size());
    if policy.cost().is_empty() && policy.scopes().is_empty() {
        return Ok(Some(Workload {
            units: vec![rows.div_ceil(at_once as u64); policy.units().len()],
            busiest: Vec::new(),
        }));
    }
    let mut sum = WorkSum {
        units: vec![0; policy.units().len()],
        scopes: vec![Some(HashMap::new()); policy.scopes().len()],
    };
    let mut rows = source.rows()?;
    loop {
        let some: Vec<Row> = rows.by_ref().take(at_once).collect::<Result<_, _>>()?;
        let Some(row) = stage.batch_row(&some) else {
            return Ok(Some(sum.workload()));
        };
        if let Some(cost) = cost(stage, &row)? {
            sum.add(&cost);
        }
    }
}

/// The cost of a row's request; none for a row without a request, which will fail.
fn cost(stage: &Stage, row: &Row) -> Result<Option<Cost>, Error> {
    let Ok(request) = stage.renderer.render(row) else {
        return Ok(None);
    };
    let Ok(cost) = stage.renderer.cost(row, &request) else {
        return Ok(None);
    };
    let cost = Cost::new(cost.units, cost.keys);
    let too_much = |why| Error::plan(format!("row {}: {why}", row.number));
    stage.policy.check(&cost).map_err(too_much)?;
    Ok(Some(cost))
}

/// The sum so far.
struct WorkSum {
    units: Vec<u64>,
    /// By scope and key; none for a scope with too many keys.
    scopes: Vec<Option<HashMap<Arc<str>, Vec<u64>>>>,
}

impl WorkSum {
    fn add(&mut self, cost: &Cost) {
        add(&mut self.units, cost);
        for (scope, key) in self.scopes.iter_mut().zip(cost.keys()) {
            let Some(keys) = scope else {
                continue;
            };
            if keys.len() >= KEYS && !keys.contains_key(key) {
                *scope = None;
                continue;
            }
            let units = keys.entry(key.clone()).or_default();
            units.resize(self.units.len(), 0);
            add(units, cost);
        }
    }

    fn workload(self) -> Workload {
        let busiest = |keys: HashMap<Arc<str>, Vec<u64>>| {
            let each =
                (0..self.units.len()).map(|unit| keys.values().map(|units| units[unit]).max());
            each.map(Option::unwrap_or_default).collect()
        };
        Workload {
            busiest: self.scopes.into_iter().map(|keys| keys.map(busiest)).collect(),
            units: self.units,
        }
    }
}

fn add(units: &mut [u64], cost: &Cost) {
    for (unit, sum) in units.iter_mut().enumerate() {
        *sum = sum.saturating_add(cost.units_of(unit));
    }
}
