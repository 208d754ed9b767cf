//! Which workers share their limits: those of one machine, by its accounts. Others would exceed
//! them together, and do not join.

use serde_json::{Value, json};

use crate::engine::Run;
use crate::error::Error;
use crate::limit::salt;
use crate::plan::{Plan, Stage};
use crate::queue::{Queue, QueueError, RedisStore};

/// Time after the last word of a worker, in seconds, in which its requests may still count.
const SILENT: u64 = 120;

/// Checks that workers can share the limits of a plan.
///
/// # Errors
/// Which limit they can't share.
pub fn check_plan(plan: &Plan) -> Result<(), Error> {
    for stage in plan.limited_stages() {
        let rules = stage.policy.rules();
        if let Some(rule) = rules.iter().find(|rule| rule.quota().is_none()) {
            return Err(Error::plan(format!(
                "the limit {} counts in one process, and workers on other machines are several: leave it out",
                rule.name
            )));
        }
        if !rules.is_empty() && !stage.shares() {
            return Err(Error::plan(
                "the limits are one run's alone (limit.sharing), and workers on other machines are several: leave it out",
            ));
        }
    }
    Ok(())
}

/// The name of the workers with which a worker's run shares its limits; empty if it has none.
///
/// # Errors
/// The accounts can't be read.
pub fn group(run: &Run, consumer: &str) -> Result<String, Error> {
    let plan = run.plan();
    if plan.limited_stages().all(|stage: &Stage| stage.policy.rules().is_empty()) {
        return Ok(String::new());
    }
    if run.is_alone() {
        return Ok(consumer.to_owned());
    }
    let directory = plan.state()?;
    let salt = salt(&directory).map_err(|error| {
        Error::plan(format!("the accounts in {} can't be read: {error}", directory.display()))
    })?;
    // The salt itself stays here.
    Ok(blake3::hash(&salt).to_hex()[..16].to_owned())
}

/// Joins the workers of a job, unless there are some with which the limits can't be shared.
///
/// # Errors
/// There are such workers, or the store can't be reached.
pub fn check(
    store: &RedisStore,
    job: &str,
    queue: &mut dyn Queue,
    consumer: &str,
    group: &str,
) -> Result<(), Error> {
    let about = json!({ "limits": group }).to_string();
    queue.beat(&about, &[]).map_err(QueueError::into_error)?;
    let workers = store.facts(job)?.map(|facts| facts.workers).unwrap_or_default();
    let Some(other) = other_group(&workers, consumer, group) else { return Ok(()) };
    let why = format!(
        "{other} does rows of {job}, and does not share its limits with this worker, so that both would exceed them: start workers on its machine, with its state directory (XDG_STATE_HOME)"
    );
    // It is forgotten in the end anyway.
    let _ = queue.release(&[]);
    Err(Error::plan(why))
}

/// A worker that was heard of lately, and does not share its limits with this one.
fn other_group<'a>(
    workers: &'a [(String, String)],
    consumer: &str,
    group: &str,
) -> Option<&'a str> {
    let heard = |about: &str| about.split_once(' ')?.0.parse::<u64>().ok();
    let limits = |about: &str| -> Option<String> {
        let about: Value = serde_json::from_str(about.split_once(' ')?.1).ok()?;
        Some(about["limits"].as_str()?.to_owned())
    };
    let now = workers.iter().filter_map(|(_, about)| heard(about)).max()?;
    let is_other = |(name, about): &&(String, String)| {
        let is_lately = heard(about).is_some_and(|heard| now - heard < SILENT);
        name != consumer && is_lately && limits(about).is_some_and(|limits| limits != group)
    };
    workers.iter().find(is_other).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_was_heard_of_lately_and_has_other_limits_is_in_the_way() {
        let worker = |name: &str, heard: u64, limits: &str| {
            (name.to_owned(), format!("{heard} {}", json!({ "limits": limits })))
        };
        let me = worker("me", 1_000, "a");
        let others = |other: (String, String)| vec![other, me.clone()];
        assert_eq!(other_group(&others(worker("x", 990, "b")), "me", "a"), Some("x"));
        assert_eq!(other_group(&others(worker("x", 990, "a")), "me", "a"), None);
        assert_eq!(other_group(&others(worker("x", 800, "b")), "me", "a"), None);
        assert_eq!(other_group(&others(worker("x", 1_001, "")), "me", ""), None);
    }
}
