//! Disks that fill up, files that vanish, and files that were damaged.

use std::fs;
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{
    Ended, Place, Throng, assert_one_record_per_row, mock, plain_mock, repetitions, run, symbols,
    throng, until,
};

const ROWS: usize = 60;

fn ask(place: &Place, mock: &Mock, output: &str) -> Throng {
    run().quotes(&mock.url()).files(place, ROWS, output).flags("--workers 1 --concurrency 4")
}

/// Runs it where no file may have more bytes than this.
pub fn with_room(throng: Throng, bytes: usize) -> Ended {
    let command = throng.command();
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables: Vec<String> = variables
        .map(|(name, value)| format!("'{}={}'", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    let (variables, words) = (variables.join(" "), words.join(" "));
    shell(&format!("exec env {variables} prlimit --fsize={bytes} {words}"))
}

/// Runs it with its output on a disk of its own, which has so many KiB; what is on it
/// afterwards comes to the place's `out.jsonl`.
fn on_a_disk_of(kib: usize, place: &Place, throng: Throng) -> Ended {
    let (command, disk) = (throng.command(), place.path("disk"));
    fs::create_dir_all(&disk).unwrap();
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let inner = place.file(
        "inner.sh",
        &format!(
            "mount -t tmpfs -o size={kib}k none {disk}; {}; code=$?; cp {disk}/out.jsonl {}; exit $code",
            words.join(" "),
            place.path("out.jsonl")
        ),
    );
    shell(&format!("exec unshare --map-root-user --mount sh {inner}"))
}

fn shell(line: &str) -> Ended {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn rows_of(place: &Place, output: &str) -> Vec<u64> {
    let text = place.read(output);
    let mut rows: Vec<u64> = if output.ends_with("csv") {
        csv::Reader::from_reader(text.as_bytes())
            .records()
            .map(|record| record.unwrap()[2].parse().unwrap())
            .collect()
    } else {
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["_row"].as_u64().unwrap())
            .collect()
    };
    rows.sort_unstable();
    rows
}

#[test]
fn a_file_system_that_fills_up_leaves_whole_records_and_is_resumed() {
    for (number, output) in ["out.jsonl", "out.csv"].iter().cycle().take(24).enumerate() {
        let (place, mock) = (Place::new(), plain_mock());
        let room = 1400 + number * 20;
        let ended = with_room(ask(&place, &mock, output), room).with_code(3);
        ended.says("cannot be written").says("--resume goes on with");
        let text = place.read(output);
        assert!(text.ends_with('\n') && text.len() <= room, "{text}");
        let done = rows_of(&place, output);
        assert!(done.len() < ROWS, "{output} {room}");
        mock.reset();
        ask(&place, &mock, output).flags("--resume").exits(0);
        assert_eq!(rows_of(&place, output), (0..ROWS as u64).collect::<Vec<_>>());
        assert_eq!(mock.judgement().requests as usize, ROWS - done.len());
    }
}

#[test]
fn a_disk_with_little_room_is_used_to_its_end() {
    let (place, mock) = (Place::new(), plain_mock());
    let asked = || ask(&place, &mock, "disk/out.jsonl");
    on_a_disk_of(128, &place, asked()).with_code(0);
    assert_eq!(rows_of(&place, "out.jsonl").len(), ROWS);
    // 4,000 rows don't fit on it; what is in flight needs little of it.
    let url = format!("{}/echo/1?{{{{ symbol }}}}", mock.url());
    let asked = run().arg("--url", &url).files(&place, 4000, "disk/out.jsonl");
    let asked = asked.flags("--workers 1 --concurrency 4 --extract path=.path");
    let ended = on_a_disk_of(320, &place, asked).with_code(3);
    ended.says("No space left on device").says("--resume goes on with");
    let text = place.read("out.jsonl");
    let is_used = text.len() > 128 << 10;
    assert!(text.ends_with('\n') && is_used, "{}", text.len());
}

#[test]
fn a_plan_tells_the_room_that_is_free_and_the_room_that_is_wanted() {
    let (place, mock) = (Place::new(), plain_mock());
    let plan = |rows: usize| {
        let asked = throng("plan").quotes(&mock.url());
        on_a_disk_of(128, &place, asked.files(&place, rows, "disk/out.jsonl"))
    };
    let ended = plan(ROWS).with_code(0);
    assert!(ended.stdout.contains("131.1 kB free; 60 rows want at least "), "{}", ended.stdout);
    assert!(!ended.stdout.contains("is too small"), "{}", ended.stdout);
    let ended = plan(4000).with_code(0);
    assert!(ended.stdout.contains("out.jsonl is too small: 131.1 kB free;"), "{}", ended.stdout);
}

#[test]
fn a_directory_that_vanishes_is_noticed() {
    for vanish in ["results", "results/out.jsonl"] {
        let (place, mock) = (
            Place::new(),
            mock(Settings { latency: "100ms".parse().unwrap(), ..Settings::default() }),
        );
        fs::create_dir(place.path("results")).unwrap();
        let running =
            ask(&place, &mock, "results/out.jsonl").flags("--mode sync --sync always").start();
        until("the first record", || {
            let text = fs::read_to_string(place.path("results/out.jsonl"));
            text.is_ok_and(|text| !text.is_empty())
        });
        let path = place.path(vanish);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
        let ended = running.ends().with_code(3);
        ended.says("out.jsonl cannot be written");
        assert!(mock.judgement().requests < ROWS as u64);
    }
}

fn lines(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<String>)) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    let mut lines = text.split_inclusive('\n').map(str::to_owned).collect();
    change(&mut lines);
    *bytes = lines.concat().into_bytes();
}

/// One of the things that happen to files.
fn damage(bytes: &mut Vec<u8>, chance: &mut StdRng) {
    let at = chance.random_range(0..bytes.len());
    let end = chance.random_range(at..=bytes.len().min(at + 300));
    match chance.random_range(0..10) {
        0 => bytes.truncate(at),
        1 => bytes[at..end].fill(0),
        2 => drop(bytes.drain(at..end)),
        3 => bytes[at] ^= 1 << chance.random_range(0..8),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => lines(bytes, |lines| lines.swap(2, 9)),
        7 => lines(bytes, |lines| lines.insert(4, lines[8].clone())),
        8 => lines(bytes, |lines| lines[3] = lines[3].replace('S', "T")),
        5 => drop(bytes.splice(at..at, *b"hello\n")),
        _ => {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace('\n', "\r\n").into_bytes();
        }
    }
}

#[test]
fn a_damaged_file_is_refused_or_completed_but_never_wrong_in_silence() {
    let mock = plain_mock();
    for output in ["out.jsonl", "out.csv"] {
        let place = Place::new();
        ask(&place, &mock, output).exits(0);
        let whole = fs::read(place.path(output)).unwrap();
        let sidecar = fs::read(place.path(&format!("{output}.throng"))).unwrap();
        for seed in 0..repetitions(60, 500) as u64 {
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut StdRng::seed_from_u64(seed));
            fs::write(place.path(output), &bytes).unwrap();
            fs::write(place.path(&format!("{output}.throng")), &sidecar).unwrap();
            let ended = ask(&place, &mock, output).flags("--resume --progress none").ends();
            let said = format!("{output} seed {seed}: {}", ended.stderr);
            match ended.code {
                Some(0 | 1) => {
                    let all: Vec<u64> = (0..ROWS as u64).collect();
                    assert_eq!(rows_of(&place, output), all, "{said}");
                    let told = ["not as throng left it", "no whole record"];
                    let is_told = told.iter().any(|what| ended.stderr.contains(what));
                    assert!(bytes == whole || is_told, "{said}");
                }
                Some(2) => {
                    assert!(ended.stderr.contains(output), "{said}");
                    assert_eq!(fs::read(place.path(output)).unwrap(), bytes, "{said}");
                }
                _ => panic!("{said}"),
            }
        }
    }
}

#[test]
fn a_small_file_system_is_filled_and_what_is_in_flight_still_fits_in() {
    let (place, mock) = (Place::new(), plain_mock());
    let small = Small::of(&place, "7M");
    let input = place.file("rows.csv", &symbols(4000));
    let in_flight = if small.is_mounted { "1250" } else { "50" };
    let ask = || {
        run()
            .flags("--workers 2")
            .arg("--concurrency", in_flight)
            .arg("--url", &format!("{}/bytes/4000?{{{{ symbol }}}}", mock.url()))
            .arg("--input", &input)
            .arg("--output", &format!("{}/out.jsonl", small.path))
    };
    let ended = if small.is_mounted {
        ask().ends()
    } else {
        // Only root may mount; others may still limit the size of files.
        with_room(ask(), 7 << 20)
    };
    ended.with_code(3).says("No space left on device: ").says(" free, and ");
    let text = fs::read_to_string(format!("{}/out.jsonl", small.path)).unwrap();
    // Nothing that was paid for is lost.
    assert_eq!(text.lines().count() as u64, mock.judgement().requests);
    assert!(text.ends_with('\n') && text.lines().count() < 4000);
    assert!(text.len() > 6_800_000, "{} bytes are used", text.len());
    small.grow("64M");
    ask().flags("--resume").exits(0);
    let text = fs::read_to_string(format!("{}/out.jsonl", small.path)).unwrap();
    assert_one_record_per_row(&crate::harness::records(&text), 4000);
    assert_eq!(mock.judgement().requests, 4000);
}

/// A file system of its own, if it could be mounted.
struct Small {
    path: String,
    is_mounted: bool,
}

impl Small {
    fn of(place: &Place, size: &str) -> Small {
        let path = place.path("small");
        fs::create_dir(&path).unwrap();
        let mut small = Small { path, is_mounted: false };
        small.is_mounted = small.mount(&format!("size={size}"));
        small
    }

    fn grow(&self, size: &str) {
        assert_eq!(self.mount(&format!("remount,size={size}")), self.is_mounted);
    }

    fn mount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs", &self.path]);
        mount.output().unwrap().status.success()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg(&self.path).status();
        }
    }
}
