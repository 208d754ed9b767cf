//! The intervals in which the requests of one record can have reached the server. Pure.

use serde_json::{Map, Value};

use crate::record::{Arrived, POOL_KEY, REQUESTS, TARGET};
use crate::row::Fields;

/// The first second of 2000 and of 2100: times that lie elsewhere are no seconds since 1970.
const THIS_CENTURY: std::ops::Range<f64> = 946_684_800.0..4_102_444_800.0;

/// The interval of one request, in microseconds since 1970.
#[derive(Debug, PartialEq)]
pub(crate) struct Arrival {
    pub from: i64,
    pub to: i64,
    /// Costs by unit, and keys of limits by scope, as far as the record has them.
    counted: Map<String, Value>,
    /// The name of the target that it went to, if its job has several.
    target: Option<String>,
}

impl Arrival {
    /// The interval of a request of a record that names this target.
    pub fn new(arrived: &Arrived, target: Option<&str>) -> Arrival {
        let &Arrived { from, to, ref counted } = arrived;
        let own = counted.get(TARGET).and_then(Value::as_str);
        let target = own.or(target.filter(|it| !it.is_empty())).map(str::to_owned);
        Arrival { from, to, counted: counted.clone(), target }
    }

    /// Whether it counts against a limit of these targets, or of all requests if there are none.
    /// Without a name, it may have gone to any of them.
    pub fn is_of(&self, targets: &[String]) -> bool {
        let is_one = |name: &String| targets.contains(name);
        targets.is_empty() || self.target.as_ref().is_none_or(is_one)
    }

    /// The units that the request took of a limit; requests, if no unit is named.
    pub fn units(&self, unit: Option<&str>) -> Result<u64, String> {
        match (self.counted.get(unit.unwrap_or(REQUESTS)), unit) {
            (Some(units), _) => units
                .as_u64()
                .ok_or_else(|| format!("{units} in its _arrived is not a number of units")),
            (None, None) => Ok(1),
            (None, Some(unit)) => Err(format!(
                "its _arrived doesn't say how many {unit} its requests cost: its job had no limit of {unit}"
            )),
        }
    }

    /// The key of the pool that the request used.
    pub fn pool_key(&self) -> Result<String, String> {
        let key = self.counted.get(POOL_KEY).and_then(Value::as_str).map(str::to_owned);
        key.ok_or_else(|| "its _arrived doesn't say which API key its requests used".to_owned())
    }

    /// The request's value of a template that uses the request.
    pub fn scope_key(&self, template: &str) -> Result<String, String> {
        let key = self.counted.get(template).and_then(Value::as_str).map(str::to_owned);
        key.ok_or_else(|| format!("its _arrived doesn't say what {template} was for its requests"))
    }
}

/// Whether a record is the only one of its row, or the last one.
pub fn ends_row(fields: &Fields) -> bool {
    match fields.get("_last") {
        Some(Value::Bool(last)) => *last,
        Some(Value::String(last)) => !last.eq_ignore_ascii_case("false"),
        _ => true,
    }
}

/// The intervals of a record's requests.
///
/// # Errors
/// The record is none, or its times can't be those of its requests.
pub(super) fn of(fields: &Fields) -> Result<Vec<Arrival>, String> {
    if !fields.contains_key("_row") {
        return Err("it has no _row: is this a results file?".into());
    }
    let entries = match fields.get("_arrived") {
        None | Some(Value::Null) => {
            return Err(
                "it has no _arrived: records have that where the job has a limit; run it with one (--rate)"
                    .into(),
            );
        }
        // A table of texts, such as CSV.
        Some(Value::String(text)) => serde_json::from_str(text),
        Some(value) => serde_json::from_value(value.clone()),
    };
    let entries: Vec<Vec<Value>> = entries.map_err(|_| WRONG)?;
    check_attempts(fields, entries.len())?;
    let target = fields.get(TARGET).and_then(Value::as_str);
    let sent = entries.iter().filter(|entry| !entry.is_empty());
    sent.map(|entry| Ok(Arrival::new(&arrived(entry)?, target))).collect()
}

const WRONG: &str = "its _arrived is not [[from, to], ...] in seconds since 1970, from before to";

/// Every attempt has an entry, which is empty if nothing was sent.
fn check_attempts(fields: &Fields, entries: usize) -> Result<(), String> {
    let attempts: Option<u64> = match fields.get("_attempts") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(value) => {
            let count = match value {
                Value::String(text) => text.parse().ok(),
                value => value.as_u64(),
            };
            Some(count.ok_or_else(|| format!("{value} in its _attempts is no count"))?)
        }
    };
    match attempts {
        Some(attempts) if (entries as u64) < attempts => Err(format!(
            "it has {attempts} attempts (_attempts), and times of {entries} (_arrived): times are missing"
        )),
        None if entries == 0 => Err("its _arrived is empty".into()),
        _ => Ok(()),
    }
}

fn arrived(entry: &[Value]) -> Result<Arrived, String> {
    let (from, to, counted) = match entry {
        [from, to] => (from, to, Map::new()),
        [from, to, Value::Object(counted)] => (from, to, counted.clone()),
        _ => return Err(WRONG.into()),
    };
    let (from, to) = (micros(from)?, micros(to)?);
    if from <= to { Ok(Arrived { from, to, counted }) } else { Err(WRONG.into()) }
}

fn micros(time: &Value) -> Result<i64, String> {
    let seconds = time.as_f64().ok_or(WRONG)?;
    if THIS_CENTURY.contains(&seconds) {
        Ok((seconds * 1e6).round() as i64)
    } else {
        Err(format!("{time} in its _arrived is no second of this century, counted from 1970"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<Vec<Arrival>, String> {
        of(fields.as_object().unwrap())
    }

    #[test]
    fn intervals_come_from_json_and_from_texts() {
        let entries = json!([[], [1e9, 1e9 + 0.5], [1.1e9, 1.1e9, {"tokens": 7, "_key": "ab"}]]);
        for arrived in [entries.clone(), entries.to_string().into()] {
            let arrivals = read(json!({"_row": 0, "_attempts": 3, "_arrived": arrived})).unwrap();
            assert_eq!((arrivals[0].from, arrivals[0].to), (10_i64.pow(15), 1_000_000_000_500_000));
            assert_eq!(arrivals[0].units(None), Ok(1));
            assert!(arrivals[0].units(Some("tokens")).unwrap_err().contains("how many tokens"));
            assert!(arrivals[0].pool_key().is_err());
            assert_eq!(arrivals[1].units(Some("tokens")), Ok(7));
            assert_eq!(arrivals[1].pool_key().as_deref(), Ok("ab"));
        }
    }

    #[test]
    fn what_can_t_be_is_refused() {
        for (record, why) in [
            (json!({"_arrived": []}), "it has no _row"),
            (json!({"_row": 0}), "it has no _arrived"),
            (json!({"_row": 0, "_arrived": []}), "its _arrived is empty"),
            (json!({"_row": 0, "_attempts": "1", "_arrived": "[]"}), "it has 1 attempts"),
            (
                json!({"_row": 0, "_attempts": 2, "_arrived": [[1e9, 1e9]]}),
                "it has 2 attempts (_attempts), and times of 1 (_arrived)",
            ),
            (
                json!({"_row": 0, "_attempts": -1, "_arrived": [[1e9, 1e9]]}),
                "-1 in its _attempts is no count",
            ),
            (json!({"_row": 0, "_arrived": [[1.1e9, 1e9]]}), "from before to"),
            (json!({"_row": 0, "_arrived": [[1e9]]}), "is not [[from, to], ...]"),
            (json!({"_row": 0, "_arrived": [[1e9, 1e9, 3]]}), "is not [[from, to], ...]"),
            (json!({"_row": 0, "_arrived": [[1e12, 1e12]]}), "is no second of this century"),
            (json!({"_row": 0, "_arrived": [[0, 1e9]]}), "0 in its _arrived is no second"),
        ] {
            let error = read(record).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(read(json!({"_row": 0, "_attempts": 0, "_arrived": []})).unwrap().is_empty());
    }
}
