//! What aggregates came to.

use serde::{Serialize, Serializer};

/// What one aggregate came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AggregateResult {
    /// What the job calls it.
    #[serde(skip)]
    pub name: String,
    /// How the job writes it.
    pub expression: String,
    /// One figure, or one a group.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One figure, or one a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// Of all results.
    One(Figure),
    /// Of each group, the largest first. Results of more groups than are kept
    /// (10,000; 1,000 for quantiles and distinct) are `(others)`, the last one.
    Many {
        /// The groups.
        groups: Vec<ResultGroup>,
    },
}

/// One group of results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultGroup {
    /// What its results have in common.
    pub key: String,
    /// What they came to.
    #[serde(flatten)]
    pub figure: Figure,
}

/// What many values came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The answer; none if there is none, as for the mean of nothing.
    #[serde(serialize_with = "short")]
    pub value: Option<f64>,
    /// How many values it is made of.
    pub values: u64,
    /// How many results had no value that could be taken: none at all, or one
    /// that is no number where a number is needed.
    pub skipped: u64,
    /// How good it is.
    pub accuracy: Accuracy,
}

/// How good a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accuracy {
    /// As good as the arithmetic of the machine.
    Exact,
    /// There were too many values to keep: a quantile within 1 %, a count of
    /// different values with a standard error of 1.6 %.
    Approximate,
}

/// Whole numbers without a fraction: a count of `3`, not of `3.0`.
fn short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    /// Up to here every whole number has its own float.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    match value {
        None => serializer.serialize_none(),
        Some(value) if value.fract() == 0.0 && value.abs() <= WHOLE => {
            serializer.serialize_i64(*value as i64)
        }
        Some(value) => serializer.serialize_f64(*value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_written_as_one() {
        for (value, expected) in [
            (Some(3.0), "3"),
            (Some(-3.0), "-3"),
            (Some(2.5), "2.5"),
            (Some(1e300), "1e+300"),
            (None, "null"),
        ] {
            let figure = Figure {
                value,
                values: 1,
                skipped: 0,
                accuracy: Accuracy::Approximate,
            };
            let json = serde_json::to_string(&figure).unwrap();
            assert!(
                json.starts_with(&format!("{{\"value\":{expected},")),
                "{json}"
            );
            assert!(json.ends_with("\"accuracy\":\"approximate\"}"), "{json}");
        }
    }
}
