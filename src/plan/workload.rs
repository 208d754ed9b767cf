//! What all rows together ask of the limits. [door: files]

use std::collections::HashMap;
use std::sync::Arc;

use super::Stage;
use crate::error::Error;
use crate::limit::{Cost, Workload};
use crate::row::Row;
use crate::source::Source;

/// More keys than this aren't told apart: which is the busiest is then unknown.
const KEYS: usize = 100_000;

/// Adds up what the rows ask, which is a request each, or one for each batch, unless
/// limits count something else; none if the rows can't be read twice.
///
/// # Errors
/// A row asks for more at once than some limit ever allows.
pub fn demand(step: &Stage, source: &Source, rows: Option<u64>) -> Result<Option<Workload>, Error> {
    let Some(rows) = rows else {
        return Ok(None);
    };
    let (policy, at_once) = (&step.policy, step.rows_at_once());
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
        let Some(row) = step.together(&some) else {
            return Ok(Some(sum.demand()));
        };
        if let Some(ask) = ask(step, &row)? {
            sum.add(&ask);
        }
    }
}

/// What the row asks; none if it has no request, and will fail.
fn ask(step: &Stage, row: &Row) -> Result<Option<Cost>, Error> {
    let Ok(request) = step.renderer.render(row) else {
        return Ok(None);
    };
    let Ok(price) = step.renderer.cost(row, &request) else {
        return Ok(None);
    };
    let ask = Cost::new(price.units, price.keys);
    let too_much = |why| Error::plan(format!("row {}: {why}", row.number));
    step.policy.check(&ask).map_err(too_much)?;
    Ok(Some(ask))
}

/// What has been added up so far.
struct WorkSum {
    units: Vec<u64>,
    /// By scope and key; none once there are too many keys.
    scopes: Vec<Option<HashMap<Arc<str>, Vec<u64>>>>,
}

impl WorkSum {
    fn add(&mut self, ask: &Cost) {
        add(&mut self.units, ask);
        for (scope, key) in self.scopes.iter_mut().zip(ask.keys()) {
            let Some(keys) = scope else {
                continue;
            };
            if keys.len() >= KEYS && !keys.contains_key(key) {
                *scope = None;
                continue;
            }
            let units = keys.entry(key.clone()).or_default();
            units.resize(self.units.len(), 0);
            add(units, ask);
        }
    }

    fn demand(self) -> Workload {
        let busiest = |keys: HashMap<Arc<str>, Vec<u64>>| {
            let each =
                (0..self.units.len()).map(|unit| keys.values().map(|units| units[unit]).max());
            each.map(Option::unwrap_or_default).collect()
        };
        Workload {
            busiest: self
                .scopes
                .into_iter()
                .map(|keys| keys.map(busiest))
                .collect(),
            units: self.units,
        }
    }
}

fn add(units: &mut [u64], ask: &Cost) {
    for (unit, sum) in units.iter_mut().enumerate() {
        *sum = sum.saturating_add(ask.units_of(unit));
    }
}
