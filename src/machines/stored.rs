//! What a store keeps of a job: its text without secrets, which workers have themselves. Pure.

use serde_json::Value;

use crate::error::Error;
use crate::plan::{Job, places_of_keys};
use crate::queue::JobFields;
use crate::{sink, source};

/// Checks that workers of other processes can do the rows of a job.
///
/// # Errors
/// The part of the job that they can't do, and what to do instead.
pub fn check(job: &Job) -> Result<(), Error> {
    let no = |what: &str| Err(Error::plan(what));
    if !job.step.is_empty() {
        return no(
            "a job with steps ([[step]]) is done on one machine, or by shards (--shard): workers on other machines do one step",
        );
    }
    if job.poll.is_any() {
        return no("a job that is polled ([poll]) is done on one machine, or by shards (--shard)");
    }
    if job.save.is_some() {
        return no(
            "answers are saved to files (save, --save) on one machine, or by shards (--shard): workers on other machines have other disks",
        );
    }
    if job.shard.is_some() {
        return no(
            "rows are divided by shards (--shard) or by workers on other machines: leave one of them out",
        );
    }
    if job.budget.is_some() {
        return no(
            "a budget is kept on one machine, or by shards (--shard), each of which has its part: workers on other machines do not know what others spend; leave it out, and the bill says what all of them have spent",
        );
    }
    if job.batch_api.is_some() {
        return no(
            "batches of a provider (batch-api) are submitted and polled on one machine, or by shards (--shard)",
        );
    }
    if !job.fallback.is_empty() {
        return no(
            "a job with other targets ([[fallback]]) is done on one machine, or by shards (--shard)",
        );
    }
    if job.dedupe {
        return no(
            "equal rows are asked for once (dedupe) on one machine: workers on other machines do not know of one another's rows",
        );
    }
    if let Some(place) = places_of_keys(job).first() {
        return Err(Error::plan(format!(
            "{place} holds a key, which the store would keep: write {{{{ env.NAME }}}} in its place, and set NAME where the workers run"
        )));
    }
    Ok(())
}

/// The text of a job for workers: what it asks for, and not where rows and records are.
///
/// # Errors
/// It has no text.
pub fn text(job: &Job) -> Result<String, Error> {
    let stored = Job {
        input: source::Settings::default(),
        output: sink::Settings {
            keep_body: job.output.keep_body,
            key: job.output.key.clone(),
            ..sink::Settings::default()
        },
        summary: Default::default(),
        // The run has chosen the rows.
        only: Vec::new(),
        against: None,
        ..job.clone()
    };
    let text = serde_json::to_string(&stored);
    text.map_err(|error| Error::plan(format!("the job can't be stored: {error}")))
}

/// The job that a store keeps. What ends a run is left to the collector.
///
/// # Errors
/// It is of another version.
pub fn job(fields: &JobFields) -> Result<Job, Error> {
    let wrong = |error: serde_json::Error| {
        Error::plan(format!("the job is of another version of throng: {error}"))
    };
    let tree: Value = serde_json::from_str(fields.get("job")).map_err(wrong)?;
    let mut job: Job = serde_json::from_value(tree).map_err(wrong)?;
    job.workers.deadline = None;
    job.retry.max_failures = None;
    Ok(job)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Layers;

    fn parsed(tree: Value) -> Job {
        Layers::parse("job.json", &tree.to_string()).unwrap().job().unwrap()
    }

    #[test]
    fn a_job_is_read_back_as_it_was_stored() {
        let whole = parsed(json!({
            "api": "github",
            "input": {"list": [{"id": 1}]},
            "request": {
                "url": "https://h/{{ id }}",
                "method": "POST",
                "headers": {"x-api-key": "{{ env.KEY }}"},
                "query": {"a": ["1", "2"]},
                "json": {"n": "{{ id }}", "none": null},
            },
            "auth": {"kind": "bearer", "token": "{{ env.TOKEN }}"},
            "limit": {
                "rate": ["22/5s", "bucket:10/1s", "9000 tokens/1m", "25/1d@UTC"],
                "cost": {"tokens": "id * 2"},
                "in-flight": 7, "spacing": "10ms", "per": "{{ tenant }}",
            },
            "retry": {"retries": 3, "max-failures": "5%", "max-wait": "3m"},
            "answer": [{"status": "404,410", "then": "missing"}],
            "answer-format": "json",
            "send": {"timeout": "7s", "max-body": "3MB"},
            "workers": {"concurrency": 9, "deadline": "1h"},
            "extract": {"a?": ".a", "b": ".b | length"},
            "summary": {"mean": "mean(b)"},
            "output": {"file": "x.csv", "keep-body": "all", "key": "id"},
            "items": {"each": ".[]"},
            "before": [{"url": "https://h/login", "extract": {"session": ".token"}}],
        }));
        let mut fields = JobFields::default();
        fields.0.insert("job".to_owned(), text(&whole).unwrap());
        let stored = job(&fields).unwrap();
        assert_eq!((stored.workers.deadline.as_ref(), stored.retry.max_failures), (None, None));
        assert_eq!(stored.input, source::Settings::default());
        assert_eq!(stored.output.file, None);
        let mut expected = whole.clone();
        expected.input = stored.input.clone();
        expected.output = stored.output.clone();
        expected.summary = stored.summary.clone();
        expected.workers.deadline = None;
        expected.retry.max_failures = None;
        expected.profile = None;
        assert_eq!(stored, expected);
        assert_eq!(stored.output.keep_body, whole.output.keep_body);
    }

    #[test]
    fn what_workers_on_other_machines_cannot_do_is_refused() {
        let url = json!({"url": "https://h/{{ id }}"});
        for (more, why) in [
            (json!({"step": [{"request": url}]}), "steps"),
            (json!({"save": "{{ id }}.bin"}), "saved to files"),
            (json!({"shard": "1/2"}), "--shard"),
            (json!({"budget": "5usd"}), "a budget"),
            (json!({"dedupe": true}), "dedupe"),
            (
                json!({"request": {"url": "https://h/", "headers": {"x-api-key": "abcdef123456"}}}),
                "request.headers.x-api-key holds a key",
            ),
        ] {
            let mut tree = json!({"request": url});
            tree.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = check(&parsed(tree)).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("abcdef123456"), "{error}");
        }
        assert!(check(&parsed(json!({"request": url}))).is_ok());
    }
}
