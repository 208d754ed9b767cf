//! Which shard of its job a run does: as the job says, or as the scheduler says that starts the
//! shards. Pure; the caller reads the environment.

use super::Job;
use crate::error::Error;
use crate::limit::Shard;
use crate::price::Usd;

/// What users should know of the budget of a shard: the part of the whole one that it has.
pub fn budget_note(job: &Job, whole: Option<Usd>) -> Option<String> {
    let (shard, part, whole) = (job.limit.shard?, job.budget?, whole?);
    Some(format!(
        "shard {shard} has its part of the budget of {whole} (budget, --budget), which is {part}: all shards together keep the whole"
    ))
}

/// The variables by which a scheduler tells a task which of several it is.
struct Scheduler {
    /// Its name.
    name: &'static str,
    /// The variable with the task's number.
    index: &'static str,
    /// The number of the first task, or the variable that has it.
    first: First,
    /// The variable with the difference of the numbers of two tasks; none if that is 1.
    step: Option<&'static str>,
    /// The variable with the number of tasks; none if the scheduler doesn't tell it.
    count: Option<&'static str>,
}

/// The number of the first task.
enum First {
    /// Always this number.
    Is(u64),
    /// The value of this variable.
    In(&'static str),
}

/// The schedulers that `auto` knows, the more specific ones first.
const SCHEDULERS: &[Scheduler] = &[
    of("Kubernetes", "JOB_COMPLETION_INDEX", First::Is(0), None),
    Scheduler {
        step: Some("SLURM_ARRAY_TASK_STEP"),
        ..of(
            "Slurm",
            "SLURM_ARRAY_TASK_ID",
            First::In("SLURM_ARRAY_TASK_MIN"),
            Some("SLURM_ARRAY_TASK_COUNT"),
        )
    },
    of("SkyPilot", "SKYPILOT_NODE_RANK", First::Is(0), Some("SKYPILOT_NUM_NODES")),
    of("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", First::Is(0), Some("AWS_BATCH_JOB_ARRAY_SIZE")),
    of("Google Cloud Batch", "BATCH_TASK_INDEX", First::Is(0), Some("BATCH_TASK_COUNT")),
    of("Cloud Run", "CLOUD_RUN_TASK_INDEX", First::Is(0), Some("CLOUD_RUN_TASK_COUNT")),
    Scheduler {
        step: Some("SGE_TASK_STEPSIZE"),
        ..of("Grid Engine", "SGE_TASK_ID", First::In("SGE_TASK_FIRST"), None)
    },
    of("PBS", "PBS_ARRAY_INDEX", First::Is(0), None),
    of("GitLab", "CI_NODE_INDEX", First::Is(1), Some("CI_NODE_TOTAL")),
    of("CircleCI", "CIRCLE_NODE_INDEX", First::Is(0), Some("CIRCLE_NODE_TOTAL")),
    of("Buildkite", "BUILDKITE_PARALLEL_JOB", First::Is(0), Some("BUILDKITE_PARALLEL_JOB_COUNT")),
    of("torchrun", "RANK", First::Is(0), Some("WORLD_SIZE")),
];

const fn of(
    name: &'static str,
    index: &'static str,
    first: First,
    count: Option<&'static str>,
) -> Scheduler {
    Scheduler { name, index, first, step: None, count }
}

/// The job with its shard in its limits, and with its part of the budget.
///
/// # Errors
/// The text is no shard, or the environment doesn't say which it is.
pub fn settled(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Job, Error> {
    let mut job = job.clone();
    if let Some(text) = &job.shard {
        let shard = parse(text.trim(), environment).map_err(Error::plan)?;
        job.limit.shard = Some(shard);
        job.budget = job.budget.map(|budget| Usd(shard.part(budget.0)));
        let of_steps = job.step.iter_mut().filter_map(|step| step.limit.as_mut());
        let of_fallbacks = job.fallback.iter_mut().filter_map(|it| it.limit.as_mut());
        for limit in of_steps.chain(of_fallbacks) {
            limit.shard = Some(shard);
        }
    }
    Ok(job)
}

fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let count = match text.strip_prefix("auto") {
        None => return text.parse().map_err(|error| format!("shard (--shard): {error}")),
        Some("") => None,
        Some(count) => {
            let count = count.strip_prefix('/').and_then(|count| count.parse::<u64>().ok());
            Some(count.ok_or_else(|| {
                format!("shard (--shard) is \"{text}\": write auto, or auto/8 for 8 shards")
            })?)
        }
    };
    let told = |scheduler: &&Scheduler| environment(scheduler.index).is_some();
    let scheduler = SCHEDULERS.iter().find(told).ok_or_else(|| {
        let variables: Vec<&str> = SCHEDULERS.iter().map(|it| it.index).collect();
        format!(
            "shard (--shard) is {text}, and no scheduler says which shard this is: none of {} is set; write it, such as --shard 1/8",
            variables.join(", ")
        )
    })?;
    scheduler.shard(count, environment)
}

impl Scheduler {
    /// The shard that this scheduler's task is of `count`, or of as many as the scheduler says.
    fn shard(
        &self,
        count: Option<u64>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Shard, String> {
        let number = |variable: &str| match environment(variable) {
            Some(text) => match text.trim().parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{variable} of {} is {text:?}, and no number", self.name)),
            },
            None => Ok(None),
        };
        let index = number(self.index)?.unwrap_or_default();
        let first = match self.first {
            First::Is(first) => first,
            First::In(variable) => number(variable)?.unwrap_or(1),
        };
        let step = match self.step {
            Some(variable) => number(variable)?.unwrap_or(1).max(1),
            None => 1,
        };
        let told = match self.count {
            Some(variable) => number(variable)?,
            None => None,
        };
        let count = count.or(told).ok_or_else(|| {
            format!(
                "{} says which shard this is ({}={index}), and not of how many: write --shard auto/8 for 8",
                self.name, self.index
            )
        })?;
        index.checked_sub(first).and_then(|before| Shard::new(before / step + 1, count)).ok_or_else(|| {
            format!(
                "{} says that this is task {index} ({}), counted from {first}, and there are {count} shards",
                self.name, self.index
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        parse(text, &environment).map(|shard| shard.to_string())
    }

    #[test]
    fn a_scheduler_says_which_shard_it_is() {
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "12"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
        ];
        for (text, variables, shard) in [
            ("3/8", &[][..], "3/8"),
            ("auto/8", &[("JOB_COMPLETION_INDEX", "0")], "1/8"),
            ("auto", &slurm, "3/4"),
            ("auto/4", &slurm, "3/4"),
            (
                "auto/4",
                &[("SGE_TASK_ID", "9"), ("SGE_TASK_FIRST", "1"), ("SGE_TASK_STEPSIZE", "4")],
                "3/4",
            ),
            ("auto", &[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "2")], "2/2"),
            ("auto", &[("CLOUD_RUN_TASK_INDEX", "2"), ("CLOUD_RUN_TASK_COUNT", "3")], "3/3"),
        ] {
            assert_eq!(parsed(text, variables).as_deref(), Ok(shard), "{text} {variables:?}");
        }
    }

    #[test]
    fn the_parts_of_a_budget_add_up_to_it() {
        let part = |shard: u32| {
            let shard = Some(format!("{shard}/3"));
            let job = Job { shard, budget: Some(Usd(10)), ..Job::default() };
            settled(&job, &|_| None).unwrap().budget.unwrap().0
        };
        assert_eq!([part(1), part(2), part(3)], [3, 3, 4]);
    }

    #[test]
    fn what_no_scheduler_says_is_an_error() {
        for (text, variables, why) in [
            ("auto", &[][..], "none of JOB_COMPLETION_INDEX, SLURM"),
            ("auto", &[("JOB_COMPLETION_INDEX", "1")], "not of how many: write --shard auto/8"),
            ("auto/2", &[("JOB_COMPLETION_INDEX", "2")], "there are 2 shards"),
            ("auto/2", &[("JOB_COMPLETION_INDEX", "x")], "is \"x\", and no number"),
            ("auto/x", &[], "write auto, or auto/8"),
            ("0/8", &[], "from 1/N to N/N"),
        ] {
            let error = parsed(text, variables).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
