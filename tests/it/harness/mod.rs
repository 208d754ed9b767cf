//! The helpers of the tests: a folder for files, a mock server, and waiting.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use throng_mock::{Mock, Settings};

mod raw;
mod records;
mod server;
mod terminal;
mod throng;

pub use raw::raw_server;
pub use records::{assert_attempts_are_the_server_s, assert_one_record_per_row, each, records};
pub use server::{Server, free_port};
pub use terminal::Terminal;
pub use throng::{Ended, Running, Throng, run, throng, wait};

/// Maximum time of a wait: what takes longer hangs.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A directory of a test's own.
pub struct Place(TempDir);

pub fn mock(settings: Settings) -> Mock {
    Mock::start(settings, "127.0.0.1:0").unwrap()
}

pub fn plain_mock() -> Mock {
    mock(Settings::default())
}

/// Rows S0, S1, ... as a table with one column, `symbol`.
pub fn symbols(count: usize) -> String {
    (0..count).fold("symbol\n".to_owned(), |text, n| text + &format!("S{n}\n"))
}

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file, and gives its path. One that has this text already is left as it is, since
    /// another process may just read it.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        if std::fs::read(&path).is_ok_and(|it| it == text.as_bytes()) {
            return path;
        }
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The value of a JSON file; the times of a summary must add up.
    #[track_caller]
    pub fn json(&self, name: &str) -> Value {
        let json: Value = serde_json::from_str(&self.read(name)).unwrap();
        if json["requests_per_second"].is_number() {
            assert_causes_add_up(&json);
        }
        json
    }

    pub fn records(&self, name: &str) -> Vec<Value> {
        records(&self.read(name))
    }
}

/// Runs it to its end. Returns the outcome, and the time within which a test should kill
/// others of its kind: on a busy machine it is longer, also until the first request.
pub fn run_undisturbed(throng: Throng, mock: &Mock) -> (Ended, Duration) {
    let (started, before) = (Instant::now(), mock.judgement().requests);
    let running = throng.start();
    until("a request", || mock.judgement().requests > before);
    let most = started.elapsed() * 3 + Duration::from_millis(200);
    let ended = running.ends();
    (ended, started.elapsed().min(most))
}

/// Number of repetitions of a test by chance: few, or many in `./test --long`.
pub fn repetitions(few: usize, many: usize) -> usize {
    match std::env::var_os("THRONG_LONG") {
        Some(_) => many,
        None => few,
    }
}

/// Checks that every second of every worker has one cause.
#[track_caller]
fn assert_causes_add_up(summary: &Value) {
    let causes = summary["causes"].as_array().unwrap();
    let seconds = causes.iter().map(|cause| cause["seconds"].as_f64().unwrap());
    let (sum, wall) = (seconds.sum::<f64>(), summary["seconds"].as_f64().unwrap());
    // The two are read from the clock one after the other, and a busy machine may
    // do something else between them.
    let slack = 0.005 + wall / 100.0;
    assert!((sum - wall).abs() <= slack, "{sum} s of {wall} s: {causes:?}");
}

/// Checks that the API has seen no window over its limits, and has refused nothing.
#[track_caller]
pub fn assert_never_over(mock: &Mock) {
    let judged = mock.judgement();
    assert_eq!(judged.refused, 0, "{judged:?}");
    assert!(judged.windows.iter().all(|it| it.most <= u64::from(it.units)), "{judged:?}");
}

/// Checks that all runs end well, and that the API was never over its limits.
#[track_caller]
pub fn assert_they_hold(mock: &Mock, runs: Vec<Running>) {
    for ended in runs.into_iter().map(Running::ends) {
        ended.with_code(0);
    }
    assert_never_over(mock);
}

/// Waits until the API was asked this often.
#[track_caller]
pub fn until_requests(mock: &Mock, requests: u64) {
    until("requests", || mock.judgement().requests >= requests);
}

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + MAX_WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
