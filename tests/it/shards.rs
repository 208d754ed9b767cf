//! Runs that divide the rows and the limits of one job among machines, and the union of their
//! results, with the server's count as the judge.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{
    Ended, Place, Throng, assert_never_over, each, mock, run, symbols, throng, until,
};

/// A job whose shards run on machines of their own.
struct Job {
    place: Place,
    mock: Mock,
}

impl Job {
    fn new(limit: &str, rows: usize) -> Job {
        let limits = vec![limit.parse().unwrap()];
        let job = Job {
            place: Place::new(),
            mock: mock(Settings {
                limits,
                latency: "10ms".parse().unwrap(),
                ..Settings::default()
            }),
        };
        job.place.file("rows.csv", &symbols(rows));
        job
    }

    /// The run of a shard, on its own machine: with its own directory of accounts.
    fn shard(&self, index: u64, count: u64, rate: &str) -> Throng {
        run()
            .env("XDG_STATE_HOME", &self.place.path(&format!("machine {index}")))
            .quotes(&self.mock.url())
            .arg("--input", &self.place.path("rows.csv"))
            .arg("--output", &self.results(index))
            .arg("--rate", rate)
            .arg("--shard", &format!("{index}/{count}"))
            .flags("--workers 1 --concurrency 50")
    }

    fn results(&self, index: u64) -> String {
        self.place.path(&format!("{index}.jsonl"))
    }

    fn merge(&self, shards: impl IntoIterator<Item = u64>, to: &str) -> Throng {
        let files = shards.into_iter().map(|index| self.results(index));
        files
            .fold(throng("merge"), |merge, file| merge.operand(&file))
            .arg("--output", &self.place.path(to))
    }
}

#[track_caller]
fn prints(ended: &Ended, what: &str) {
    assert!(ended.stdout.contains(what), "no {what:?} in: {}", ended.stdout);
}

#[test]
fn eight_shards_that_are_killed_have_each_row_once_under_one_limit() {
    let job = Job::new("200/1s", 400);
    let running: Vec<_> = (1..=8).map(|index| job.shard(index, 8, "200/1s").start()).collect();
    for (index, shard) in (1..).zip(running) {
        // Each at another point of its run; the last ones are through by then.
        let results = format!("{index}.jsonl");
        let lines = |job: &Job| std::fs::read_to_string(job.place.path(&results));
        let most = 7 * index as usize % 40;
        until("some records", || lines(&job).is_ok_and(|text| text.lines().count() >= most));
        shard.signal("-KILL");
        shard.ends();
    }
    let again: Vec<_> =
        (1..=8).map(|index| job.shard(index, 8, "200/1s").flags("--resume").start()).collect();
    for shard in again {
        shard.ends().with_code(0);
    }
    assert_never_over(&job.mock);
    let merged = job.merge(1..=8, "all.jsonl").exits(0);
    prints(&merged, "complete, each of 400 rows from one of 8 shards");
    prints(&merged, "200/1s: at most ");
    let records = job.place.records("all.jsonl");
    let rows: BTreeSet<u64> = each(&records, "_row").iter().filter_map(Value::as_u64).collect();
    assert_eq!((records.len(), rows.len()), (400, 400));
    assert_eq!((rows.first(), rows.last()), (Some(&0), Some(&399)));

    job.merge([1, 2, 3, 5, 6, 7, 8], "seven.jsonl").exits(1).says("shard 4/8 is missing");
    assert!(!std::path::Path::new(&job.place.path("seven.jsonl")).exists());
}

#[test]
fn rows_are_divided_by_key_and_in_any_order_of_the_input() {
    let job = Job::new("1000/1s", 60);
    let in_shard = |index: u64| -> BTreeSet<String> {
        job.shard(index, 3, "900/1s").flags("--key symbol --overwrite").exits(0);
        let records = job.place.records(&format!("{index}.jsonl"));
        each(&records, "symbol").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let before: Vec<_> = (1..=3).map(in_shard).collect();
    assert_eq!(before.iter().map(BTreeSet::len).sum::<usize>(), 60);
    assert!(before.iter().all(|symbols| symbols.len() > 5), "{before:?}");
    prints(&job.merge(1..=3, "all.csv").exits(0), "each of 60 rows");

    let text = job.place.read("rows.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let backwards: Vec<&str> = rows.lines().rev().collect();
    job.place.file("rows.csv", &format!("{header}\n{}\n", backwards.join("\n")));
    let after: Vec<_> = (1..=3).map(in_shard).collect();
    assert_eq!(before, after);
}

#[test]
fn a_shard_that_has_not_ended_is_named_and_goes_on() {
    let job = Job::new("1000/1s", 20);
    // A scheduler starts each task by the same command, the first time too.
    job.shard(1, 2, "40/1s").flags("--resume").exits(0);
    job.merge([1], "all.jsonl").exits(1).says("shard 2/2 is missing");
    let second = job.shard(2, 2, "40/1s").flags("--max-failures 0 --retries 0");
    second.arg("--extract", "never=.never").ends();
    job.merge([1, 2], "all.jsonl")
        .exits(2)
        .says("are shards of different jobs: extract is not the same");
    job.shard(2, 2, "40/1s").flags("--overwrite --deadline 1ms").exits(3);
    job.merge([1, 2], "all.jsonl")
        .exits(1)
        .says("rows of shard 2/2 have no record; the same command with --shard 2/2 --resume");
    job.shard(2, 2, "40/1s").flags("--resume").exits(0);
    let merged = job.merge([2, 1], "all.jsonl").exits(0);
    prints(&merged, "each of 20 rows from one of 2 shards");
    assert_never_over(&job.mock);
}

#[test]
fn a_scheduler_says_which_shard_a_task_is() {
    let job = Job::new("1000/1s", 10);
    let task = |index: &str| {
        run()
            .env("JOB_COMPLETION_INDEX", index)
            .quotes(&job.mock.url())
            .arg("--input", &job.place.path("rows.csv"))
            .arg("--output", &job.place.path(&format!("task {index}.jsonl")))
    };
    task("1").flags("--shard auto/3").exits(0);
    let records = job.place.records("task 1.jsonl");
    assert_eq!(each(&records, "_row").len(), 3);
    assert!(each(&records, "_row").iter().all(|row| (3..6).contains(&row.as_u64().unwrap())));
    task("1").flags("--shard auto").exits(2).says("write --shard auto/8 for 8");
}

#[test]
fn limits_that_cannot_be_divided_are_refused_before_anything_is_sent() {
    let job = Job::new("1000/1s", 10);
    let shard = |flags: &str| {
        run()
            .quotes(&job.mock.url())
            .arg("--input", &job.place.path("rows.csv"))
            .arg("--output", &job.place.path("x.jsonl"))
            .flags(flags)
    };
    for (flags, why) in [
        ("--shard 3/8 --rate 5/1s", "5/1s can't be divided among 8 shards"),
        ("--shard 1/2 --rate gcra:60/1m", "gcra:60/1m can't be divided among 2 shards"),
        ("--shard 1/2 --rate 60/1m --spacing 1s", "spacing 1s can't be divided among 2 shards"),
        ("--shard 1/2 --rate 60/1m --use 60%", "2 shards that use 60% of a limit each are more"),
        ("--shard 0/2 --rate 60/1m", "shards are counted from 1/N to N/N"),
    ] {
        shard(flags).exits(2).says(why);
    }
    let piped = run().quotes(&job.mock.url()).flags("--input - --shard 1/2 --rate 60/1m");
    piped.with_stdin("symbol\nA\n").ends().says("can't be counted before they are divided");
    assert_eq!(job.mock.judgement().requests, 0);
    shard("--shard 1/2 --rate gcra:60000/1m --burst 9 --use 50%").exits(0);
}

#[test]
fn each_shard_has_its_part_of_the_budget() {
    let job = Job::new("fixed:1000/1s", 40);
    let shard =
        |index| job.shard(index, 4, "1000/1s").flags("--price requests=0.01 --budget 0.2usd");
    for index in 1..=4 {
        let ended = shard(index).exits(3);
        ended.says("the budget of $0.05").says("part of the budget of $0.20");
    }
    assert_eq!(job.mock.judgement().requests, 20, "all shards together keep the whole budget");
}

#[test]
fn the_recipe_for_kubernetes_is_a_job_by_the_published_schema() {
    let place = Place::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let recipe = std::fs::read_to_string(format!("{root}/docs/schedulers/kubernetes.yaml"));
    let recipe = recipe.unwrap();
    let validate = |text: &str| {
        let mut validate = Command::new(format!("{root}/target/servers/bin/kubernetes-validate"));
        let validated = validate.arg("--strict").arg(place.file("job.yaml", text)).output();
        let Output { status, stdout, stderr } =
            validated.unwrap_or_else(|error| panic!("see tests/servers/install: {error}"));
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    };
    let (code, said) = validate(&recipe);
    assert_eq!(code, Some(0), "{said}");
    for (right, wrong) in [
        ("backoffLimitPerIndex", "backoffLimitPerShard"),
        ("completions: 8", "completions: eight"),
        ("restartPolicy: Never", "restartPolicy: 0"),
    ] {
        let (code, said) = validate(&recipe.replace(right, wrong));
        assert!(code == Some(1) && said.contains("did not validate"), "{wrong}: {said}");
    }
}
