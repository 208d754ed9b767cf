//! How clients of this kind have leaked, and that this one doesn't: a test for each.

use crate::harness::{Place, Throng, run};
use crate::recorder::{Recorder, answer};

mod addresses;
mod certificates;
mod connections;
mod depths;
mod documented;
mod files;
mod origins;
mod surroundings;
mod traces;
mod values;

const CANARY: &str = "canary-7f3a9c-secret";

/// One row, with the canary in a header whose name is in no list.
fn ask(place: &Place, url: &str) -> Throng {
    let input = place.file("rows.csv", "id\n1\n");
    run()
        .arg("--url", url)
        .arg("--input", &input)
        .arg("--header", "x-zq81: {{ env.CANARY }}")
        .env("CANARY", CANARY)
}

fn carries_canary(recorder: &Recorder) -> bool {
    format!("{:?}", recorder.came()).contains(CANARY)
}

/// A server that redirects everything to this URL.
fn redirecting(status: &'static str, to: String) -> Recorder {
    Recorder::answering(move |_| answer(status, &[("location", &to)], ""))
}
