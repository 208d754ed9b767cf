//! The values of one aggregate, by group.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::aggregate::{Aggregate, Function};
use super::figures::{AggregateResult, Figures, ResultGroup};
use super::fold::Fold;
use super::value::{ValuePath, cut, text};

/// The group of results whose field is absent or null.
const NONE: &str = "(none)";
/// The group of results beyond the maximum number of groups.
const OTHERS: &str = "(others)";
/// Maximum number of characters of a key.
const MAX_KEY_CHARS: usize = 200;

/// An aggregate and its values so far.
#[derive(Debug, Clone)]
pub(super) struct GroupedAggregate {
    aggregate: Aggregate,
    value: ValuePath,
    by: Option<ValuePath>,
    keys: HashMap<String, Fold>,
    /// All values without groups, else those of `(others)`.
    rest: Fold,
    scratch: (String, String),
}

impl GroupedAggregate {
    pub(super) fn new(aggregate: &Aggregate, values: &[String]) -> GroupedAggregate {
        let by = aggregate.by.as_deref();
        GroupedAggregate {
            value: ValuePath::of(&aggregate.value, values),
            by: by.map(|name| ValuePath::of(name, values)),
            keys: HashMap::new(),
            rest: Fold::new(aggregate.function),
            scratch: Default::default(),
            aggregate: aggregate.clone(),
        }
    }

    /// Adds one result.
    pub(super) fn add(&mut self, values: &[Value], fields: &Map<String, Value>) {
        let (for_key, for_value) = &mut self.scratch;
        let fold = match &self.by {
            None => &mut self.rest,
            Some(by) => {
                let key = by.get(values, fields);
                let key = key.map_or(NONE, |key| cut(text(key, for_key), MAX_KEY_CHARS));
                group(&mut self.keys, &mut self.rest, self.aggregate.function, key)
            }
        };
        fold.add(self.value.get(values, fields), for_value);
    }

    pub(super) fn merge(&mut self, other: GroupedAggregate) {
        self.rest.merge(other.rest);
        let function = self.aggregate.function;
        for (key, fold) in other.keys {
            group(&mut self.keys, &mut self.rest, function, &key).merge(fold);
        }
    }

    pub(super) fn result(&self) -> AggregateResult {
        AggregateResult {
            name: self.aggregate.name.clone(),
            expression: self.aggregate.text(),
            figures: match self.by {
                None => Figures::One(self.rest.figure()),
                Some(_) => Figures::Many { groups: self.groups() },
            },
        }
    }

    fn groups(&self) -> Vec<ResultGroup> {
        let one =
            |key: &str, fold: &Fold| ResultGroup { key: key.to_owned(), figure: fold.figure() };
        let mut groups: Vec<ResultGroup> =
            self.keys.iter().map(|(key, fold)| one(key, fold)).collect();
        let size = |group: &ResultGroup| group.figure.values + group.figure.skipped;
        groups.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.key.cmp(&b.key)));
        if !self.rest.is_empty() {
            groups.push(one(OTHERS, &self.rest));
        }
        groups
    }
}

/// The fold of this key: an existing one, a new one, or that of the rest.
fn group<'a>(
    keys: &'a mut HashMap<String, Fold>,
    rest: &'a mut Fold,
    function: Function,
    key: &str,
) -> &'a mut Fold {
    if !keys.contains_key(key) && keys.len() < max_groups(function) {
        keys.insert(key.to_owned(), Fold::new(function));
    }
    keys.get_mut(key).unwrap_or(rest)
}

/// Maximum number of groups: fewer for functions whose state can take kilobytes.
fn max_groups(function: Function) -> usize {
    match function {
        Function::Quantile(_) | Function::Distinct => 1_000,
        _ => 10_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn groups(text: &str) -> GroupedAggregate {
        let aggregate = Aggregate::parse("x", text).unwrap();
        GroupedAggregate::new(&aggregate, &["price".to_owned()])
    }

    fn add(groups: &mut GroupedAggregate, price: Value, sector: Value) {
        let mut fields = Map::new();
        fields.insert("sector".into(), sector);
        groups.add(&[price], &fields);
    }

    #[test]
    fn every_group_has_its_own_figure() {
        let mut groups = groups("sum(price) by sector");
        for (price, sector) in [(1, json!("a")), (2, json!("b")), (3, json!("b")), (4, json!(null))]
        {
            add(&mut groups, json!(price), sector);
        }
        let result = json!(groups.result());
        assert_eq!(result["expression"], "sum(price) by sector");
        let keys = ["b", "(none)", "a"];
        for (place, (key, value)) in keys.into_iter().zip([5, 4, 1]).enumerate() {
            assert_eq!(result["groups"][place]["key"], key);
            assert_eq!(result["groups"][place]["value"], value);
        }
    }

    #[test]
    fn groups_beyond_the_maximum_are_others() {
        let mut groups = groups("distinct(price) by sector");
        for sector in 0..1003 {
            add(&mut groups, json!(sector), json!(sector));
        }
        let Figures::Many { groups } = groups.result().figures else {
            panic!("no groups");
        };
        assert_eq!(groups.len(), 1001);
        assert_eq!((&*groups[1000].key, groups[1000].figure.value), ("(others)", Some(3.0)));
    }
}
