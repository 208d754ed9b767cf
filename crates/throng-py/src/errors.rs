//! The exceptions of the package.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use throng::ErrorKind;

create_exception!(throng, Error, PyException, "An error of throng.");
create_exception!(throng, PlanError, Error, "The job cannot be done as written; nothing was sent.");
create_exception!(
    throng,
    OutputExists,
    PlanError,
    "The output has records, and the call doesn't say what becomes of them."
);
create_exception!(
    throng,
    ResumeMismatch,
    PlanError,
    "The output is not the result of this job and these rows as they are now."
);
create_exception!(throng, Stopped, Error, "The run began and could not be finished.");
create_exception!(throng, LimitError, PyValueError, "Limits that do not fit, or no permit.");

/// The exception for an error of the engine.
pub fn of(error: &throng::Error) -> PyErr {
    let text = error.to_string();
    match error {
        throng::Error::OutputExists { .. } => OutputExists::new_err(text),
        throng::Error::ResumeMismatch { .. } => ResumeMismatch::new_err(text),
        _ if error.kind() == ErrorKind::Plan => PlanError::new_err(text),
        _ => Stopped::new_err(text),
    }
}

/// The exception for limits that can't be built, and for permits that can't be had.
pub fn of_limit(error: &dyn std::error::Error) -> PyErr {
    LimitError::new_err(error.to_string())
}
