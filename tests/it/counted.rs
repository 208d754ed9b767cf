//! A server with a limit, which says so in whatever way a test wants.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::harness::{Ended, Place, run, symbols};
use crate::recorder::{Came, Recorder};

/// A window that begins with its first request, as a server counts it.
pub struct Counted {
    units: u64,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    began: Option<Instant>,
    used: u64,
    refused: usize,
}

/// What is left after one more, and until when; none if there was no room.
pub struct Left(pub Option<u64>, pub Duration);

impl Counted {
    pub fn new(units: u64, period: Duration) -> Counted {
        Counted { units, period, state: Mutex::default() }
    }

    pub fn count(&self) -> Left {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let began = match state.began.filter(|began| now - *began < self.period) {
            Some(began) => began,
            None => {
                state.used = 0;
                *state.began.insert(now)
            }
        };
        let rest = self.period.saturating_sub(now - began);
        if state.used == self.units {
            state.refused += 1;
            return Left(None, rest);
        }
        state.used += 1;
        Left(Some(self.units - state.used), rest)
    }

    pub fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }
}

pub fn serve(answer: impl Fn(&Came) -> String + Send + Sync + 'static) -> Recorder {
    Recorder::answering(answer)
}

/// Runs this number of rows against it with this job's rest, and expects this exit code.
pub fn go(place: &Place, server: &Recorder, rows: usize, job: &str, code: i32) -> Ended {
    let input = place.file("rows.csv", &symbols(rows));
    let job = place.file("job.toml", job);
    run()
        .flags(&job)
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .arg("--input", &input)
        .flags("--workers 1 --concurrency 8 --retries 0 --summary-json")
        .flags(&place.path("summary.json"))
        .exits(code)
}
