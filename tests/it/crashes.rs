//! Crashes: throng is killed at random moments, and the next one goes on.
//!
//! After the last resume every row has exactly one whole record with the right
//! values, and no row was asked for again whose record was in the file.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use throng_mock::{Fault, Faults, Mock, Settings};

use crate::forms::converted;
use crate::harness::{Place, Throng, mock, repetitions, run, run_undisturbed};

const ROWS: usize = 400;

fn kills(few: usize) -> usize {
    repetitions(few, few * 7)
}

/// A job that is killed again and again, and what must come of it.
struct Job<'a> {
    output: &'a str,
    /// What grows while it runs.
    journal: &'a str,
    flags: &'a str,
    faults: &'a [(Fault, f64)],
    /// The symbols and their prices in a results file.
    prices: fn(&str) -> BTreeMap<String, String>,
}

impl Job<'_> {
    fn server(&self) -> Mock {
        mock(Settings {
            latency: "1ms".parse().unwrap(),
            faults: Faults { rates: self.faults.to_vec() },
            ..Settings::default()
        })
    }

    fn ask(&self, place: &Place, mock: &Mock) -> Throng {
        run()
            .quotes(&mock.url())
            .files(place, ROWS, self.output)
            .flags("--workers 2 --concurrency 3 --progress none")
            .flags(self.flags)
    }

    /// Kills it so often, in as many jobs as that takes.
    fn survives(&self, kills: usize, seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        let mock = self.server();
        let (expected, within) = self.undisturbed(&mock);
        let (mut killed, mut while_sending) = (0, 0);
        while killed < kills {
            mock.reset();
            let place = Place::new();
            let mut written = BTreeMap::new();
            // Once it was killed often enough, it comes to its end.
            let when = |chance: &mut StdRng, killed| {
                (killed < kills).then(|| within.mul_f64(chance.random_range(0.0..1.0)))
            };
            let mut before = 0;
            while !self.goes_on(&place, &mock, when(&mut chance, killed)) {
                killed += 1;
                let requests = mock.judgement().requests;
                while_sending += usize::from(requests > before);
                before = requests;
                self.remember(&place, &mock, &mut written);
            }
            assert_eq!(self.finished(&place), expected, "seed {seed}");
            let counts = mock.judgement().symbols;
            for (symbol, asked) in written {
                assert_eq!(counts[&symbol], asked, "seed {seed}: {symbol} was asked for again");
            }
        }
        assert!(while_sending > 0, "all {kills} kills fell before a request");
    }

    /// What comes of it when nobody kills it, and how long that takes.
    fn undisturbed(&self, mock: &Mock) -> (BTreeMap<String, String>, Duration) {
        let place = Place::new();
        let (ended, within) = run_undisturbed(self.ask(&place, mock), mock);
        ended.with_code(0);
        let prices = self.finished(&place);
        assert_eq!(prices.len(), ROWS);
        (prices, within)
    }

    /// What a complete run has written.
    fn finished(&self, place: &Place) -> BTreeMap<String, String> {
        if self.output == self.journal {
            return (self.prices)(&place.read(self.output));
        }
        prices_of(&converted(place, self.output))
    }

    /// Whether it came to its end before it was killed.
    fn goes_on(&self, place: &Place, mock: &Mock, when: Option<Duration>) -> bool {
        let is_there = [self.output, self.journal]
            .map(|name| std::fs::exists(place.path(name)).unwrap())
            != [false; 2];
        let how = if is_there { "--resume" } else { "" };
        let running = self.ask(place, mock).flags(how).start();
        if let Some(when) = when {
            thread::sleep(when);
            running.signal("-KILL");
        }
        let ended = running.ends();
        match ended.code {
            None => false,
            Some(_) => {
                ended.with_code(0);
                true
            }
        }
    }

    /// Rows whose record is in the file are not to be asked for any more.
    fn remember(&self, place: &Place, mock: &Mock, written: &mut BTreeMap<String, u64>) {
        let text = std::fs::read_to_string(place.path(self.journal)).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let counts = mock.judgement().symbols;
        for symbol in (self.prices)(whole).into_keys() {
            written.entry(symbol.clone()).or_insert(counts[&symbol]);
        }
    }
}

fn of_lines(text: &str) -> BTreeMap<String, String> {
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    prices_of(&records.collect::<Vec<_>>())
}

/// The price of each symbol, which has one record.
pub fn prices_of(records: &[Value]) -> BTreeMap<String, String> {
    prices(records.iter().map(|record| {
        let symbol = record["symbol"].as_str().unwrap().to_owned();
        (symbol, record["price"].to_string().replace('"', ""))
    }))
}

fn of_table(text: &str) -> BTreeMap<String, String> {
    let mut table = csv::Reader::from_reader(text.as_bytes());
    prices(table.records().map(|record| {
        let record = record.unwrap();
        (record[0].to_owned(), record[1].to_owned())
    }))
}

fn prices(records: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut prices = BTreeMap::new();
    for (symbol, price) in records {
        assert!(price != "null" && !price.is_empty(), "{symbol} has no price");
        assert!(prices.insert(symbol.clone(), price).is_none(), "{symbol} stands there twice");
    }
    prices
}

#[test]
fn json_lines_survive() {
    let job =
        Job { output: "out.jsonl", journal: "out.jsonl", flags: "", faults: &[], prices: of_lines };
    job.survives(kills(80), 1);
}

#[test]
fn a_table_survives() {
    let job = Job {
        output: "out.csv",
        journal: "out.csv",
        flags: "--sync always",
        faults: &[],
        prices: of_table,
    };
    job.survives(kills(80), 2);
}

#[test]
fn faults_of_the_server_change_nothing() {
    let job = Job {
        output: "out.jsonl",
        journal: "out.jsonl",
        flags: "--retries 9",
        faults: &[(Fault::DropBefore, 0.05), (Fault::ServerError, 0.05)],
        prices: of_lines,
    };
    job.survives(kills(80), 3);
}

fn finished_form(output: &str, journal: &str, seed: u64) {
    let job = Job { output, journal, flags: "--order input", faults: &[], prices: of_lines };
    job.survives(kills(12), seed);
}

#[test]
fn a_database_survives() {
    finished_form("out.db", "out.db.journal", 4);
}

#[test]
fn parquet_survives() {
    finished_form("out.parquet", "out.parquet.journal", 5);
}

#[test]
fn arrow_survives() {
    finished_form("out.arrow", "out.arrow.journal", 8);
}

#[test]
fn parts_survive() {
    let job = Job {
        output: "out",
        journal: "out.journal",
        flags: "--parts=40",
        faults: &[],
        prices: of_lines,
    };
    job.survives(kills(12), 7);
}

#[test]
fn a_packed_text_survives() {
    finished_form("out.jsonl.zst", "out.jsonl.zst.journal", 6);
}

#[test]
fn the_limit_holds_across_a_crash() {
    for (signal, code) in [("-KILL", None), ("-INT", Some(130))] {
        let place = Place::new();
        let mock = mock(Settings { limits: vec!["20/2s".parse().unwrap()], ..Settings::default() });
        let ask = |how: &str| {
            run()
                .quotes(&mock.url())
                .files(&place, 60, "out.jsonl")
                .flags("--rate 20/2s --workers 1 --concurrency 4 --timeout 1s --progress none")
                .flags(how)
        };
        let running = ask("").start();
        crate::harness::until("the first window", || mock.judgement().requests >= 20);
        running.signal(signal);
        assert_eq!(running.ends().code, code);
        // Without a memory it would send 20 more at once.
        let next = ask("--resume --take 21").start();
        crate::harness::until("one more", || mock.judgement().requests > 20);
        next.signal("-INT");
        next.ends();
        let judgement = mock.judgement();
        assert_eq!(judgement.refused, 0, "{signal}");
        assert!(judgement.windows[0].most <= 20, "{signal}: {judgement:?}");
    }
}
