//! The log of what the runs of one results file spend: the disk knows of money before it is
//! spent, so that no run begins with a budget that is larger than what is left.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable_log::{self, LogClosed, LogLines, LogThread};
use crate::fs::beside;
use crate::price::Usd;

/// One line of the log. Amounts are in millionths of a millionth of a dollar.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SpendingLine {
    /// At most this much is spent, until another line says more.
    Most(u64),
    /// Exactly this much is spent: a run has ended here.
    Spent(u64),
}

/// The log, which a thread writes.
#[derive(Debug)]
pub struct SpendingLog(LogThread);

/// A way to the log.
pub struct SpendingNotes(LogLines);

/// What the runs of some results have spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// The amount.
    pub usd: Usd,
    /// Whether it is the most that it can be, since the last run was cut off.
    pub is_bound: bool,
}

/// What earlier runs of these results have spent; none if nothing had a price.
///
/// # Errors
/// What the system says.
pub fn spent(results: &Path) -> io::Result<Option<Spent>> {
    let mut spent = None;
    for line in durable_log::read::<SpendingLine>(&path(results))? {
        let before = spent.unwrap_or(Spent::default()).usd;
        spent = Some(match line? {
            // Lines of several workers may have changed their order.
            SpendingLine::Most(most) => Spent { usd: before.max(Usd(most)), is_bound: true },
            SpendingLine::Spent(exact) => Spent { usd: Usd(exact), is_bound: false },
        });
    }
    Ok(spent)
}

/// Removes the log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    durable_log::remove(&path(results))
}

fn path(results: &Path) -> PathBuf {
    beside(results, ".spent")
}

impl SpendingLog {
    /// Starts the thread of a log that goes on with what earlier runs have spent.
    pub(super) fn start(
        results: &Path,
        before: Usd,
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<SpendingLog> {
        let begin = durable_log::line(&SpendingLine::Spent(before.0));
        LogThread::start(path(results), &begin, failed).map(SpendingLog)
    }

    /// A way to the log.
    #[must_use]
    pub fn notes(&self) -> SpendingNotes {
        SpendingNotes(self.0.lines())
    }

    /// Writes what was spent, and ends the thread. The log stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(self, spent: Usd) -> io::Result<()> {
        // If the thread has ended, its own error says why.
        let _ = self.0.lines().add(durable_log::line(&SpendingLine::Spent(spent.0)));
        self.0.end(true)
    }
}

impl SpendingNotes {
    /// Returns once the disk knows that this much may be spent.
    ///
    /// # Errors
    /// When it can't: nothing more may be spent.
    pub async fn note(&self, most: Usd) -> Result<(), LogClosed> {
        self.0.write(durable_log::line(&SpendingLine::Most(most.0))).await
    }

    /// Notes what other processes have spent, which no request waits for.
    ///
    /// # Errors
    /// When it can't.
    pub fn add(&self, most: Usd) -> Result<(), LogClosed> {
        self.0.add(durable_log::line(&SpendingLine::Most(most.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_was_cut_off_has_spent_what_it_may_have() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        assert_eq!(spent(&results).unwrap(), None);
        let is = |usd, is_bound| Some(Spent { usd: Usd(usd), is_bound });
        let start = |before| SpendingLog::start(&results, before, |error| panic!("{error}"));
        let log = start(Usd::ZERO).unwrap();
        for most in [50, 90, 70] {
            log.notes().note(Usd(most)).await.unwrap();
        }
        assert_eq!(spent(&results).unwrap(), is(90, true));
        log.end(Usd(64)).unwrap();
        assert_eq!(spent(&results).unwrap(), is(64, false));
        start(Usd(64)).unwrap().end(Usd(80)).unwrap();
        assert_eq!(spent(&results).unwrap(), is(80, false));
    }
}
