//! What the records of a job depend on, as fingerprints that can be compared later.

use serde_json::{Value, json};

use super::{Job, JobParts, Target, fallback};
use crate::error::Error;
use crate::extract::{self, AnswerEncoding, AnswerKind};
use crate::helpers::HelperSettings;
use crate::hooks::ResponseStep;
use crate::limit;
use crate::pages;
use crate::poll;
use crate::sink::{Identity, RunLimit, ShardFacts, fingerprint};
use crate::source::{self, Source, Survey};

/// What identifies a run of this job with this number of rows. The input is read once for it.
pub fn of(
    job: &Job,
    hooks: &JobParts,
    source: &Source,
    survey: &Survey,
    targets: &[Target],
) -> Result<Identity, Error> {
    let (rows, rows_of_all) = (survey.rows, survey.of_all_shards());
    let request = &job.request;
    let body = json!([
        request.data,
        request.json,
        request.jq,
        request.form,
        request.multipart,
        request.body_file
    ]);
    // Of later stages the same parts as of the first: what is asked, and not how.
    let steps = job.step.iter().map(|step| {
        let mut parts = json!({
            "request": step.request,
            "extract": extraction(
                &step.extract,
                step.answer_format,
                step.answer_encoding.or(job.answer_encoding)
            ),
            "items": step.items,
            "batch": step.batch,
            "pages": paging(&step.pages, &step.poll),
        });
        if let Some(check) = &step.check {
            parts["check"] = json!([check, step.reask]);
        }
        parts
    });
    let steps = Value::Array(steps.collect());
    let parts: [(&str, Value); 12] = [
        ("input.table", reading(&job.input)),
        ("request.method", json!(request.method)),
        ("request.url", json!(request.url)),
        ("request.query", json!(request.query)),
        ("request.headers", json!(request.headers)),
        ("the request's body", body),
        ("extract", extraction(&job.extract, job.answer_format, job.answer_encoding)),
        ("items", json!(job.items)),
        // The rows of a provider's batches are asked for one by one.
        ("batch", json!(job.batch_api.map_or_else(|| job.batch.clone(), |_| Default::default()))),
        ("step", steps),
        ("pages", paging(&job.pages, &job.poll)),
        ("output.key", json!(job.output.key)),
    ];
    let check = job.check.as_ref().map(|check| ("check", json!([check, job.reask])));
    let save = job.save.as_ref().map(|save| ("save", json!(save)));
    let batch_api = job.batch_api.map(|provider| ("batch-api", json!(provider)));
    // What a hook does is not known: that it is there is.
    let request_hook = hooks.request.as_ref().map(|_| ("the request hook", command(&job.render)));
    let response_hook = hooks.response.as_ref().map(|step| {
        let command = command(&job.process);
        ("the response hook", json!([step.values, step.many, command]))
    });
    let fallback = fallback::identity(job).map(|it| ("fallback", it));
    let shard = job.limit.shard.map(|shard| ("shard", json!(shard.to_string())));
    let parts = parts
        .into_iter()
        .chain(check)
        .chain(save)
        .chain(batch_api)
        .chain(fallback)
        .chain(shard)
        .chain(request_hook)
        .chain(response_hook);
    Ok(Identity {
        input: source.fingerprint(u64::MAX)?,
        parts: parts
            .map(|(name, value)| (name.to_owned(), fingerprint(&value.to_string())))
            .collect(),
        limits: all_limits(job),
        rates: rates(job, targets),
        has_steps: !job.step.is_empty() || job.poll.is_any() || job.batch_api.is_some(),
        // A run knows whether it shares them when it begins.
        is_alone: false,
        rows,
        shard: job.limit.shard.map(|shard| ShardFacts {
            index: shard.index(),
            count: shard.count(),
            rows_of_all,
        }),
        values: hooks.response.as_ref().map_or_else(|| values(job), ResponseStep::names),
        joins_pages: joins_pages(job),
    })
}

/// The command of a hook that is a helper.
fn command(helper: &HelperSettings) -> Value {
    helper.command.as_ref().map_or(Value::Bool(true), |command| json!(command))
}

/// The values that are extracted, and the kind of the answers that they are read from, if the
/// job names it.
fn extraction(
    values: &extract::Settings,
    kind: Option<AnswerKind>,
    encoding: Option<AnswerEncoding>,
) -> Value {
    match (kind, encoding) {
        (None, None) => json!(values),
        (Some(kind), None) => json!([values, kind]),
        (kind, Some(encoding)) => json!([values, kind, encoding]),
    }
}

/// How an answer goes on: over pages, with the polls of a job, or both.
fn paging(pages: &pages::Settings, poll: &poll::Settings) -> Value {
    if poll.is_any() && *pages != pages::Settings::default() {
        json!([poll.submitted, poll.url, poll.until, poll.failed, pages])
    } else if poll.is_any() {
        json!([poll.submitted, poll.url, poll.until, poll.failed])
    } else {
        json!(pages)
    }
}

/// What else than its bytes decides which rows an input has: its table, and how a text is
/// read.
fn reading(input: &source::Settings) -> Value {
    let told = json!([
        input.delimiter,
        input.encoding,
        input.skip_lines,
        input.comment,
        input.quote,
        input.escape,
        input.rows
    ]);
    let is_told = told.as_array().is_some_and(|told| told.iter().any(|it| !it.is_null()));
    if is_told { json!([input.table, told]) } else { json!(input.table) }
}

/// The names of the values of the last step.
fn values(job: &Job) -> Vec<String> {
    let extract = job.step.last().map_or(&job.extract, |last| &last.extract);
    extract.keys().map(|name| name.strip_suffix('?').unwrap_or(name).to_owned()).collect()
}

/// Whether a record has values of several pages, which no item is.
fn joins_pages(job: &Job) -> bool {
    let (pages, items) = match job.step.last() {
        Some(last) => (&last.pages, &last.items),
        None => (&job.pages, &job.items),
    };
    *pages != pages::Settings::default() && items.each.is_none()
}

/// The limits of the requests that the records tell of: those of the last step. Limits that
/// it shares with an earlier one count requests that are in no record.
fn rates(job: &Job, targets: &[Target]) -> Vec<RunLimit> {
    let Some(last) = job.step.last() else {
        let tells = !job.poll.is_any() && job.batch_api.is_none();
        let all = fallback::limits(job, targets).into_iter().filter(|_| tells);
        return all.flat_map(|(limits, targets)| run_limits(&limits, &targets)).collect();
    };
    let settings = last.limit.as_ref().filter(|_| !last.poll.is_any());
    settings.map_or_else(Vec::new, |settings| run_limits(settings, &[]))
}

/// The limits with the burst and the template of keys that hold for all of them.
fn run_limits(settings: &limit::Settings, targets: &[String]) -> Vec<RunLimit> {
    let limits = settings.rate.iter().map(|limit| {
        let mut limit = limit.clone();
        let details = &mut limit.details;
        details.per = details.per.take().or_else(|| settings.per.clone());
        let burst = settings.burst.filter(|_| limit.unit.is_none());
        details.burst = details.burst.or(burst);
        let pool = details.per.is_none() && !settings.keys.is_empty();
        RunLimit { limit, pool, targets: targets.to_vec() }
    });
    limits.collect()
}

/// The limits of all stages that have their own.
fn all_limits(job: &Job) -> String {
    let of_steps = job.step.iter().filter_map(|step| step.limit.as_ref());
    let of_fallbacks = job.fallback.iter().filter_map(|it| it.limit.as_ref());
    let all = std::iter::once(&job.limit).chain(of_steps).chain(of_fallbacks).map(limits);
    all.collect::<Vec<_>>().join("; ")
}

/// The limits as the job writes them, and the scope of each.
fn limits(settings: &limit::Settings) -> String {
    let all = settings.rate.iter().map(|rate| {
        let per = rate.details.per.as_ref().or(settings.per.as_ref());
        match (per, settings.keys.len()) {
            (Some(per), _) => format!("{rate} per {per}"),
            (None, 0) => rate.to_string(),
            (None, keys) => format!("{rate} for each of {keys} API keys"),
        }
    });
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_read_as_another_kind_give_other_values() {
        let parts = |kind: Value| {
            let job: Result<Job, _> = serde_json::from_value(json!({
                "input": {"list": ["a"]},
                "request": {"url": "http://h/"},
                "extract": {"n": ".n"},
                "answer-format": kind,
            }));
            let job = job.unwrap();
            of(
                &job,
                &JobParts::default(),
                &Source::new(&job.input).unwrap(),
                &Survey::default(),
                &[],
            )
            .unwrap()
            .parts
        };
        assert_eq!(parts(Value::Null), parts(Value::Null));
        assert_ne!(parts(Value::Null), parts(json!("csv")));
        assert_ne!(parts(json!("ndjson")), parts(json!("csv")));
    }

    #[test]
    fn how_a_later_step_is_sent_changes_its_limits_alone() {
        let of_step = |step: Value| {
            let job: Result<Job, _> = serde_json::from_value(json!({
                "input": {"list": ["a"]},
                "request": {"url": "http://h/"},
                "step": [step],
            }));
            let job = job.unwrap();
            of(
                &job,
                &JobParts::default(),
                &Source::new(&job.input).unwrap(),
                &Survey::default(),
                &[],
            )
            .unwrap()
        };
        let step = of_step(json!({"request": {"url": "http://h/{{ id }}"}}));
        let faster = json!({
            "request": {"url": "http://h/{{ id }}"},
            "limit": {"rate": ["9/1s"]},
            "retry": {"retries": 9},
        });
        let faster = of_step(faster);
        assert_eq!(step.parts, faster.parts);
        assert_eq!((&*step.limits, &*faster.limits), ("", "; 9/1s"));
        let other = of_step(json!({"request": {"url": "http://h/x"}}));
        assert_ne!(step.parts, other.parts);
    }
}
