//! A run that cannot go on. A failed row is never one of these: it is a
//! [record](crate::record::Record).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::failure::FailureKind;
use crate::limit::{AcquireError, LimitError};
use crate::wording::{setting_in, worded};

/// Why no run could start, or why one had to stop.
///
/// Its text is one or more sentences for people: what happened, where, and what to do. Settings
/// have the names of a job file, such as `limit.rate`.
///
/// ```
/// use throng::{Error, ErrorKind, Job};
///
/// let error = Job::parse("job.toml", "[limit]\nrate = \"fast\"").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Plan);
/// assert!(matches!(&error, Error::JobFile { name, line: Some(2), .. } if name == "job.toml"));
/// assert!(error.to_string().starts_with("job.toml, line 2: \"fast\" is not a rate"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The text of a job can't be read, or its syntax, a key or the kind of a value is wrong.
    #[non_exhaustive]
    JobFile {
        /// The path or the name of the text.
        name: String,
        /// The line that is wrong, counted from 1, if one is.
        line: Option<usize>,
        /// The sentences.
        problem: Problem,
    },
    /// A setting can't be as it is: by itself, beside others, or on this machine.
    #[non_exhaustive]
    Setting {
        /// The setting that the sentences name first, as in a job file: `request.url`; none
        /// where they name none.
        setting: Option<String>,
        /// The sentences.
        problem: Problem,
    },
    /// The limits can't be built.
    #[non_exhaustive]
    Limit {
        /// What is wrong with them.
        source: LimitError,
        /// The sentences.
        problem: Problem,
    },
    /// A variable of the environment that the job uses is not set.
    #[non_exhaustive]
    MissingVariable {
        /// Its name.
        name: String,
        /// The sentences.
        problem: Problem,
    },
    /// The input can't be read, or a row of it is wrong.
    #[non_exhaustive]
    Input {
        /// The number of the row, counted from 0, if rows before it were taken already.
        row: Option<u64>,
        /// The sentences.
        problem: Problem,
    },
    /// The output, or a file beside it, can't be read or written.
    #[non_exhaustive]
    Output {
        /// The path of the file, as far as it is known.
        path: Option<PathBuf>,
        /// The sentences.
        problem: Problem,
    },
    /// The output has records, and the job doesn't say what becomes of them.
    #[non_exhaustive]
    OutputExists {
        /// The path of the output.
        path: PathBuf,
        /// The sentences.
        problem: Problem,
    },
    /// Another process uses the output.
    #[non_exhaustive]
    OutputInUse {
        /// The sentences.
        problem: Problem,
    },
    /// The output is not the result of this job and this input as they are now.
    #[non_exhaustive]
    ResumeMismatch {
        /// The sentences.
        problem: Problem,
    },
    /// The run began, and something other than its files has ended it.
    #[non_exhaustive]
    Stopped {
        /// What has ended it.
        cause: StopCause,
        /// The sentences.
        problem: Problem,
    },
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

/// What has ended a run before its last row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopCause {
    /// The deadline (`workers.deadline`) has come.
    Deadline,
    /// No permit can be had: a total is used up, or the wait would be too long.
    NoPermit(AcquireError),
    /// The money that the job may cost (`budget`) is spent.
    BudgetUsedUp,
    /// The server was out, or could not be reached at all.
    Unreachable,
    /// The server has refused too often, or asked for too long a pause.
    Refused,
    /// The first answers have all failed alike.
    FailedAlike(FailureKind),
    /// More rows have failed than may (`retry.max-failures`).
    TooManyFailures,
    /// No credentials can be had: a login, a token or a secret.
    Credentials,
    /// A mistake in this crate.
    Panicked,
    /// Something else, which the sentences name.
    Other,
}

/// What is wrong, where, and what to do, in sentences; and the error below it, if there is one.
#[derive(Clone)]
pub struct Problem(Box<Sentences>);

#[derive(Clone)]
struct Sentences {
    kind: ErrorKind,
    text: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The problem of an error, whatever its kind, borrowed as the error is.
macro_rules! problem_of {
    ($error:expr) => {
        match $error {
            Error::JobFile { problem, .. }
            | Error::Setting { problem, .. }
            | Error::Limit { problem, .. }
            | Error::MissingVariable { problem, .. }
            | Error::Input { problem, .. }
            | Error::Output { problem, .. }
            | Error::OutputExists { problem, .. }
            | Error::OutputInUse { problem }
            | Error::ResumeMismatch { problem }
            | Error::Stopped { problem, .. } => problem,
        }
    };
}

impl Error {
    /// A setting is wrong: `text` says where, and what would be right.
    #[must_use]
    pub(crate) fn plan(text: impl Into<String>) -> Error {
        let problem = Problem::new(ErrorKind::Plan, text.into());
        Error::Setting { setting: setting_in(&problem.0.text), problem }
    }

    /// The run stopped: `text` says why, and what to do.
    #[must_use]
    pub(crate) fn stopped(text: impl Into<String>) -> Error {
        Error::stopped_by(StopCause::Other, text)
    }

    /// The run stopped for this cause.
    #[must_use]
    pub(crate) fn stopped_by(cause: StopCause, text: impl Into<String>) -> Error {
        let mut problem = Problem::new(ErrorKind::Stopped, text.into());
        if let StopCause::NoPermit(error) = &cause {
            problem.0.source = Some(Arc::new(error.clone()));
        }
        Error::Stopped { cause, problem }
    }

    /// The text of a job is wrong at this line.
    #[must_use]
    pub(crate) fn job_file(name: &str, line: Option<usize>, text: String) -> Error {
        let problem = Problem::new(ErrorKind::Plan, text);
        Error::JobFile { name: name.to_owned(), line, problem }
    }

    /// The limits can't be built.
    #[must_use]
    pub(crate) fn limit(source: LimitError, text: String) -> Error {
        let problem = Problem::new(ErrorKind::Plan, text);
        Error::Limit { problem: problem.caused_by(source.clone()), source }
    }

    /// The job uses this variable, which is not set.
    #[must_use]
    pub(crate) fn missing_variable(name: &str, text: String) -> Error {
        Error::MissingVariable {
            name: name.to_owned(),
            problem: Problem::new(ErrorKind::Plan, text),
        }
    }

    /// The input can't be read, or its row of this number, if rows were taken before it.
    #[must_use]
    pub(crate) fn input(row: Option<u64>, text: String) -> Error {
        let kind = if row.is_some() { ErrorKind::Stopped } else { ErrorKind::Plan };
        Error::Input { row, problem: Problem::new(kind, text) }
    }

    /// This error as that of the output at this path; one that says more of it, or that names a
    /// setting, stays as it is.
    #[must_use]
    pub(crate) fn of_output(self, path: Option<&str>) -> Error {
        match self {
            Error::Setting { setting: None, problem }
            | Error::Stopped { cause: StopCause::Other, problem }
            | Error::Output { path: None, problem } => {
                Error::Output { path: path.map(PathBuf::from), problem }
            }
            error => error,
        }
    }

    /// This error as that of an output with records that are to be kept.
    #[must_use]
    pub(crate) fn of_existing(self, path: &Path) -> Error {
        Error::OutputExists { path: path.to_owned(), problem: self.into_problem() }
    }

    /// This error as that of an output in use.
    #[must_use]
    pub(crate) fn of_output_in_use(self) -> Error {
        Error::OutputInUse { problem: self.into_problem() }
    }

    /// This error as that of an output that is not the job's.
    #[must_use]
    pub(crate) fn of_mismatch(self) -> Error {
        Error::ResumeMismatch { problem: self.into_problem() }
    }

    /// This error with the one below it.
    #[must_use]
    pub(crate) fn caused_by(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        self.problem_mut().0.source = Some(Arc::new(source));
        self
    }

    /// This error with a copy of the system's below it.
    #[must_use]
    pub(crate) fn caused_by_io(self, error: &io::Error) -> Error {
        let code = error.raw_os_error();
        self.caused_by(code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
    }

    /// This error with that of a program below it.
    #[must_use]
    pub(crate) fn caused_by_box(mut self, error: BoxError) -> Error {
        self.problem_mut().0.source = Some(Arc::from(error));
        self
    }

    /// This error with its text changed; all else stays.
    #[must_use]
    pub(crate) fn map(mut self, change: impl FnOnce(String) -> String) -> Error {
        let problem = self.problem_mut();
        problem.0.text = change(std::mem::take(&mut problem.0.text));
        self
    }

    /// Whether the plan is to be mended or the run to be repeated.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.problem().0.kind
    }

    /// The sentences.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        problem_of!(self)
    }

    fn problem_mut(&mut self) -> &mut Problem {
        problem_of!(self)
    }

    fn into_problem(mut self) -> Problem {
        std::mem::replace(self.problem_mut(), Problem::new(ErrorKind::Plan, String::new()))
    }
}

impl Problem {
    fn new(kind: ErrorKind, text: String) -> Problem {
        Problem(Box::new(Sentences { kind, text, source: None }))
    }

    fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Problem {
        self.0.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&worded(self.0.text.clone()))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Problems are the same if their sentences are.
impl PartialEq for Problem {
    fn eq(&self, other: &Problem) -> bool {
        self.0.kind == other.0.kind && self.0.text == other.0.text
    }
}

impl Eq for Problem {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for Error {
    /// The error below it: of the system, of a limit, or of a program's source or sink. Its text
    /// is part of this error's text.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.problem().0.source.as_deref()?;
        Some(source)
    }
}
