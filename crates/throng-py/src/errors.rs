//! The exceptions of the package.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use throng::ErrorKind;

create_exception!(throng, Error, PyException, "An error of throng.");
create_exception!(throng, PlanError, Error, "The job cannot be done as written; nothing was sent.");
create_exception!(throng, Stopped, Error, "The run began and could not be finished.");
create_exception!(throng, LimitError, PyValueError, "Limits that do not fit, or no permit.");

/// The exception for an error of the engine.
pub fn of(error: &throng::Error) -> PyErr {
    match error.kind() {
        ErrorKind::Plan => PlanError::new_err(error.to_string()),
        _ => Stopped::new_err(error.to_string()),
    }
}

/// The exception for limits that can't be built, and for permits that can't be had.
pub fn of_limit(error: &dyn std::error::Error) -> PyErr {
    LimitError::new_err(error.to_string())
}
