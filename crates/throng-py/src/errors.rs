//! The exceptions of the package.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use throng::ErrorKind;
use throng::limit::{AcquireError, LimitError as Invalid};

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
create_exception!(
    throng,
    PermitExpired,
    LimitError,
    "A permit is too old to be used: nothing must be sent with it."
);

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

/// The exception for limits that can't be built.
pub fn of_limit(error: &Invalid) -> PyErr {
    LimitError::new_err(match error {
        Invalid::Zero { setting } => error.to_string().replace(setting, &setting.replace('-', "_")),
        _ => error.to_string(),
    })
}

/// The exception for permits that can't be had, with the words of `acquire`.
pub fn of_acquire(error: &AcquireError) -> PyErr {
    LimitError::new_err(match error {
        AcquireError::MissingCost { unit } => format!(
            "a limit counts {unit}, and the cost doesn't say how many: give {unit}=N to acquire()"
        ),
        AcquireError::MissingKey => {
            "a limit holds for each key, and the request has none: give key=\"…\" to acquire()"
                .to_owned()
        }
        _ => error.to_string(),
    })
}
