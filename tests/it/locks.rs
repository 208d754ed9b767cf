//! Two runs on one results file: the second is refused, by whatever name it comes, and
//! neither cuts off what the other has written.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use throng_mock::{Mock, Settings};

use crate::forms::converted;
use crate::harness::{Place, Running, Throng, assert_one_record_per_row, mock, run, until};

const ROWS: usize = 30;

/// Asks for all rows, one after the other.
fn ask(place: &Place, mock: &Mock, output: &str) -> Throng {
    let parts = if output.ends_with('/') { "--parts=1000" } else { "" };
    run()
        .quotes(&mock.url())
        .files(place, ROWS, output)
        .flags("--mode sync --workers 1")
        .flags(parts)
}

fn slow() -> Mock {
    mock(Settings { latency: "50ms".parse().unwrap(), ..Settings::default() })
}

/// The text that grows while the run to this output goes on.
fn growing(output: &str) -> String {
    match output {
        "out.jsonl" | "out.csv" => output.to_owned(),
        _ => format!("{}.journal", output.trim_end_matches('/')),
    }
}

/// A run that has written something.
fn begun(place: &Place, mock: &Mock, output: &str) -> Running {
    let running = ask(place, mock, output).start();
    let growing = place.path(&growing(output));
    until("the first record", || fs::metadata(&growing).is_ok_and(|data| data.len() > 0));
    running
}

#[test]
fn a_second_run_is_refused_by_whatever_name_it_comes() {
    for (output, linked) in [
        ("out.jsonl", "link.jsonl"),
        ("out.csv", "link.csv"),
        ("out.jsonl.gz", "link.jsonl.gz"),
        ("out.parquet", "link.parquet"),
        ("out.db", "link.db"),
        ("results/", "link/"),
    ] {
        let (place, mock) = (Place::new(), slow());
        let running = begun(&place, &mock, output);
        // It stands still, so that it does not end before the others were tried.
        running.signal("-STOP");
        let (path, link) = (place.path(output), place.path(linked));
        symlink(path.trim_end_matches('/'), link.trim_end_matches('/')).unwrap();
        let refused = |name: &str, flags: &str, why: &str| {
            ask(&place, &mock, name).flags(flags).exits(2).says(why);
        };
        let holder = format!("process {} is writing it", running.id());
        let flags: &[_] = match output {
            // What is to be replaced is a file of its own, and the journal is taken.
            "out.parquet" | "out.jsonl.gz" => &["--overwrite"],
            _ => &["--overwrite", "--resume"],
        };
        for flags in flags {
            refused(output, flags, "is in use");
            refused(linked, flags, &holder);
        }
        let sidecar = format!("{}.throng", path.trim_end_matches('/'));
        fs::remove_file(&sidecar).unwrap();
        for flags in flags {
            refused(output, flags, "is writing it");
        }
        if output == growing(output) {
            let hard = format!("hard-{output}");
            fs::hard_link(&path, place.path(&hard)).unwrap();
            refused(&hard, "--resume", "another run is writing it");
            refused(&hard, "--overwrite", "another run is writing it");
            assert!(!fs::exists(place.path(&format!("{hard}.throng"))).unwrap());
        }
        running.signal("-CONT");
        running.ends().with_code(0);
        assert_one_record_per_row(&converted(&place, output), ROWS);
        assert_eq!(mock.judgement().requests as usize, ROWS, "{output}");
    }
}

#[test]
fn a_results_file_is_gone_on_with_by_a_link_and_the_link_stays_one() {
    for (output, linked) in [("out.jsonl", "link"), ("out.parquet", "link.parquet")] {
        let (place, mock) = (Place::new(), slow());
        symlink(output, place.path(linked)).unwrap();
        ask(&place, &mock, linked).flags("--take 20").exits(0);
        let ended = ask(&place, &mock, linked).flags("--resume").exits(0);
        ended.says("20 more done before");
        ask(&place, &mock, output).flags("--resume").exits(0);
        assert!(fs::symlink_metadata(place.path(linked)).unwrap().is_symlink());
        assert!(fs::exists(place.path(&format!("{output}.throng"))).unwrap());
        assert!(!fs::exists(place.path(&format!("{linked}.throng"))).unwrap());
        assert_one_record_per_row(&converted(&place, output), ROWS);
        assert_eq!(mock.judgement().requests as usize, ROWS, "{output}");
    }
}

#[test]
fn what_something_else_has_written_is_not_cut_off() {
    let (place, mock) = (Place::new(), slow());
    let running = begun(&place, &mock, "out.jsonl");
    let mut file = fs::OpenOptions::new();
    let mut file = file.append(true).open(place.path("out.jsonl")).unwrap();
    running.signal("-STOP");
    file.write_all(b"precious\n").unwrap();
    running.signal("-CONT");
    let ended = running.ends().with_code(3);
    ended.says("does something else write it?");
    let text = place.read("out.jsonl");
    assert!(text.contains("precious\n"), "{text}");
    let resumed = ask(&place, &mock, "out.jsonl").flags("--resume").exits(2);
    resumed.says("is no jsonl record");
    let asked = ask(&place, &mock, "out.jsonl").flags("--resume=damaged");
    asked.exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
}

#[test]
fn a_database_with_a_second_name_is_written_by_one_of_them() {
    let (place, mock) = (Place::new(), slow());
    ask(&place, &mock, "out.db").flags("--take 10").exits(0);
    fs::hard_link(place.path("out.db"), place.path("kept.db")).unwrap();
    ask(&place, &mock, "out.db").flags("--resume").exits(0);
    assert_one_record_per_row(&converted(&place, "out.db"), ROWS);
    assert_one_record_per_row(&converted(&place, "kept.db"), 10);
}

#[test]
fn the_summary_takes_the_place_of_no_file_that_is_needed() {
    let (place, mock) = (Place::new(), slow());
    for name in ["rows.csv", "hard.csv", "out.jsonl", "out.jsonl.throng"] {
        let asked = ask(&place, &mock, "out.jsonl").arg("--summary-json", &place.path(name));
        if name == "hard.csv" {
            fs::hard_link(place.path("rows.csv"), place.path(name)).unwrap();
        }
        asked.exits(2).says("are the same file");
    }
    assert_eq!(mock.judgement().requests, 0);
}
