//! Rows that the program makes itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Rows;
use crate::error::BoxError;
use crate::format::rows::{FormatRow, OpenedRows, RowReader, accepted};
use crate::row::Fields;

/// The name of these rows in messages.
pub(super) const NAME: &str = "the program's rows";

/// Rows of a program's own.
///
/// They are asked for on a thread of the run's, which may block, and no further ahead than the
/// workers need. Iterators and streams are sources by themselves:
/// [`JobBuilder::rows`](crate::JobBuilder::rows).
///
/// ```
/// use throng::{BoxError, Fields, RowSource};
///
/// struct Countdown(u32);
///
/// impl RowSource for Countdown {
///     fn next_row(&mut self) -> Option<Result<Fields, BoxError>> {
///         self.0 = self.0.checked_sub(1)?;
///         Some(Ok(Fields::from_iter([("id".to_owned(), self.0.into())])))
///     }
/// }
/// assert!(Countdown(1).next_row().is_some());
/// ```
pub trait RowSource: Send {
    /// The next row; none after the last one. An error ends the run.
    fn next_row(&mut self) -> Option<Result<Fields, BoxError>>;
}

/// The rows of a program, until a run takes them.
#[derive(Clone)]
pub(crate) struct ProgramRows(Arc<Mutex<Option<RowsOnce>>>);

/// Rows that can be had once.
enum RowsOnce {
    /// Rows of a program's own, which get their numbers as they come.
    Own(Box<dyn RowSource>),
    /// Rows that have numbers already.
    Numbered(Rows),
}

impl ProgramRows {
    /// The rows of this source.
    pub fn new(source: impl RowSource + 'static) -> ProgramRows {
        ProgramRows(Arc::new(Mutex::new(Some(RowsOnce::Own(Box::new(source))))))
    }

    /// Rows that have numbers already.
    pub fn numbered(rows: Rows) -> ProgramRows {
        ProgramRows(Arc::new(Mutex::new(Some(RowsOnce::Numbered(rows)))))
    }

    /// The rows, which can be had once, if they get their numbers as they come.
    pub fn open(&self) -> OpenedRows {
        match self.lock().take() {
            Some(RowsOnce::Own(source)) => Ok(Box::new(ProgramReader { source, taken: 0 })),
            _ => Err("the program's rows were taken by a run before".into()),
        }
    }

    /// The rows, which can be had once, if they have numbers already.
    pub fn take_numbered(&self) -> Option<Rows> {
        let mut rows = self.lock();
        match rows.take() {
            Some(RowsOnce::Numbered(rows)) => Some(rows),
            other => {
                *rows = other;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RowsOnce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ProgramRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgramRows")
    }
}

struct ProgramReader {
    source: Box<dyn RowSource>,
    taken: u64,
}

impl Iterator for ProgramReader {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let row = self.source.next_row()?;
        self.taken += 1;
        let row = row.map_err(|error| error.to_string()).and_then(accepted);
        Some(row.map_err(|flaw| format!("{NAME}, row {}: {flaw}", self.taken)))
    }
}

impl RowReader for ProgramReader {}
