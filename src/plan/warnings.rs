//! What users should know of a job before it starts.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use serde_json::Value;

use super::literals::{self, Literal};
use super::profile::Profile;
use super::{Job, Stage};
use crate::auth::Tokens;
use crate::limit::duration;
use crate::pages::Pages;
use crate::quota_store::SharedLimit;
use crate::row::Fields;
use crate::send;
use crate::source::Survey;

/// The warnings of a stage, one sentence each.
pub fn of(job: &Job, stage: &Stage) -> Vec<String> {
    let fixed = stage.renderer.fixed_uri();
    let uris = fixed.iter().chain(stage.signer.uris());
    let mut proxies: Vec<String> = uris.filter_map(|uri| proxy(stage, uri)).collect();
    proxies.dedup();
    let insecure = job.tls.insecure.then(|| {
        "WARNING: certificates are NOT checked (tls.insecure or --insecure): anyone on the way can read and change all data".to_owned()
    });
    let mut rates = job.limit.rate.iter();
    let auto = rates.find(|limit| limit.counting.is_found_out()).map(|limit| {
        format!(
            "{limit} is found out by exceeding it now and then: don't use it with an API that bans clients for that"
        )
    });
    insecure
        .into_iter()
        .chain(auto)
        .chain(stage.pages.as_ref().and_then(Pages::fixed_step).map(fixed_step))
        .chain(proxies)
        .chain(stage.signer.tokens().and_then(Tokens::loss_warning))
        .chain(keys(job))
        .collect()
}

/// The warning that there are fewer connections than requests in flight.
pub fn of_connections(in_flight: usize, connections: usize, files: u64) -> Option<String> {
    (connections < in_flight).then(|| {
        format!(
            "{files} files may be open at a time (ulimit -n): each worker opens at most {connections} connections, although it may have {in_flight} requests in flight; a higher limit (ulimit -Hn) allows more"
        )
    })
}

fn proxy(stage: &Stage, uri: &Uri) -> Option<String> {
    let proxy = stage.transport.proxy_of(uri)?;
    Some(format!(
        "requests to {} go through the proxy {proxy} (--proxy none goes without)",
        uri.host().unwrap_or_default()
    ))
}

fn fixed_step(step: u64) -> String {
    format!(
        "pages.offset (--offset) grows by {step}, however many items a page has: if the server gives fewer than {step}, some are left out; \
         with a path to the list as items.each (--each '.items[]') it grows by the items that came"
    )
}

/// Filters of a cost that count the characters of a text, and the entries of anything else.
const LENGTHS: [&str; 2] = ["length", "count"];

/// A warning of each cost that counts the entries of an object where it may mean its
/// characters.
pub fn of_costs(costs: &BTreeMap<String, String>, survey: &Survey) -> Vec<String> {
    let Some(row) = survey.first.first() else {
        return Vec::new();
    };
    let warnings = costs.iter().flat_map(|(unit, cost)| {
        let objects = measured(cost).filter_map(|path| {
            let value = at(&row.fields, path)?;
            let what = kind_of_entries(value)?;
            Some(format!(
                "limit.cost.{unit} (--cost): {path} is {what}, so its length is a number of entries, {} in row {}; its characters are {path} | tojson | length",
                entries(value), row.number,
            ))
        });
        objects.collect::<Vec<_>>()
    });
    warnings.collect()
}

/// The fields of whose values a cost takes the length.
fn measured(cost: &str) -> impl Iterator<Item = &str> {
    let pieces: Vec<&str> = cost.split('|').collect();
    let is_length = |piece: &str| {
        let name = piece.trim_start().split(|it: char| !it.is_alphanumeric()).next();
        name.is_some_and(|name| LENGTHS.contains(&name))
    };
    let found: Vec<&str> = pieces
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| is_length(pair[1]))
        .filter_map(|(index, pair)| {
            let before = pair[0].trim_end();
            let is_path = |it: char| it.is_alphanumeric() || it == '_' || it == '.';
            let from = before.rfind(|it| !is_path(it)).map_or(0, |at| at + 1);
            // Behind a `|` alone it is the name of a filter.
            let is_filter = index > 0 && before.trim_start().len() == before[from..].len();
            let path = &before[from..];
            (!is_filter && !path.is_empty()).then_some(path)
        })
        .collect();
    found.into_iter()
}

fn at<'a>(fields: &'a Fields, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let field = fields.get(names.next()?)?;
    names.try_fold(field, |value, name| value.get(name))
}

/// The name of a value whose length is hardly meant.
fn kind_of_entries(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(_) => Some("an object"),
        Value::Array(list) if list.iter().any(Value::is_object) => Some("a list of objects"),
        _ => None,
    }
}

fn entries(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    }
}

/// A warning of each key that the job itself holds, where history and backups keep it.
fn keys(job: &Job) -> Vec<String> {
    let all = literals::of(job).into_iter().filter(Literal::is_long);
    all.map(|literal| {
        format!(
            "{} holds what looks like a key: {{{{ env.NAME }}}} or {{{{ secret.NAME }}}} keeps it out of files and of the shell's history",
            literal.place
        )
    })
    .collect()
}

/// A warning that a host that is not local is asked without a limit, or that a profile knows
/// the host's limits and the job does without it.
pub fn of_host(job: &Job, stages: &[Stage], first: Option<&Uri>) -> Option<String> {
    let later = stages[1..].iter().map(|stage| stage.renderer.fixed_uri());
    let uris = std::iter::once(first.cloned()).chain(later);
    let mut asked = stages.iter().zip(uris).filter_map(|(stage, uri)| {
        let host = uri?.host()?.to_ascii_lowercase();
        (!send::is_local(&host)).then(|| (stage.policy.is_unlimited(), host))
    });
    asked.find_map(|(is_unlimited, host)| {
        let profiles = match job.profile {
            Some(_) => Vec::new(),
            None => Profile::of_host(&host).unwrap_or_default(),
        };
        let api = profiles.join(" or --api ");
        match (is_unlimited, profiles.as_slice()) {
            (true, []) => Some(format!(
                "no limit is set (limit.rate or --rate): {host} is asked as fast as it answers"
            )),
            (true, _) => Some(format!(
                "no limit is set, and there is a profile with those of {host}: --api {api} (throng profiles shows it)"
            )),
            (false, []) => None,
            (false, _) => Some(format!(
                "there is a profile with the limits and refusals of {host}: --api {api} (throng profiles shows it)"
            )),
        }
    })
}

/// Shorter waits are not worth a warning.
const WORTH_IT: Duration = Duration::from_secs(1);

/// Warnings that the first request has to wait, since earlier runs have used up a limit.
pub fn of_used_limit(limit: &SharedLimit) -> Vec<String> {
    let Some(balance) = &limit.balance else {
        return of_used_keys(limit).into_iter().collect();
    };
    let (name, unit) = (&limit.quota.name, &limit.quota.unit);
    let wait = balance.wait.filter(|wait| *wait >= WORTH_IT).map(duration::rounded);
    let of_dead = (balance.of_dead > 0).then(|| {
        let (units, time) = (balance.of_dead, duration::rounded(balance.arriving));
        format!("{units} {unit} of a run that was killed may still arrive: they count against {name} for {time} and one period")
    });
    let used_up = wait.map(|wait| match &balance.processes[..] {
        [] => format!("earlier runs have used {name} up, so the first request waits {wait}"),
        [process, ..] => format!(
            "process {process} shares {name} and has used it up, so the first request waits {wait}"
        ),
    });
    of_dead.into_iter().chain(used_up).collect()
}

/// The keys of a scope that have nothing left.
fn of_used_keys(limit: &SharedLimit) -> Option<String> {
    let waits = limit.keys.iter().filter_map(|key| key.balance.wait);
    let waits: Vec<Duration> = waits.filter(|wait| *wait >= WORTH_IT).collect();
    let longest = duration::rounded(waits.iter().copied().max()?);
    let (name, used, all) = (&limit.quota.name, waits.len(), limit.keys.len());
    Some(format!(
        "earlier runs have used {name} up for {used} of {all} keys, whose first requests wait up to {longest}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::row::Row;

    #[test]
    fn the_length_of_an_object_is_no_number_of_characters() {
        let fields = json!({
            "prompt": "text", "messages": [{"role": "user"}], "ids": [1, 2], "a": {"b": {"c": 1}},
        });
        let fields = serde_json::from_value(fields).unwrap();
        let mut survey = Survey::default();
        survey.first = vec![Row { fields, ..Row::default() }];
        for (cost, expected) in [
            ("prompt | length / 4 + 200", None),
            ("messages | length", Some("messages is a list of objects")),
            ("{{ 7 + messages|length / 4 }}", Some("messages is a list of objects")),
            ("messages | tojson | length", None),
            ("prompt | length + a.b | count", Some("a.b is an object")),
            ("ids | length", None),
            ("a | tojson | length / 4", None),
            ("none | length", None),
        ] {
            let costs = BTreeMap::from([("tokens".to_owned(), cost.to_owned())]);
            let warnings = of_costs(&costs, &survey);
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{cost}: {warnings:?}");
            for (warning, expected) in warnings.iter().zip(expected) {
                assert!(warning.contains(expected), "{warning}");
            }
        }
    }
}
