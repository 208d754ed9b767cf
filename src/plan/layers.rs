//! Layers of settings: a profile, a job file, flags. Their trees are merged, and the result is
//! read as a [`Job`] once. Pure.

use serde_json::{Map, Value, json};

use super::profile::Profile;
use super::{Job, before};
use crate::error::Error;
use crate::price::MODEL_KEY;

/// The settings of a file and of flags, merged, before they are a [`Job`].
#[derive(Debug, Clone)]
pub struct Layers(Value);

impl Default for Layers {
    fn default() -> Layers {
        Layers(Value::Object(Map::new()))
    }
}

impl Layers {
    /// The layer of a file.
    pub(super) fn of(mut tree: Value) -> Layers {
        tell_answers_apart(&mut tree);
        write_out_texts(&mut tree);
        Layers(tree)
    }

    /// The settings with `flags` laid over them: a tree of a job's shape, in which a part or
    /// a key that is null changes nothing, tables are merged, and any other value replaces.
    #[must_use]
    pub fn overlay(mut self, mut flags: Value) -> Layers {
        drop_nulls(&mut flags);
        tell_answers_apart(&mut flags);
        self.put_answers_first(&mut flags);
        flags.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(drop_nulls);
        lay_over(&mut self.0, flags);
        self
    }

    /// The settings as a tree of a job's shape.
    pub(super) fn tree(&self) -> &Value {
        &self.0
    }

    /// The settings with this text after those of a list, or after the one text there.
    #[must_use]
    pub(crate) fn appended(mut self, table: &str, name: &str, text: &str) -> Layers {
        let before = self.0.get(table).and_then(|table| table.get(name)).cloned();
        let mut list = match before {
            Some(Value::Array(list)) => list,
            None | Some(Value::Null) => Vec::new(),
            Some(one) => vec![one],
        };
        list.push(text.into());
        let table = Value::from_iter([(table, Value::from_iter([(name, Value::Array(list))]))]);
        lay_over(&mut self.0, table);
        self
    }

    /// Rules of the flags for answers come before those of the file, which stay.
    fn put_answers_first(&self, flags: &mut Value) {
        if let (Some(Value::Array(first)), Some(Value::Array(then))) =
            (flags.get_mut("answer"), self.0.get("answer"))
        {
            first.extend(then.iter().cloned());
        }
    }

    /// The job of these settings, which lie over the profile that they name.
    ///
    /// # Errors
    /// Which flag doesn't fit; there is no such profile or tier, or a header is missing that
    /// it wants.
    pub fn job(self) -> Result<Job, Error> {
        self.job_from("the flags don't fit")
    }

    /// The job of these settings; an error begins with `wrong`.
    ///
    /// # Errors
    /// Those of [`Layers::job`].
    pub(crate) fn job_from(mut self, wrong: &str) -> Result<Job, Error> {
        before::name_as_secrets(&mut self.0);
        let model = take_model(&mut self.0);
        let Some(api) = self.0["api"].as_str() else {
            return match model {
                None => read(self.0, wrong),
                Some(model) => Err(Error::plan(format!(
                    "price.model (--price model={model}) takes the prices of a profile: give api (--api), or the prices themselves"
                ))),
            };
        };
        let (name, tier) = match api.split_once(':') {
            Some((name, tier)) => (name, Some(tier)),
            None => (api, None),
        };
        let profile = Profile::named(name)?;
        let mut tree = profile.part(tier)?;
        let mut price_source = None;
        if let Some(model) = model {
            let (part, source) = profile.priced(&model, !self.0["batch-api"].is_null())?;
            lay_over(&mut tree, part);
            price_source = Some(source);
        }
        lay_over(&mut tree, self.0);
        profile.check(&tree)?;
        let job = read(tree, wrong)?;
        Ok(Job { api: None, profile: Some(profile.name), price_source, ..job })
    }
}

/// Takes the model out of the prices, whose others are those of units.
fn take_model(tree: &mut Value) -> Option<String> {
    let prices = tree.get_mut("price")?.as_object_mut()?;
    let model = prices.get(MODEL_KEY)?.as_str()?.trim().to_owned();
    prices.shift_remove(MODEL_KEY);
    Some(model)
}

fn read(tree: Value, wrong: &str) -> Result<Job, Error> {
    serde_json::from_value(tree).map_err(|error| Error::plan(format!("{wrong}: {error}")))
}

/// `answer` is the kind of bodies where it is a text, and rows of the table otherwise, which
/// `answers` adds to: afterwards `answer-format` is the one and `answer` the other.
fn tell_answers_apart(tree: &mut Value) {
    let Value::Object(tree) = tree else { return };
    if let Some(Value::String(_)) = tree.get("answer")
        && let Some(format) = tree.remove("answer")
    {
        tree.insert("answer-format".to_owned(), format);
    }
    if let Some(Value::Array(more)) = tree.remove("answers") {
        let rules = tree.entry("answer").or_insert_with(|| Value::Array(Vec::new()));
        rules.as_array_mut().into_iter().for_each(|rules| rules.extend(more.iter().cloned()));
    }
    if let Some(Value::Array(steps)) = tree.get_mut("step") {
        steps.iter_mut().for_each(tell_answers_apart);
    }
}

/// A text alone is a table with that text, which flags can add to: the command of helpers, and
/// the directory of a store.
fn write_out_texts(tree: &mut Value) {
    for (key, name) in [("render", "command"), ("process", "command"), ("store", "dir")] {
        if let Some(alone @ Value::String(_)) = tree.get_mut(key) {
            *alone = json!({name: alone.take()});
        }
    }
}

fn drop_nulls(tree: &mut Value) {
    if let Value::Object(tree) = tree {
        tree.retain(|_, value| !value.is_null());
    }
}

/// Lays a tree over another one: null changes nothing, tables are merged, and any other value
/// replaces the one below.
pub(super) fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                if name == "headers" {
                    drop_same_headers(under.get_mut(&name), &value);
                }
                lay_over(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// `X-Key` and `x-key` are one header.
fn drop_same_headers(under: Option<&mut Value>, over: &Value) {
    if let (Some(Value::Object(under)), Value::Object(over)) = (under, over) {
        under.retain(|name, _| !over.keys().any(|new| new.eq_ignore_ascii_case(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::AnswerKind;
    use crate::limit::Shape;

    fn file(tree: Value) -> Layers {
        Layers::parse("job.json", &tree.to_string()).unwrap()
    }

    #[test]
    fn flags_replace_what_they_name_and_nothing_else() {
        let file = file(json!({
            "request": {
                "url": "http://a/",
                "query": {"a": "1", "b": "2"},
                "headers": {"X-Key": "old"},
                "json": {"is": null},
            },
            "limit": {"rate": ["1/1s", "9/1m"]},
            "send": {"timeout": "7s"},
        }));
        let flags = json!({
            "api": null,
            "request": {"url": null, "query": {"b": "3"}, "headers": {"x-key": "new"}},
            "limit": {"rate": ["22/5s"]},
            "retry": null,
            "workers": {"count": null},
        });
        let both = file.overlay(flags).job().unwrap();
        assert_eq!(both.request.url.as_deref(), Some("http://a/"));
        assert_eq!(Value::Object(both.request.query), json!({"a": "1", "b": "3"}));
        assert_eq!(Value::Object(both.request.headers), json!({"x-key": "new"}));
        assert_eq!(both.request.json, Some(json!({"is": null})));
        assert_eq!(both.limit.rate, ["22/5s".parse().unwrap()]);
        assert_eq!(both.send.timeout.as_secs(), 7);
    }

    #[test]
    fn an_answer_is_a_kind_or_rules() {
        let rule = |status: u16| json!({"status": status, "then": "missing"});
        let of = |tree: Value, flags: Value| file(tree).overlay(flags).job().unwrap();
        for (tree, flags) in [
            (json!({"answer": "csv", "answers": [rule(404), rule(410)]}), json!({})),
            (json!({"answer-format": "csv", "answer": [rule(404), rule(410)]}), json!({})),
            (
                json!({"answers": [rule(410)]}),
                json!({"answer": [rule(404)], "answer-format": "csv"}),
            ),
            (
                json!({"answer": "json", "answers": [rule(404), rule(410)]}),
                json!({"answer": "csv"}),
            ),
        ] {
            let job = of(tree.clone(), flags);
            assert_eq!(job.answer_format, Some(AnswerKind::Csv), "{tree}");
            let statuses: Vec<String> =
                job.answer.iter().map(|rule| rule.status.to_string()).collect();
            assert_eq!(statuses, ["404", "410"], "{tree}");
        }
        let step = json!({"step": [{"request": {"url": "http://h/"}, "answer": "text"}]});
        assert_eq!(of(step, json!({})).step[0].answer_format, Some(AnswerKind::Text));
        let error = Layers::parse("j.toml", "answer = \"cvs\"").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("did you mean `csv`"), "{error}");
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(Layers::default().overlay(Value::Null).job().unwrap(), Job::default());
    }

    #[test]
    fn a_flag_that_does_not_fit_is_an_error() {
        let error = Layers::default().overlay(json!({"retry": {"retries": -1}})).job();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("the flags don't fit: invalid value: integer `-1`"), "{error}");
    }

    #[test]
    fn a_job_overrides_what_it_names_and_keeps_the_rest() {
        let first = file(json!({"api": "github"})).job().unwrap();
        assert_eq!(first.limit.rate[0].to_string(), "5000/1h@reset");
        assert_eq!(first.limit.in_flight, Some(100));
        let own = file(
            json!({"api": "github:anonymous", "limit": {"rate": "7/1m"}, "retry": {"retries": 1}}),
        );
        let own = own.job().unwrap();
        assert_eq!(own.limit.rate.len(), 1);
        assert_eq!(own.limit.rate[0].to_string(), "7/1m");
        assert_eq!((own.limit.in_flight, own.retry.retries), (Some(100), 1));
        assert_eq!(own.refusal.len(), 3);
    }

    #[test]
    fn what_is_written_goes_before_the_profile_also_as_the_default() {
        let own = json!({"api": "edgar", "limit": {"shape": "auto", "rate": "1/1s"}, "refusal": [],
            "request": {"headers": {"user-agent": "me@example.com"}}});
        let from_file = file(own.clone()).job().unwrap();
        assert_eq!(from_file.limit.shape, Shape::Auto);
        assert!(from_file.refusal.is_empty());
        assert_eq!(from_file.retry.max_refusals, 3);
        let flags = Layers::default().overlay(own).job().unwrap();
        assert_eq!(flags, from_file);
    }

    #[test]
    fn a_flag_can_choose_another_profile() {
        let file = file(json!({"api": "edgar", "limit": {"in-flight": 7}}));
        let job = file.overlay(json!({"api": "github"})).job().unwrap();
        assert_eq!(job.limit.rate[0].to_string(), "5000/1h@reset");
        assert_eq!(job.limit.in_flight, Some(7));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (tree, why) in [
            (json!({"api": "gitlab"}), "the profiles are: airtable,"),
            (json!({"api": "github:gold"}), "its tiers are: token, enterprise, anonymous"),
            (json!({"api": "edgar"}), "needs a header user-agent"),
            (
                json!({"api": "edgar", "request": {"headers": {"User-Agent": "curl"}}}),
                "a name and a mail address",
            ),
        ] {
            let error = file(tree).job().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
