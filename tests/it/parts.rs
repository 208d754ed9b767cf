//! A directory of Parquet files, each whole as soon as it is there.

use std::fs;

use crate::forms::{PARTS, ROWS, ask, converted, slow};
use crate::harness::{Place, assert_one_record_per_row, plain_mock, run, symbols, throng, until};

/// The names in the directory of parts.
fn listed(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path(PARTS)).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    names
}

#[test]
fn parts_appear_whole_while_the_run_goes_on() {
    let (place, mock) = (Place::new(), slow());
    let running = ask(&place, &mock, PARTS).flags("--mode sync --workers 1").start();
    until("two parts", || listed(&place).len() >= 2);
    let first = converted(&place, "results/part-000000.parquet");
    assert!((12..ROWS).contains(&first.len()), "{}", first.len());
    running.signal("-INT");
    running.ends().with_code(130);
    let before = listed(&place);
    let report = throng("report").flags(&place.path(PARTS)).exits(0);
    report.says("is not complete: --resume goes on with it");
    ask(&place, &mock, PARTS).flags("--resume").exits(0);
    assert!(listed(&place).starts_with(&before) && listed(&place).len() > before.len());
    assert_eq!(mock.judgement().requests as usize, ROWS);
    throng("report").flags(&place.path(PARTS)).exits(0).says("50 rows: 50 ok");
    // Whole as they are, they may also be an input.
    let (output, input) = (place.path("again.jsonl"), place.path(PARTS));
    let url = format!("{}/echo/1?{{{{ symbol }}}}", mock.url());
    let again = run().arg("--url", &url).arg("--extract", "path=.path");
    again.arg("--input", &input).arg("--output", &output).exits(0);
    assert_one_record_per_row(&place.records("again.jsonl"), ROWS);
}

#[test]
fn what_else_lies_in_the_directory_of_parts_is_left_alone() {
    let (place, mock) = (Place::new(), plain_mock());
    let csv = place.file("rows.csv", &symbols(ROWS));
    fs::create_dir(place.path(PARTS)).unwrap();
    for name in ["mine.parquet", "part-zips.parquet"] {
        let name = place.path(&format!("{PARTS}{name}"));
        throng("convert").arg(&csv, &name).exits(0);
    }
    let mine = || {
        let names = ["mine.parquet", "part-zips.parquet"];
        names.map(|name| fs::read(place.path(&format!("{PARTS}{name}"))).unwrap())
    };
    let before = mine();
    let ask = |flags: &str| ask(&place, &mock, PARTS).flags(flags);
    ask("--take 20").exits(0);
    ask("--resume").exits(0).says("20 more done before");
    assert_eq!(mock.judgement().requests as usize, ROWS);
    ask("--overwrite --take 3").exits(0);
    assert_eq!(listed(&place), ["mine.parquet", "part-000000.parquet", "part-zips.parquet"]);
    assert!(mine() == before);
    let part = "results/part-000000.parquet";
    assert_one_record_per_row(&converted(&place, part), 3);
    let input = run().quotes(&mock.url()).arg("--input", &place.path(part));
    input
        .arg("--output", &place.path(PARTS))
        .flags("--parts --overwrite")
        .exits(2)
        .says("lies in the directory of the output's parts");
    assert_one_record_per_row(&converted(&place, part), 3);
}

#[test]
fn a_part_whose_journal_was_not_emptied_is_no_row_twice() {
    let (place, mock) = (Place::new(), plain_mock());
    ask(&place, &mock, PARTS).flags("--take 20").exits(0);
    let last = listed(&place).pop().unwrap();
    let journal = place.path("results.journal");
    let part = place.path(&format!("{PARTS}{last}"));
    throng("convert").arg(&part, &place.path("part.jsonl")).exits(0);
    fs::rename(place.path("part.jsonl"), &journal).unwrap();
    let ended = ask(&place, &mock, PARTS).flags("--resume").exits(0);
    assert!(!ended.stderr.contains("twice"), "{}", ended.stderr);
    assert_one_record_per_row(&converted(&place, PARTS), ROWS);
    assert_eq!(mock.judgement().requests as usize, ROWS);
}

#[test]
fn parts_go_by_a_key_as_well() {
    let (place, mock) = (Place::new(), plain_mock());
    let ask = || {
        let asked = ask(&place, &mock, PARTS);
        asked.flags("--key symbol")
    };
    ask().flags("--take 30").exits(0);
    ask().flags("--resume").exits(0).says("30 more done before");
    assert_eq!(mock.judgement().requests as usize, ROWS);
    assert_one_record_per_row(&converted(&place, PARTS), ROWS);
}

#[test]
fn parts_that_make_no_sense_say_why() {
    let (place, mock) = (Place::new(), plain_mock());
    place.file("file", "precious");
    fs::create_dir(place.path("directory")).unwrap();
    for (output, flags, why) in [
        ("file", "--parts", "needs a directory: give another name"),
        ("a", "--parts --order input", "needs one file"),
        ("a", "--parts --output-format csv", "are Parquet files"),
        ("a", "--parts --resume", "there is nothing to resume"),
        ("directory", "", "is a directory: give a file, or --parts"),
        ("missing/a", "--parts", "there is no directory"),
    ] {
        let asked = run().quotes(&mock.url()).files(&place, 3, output);
        asked.flags(flags).exits(2).says(why);
    }
    assert_eq!(place.read("file"), "precious");
    let stdout = run().quotes(&mock.url()).flags("--parts").exits(2);
    stdout.says("--parts needs an output file");
}
