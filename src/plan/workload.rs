//! The cost of all rows that are left to do. Reads the input.

use std::collections::HashMap;

use roaring::RoaringTreemap;

use super::Stage;
use crate::error::Error;
use crate::limit::{Cost, LimitScope, Policy, Rule, Workload};
use crate::price::{StagePrices, Usd};
use crate::quota_store::KeyCosts;
use crate::row::Row;
use crate::sink::CompletedRows;
use crate::source::Source;

/// Maximum number of keys of a scope whose costs are kept apart. Beyond it, the busiest key
/// is unknown.
const KEYS: usize = 100_000;

/// Maximum number of keys of a scope whose costs are kept, to compare them with what earlier
/// runs have used.
const KEPT_KEYS: usize = 10_000;

/// The cost of all rows that are left to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PlannedWork {
    /// Number of rows.
    pub rows: u64,
    /// The sum of all units.
    pub sum: Workload,
    /// The least and the most that one request costs of each unit.
    pub range: Vec<CostRange>,
    /// By scope; empty for a scope with too many keys.
    pub keys: Vec<KeyCosts>,
    /// For each total of the run, how far it goes.
    pub totals: Vec<TotalUse>,
    /// What the rows cost in money, if anything has a price.
    pub money: Option<PlannedMoney>,
}

/// What the rows cost in money, by the estimates of their units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedMoney {
    /// All of them together.
    pub sum: Usd,
    /// The least and the most that one request costs.
    pub range: Option<(Usd, Usd)>,
    /// What is left of the budget, if there is one.
    left: Option<Usd>,
    /// Number of rows, from the first one on, that the rest of the budget allows.
    pub rows: u64,
}

/// The least and the most that one request costs of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CostRange {
    pub least: u64,
    pub most: u64,
}

/// How far a total of the run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TotalUse {
    /// The limit, as the job writes it.
    pub limit: String,
    /// Name and index of the unit that it counts.
    pub unit: String,
    unit_index: usize,
    /// The units that it allows.
    pub allowed: u64,
    /// The units that the rows cost.
    pub wanted: u64,
    /// Number of rows, from the first one on, that it allows.
    pub rows: u64,
}

/// The rows that are left to do.
pub(super) struct LeftRows<'a> {
    /// The rows of earlier runs.
    pub done: &'a CompletedRows,
    /// The numbers of rows that send no request, if they are known.
    pub spared: Option<&'a RoaringTreemap>,
}

impl LeftRows<'_> {
    fn has(&self, row: &Row) -> bool {
        !self.done.has(row) && self.spared.is_none_or(|spared| !spared.contains(row.number))
    }

    /// Their number, of this number of rows.
    fn count(&self, rows: u64) -> u64 {
        let spared = self.spared.map_or(0, RoaringTreemap::len);
        rows.saturating_sub(self.done.len()).saturating_sub(spared)
    }
}

/// Adds up the costs of the rows that are left: a request for each row or batch, unless
/// limits count something else. None if the rows can't be read twice.
///
/// # Errors
/// A row costs more than some limit ever allows at once.
pub fn of(
    stage: &Stage,
    source: &Source,
    rows: Option<u64>,
    left: &LeftRows<'_>,
    money_left: Option<Usd>,
) -> Result<Option<PlannedWork>, Error> {
    let Some(rows) = rows else {
        return Ok(None);
    };
    let (policy, at_once) = (&stage.policy, stage.batch_size() as u64);
    let mut sum = WorkSum::new(policy).with_money(stage.prices.as_ref(), money_left);
    if let Some(cost) = cost_of_all(stage) {
        let left = left.count(rows);
        sum.add_same(&cost, left, left.div_ceil(at_once), at_once);
        return Ok(Some(sum.work()));
    }
    let mut rows = source.rows()?.filter(|row| row.as_ref().map_or(true, |row| left.has(row)));
    loop {
        let some: Vec<Row> = rows.by_ref().take(stage.batch_size()).collect::<Result<_, _>>()?;
        let Some(row) = stage.batch_row(&some) else {
            return Ok(Some(sum.work()));
        };
        match cost(stage, &row)? {
            Some(cost) => sum.add(&cost, some.len() as u64),
            // It will fail, and takes nothing.
            None => sum.add_free(some.len() as u64),
        }
    }
}

/// The cost of each request, where no row tells it.
fn cost_of_all(stage: &Stage) -> Option<Cost> {
    let policy = &stage.policy;
    if policy.cost().is_empty() && policy.scopes().is_empty() {
        let is_one = |unit| u64::from(unit == 0 || policy.is_limited(unit));
        return Some(Cost::new((0..policy.units().len()).map(is_one), []));
    }
    stage.fixed_cost().cloned()
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
struct WorkSum<'a> {
    rows: u64,
    prices: Option<&'a StagePrices>,
    money: Option<PlannedMoney>,
    units: Vec<u64>,
    range: Vec<Option<CostRange>>,
    totals: Vec<TotalUse>,
    /// By scope and key; none for a scope with too many keys.
    scopes: Vec<Option<KeyCosts>>,
}

impl<'a> WorkSum<'a> {
    fn new(policy: &Policy) -> WorkSum<'a> {
        let units = policy.units().len();
        let keys = policy.keys().len().max(1) as u64;
        let total = |rule: &Rule| {
            let each = rule.total().filter(|_| !matches!(rule.scope, LimitScope::Scope(_)))?;
            let pool = if rule.scope == LimitScope::Pool { keys } else { 1 };
            Some(TotalUse {
                limit: rule.name.clone(),
                unit: rule.unit_name().to_owned(),
                unit_index: rule.unit,
                allowed: each.saturating_mul(pool),
                wanted: 0,
                rows: 0,
            })
        };
        WorkSum {
            rows: 0,
            prices: None,
            money: None,
            units: vec![0; units],
            range: vec![None; units],
            totals: policy.rules().iter().filter_map(total).collect(),
            scopes: vec![Some(HashMap::new()); policy.scopes().len()],
        }
    }

    /// Adds up the money, too, of which this much is left if there is a budget.
    fn with_money(self, prices: Option<&'a StagePrices>, left: Option<Usd>) -> WorkSum<'a> {
        let nothing = PlannedMoney { sum: Usd::ZERO, range: None, left, rows: 0 };
        WorkSum { prices, money: prices.map(|_| nothing), ..self }
    }

    /// Adds the cost of the request for this number of rows.
    fn add(&mut self, cost: &Cost, rows: u64) {
        self.add_same(cost, rows, 1, rows);
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
            add(units, cost, 1);
        }
    }

    /// Adds the same cost for a number of requests, each of up to `at_once` of these rows.
    fn add_same(&mut self, cost: &Cost, rows: u64, requests: u64, at_once: u64) {
        if requests == 0 {
            return;
        }
        self.rows += rows;
        if let (Some(prices), Some(money)) = (self.prices, &mut self.money) {
            money.add(prices.estimate(cost), rows, requests, at_once);
        }
        add(&mut self.units, cost, requests);
        for (unit, range) in self.range.iter_mut().enumerate() {
            let cost = cost.units_of(unit);
            let (least, most) = range.map_or((cost, cost), |it| (it.least, it.most));
            *range = Some(CostRange { least: least.min(cost), most: most.max(cost) });
        }
        for total in &mut self.totals {
            let each = cost.units_of(total.unit_index);
            // A total that is used up ends the run.
            if total.wanted <= total.allowed {
                let more = (total.allowed - total.wanted).checked_div(each).unwrap_or(requests);
                total.rows += more.saturating_mul(at_once).min(rows);
            }
            total.wanted = total.wanted.saturating_add(each.saturating_mul(requests));
        }
    }

    fn add_free(&mut self, rows: u64) {
        self.rows += rows;
        if let Some(money) = self.money.as_mut().filter(|money| money.is_enough()) {
            money.rows += rows;
        }
        let open = self.totals.iter_mut().filter(|total| total.wanted <= total.allowed);
        open.for_each(|total| total.rows += rows);
    }

    fn work(self) -> PlannedWork {
        let busiest = |keys: &KeyCosts| {
            let each =
                (0..self.units.len()).map(|unit| keys.values().map(|units| units[unit]).max());
            each.map(Option::unwrap_or_default).collect()
        };
        let kept = |keys: Option<KeyCosts>| keys.filter(|keys| keys.len() <= KEPT_KEYS);
        PlannedWork {
            rows: self.rows,
            sum: Workload {
                busiest: self.scopes.iter().map(|keys| keys.as_ref().map(busiest)).collect(),
                units: self.units,
                ..Workload::default()
            },
            range: self.range.into_iter().flatten().collect(),
            keys: self.scopes.into_iter().map(|keys| kept(keys).unwrap_or_default()).collect(),
            totals: self.totals,
            money: self.money,
        }
    }
}

impl PlannedMoney {
    /// Whether the budget allows all rows so far.
    pub fn is_enough(&self) -> bool {
        self.left.is_none_or(|left| self.sum <= left)
    }

    /// Adds requests of this price, each of up to `at_once` of these rows.
    fn add(&mut self, each: Usd, rows: u64, requests: u64, at_once: u64) {
        // A budget that is used up ends the run.
        if self.is_enough() {
            let left = self.left.map_or(Usd(u64::MAX), |left| left.minus(self.sum));
            let more = left.0.checked_div(each.0).unwrap_or(requests);
            self.rows += more.saturating_mul(at_once).min(rows);
        }
        self.sum = self.sum.plus(each.times(requests, 1));
        let (least, most) = self.range.unwrap_or((each, each));
        self.range = Some((least.min(each), most.max(each)));
    }
}

fn add(units: &mut [u64], cost: &Cost, requests: u64) {
    for (unit, sum) in units.iter_mut().enumerate() {
        *sum = sum.saturating_add(cost.units_of(unit).saturating_mul(requests));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::price::PriceList;
    use std::time::Duration;

    fn sum(rates: &[&str]) -> WorkSum<'static> {
        let settings = serde_json::from_value(json!({ "rate": rates })).unwrap();
        WorkSum::new(&Policy::new(&settings, Duration::ZERO).unwrap())
    }

    #[test]
    fn a_total_goes_as_far_as_the_rows_that_it_allows() {
        let mut work = sum(&["100 usd/run", "5/1s"]);
        for _ in 0..20 {
            work.add(&Cost::new([1, 30], []), 1);
        }
        let work = work.work();
        let total = &work.totals[0];
        assert_eq!((total.rows, total.wanted, total.allowed), (3, 600, 100));
        assert_eq!((work.rows, work.sum.units, work.range[1].most), (20, vec![20, 600], 30));
    }

    #[test]
    fn rows_that_cost_the_same_are_not_counted_one_by_one() {
        for (rows, at_once, allowed) in [(20, 1, 7), (20, 5, 20), (3, 1, 3), (0, 1, 0)] {
            let mut work = sum(&["7/run"]);
            work.add_same(&Cost::one(), rows, rows.div_ceil(at_once), at_once);
            let total = work.work().totals.remove(0);
            assert_eq!((total.rows, total.wanted), (allowed, rows.div_ceil(at_once)), "{rows}");
        }
    }

    #[test]
    fn a_budget_goes_as_far_as_the_rows_that_it_allows() {
        let prices: PriceList = serde_json::from_value(json!({"requests": "0.3"})).unwrap();
        let policy = Policy::new(&Default::default(), Duration::ZERO).unwrap();
        let prices = prices.of_stage(&policy).unwrap();
        let mut work = WorkSum::new(&policy).with_money(Some(&prices), "1".parse().ok());
        for _ in 0..5 {
            work.add(&Cost::one(), 1);
        }
        let money = work.work().money.unwrap();
        assert_eq!((money.rows, money.is_enough()), (3, false));
        assert_eq!(money.sum, "1.5".parse().unwrap());
    }

    #[test]
    fn a_row_that_will_fail_costs_nothing() {
        let mut work = sum(&["2/run"]);
        work.add(&Cost::one(), 1);
        work.add_free(1);
        work.add(&Cost::one(), 1);
        work.add(&Cost::one(), 1);
        work.add_free(1);
        let work = work.work();
        assert_eq!((work.rows, work.totals[0].rows, work.totals[0].wanted), (5, 3, 3));
    }
}
