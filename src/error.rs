//! A run that cannot go on. A failed row is never one of these: it is a
//! [record](crate::record::Record).

use std::fmt;

/// Why no run could start, or why one had to stop.
///
/// Its text is one or more sentences for people: what happened, where, and
/// what to do. Chained sources are already part of the text.
///
/// ```
/// use throng::{ErrorKind, Job};
///
/// let error = Job::parse("job.toml", "[limit]\nrate = \"fast\"").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Plan);
/// assert!(error.to_string().contains("job.toml"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// An error of a program's own source or sink.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The consequence of an [`Error`]: the plan is to be mended, or the run to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The job cannot be done as written; nothing was sent.
    Plan,
    /// The run began and could not be finished.
    Stopped,
}

impl Error {
    /// The plan is wrong: `message` says where, and what would be right.
    #[must_use]
    pub fn plan(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Plan, message: message.into() }
    }

    /// The run stopped: `message` says why, and what to do.
    #[must_use]
    pub fn stopped(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Stopped, message: message.into() }
    }

    /// This error with its message changed; its kind stays.
    #[must_use]
    pub(crate) fn map(self, change: impl FnOnce(String) -> String) -> Error {
        Error { kind: self.kind, message: change(self.message) }
    }

    /// Whether the plan is to be mended or the run to be repeated.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
