//! What throng reads of others' making, each as a function that a fuzzer can call.
//!
//! A target takes any bytes. It panics if throng does, or if throng says two things that
//! contradict each other: this is how a fuzzer, and the test that replays the corpora,
//! find a fault. A target reads and writes temporary files only, runs no command of a
//! job and reaches no network.
//!
//! `fuzz/run` builds all targets with coverage and runs each for a time. To add a
//! target: one function here and its line in [`TARGETS`], a file in `targets/`, a
//! `[[bin]]` in `Cargo.toml`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is how a target says that it found a fault"
)]

mod answers;
mod files;
mod jobs;
mod texts;

pub use answers::{bodies, json_paths, redacted};
pub use files::{results, rows};
pub use jobs::{curl_lines, jobs, openapi, templates, values};
pub use texts::{limit_headers, rates, retry_after};

/// A target takes the bytes that a fuzzer made.
pub type Target = fn(&[u8]);

/// The name and the function of each target; its corpus is `corpus/NAME`.
pub const TARGETS: [(&str, Target); 13] = [
    ("bodies", bodies),
    ("curl_lines", curl_lines),
    ("jobs", jobs),
    ("json_paths", json_paths),
    ("limit_headers", limit_headers),
    ("openapi", openapi),
    ("rates", rates),
    ("redacted", redacted),
    ("results", results),
    ("retry_after", retry_after),
    ("rows", rows),
    ("templates", templates),
    ("values", values),
];

/// The bytes up to the first one that no UTF-8 text holds, and the bytes behind it:
/// so a fuzzer can make two inputs of one.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// The text up to the first wrong byte.
fn text(data: &[u8]) -> &str {
    match str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&data[..error.valid_up_to()]).expect("valid up to there"),
    }
}
