//! An aggregate as a job writes it: `mean(price)`, `count(price) by sector`.

use serde_json::Map;

use super::function::Function;

/// The `[summary]` part of a job: a name for each aggregate, in their order.
pub type Settings = Map<String, serde_json::Value>;

/// One number, or one a group, made of all results.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// What the job calls it.
    pub name: String,
    /// What is done with the values.
    pub function: Function,
    /// The extracted value or input field that has them.
    pub value: String,
    /// The extracted value or input field that tells the groups.
    pub by: Option<String>,
}

impl Aggregate {
    /// The aggregate of this name that the text describes:
    /// `FUNCTION(VALUE)` or `FUNCTION(VALUE) by FIELD`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
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
    /// As [`parse`](Aggregate::parse), for the first one that is wrong.
    pub fn parse_all(settings: &Settings) -> Result<Vec<Aggregate>, String> {
        let one = |(name, text): (&String, &serde_json::Value)| match text.as_str() {
            Some(text) => Aggregate::parse(name, text),
            None => Err(format!("the summary {name:?} is no text")),
        };
        settings.iter().map(one).collect()
    }

    /// The extracted values or input fields that it needs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let value = std::iter::once(self.value.as_str());
        value.chain(self.by.as_deref())
    }

    /// How it is written.
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
    fn what_is_wrong_is_told_with_what_would_be_right() {
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
    fn a_job_has_them_by_name_in_order() {
        let settings = serde_json::from_str(r#"{"b": "sum(x)", "a": "min(x)"}"#).unwrap();
        let all = Aggregate::parse_all(&settings).unwrap();
        assert_eq!([&*all[0].name, &*all[1].name], ["b", "a"]);
        let settings = serde_json::from_str(r#"{"b": 1}"#).unwrap();
        assert!(Aggregate::parse_all(&settings).is_err());
    }
}
