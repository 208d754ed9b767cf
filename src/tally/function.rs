//! The functions of aggregates, by name.

use std::fmt;
use std::str::FromStr;

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

/// Their names in other programs.
const ELSEWHERE: &[(&str, &str)] = &[
    ("avg", "mean"),
    ("average", "mean"),
    ("median", "p50"),
    ("total", "sum"),
    ("std", "stddev"),
    ("unique", "distinct"),
];

/// Least similarity of a name that is suggested for a misspelt one.
const LIKE: f64 = 0.75;

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
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name) {
        return Some(ours);
    }
    FUNCTIONS
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(&name, known), *known))
        .filter(|(likeness, _)| *likeness >= LIKE)
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
