//! The prices of a job: so many dollars for so many units. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::usd::{Usd, plain};
use crate::error::Error;
use crate::limit::{self, Cost, Policy};

/// The unit that every request costs one of.
const REQUESTS: &str = "requests";

/// The price of a unit: `0.15/1M` is 0.15 dollars for a million of them, `0.002` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    text: String,
    amount: Usd,
    units: u64,
}

/// The prices of units by their names, which are those of `limit.cost` and `limit.settle`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceList {
    units: BTreeMap<String, Price>,
    /// The model whose prices a profile has; none once they are here.
    model: Option<String>,
}

/// The key of the model among the units.
pub const MODEL_KEY: &str = "model";

/// The prices of the units of one stage.
#[derive(Debug, Clone)]
pub struct StagePrices {
    /// The index of each unit among those of the limits, its place in the list, and its price.
    units: Vec<(usize, usize, Price)>,
    /// Whether requests can turn out to cost another amount than their estimate.
    pub may_differ: bool,
}

impl Price {
    /// The price of this number of units, rounded up to a millionth of a millionth of a dollar.
    #[must_use]
    pub fn of(&self, units: u64) -> Usd {
        self.amount.times(units, self.units)
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Price, String> {
        let (amount, units) = text.split_once('/').unwrap_or((text, "1"));
        let wrong = |why: String| {
            format!("the price {text:?}: {why}; write dollars per units, such as 0.15/1M")
        };
        let amount = amount.parse().map_err(wrong)?;
        let units = number(units.trim())
            .ok_or_else(|| wrong(format!("\"{}\" is no number of units", units.trim())))?;
        Ok(Price { text: text.trim().to_owned(), amount, units })
    }
}

/// `1M`, `M`, `1k`, `1000`: not 0.
fn number(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix(|last: char| last.is_ascii_alphabetic()) {
        None => (text, 1),
        Some(digits) => match text.chars().last()? {
            'k' | 'K' => (digits, 1_000),
            'm' | 'M' => (digits, 1_000_000),
            _ => return None,
        },
    };
    let count: u64 = if digits.is_empty() { 1 } else { digits.trim().parse().ok()? };
    count.checked_mul(factor).filter(|units| *units > 0 && !text.is_empty())
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => plain(&number),
            _ => String::new(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for PriceList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.units.iter().try_for_each(|(unit, price)| map.serialize_entry(unit, price))?;
        self.model.iter().try_for_each(|model| map.serialize_entry(MODEL_KEY, model))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for PriceList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PriceList, D::Error> {
        struct PricesVisitor;

        impl<'de> Visitor<'de> for PricesVisitor {
            type Value = PriceList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of units and their prices")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PriceList, A::Error> {
                let mut list = PriceList::default();
                while let Some(unit) = map.next_key::<String>()? {
                    if unit == MODEL_KEY {
                        list.model = Some(map.next_value()?);
                    } else {
                        list.units.insert(unit, map.next_value()?);
                    }
                }
                Ok(list)
            }
        }

        deserializer.deserialize_map(PricesVisitor)
    }
}

impl PriceList {
    /// Whether nothing has a price.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.model.is_none()
    }

    /// The names of the units, in the order of their places.
    #[must_use]
    pub fn units(&self) -> Vec<String> {
        self.units.keys().cloned().collect()
    }

    /// The price of the unit in this place.
    #[must_use]
    pub fn price(&self, place: usize) -> Option<&Price> {
        self.units.values().nth(place)
    }

    /// These limits, which also count the units that have a price and that no rate counts.
    #[must_use]
    pub fn counted_in(&self, limits: &limit::Settings) -> limit::Settings {
        let is_named =
            |unit: &&String| limits.cost.contains_key(*unit) || limits.settle.contains_key(*unit);
        let counted = self.units.keys().filter(is_named).cloned().collect();
        limit::Settings { counted, ..limits.clone() }
    }

    /// The prices of a stage with these limits; none if none of its units has one.
    #[must_use]
    pub fn of_stage(&self, policy: &Policy) -> Option<StagePrices> {
        let place = |unit: &String| self.units.keys().position(|known| known == unit);
        let units: Vec<(usize, usize, Price)> = policy
            .units()
            .iter()
            .enumerate()
            .filter_map(|(index, unit)| Some((index, place(unit)?, self.units.get(unit)?.clone())))
            .collect();
        let settles = |(index, _, _): &(usize, usize, Price)| {
            policy.settle().contains_key(&policy.units()[*index])
        };
        let may_differ = units.iter().any(settles);
        (!units.is_empty()).then_some(StagePrices { units, may_differ })
    }

    /// Checks that something says of each unit how many a request costs: before it is sent, if
    /// there is a budget. `policies` are those of all stages.
    ///
    /// # Errors
    /// The first unit of which nothing says so.
    pub fn check(&self, budget: Option<Usd>, policies: &[&Policy]) -> Result<(), Error> {
        if let Some(model) = &self.model {
            return Err(Error::plan(format!(
                "the model {model} was set after the job was read: write it in the job's text (price.model)"
            )));
        }
        if self.is_empty() && budget.is_some() {
            return Err(Error::plan(
                "budget (--budget) limits what a run costs, and nothing has a price: give price (--price), such as --price requests=0.002",
            ));
        }
        let is_known = |unit: &&String| {
            let is_estimated = policies.iter().any(|it| it.cost().contains_key(*unit));
            let is_told = policies.iter().any(|it| it.settle().contains_key(*unit));
            **unit == REQUESTS || is_estimated || (is_told && budget.is_none())
        };
        let Some(unit) = self.units.keys().find(|unit| !is_known(unit)) else {
            return Ok(());
        };
        Err(Error::plan(match budget {
            None => format!(
                "price (--price) names {unit}, and nothing says how many {unit} a request costs: give limit.settle (--settle), such as --settle {unit}=.usage.{unit}, or limit.cost (--cost)"
            ),
            Some(_) => format!(
                "a budget (--budget) is kept before a request is sent, and nothing says how many {unit} a request may cost: give limit.cost (--cost), such as --cost {unit}='prompt | length / 3 + 200'"
            ),
        }))
    }
}

impl StagePrices {
    /// The prices with places that follow this number of others.
    #[must_use]
    pub fn placed_after(mut self, others: usize) -> StagePrices {
        self.units.iter_mut().for_each(|(_, place, _)| *place += others);
        self
    }

    /// What a request of this cost may cost in money.
    #[must_use]
    pub fn estimate(&self, cost: &Cost) -> Usd {
        let amounts = self.units.iter().map(|(unit, _, price)| price.of(cost.units_of(*unit)));
        amounts.fold(Usd::ZERO, Usd::plus)
    }

    /// What a request of this cost has cost, by what its answer tells of each unit, and the units
    /// by their places in the list. A unit of which it tells nothing costs what was estimated.
    #[must_use]
    pub fn settled(&self, cost: &Cost, told: &[(usize, u64)]) -> (Usd, Vec<(usize, u64)>) {
        let mut sum = Usd::ZERO;
        let units = self.units.iter().map(|(unit, place, price)| {
            let told = told.iter().find(|(index, _)| index == unit);
            let units = told.map_or_else(|| cost.units_of(*unit), |(_, units)| *units);
            sum = sum.plus(price.of(units));
            (*place, units)
        });
        let units = units.collect();
        (sum, units)
    }

    /// Whether an answer that tells of these units settles the price of its request: where answers
    /// are to tell of units, it must.
    #[must_use]
    pub fn is_settled_by(&self, told: &[(usize, u64)]) -> bool {
        !self.may_differ || self.is_any_told(told)
    }

    /// Whether an answer tells of any unit that has a price.
    #[must_use]
    pub fn is_any_told(&self, told: &[(usize, u64)]) -> bool {
        told.iter().any(|(index, _)| self.units.iter().any(|(unit, _, _)| unit == index))
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for PriceList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Price".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number"] },
            "examples": [{ "input_tokens": "0.15/1M", "output_tokens": "0.60/1M" }],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_price_is_dollars_for_units() {
        for (text, units, amount) in [
            ("0.15/1M", 1, 150_000),
            ("0.0375/1M", 1, 37_500),
            ("$0.60 / 1M", 1_000_000, 600_000_000_000),
            ("2.50/1k", 1, 2_500_000_000),
            ("0.002", 1, 2_000_000_000),
            ("3/M", 2, 6_000_000),
            ("1/3", 1, 333_333_333_334),
        ] {
            assert_eq!(text.parse::<Price>().unwrap().of(units), Usd(amount), "{text}");
        }
        for text in ["", "0.15/", "0.15/0", "0.15/1Q", "cheap", "0.15/1M/2", "-1/1M"] {
            let error = text.parse::<Price>().unwrap_err();
            assert!(error.contains("such as 0.15/1M"), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_survives_being_written() {
        let list: PriceList =
            serde_json::from_value(json!({"requests": 0.002, "tokens": "0.15/1M"})).unwrap();
        assert_eq!(list.units(), ["requests", "tokens"]);
        let again = serde_json::from_value(serde_json::to_value(&list).unwrap()).unwrap();
        assert_eq!(list, again);
    }

    #[test]
    fn what_an_answer_tells_replaces_the_estimate() {
        let limits = serde_json::from_value(json!({
            "cost": {"in": "1", "out": "1"}, "settle": {"out": ".n"},
        }));
        let list: PriceList =
            serde_json::from_value(json!({"requests": "1", "in": "2", "out": "3"})).unwrap();
        let settings = list.counted_in(&limits.unwrap());
        let policy = Policy::new(&settings, std::time::Duration::ZERO).unwrap();
        assert_eq!(policy.units(), ["requests", "in", "out"]);
        let prices = list.of_stage(&policy).unwrap();
        let cost = Cost::new([1, 10, 100], []);
        let dollars = |usd: Usd| usd.0 / 1_000_000_000_000;
        assert_eq!(dollars(prices.estimate(&cost)), 1 + 20 + 300);
        let (sum, units) = prices.settled(&cost, &[(2, 7)]);
        assert_eq!((dollars(sum), units), (1 + 20 + 21, vec![(2, 1), (0, 10), (1, 7)]));
        assert!(prices.is_any_told(&[(1, 1)]) && !prices.is_any_told(&[]));
    }
}
