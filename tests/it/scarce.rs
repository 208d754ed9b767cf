//! Where the system has few file descriptors or threads for a run.

use std::fs::{Permissions, read_to_string, set_permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use throng_mock::{Mock, Settings};

use crate::harness::{
    Ended, Place, Throng, assert_one_record_per_row, each, mock, run, symbols, throng, until,
};

/// Runs it by way of these words of a shell, which `exec "$@"`.
fn under(throng: Throng, script: &str) -> Ended {
    ended(&by_shell(throng, script).output().unwrap())
}

fn by_shell(throng: Throng, script: &str) -> Command {
    let command = throng.command();
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash"]).arg(command.get_program());
    shell.args(command.get_args());
    let state = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.envs(state);
    shell
}

fn ended(output: &Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// root may have as many threads as it likes.
const AS_NOBODY: &str = "test $(id -u) != 0 || by='setpriv --reuid 61234 --regid 61234 --clear-groups'; exec $by prlimit";

fn slow() -> Mock {
    mock(Settings { latency: "20ms".parse().unwrap(), ..Settings::default() })
}

fn ask(place: &Place, mock: &Mock, rows: usize) -> Throng {
    run().quotes(&mock.url()).files(place, rows, "out.jsonl").flags("--concurrency 50")
}

#[test]
fn connections_are_bounded_by_the_descriptors_that_there_are() {
    for (limit, workers) in [(256, 8), (320, 32), (64, 2)] {
        let (place, mock) = (Place::new(), slow());
        let ask = || ask(&place, &mock, 1500).flags(&format!("--workers {workers}"));
        let ended = under(ask(), &format!("ulimit -n {limit}; exec \"$@\"")).with_code(0);
        let note =
            format!("{limit} files may be open at a time (ulimit -n): each worker opens at most ");
        ended.says(&note);
        assert_one_record_per_row(&place.records("out.jsonl"), 1500);
        let plan = throng("plan").quotes(&mock.url());
        let plan = plan.flags(&format!("--workers {workers} -i -"));
        let plan = under(plan, &format!("ulimit -n {limit}; exec \"$@\"")).with_code(0);
        assert!(plan.stdout.contains(&note), "{}", plan.stdout);
    }
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be() {
    let (place, mock) = (Place::new(), slow());
    let ask = ask(&place, &mock, 300).flags("--workers 8");
    let ended = under(ask, "ulimit -Sn 64; ulimit -Hn 2000; exec \"$@\"").with_code(0);
    assert!(!ended.stderr.contains("ulimit"), "{}", ended.stderr);
}

#[test]
fn more_workers_than_descriptors_are_refused() {
    let (place, mock) = (Place::new(), slow());
    let ask = ask(&place, &mock, 3).flags("--workers 64");
    let ended = under(ask, "ulimit -n 256; exec \"$@\"").with_code(2);
    ended.says("more files may be open (ulimit -n), which is enough for");
}

#[test]
fn descriptors_that_came_from_elsewhere_are_counted() {
    let (place, mock) = (Place::new(), slow());
    let ask = ask(&place, &mock, 1500).flags("--workers 2 --retries 0");
    let script =
        "ulimit -n 128; for n in {64..127}; do eval \"exec $n</dev/null\"; done; exec \"$@\"";
    under(ask, script).with_code(0);
    assert_one_record_per_row(&place.records("out.jsonl"), 1500);
    assert_eq!(mock.judgement().requests, 1500);
}

#[test]
fn connections_that_rest_make_room_for_those_to_other_hosts() {
    let place = Place::new();
    let mock = Mock::start(Settings::default(), "0.0.0.0:0").unwrap();
    let port = mock.url().rsplit(':').next().unwrap().to_owned();
    let hosts: String = (1..=100).map(|n| format!("127.0.0.{n}\n")).collect();
    let ask = run()
        .arg("--url", &format!("http://{{{{ host }}}}:{port}/echo/1"))
        .arg("--input", &place.file("hosts.csv", &format!("host\n{hosts}")))
        .arg("--output", &place.path("out.jsonl"))
        .flags("--workers 1 --allow-private --retries 0");
    under(ask, "ulimit -n 64; exec \"$@\"").with_code(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, 100);
    assert_eq!(each(&records, "_ok"), vec![true; 100]);
}

#[test]
fn threads_that_cannot_be_had_end_the_run_in_good_order() {
    let (place, mock) = (Place::new(), slow());
    for path in [".", "rows.csv"] {
        place.file("rows.csv", &symbols(50));
        set_permissions(place.path(path), Permissions::from_mode(0o777)).unwrap();
    }
    let posts = || {
        let url = format!("{}/echo/1?{{{{ symbol }}}}", mock.url());
        let asked = run().arg("--url", &url).arg("--input", &place.path("rows.csv"));
        let asked = asked.arg("--output", &place.path("out.jsonl"));
        asked.arg("--idempotency-key", "auto").flags("--method POST --workers 4 --resume=changed")
    };
    let mut codes = Vec::new();
    for most in 1..=12 {
        place.file("out.jsonl", "");
        set_permissions(place.path("out.jsonl"), Permissions::from_mode(0o777)).unwrap();
        let ended = under(posts(), &format!("{AS_NOBODY} --nproc={most} \"$@\""));
        assert!(!ended.stderr.contains("panic"), "{most}: {}", ended.stderr);
        if ended.code == Some(3) {
            ended.says("no thread can be started").says("(ulimit -u)");
        }
        codes.push(ended.code.unwrap());
    }
    assert_eq!((codes[0], codes[1]), (3, 3), "{codes:?}");
    assert!(codes.iter().all(|code| [0, 3].contains(code)), "{codes:?}");
}

#[test]
fn a_lookup_waits_for_a_thread_that_others_hold() {
    let (place, mock) = (Place::new(), slow());
    let port = mock.url().rsplit(':').next().unwrap().to_owned();
    set_permissions(place.path("."), Permissions::from_mode(0o777)).unwrap();
    let ask = run()
        .arg("--url", &format!("http://localhost:{port}/echo/1?{{{{ line }}}}"))
        .arg("--output", &place.path("out.jsonl"))
        .flags("--input - --format lines --workers 1 --retries 0");
    // The first thread, and those for signals, progress, the run's socket, the input, syncs and
    // requests.
    let mut shell = by_shell(ask, &format!("{AS_NOBODY} --nproc=7:99 \"$@\""));
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = shell.stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    let status = format!("/proc/{}/status", running.id());
    until("all threads", || {
        let status = read_to_string(&status).unwrap_or_default();
        status.contains("Name:\tthrong\n") && status.contains("Threads:\t7\n")
    });
    let raise = format!("{AS_NOBODY} --nproc=99:99 --pid {}", running.id());
    let raised = Command::new("bash").args(["-c", &raise]).status();
    assert!(raised.unwrap().success());
    ended(&running.wait_with_output().unwrap()).with_code(0);
    assert_eq!(mock.judgement().requests, 1);
}
