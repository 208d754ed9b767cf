//! The true cost of a request, as its answer states it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Extractor, Settings};
use crate::error::Error;
use crate::record::Failure;

/// Extracts the true costs of requests from their answers.
pub struct CostExtractor {
    /// The index of the unit of each value of the extractor.
    units: Vec<usize>,
    extractor: Extractor,
}

impl CostExtractor {
    /// Compiles the jq programs by unit; `units` are the units of the limits in order.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn new(
        programs: &BTreeMap<String, String>,
        units: &[String],
    ) -> Result<CostExtractor, Error> {
        let optional =
            |(unit, code): (&String, &String)| (format!("{unit}?"), Value::from(code.as_str()));
        let settings: Settings = programs.iter().map(optional).collect();
        let index = |name: &String| units.iter().position(|unit| unit == name);
        let wrong = |error| Error::plan(format!("limit.settle (--settle): {error}"));
        Ok(CostExtractor {
            units: programs.keys().filter_map(index).collect(),
            extractor: Extractor::new(&settings).map_err(wrong)?,
        })
    }

    /// The index of each unit and its cost, where the answer states a valid one.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn costs(&self, body: &[u8]) -> Result<Vec<(usize, u64)>, Failure> {
        if self.units.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.extractor.extract_any(body)?;
        let pairs = self.units.iter().copied().zip(values);
        Ok(pairs.filter_map(|(unit, value)| Some((unit, amount(&value)?))).collect())
    }
}

fn amount(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0.0..=9e15).contains(&number).then_some(number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_costs_are_numbers_where_the_answer_has_them() {
        let programs = BTreeMap::from([("tokens".to_owned(), ".usage.total_tokens".to_owned())]);
        let units = ["requests".to_owned(), "tokens".to_owned()];
        let settler = CostExtractor::new(&programs, &units).unwrap();
        for (body, costs) in [
            (&b"{\"usage\": {\"total_tokens\": 31.2}}"[..], vec![(1, 32)]),
            (b"{\"usage\": {\"total_tokens\": -1}}", vec![]),
            (b"{\"usage\": {\"total_tokens\": \"many\"}}", vec![]),
            (b"{}", vec![]),
            (b"not json", vec![]),
        ] {
            assert_eq!(settler.costs(body), Ok(costs));
        }
    }
}
