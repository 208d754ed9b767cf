//! A job that understands the model's answers. Pure.
//!
//! The model knows nothing of the API: its answers have the items and pages that the
//! headers of a request ask for, and the job finds them where the model puts them. How
//! pages are turned, items are told apart and stages follow each other stays the job's.

use crate::limit::Policy;
use crate::plan::Job;
use crate::{Error, Plan};
use serde_json::{Map, Value};

/// What the model's answers have, where only the real server knows it.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Number of pages of a list.
    pub pages: u64,
    /// Number of items of an answer, or of one of its pages.
    pub items: u64,
}

impl Answers {
    /// The job of this plan, changed so that it understands the model's answers.
    ///
    /// # Errors
    /// A batch matches its items by a field that no template can name.
    pub fn adapt_job(&self, job: &Job, plan: &Plan) -> Result<Job, Error> {
        let mut tree = serde_json::to_value(job).map_err(unfit)?;
        let mut policies = plan.limits().map(|(_, policy)| policy);
        let mut steps = tree["step"].take();
        if let Some(first) = policies.next() {
            self.adapt_stage(&mut tree, first)?;
        }
        for step in steps.as_array_mut().into_iter().flatten() {
            let own = step["limit"].is_object().then(|| policies.next()).flatten();
            self.adapt_stage(step, own.unwrap_or(plan.policy()))?;
        }
        tree["step"] = steps;
        let job: Job = serde_json::from_value(tree).map_err(unfit)?;
        // What is computed over the values of a model means nothing.
        Ok(Job { summary: Default::default(), ..job })
    }

    /// The sentences that say what the answers of this job's servers are taken to have.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn assumptions(&self, job: &Job, settled: f64) -> Result<Vec<String>, Error> {
        let tree = serde_json::to_value(job).map_err(unfit)?;
        let steps = tree["step"].as_array();
        let stages: Vec<&Value> =
            std::iter::once(&tree).chain(steps.into_iter().flatten()).collect();
        let any = |has: fn(&Value) -> bool| stages.iter().any(|stage| has(stage));
        let (pages, items) = (self.pages, self.items);
        let of_items = any(has_items)
            .then(|| format!("of {items} items each where the job doesn't say (--answer-items)"));
        let lists = match (any(has_pages), of_items) {
            (true, of_items) => Some(format!(
                "how many pages its answer has is not known: each list is taken to have {pages} (--answer-pages){}",
                of_items.map_or_else(String::new, |it| format!(", {it}"))
            )),
            (false, Some(_)) => {
                Some(format!("each answer is taken to have {items} items (--answer-items)"))
            }
            (false, None) => None,
        };
        let values = (stages.len() > 1).then(|| {
            "the values that a step hands on are taken to be numbers, all different".to_owned()
        });
        let settles =
            any(|stage| stage["limit"]["settle"].as_object().is_some_and(|it| !it.is_empty()));
        let settled = settles.then(|| {
            format!(
                "each answer is taken to settle its cost at {:.0} % of what limit.cost says (--settled)",
                settled * 100.0
            )
        });
        let jobs =
            any(polls).then(|| "each job is taken to be done when it is polled first".to_owned());
        Ok([lists, values, jobs, settled].into_iter().flatten().collect())
    }

    /// Changes what a stage asks the server for, and where it finds it in an answer.
    fn adapt_stage(&self, stage: &mut Value, policy: &Policy) -> Result<(), Error> {
        let mut headers = Map::new();
        if is_batch(stage) {
            let text = stage["items"]["match"].as_str().unwrap_or_default();
            let field = text.split('=').next().unwrap_or_default().trim().to_owned();
            if !is_name(&field) {
                return Err(Error::plan(format!(
                    "items.match (--match) goes by {field:?}, which can't be simulated: name the field with letters, digits and _ alone"
                )));
            }
            let ids = format!(
                "{{% for throng_id in {field} %}}{{{{ throng_id | urlencode }}}},{{% endfor %}}"
            );
            headers.insert("throng-ids".to_owned(), ids.into());
            stage["items"]["match"] = format!("{field}=.id").into();
        } else if has_items(stage) {
            headers.insert("throng-items".to_owned(), self.items.to_string().into());
        }
        if !stage["items"]["each"].is_null() {
            stage["items"]["each"] = ".items[]".into();
        }
        if polls(stage) {
            adapt_poll(&mut stage["poll"]);
        }
        if has_pages(stage) {
            headers.insert("throng-pages".to_owned(), self.pages.to_string().into());
            adapt_pages(&mut stage["pages"], &mut headers);
        }
        if let Some(values) = stage["extract"].as_object_mut() {
            values.values_mut().for_each(|value| *value = ".value".into());
        }
        if stage["limit"].is_object() {
            for (index, unit) in policy.units().iter().enumerate() {
                if policy.settle().contains_key(unit) {
                    stage["limit"]["settle"][unit] = format!(".units[{index}]").into();
                }
            }
        }
        if let Some(own) = stage["request"]["headers"].as_object_mut() {
            own.append(&mut headers);
        }
        Ok(())
    }
}

/// Changes what a job that is submitted gives, and takes it to be done when it is polled first.
fn adapt_poll(poll: &mut Value) {
    if let Some(values) = poll["submitted"].as_object_mut() {
        values.values_mut().for_each(|value| *value = ".value".into());
    }
    poll["url"] = "/throng-poll".into();
    poll["until"] = "true".into();
    poll["failed"] = Value::Null;
}

/// Changes where a page says what the next one is, and lets each request say which page
/// it asks for.
fn adapt_pages(pages: &mut Value, headers: &mut Map<String, Value>) {
    let page = if let Some((param, _)) = setting(pages, "cursor") {
        pages["cursor"] = format!("{param}=.cursor").into();
        Some(format!("{{{{ {param} or 0 }}}}"))
    } else if let Some((param, first)) = setting(pages, "page") {
        let first = first.unwrap_or_else(|| "1".to_owned());
        pages["page"] = format!("{param}={first}").into();
        Some(format!("{{{{ {param} - {first} }}}}"))
    } else if let Some((param, Some(step))) = setting(pages, "offset") {
        pages["offset"] = format!("{param}={step}").into();
        if headers.contains_key("throng-items") {
            headers.insert("throng-items".to_owned(), step.clone().into());
        }
        Some(format!("{{{{ {param} // {step} }}}}"))
    } else {
        // A link says it by itself.
        pages["next"] = ".next".into();
        None
    };
    if let Some(page) = page {
        headers.insert("throng-page".to_owned(), page.into());
    }
    for (key, code) in [("until", ".last"), ("count", ".pages")] {
        if !pages[key].is_null() {
            pages[key] = code.into();
        }
    }
}

/// `PARAM` or `PARAM=REST`. A parameter that no template can name gets another name.
fn setting(pages: &Value, key: &str) -> Option<(String, Option<String>)> {
    let text = pages[key].as_str()?;
    let (param, rest) = match text.split_once('=') {
        Some((param, rest)) => (param.trim(), Some(rest.trim().to_owned())),
        None => (text.trim(), None),
    };
    let param = if is_name(param) { param } else { "throng_page" };
    Some((param.to_owned(), rest))
}

fn polls(stage: &Value) -> bool {
    let keys = stage["poll"].as_object().into_iter().flatten();
    keys.filter(|(name, _)| *name != "submitted").any(|(_, value)| !value.is_null())
        || stage["poll"]["submitted"].as_object().is_some_and(|values| !values.is_empty())
}

fn is_batch(stage: &Value) -> bool {
    !stage["batch"]["size"].is_null()
}

fn has_items(stage: &Value) -> bool {
    !stage["items"]["each"].is_null() && !is_batch(stage)
}

fn has_pages(stage: &Value) -> bool {
    let turns = ["next", "cursor", "page", "offset"];
    turns.iter().any(|key| !stage["pages"][key].is_null())
}

/// Whether a template can name it.
fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let starts = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    letters.next().is_some_and(starts) && letters.all(|it| starts(it) || it.is_ascii_digit())
}

fn unfit(error: serde_json::Error) -> Error {
    Error::plan(format!("the job can't be simulated: {error}"))
}
