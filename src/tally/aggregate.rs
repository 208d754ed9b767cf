//! An aggregate in its text form: `mean(price)`, `count(price) by sector`.

use serde_json::Map;

use super::function::Function;

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
}
