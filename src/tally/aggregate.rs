//! Aggregates and their functions in text form: `mean(price)`, `count(price) by sector`.

use std::fmt;
use std::str::FromStr;

use serde_json::Map;

/// The `[summary]` part of a job: a name for each aggregate, in their order.
pub type Settings = Map<String, serde_json::Value>;

/// One number, or one for each group, computed from all results.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The name in the job.
    pub name: String,
    /// The function of the values.
    pub function: Function,
    /// The extracted value or input field with the values.
    pub value: String,
    /// The extracted value or input field by which results are grouped.
    pub by: Option<String>,
}

/// A function of many values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Number of rows with the value.
    Count,
    /// The sum of the numbers.
    Sum,
    /// The arithmetic mean of the numbers.
    Mean,
    /// The smallest number.
    Min,
    /// The largest number.
    Max,
    /// The sample standard deviation of the numbers.
    Stddev,
    /// Number of different values.
    Distinct,
    /// The number that this share of the numbers (between 0 and 1) does not exceed.
    Quantile(f64),
}

/// The functions with a name of their own, and some quantiles.
const FUNCTIONS: &[(&str, Function)] = &[
    ("count", Function::Count),
    ("sum", Function::Sum),
    ("mean", Function::Mean),
    ("min", Function::Min),
    ("max", Function::Max),
    ("stddev", Function::Stddev),
    ("distinct", Function::Distinct),
    ("p50", Function::Quantile(0.5)),
    ("p90", Function::Quantile(0.9)),
    ("p99", Function::Quantile(0.99)),
];

/// Names of functions in other programs.
const SYNONYMS: &[(&str, &str)] = &[
    ("avg", "mean"),
    ("average", "mean"),
    ("median", "p50"),
    ("total", "sum"),
    ("std", "stddev"),
    ("unique", "distinct"),
];

/// Minimum similarity of a name that is suggested for a misspelt one.
const MIN_SIMILARITY: f64 = 0.75;

impl Aggregate {
    /// The aggregate of this name from its text: `FUNCTION(VALUE)` or
    /// `FUNCTION(VALUE) by FIELD`.
    ///
    /// # Errors
    /// If the text has another form. The message shows the right one.
    pub fn parse(name: &str, text: &str) -> Result<Aggregate, String> {
        let fail = |reason: String| format!("the summary {name:?} = {text:?}: {reason}");
        let form = || fail("write it as mean(price), or as mean(price) by sector".to_owned());
        let (call, by) = split_by(text).ok_or_else(form)?;
        let (function, value) = call.split_once('(').ok_or_else(form)?;
        let value = value.trim();
        if value.is_empty() || by.is_some_and(str::is_empty) {
            return Err(form());
        }
        Ok(Aggregate {
            name: name.to_owned(),
            function: function.trim().parse().map_err(fail)?,
            value: value.to_owned(),
            by: by.map(str::to_owned),
        })
    }

    /// All aggregates of a job.
    ///
    /// # Errors
    /// The error of [`parse`](Aggregate::parse) for the first wrong one.
    pub fn parse_all(settings: &Settings) -> Result<Vec<Aggregate>, String> {
        let one = |(name, text): (&String, &serde_json::Value)| match text.as_str() {
            Some(text) => Aggregate::parse(name, text),
            None => Err(format!("the summary {name:?} is not a text")),
        };
        settings.iter().map(one).collect()
    }

    /// The extracted values and input fields that it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let value = std::iter::once(self.value.as_str());
        value.chain(self.by.as_deref())
    }

    /// The text form.
    #[must_use]
    pub fn text(&self) -> String {
        let call = format!("{}({})", self.function, self.value);
        match &self.by {
            None => call,
            Some(by) => format!("{call} by {by}"),
        }
    }
}

/// The part before the closing bracket, and the field after `by`.
fn split_by(text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.trim();
    if let Some(call) = text.strip_suffix(')') {
        return Some((call, None));
    }
    let (call, rest) = text.rsplit_once(')')?;
    let by = rest.trim_start().strip_prefix("by")?;
    let spaced = by.is_empty() || by.starts_with(char::is_whitespace);
    spaced.then_some((call, Some(by.trim())))
}

impl FromStr for Function {
    type Err = String;

    fn from_str(name: &str) -> Result<Function, String> {
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        known.map(|(_, function)| *function).or_else(|| quantile(name)).ok_or_else(|| unknown(name))
    }
}

/// A percentile, such as `p95` or `p99.9`.
fn quantile(name: &str) -> Option<Function> {
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    let inside = percent > 0.0 && percent < 100.0;
    inside.then_some(Function::Quantile(percent / 100.0))
}

fn unknown(name: &str) -> String {
    let meant = match nearest(name) {
        Some(meant) => format!(": did you mean {meant}?"),
        None => String::from("."),
    };
    let all: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    format!("there is no function {name:?}{meant} There are {}", all.join(", "))
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == name) {
        return Some(ours);
    }
    FUNCTIONS
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(&name, known), *known))
        .filter(|(likeness, _)| *likeness >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Rounded, since 0.999 * 100 is not exact.
            Function::Quantile(share) => write!(f, "p{}", (share * 1e6).round() / 1e4),
            named => {
                let mut all = FUNCTIONS.iter();
                let name = all.find(|(_, function)| function == named);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_is_a_function_of_a_value() {
        for (text, names) in [
            ("mean(price)", vec!["price"]),
            (" mean ( price ) ", vec!["price"]),
            ("p99(price) by sector", vec!["price", "sector"]),
            ("count(close (USD)) by a b", vec!["close (USD)", "a b"]),
        ] {
            let aggregate = Aggregate::parse("x", text).unwrap();
            assert_eq!(aggregate.names().collect::<Vec<_>>(), names, "{text}");
            let again = Aggregate::parse("x", &aggregate.text()).unwrap();
            assert_eq!(again, aggregate);
        }
    }

    #[test]
    fn an_error_shows_the_right_form() {
        for (text, reason) in [
            ("mean", "write it as mean(price)"),
            ("mean(price", "write it as"),
            ("mean()", "write it as"),
            ("mean(price) by", "write it as"),
            ("mean(price) bysector", "write it as"),
            ("maen(price)", "did you mean mean?"),
        ] {
            let error = Aggregate::parse("m", text).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(error.starts_with("the summary \"m\" = "), "{error}");
        }
    }

    #[test]
    fn a_job_has_aggregates_by_name_in_order() {
        let settings = serde_json::from_str(r#"{"b": "sum(x)", "a": "min(x)"}"#).unwrap();
        let all = Aggregate::parse_all(&settings).unwrap();
        assert_eq!([&*all[0].name, &*all[1].name], ["b", "a"]);
        let settings = serde_json::from_str(r#"{"b": 1}"#).unwrap();
        assert!(Aggregate::parse_all(&settings).is_err());
    }

    #[test]
    fn functions_are_parsed_by_name() {
        for name in ["count", "sum", "stddev", "distinct", "p50", "p95", "p99.9"] {
            let function: Function = name.parse().unwrap();
            assert_eq!(function.to_string(), name);
        }
    }

    #[test]
    fn a_wrong_name_gets_a_hint_and_the_list() {
        for (name, hint) in [
            ("maen", "did you mean mean? There are count, sum, mean,"),
            ("Mean", "did you mean mean?"),
            ("avg", "did you mean mean?"),
            ("median", "did you mean p50?"),
            ("quux", "no function \"quux\". There are count,"),
            ("p100", "no function \"p100\""),
            ("p0", "no function \"p0\""),
        ] {
            let error = name.parse::<Function>().unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
