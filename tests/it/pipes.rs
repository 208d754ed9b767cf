//! Pipes: whoever reads no further ends the run, quietly.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Place, plain_mock, run, symbols, wait};

#[test]
fn a_reader_that_leaves_after_one_line_ends_the_run_quietly() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(100_000));
    let mut command = run()
        .quotes(&mock.url())
        .arg("--input", &input)
        .flags("--workers 1 --concurrency 5")
        .command();
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"symbol\":\"S"), "{line}");
    drop(reader);
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let said: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    assert_eq!(wait(&mut child).code(), Some(0), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("panicked")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("Broken pipe")), "{said:?}");
    let requests = mock.judgement().requests;
    assert!(requests < 100_000, "it should have ended early");
}

#[test]
fn closed_from_the_start_it_ends_as_well() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(1000));
    let mut command = run().quotes(&mock.url()).arg("--input", &input).command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_full_disk_stops_the_run_and_says_so() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(3));
    let ended = run()
        .quotes(&mock.url())
        .arg("--input", &input)
        .flags("--output /dev/full --output-format jsonl")
        .exits(3);
    ended.says("/dev/full cannot be written: No space left on device");
}
