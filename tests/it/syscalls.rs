//! Each system call on the results is a place to die at, or one that fails: strace
//! makes it so, at the n-th call of each kind.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use throng_mock::Mock;

use crate::crashes::prices_of;
use crate::forms::converted;
use crate::harness::{
    Ended, Place, Throng, assert_one_record_per_row, plain_mock, repetitions, run,
};

/// What may fail.
const CALLS: [&str; 6] = ["write", "pwrite64", "fdatasync", "fsync", "rename", "ftruncate"];

const ROWS: usize = 30;

/// All that may be written; what the call is about must be one of these.
const FILES: [&str; 16] = [
    "",
    "out",
    ".out",
    "-shm",
    "-wal",
    "-journal",
    ".journal",
    ".journal.new",
    ".throng",
    ".throng.new",
    ".intents",
    ".intents.new",
    "/part-000000.parquet",
    "/.part-000000.parquet",
    "/part-000001.parquet",
    "/.part-000001.parquet",
];

/// A job whose system calls can be told to do harm.
struct Job {
    output: &'static str,
    flags: &'static str,
}

const JOBS: [Job; 5] = [
    Job { output: "out.jsonl", flags: "" },
    Job { output: "out.csv", flags: "" },
    Job { output: "out.db", flags: "" },
    Job { output: "out.parquet", flags: "--order input" },
    Job { output: "out", flags: "--parts=12" },
];

impl Job {
    fn ask(&self, place: &Place, mock: &Mock) -> Throng {
        run()
            .quotes(&mock.url())
            .files(place, ROWS, self.output)
            .flags("--mode sync --workers 1 --sync always --progress none")
            .flags(self.flags)
    }

    /// With something done to the n-th call of a kind, on its own files only.
    fn harmed(&self, place: &Place, mock: &Mock, harm: &str) -> Ended {
        let command = self.ask(place, mock).command();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", &place.path("trace")]);
        strace.args(["-P", &place.path("")]);
        for file in FILES {
            let (own, hidden) = (self.output, format!(".{}", self.output));
            for name in [own, &hidden] {
                strace.args(["-P", &place.path(&format!("{name}{file}"))]);
            }
        }
        strace.args(["-e", &format!("inject={harm}")]);
        strace.arg(command.get_program()).args(command.get_args());
        let output = strace.env_clear().envs(path()).output();
        let output = output.unwrap_or_else(|error| {
            panic!("strace does not start: {error}; tests/servers/install installs it")
        });
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Goes on to the end, with what there is.
    fn goes_on(&self, place: &Place, mock: &Mock) {
        let journal = place.path(&format!("{}.journal", self.output));
        let is_there = fs::exists(place.path(self.output)).unwrap() || fs::exists(journal).unwrap();
        let how = if is_there { "--resume" } else { "" };
        self.ask(place, mock).flags(how).exits(0);
    }

    fn prices(&self, place: &Place) -> BTreeMap<String, String> {
        let records = converted(place, self.output);
        assert_one_record_per_row(&records, ROWS);
        prices_of(&records)
    }

    fn undisturbed(&self, mock: &Mock) -> BTreeMap<String, String> {
        let place = Place::new();
        self.ask(&place, mock).exits(0);
        self.prices(&place)
    }

    /// Dies at each of its calls, and is resumed.
    fn survives(&self) {
        let mock = plain_mock();
        let (expected, mut kills) = (self.undisturbed(&mock), 0);
        for call in CALLS.into_iter().chain(["unlink"]) {
            for n in 1..=repetitions(3, 200) {
                let place = Place::new();
                let ended = self.harmed(&place, &mock, &format!("{call}:signal=KILL:when={n}"));
                if ended.code.is_some() {
                    ended.with_code(0);
                    break;
                }
                kills += 1;
                self.goes_on(&place, &mock);
                assert_eq!(self.prices(&place), expected, "{} {call} {n}", self.output);
            }
        }
        assert!(kills > 5, "{kills}");
    }

    /// Each of its calls fails once; it says so, and is resumed.
    fn bears_errors(&self) {
        let mock = plain_mock();
        let (expected, mut errors) = (self.undisturbed(&mock), 0);
        for call in CALLS {
            for n in 1..=repetitions(2, 100) {
                let error = ["EIO", "ENOSPC"][n % 2];
                let place = Place::new();
                mock.reset();
                let ended = self.harmed(&place, &mock, &format!("{call}:error={error}:when={n}"));
                if !place.read("trace").contains("INJECTED") {
                    ended.with_code(0);
                    break;
                }
                errors += 1;
                self.assert_told(&ended, &mock, &format!("{} {call} {n}", self.output));
                self.assert_whole(&place);
                self.goes_on(&place, &mock);
                assert_eq!(self.prices(&place), expected, "{} {call} {n}", self.output);
                // What was answered had another try when the run ended.
                let requests = mock.judgement().requests as usize;
                assert_eq!(requests, ROWS, "{} {call} {n}", self.output);
            }
        }
        assert!(errors > 5, "{errors}");
    }

    fn assert_told(&self, ended: &Ended, mock: &Mock, point: &str) {
        let said = format!("{point}: {:?} {}", ended.code, ended.stderr);
        if self.output == "out.db" && ended.code == Some(0) {
            // SQLite has tried again by itself.
            return;
        }
        // Before anything is sent it is the plan that can't be carried out.
        let is_early = ended.code == Some(2) && mock.judgement().requests == 0;
        assert!(ended.code == Some(3) || is_early, "{said}");
        let told = ["cannot be written", "cannot be opened", "cannot be made", "cannot be sorted"];
        assert!(told.iter().any(|told| ended.stderr.contains(told)), "{said}");
        assert!(ended.stderr.contains(self.output), "{said}");
    }

    fn assert_whole(&self, place: &Place) {
        if matches!(self.output, "out.jsonl" | "out.csv") {
            let text = fs::read_to_string(place.path(self.output)).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        }
    }
}

/// strace is found by it.
fn path() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name == "PATH")
}

#[test]
fn json_lines_survive_a_kill_at_each_call() {
    JOBS[0].survives();
}

#[test]
fn a_table_survives_a_kill_at_each_call() {
    JOBS[1].survives();
}

#[test]
fn a_database_survives_a_kill_at_each_call() {
    JOBS[2].survives();
}

#[test]
fn parquet_survives_a_kill_at_each_call() {
    JOBS[3].survives();
}

#[test]
fn parts_survive_a_kill_at_each_call() {
    JOBS[4].survives();
}

#[test]
fn json_lines_bear_an_error_of_each_call() {
    JOBS[0].bears_errors();
}

#[test]
fn a_table_bears_an_error_of_each_call() {
    JOBS[1].bears_errors();
}

#[test]
fn a_database_bears_an_error_of_each_call() {
    JOBS[2].bears_errors();
}

#[test]
fn parquet_bears_an_error_of_each_call() {
    JOBS[3].bears_errors();
}

#[test]
fn parts_bear_an_error_of_each_call() {
    JOBS[4].bears_errors();
}

#[test]
fn a_post_arrives_once_wherever_it_is_killed() {
    let job = Job { output: "out.jsonl", flags: "--method POST" };
    let (mock, mut kills) = (plain_mock(), 0);
    for call in ["write", "fdatasync", "rename", "unlink"] {
        for n in 1..=repetitions(4, 200) {
            let place = Place::new();
            mock.reset();
            let ended = job.harmed(&place, &mock, &format!("{call}:signal=KILL:when={n}"));
            if ended.code.is_some() {
                break;
            }
            kills += 1;
            let is_there = fs::exists(place.path(job.output)).unwrap();
            let how = if is_there { "--resume" } else { "" };
            let ended = job.ask(&place, &mock).flags(how).ends();
            assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
            let records = place.records(job.output);
            assert_one_record_per_row(&records, ROWS);
            let arrived = mock.judgement().symbols;
            assert!(arrived.values().all(|times| *times == 1), "{call} {n}");
            for record in records {
                let unknown = record["_error"] == "outcome unknown";
                assert!(record["_ok"] == true || unknown, "{call} {n}: {record}");
            }
        }
    }
    assert!(kills > 5, "{kills}");
}
