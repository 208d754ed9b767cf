//! The results of aggregates.

use serde::{Serialize, Serializer};

/// The result of one aggregate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AggregateResult {
    /// The name in the job.
    #[serde(skip)]
    pub name: String,
    /// The text form in the job.
    pub expression: String,
    /// One figure, or one for each group.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One figure, or one for each group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Figures {
    /// The figure of all results.
    One(Figure),
    /// The figures of each group, the largest group first. Results of more groups than
    /// are kept (10,000; 1,000 for quantiles and distinct) form `(others)`, the last one.
    Many {
        /// The groups.
        groups: Vec<ResultGroup>,
    },
}

/// One group of results.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct ResultGroup {
    /// The value that its results have in common.
    pub key: String,
    /// The figure of its results.
    #[serde(flatten)]
    pub figure: Figure,
}

/// The result of a function of many values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Figure {
    /// The result; none if it is undefined, such as the mean of no values.
    #[serde(serialize_with = "short")]
    pub value: Option<f64>,
    /// Number of values that it is computed from.
    pub values: u64,
    /// Number of results without a usable value: it is absent, or it is not a number
    /// where a number is needed.
    pub skipped: u64,
    /// The accuracy of the value.
    pub accuracy: Accuracy,
}

/// The accuracy of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Accuracy {
    /// Exact up to floating-point arithmetic.
    Exact,
    /// Estimated from a sketch of many values: a quantile within 1 %, a count of
    /// different values with a standard error of 1.6 %.
    Approximate,
}

/// Writes whole numbers without a fraction: `3`, not `3.0`.
fn short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    /// Largest whole number up to which each has its own float.
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
    fn a_whole_number_is_written_without_a_fraction() {
        for (value, expected) in [
            (Some(3.0), "3"),
            (Some(-3.0), "-3"),
            (Some(2.5), "2.5"),
            (Some(1e300), "1e+300"),
            (None, "null"),
        ] {
            let figure = Figure { value, values: 1, skipped: 0, accuracy: Accuracy::Approximate };
            let json = serde_json::to_string(&figure).unwrap();
            assert!(json.starts_with(&format!("{{\"value\":{expected},")), "{json}");
            assert!(json.ends_with("\"accuracy\":\"approximate\"}"), "{json}");
        }
    }
}
