//! The command, for `throng` and `python -m throng`.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Carries the command with these arguments out; gives its exit code. Signals are the command's
/// own while it runs.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let name = std::iter::once(OsString::from("throng"));
    let all: Vec<OsString> = name.chain(arguments).collect();
    py.detach(|| throng::cli::main_with(all.into_iter()))
}
