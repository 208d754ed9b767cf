//! What an aggregate can do, by name.

use std::fmt;
use std::str::FromStr;

/// What is made of many values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// How many rows have the value.
    Count,
    /// The sum of the numbers.
    Sum,
    /// Their arithmetic mean.
    Mean,
    /// The smallest one.
    Min,
    /// The largest one.
    Max,
    /// Their standard deviation, as that of a sample.
    Stddev,
    /// How many different values there are.
    Distinct,
    /// The number that this share of them, over 0 and under 1, does not exceed.
    Quantile(f64),
}

/// Every function that has a name of its own, and some quantiles.
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

/// What people call them elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[
    ("avg", "mean"),
    ("average", "mean"),
    ("median", "p50"),
    ("total", "sum"),
    ("std", "stddev"),
    ("unique", "distinct"),
];

/// From this likeness on a name is taken for a slip of the pen.
const LIKE: f64 = 0.75;

impl FromStr for Function {
    type Err = String;

    fn from_str(name: &str) -> Result<Function, String> {
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, function)| *function)
            .or_else(|| quantile(name))
            .ok_or_else(|| unknown(name))
    }
}

/// Any other percentile, such as `p95` or `p99.9`.
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
    format!(
        "there is no function {name:?}{meant} There are {}",
        all.join(", ")
    )
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
            // Rounded, since 0.999 * 100 has a tail of its own.
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
    fn functions_go_by_their_names() {
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
