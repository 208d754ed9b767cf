//! How many requests the rows that are left need, where equal ones are sent once or answers are
//! kept. Reads the input and the store; memory has one bit for each row.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use roaring::RoaringTreemap;

use super::page_request::answer_keys;
use super::workload::{self, LeftRows};
use super::{Plan, selection};
use crate::error::Error;
use crate::fs::external_sort::{ExternalSort, Stored, read_number};
use crate::row::Row;
use crate::store::{KnownAnswers, RequestKey};

/// Memory for the sort of requests, in bytes.
const PIECE: usize = 8 << 20;

/// The requests of the rows that are left, where not every row sends one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PlannedRequests {
    /// Number of rows that are left.
    rows: u64,
    /// Those of them whose request is the same as that of a row before.
    same: u64,
    /// Those of the others whose answer is kept already.
    kept: u64,
    /// Those that make no request, and fail.
    flawed: u64,
    /// The numbers of the rows that send none.
    spared: RoaringTreemap,
}

impl Plan {
    /// Counts the requests that are sent where equal ones are sent once or answers are kept, and
    /// plans time and money for these. Reads the input again, unless every row sends its own.
    ///
    /// # Errors
    /// The input or the store can't be read.
    pub fn count_requests(&mut self) -> Result<(), Error> {
        let is_any = self.dedupes || self.store.dir.is_some();
        let Some(rows) = self.survey.rows.filter(|_| is_any && self.source.lasts()) else {
            return Ok(());
        };
        let requests = self.counted_requests()?;
        let left = LeftRows { done: self.output.done(), spared: Some(&requests.spared) };
        let money_left = self.budget.map(|budget| budget.minus(self.output.spent()));
        self.work = workload::of(self.first(), &self.source, Some(rows), &left, money_left)?;
        self.requests = Some(requests);
        Ok(())
    }

    fn counted_requests(&self) -> Result<PlannedRequests, Error> {
        let answers = self.kept_answers()?;
        let stage = self.first();
        let mut found = PlannedRequests::default();
        let mut sort = ExternalSort::new(std::env::temp_dir(), PIECE);
        let done = self.output.done();
        let mut rows = self.source.rows()?.filter(|row| !row.as_ref().is_ok_and(|it| done.has(it)));
        loop {
            let some: Vec<Row> =
                rows.by_ref().take(stage.batch_size()).collect::<Result<_, _>>()?;
            let Some(row) = stage.batch_row(&some) else { break };
            found.rows += some.len() as u64;
            if self.store.offline {
                found.spared.extend(some.iter().map(|row| row.number));
            }
            let keys = answer_keys(stage, &self.fallbacks, &row, |it| answers.key(it));
            let Ok([key, others @ ..]) = keys.as_deref() else {
                found.flawed += some.len() as u64;
                continue;
            };
            let mut is_kept = answers.has_any(others)?;
            if self.dedupes {
                sort.push(RowRequest { key: *key, row: row.number, is_kept }).map_err(unsorted)?;
                continue;
            }
            is_kept |= answers.has(*key)?;
            if is_kept {
                found.kept += some.len() as u64;
                found.spared.extend(some.iter().map(|row| row.number));
            }
        }
        let mut latest = None;
        for entry in sort.sorted().map_err(unsorted)? {
            let RowRequest { key, row, is_kept } = entry.map_err(unsorted)?;
            let is_same = latest.replace(key) == Some(key);
            let is_kept = !is_same && (is_kept || answers.has(key)?);
            found.same += u64::from(is_same);
            found.kept += u64::from(is_kept);
            if is_same || is_kept {
                found.spared.insert(row);
            }
        }
        Ok(found)
    }

    /// The answers that the run would find.
    fn kept_answers(&self) -> Result<FreshAnswers<'_>, Error> {
        let secrets = &self.secrets;
        let (answers, place) = match (&self.store.dir, self.output.path()) {
            (Some(dir), _) => (KnownAnswers::in_directory(Path::new(dir), secrets), dir.clone()),
            (None, Some(path)) => (KnownAnswers::beside(Path::new(&path), secrets), path),
            (None, None) => (Ok(KnownAnswers::none(secrets)), String::new()),
        };
        let answers = answers.map_err(|why| unreadable(&place, &why))?;
        Ok(FreshAnswers { plan: self, answers, place, now: selection::now() })
    }

    /// The number of requests that are sent, and why it is not one for each row; none if it is.
    pub(super) fn describe_requests(&self) -> Option<String> {
        let found = self.requests.as_ref()?;
        let mut why = Vec::new();
        if self.dedupes {
            why.push(format!("{} are the same as another (--dedupe)", found.same));
        }
        if found.kept > 0 || self.store.dir.is_some() {
            let place = self.store.dir.as_deref().unwrap_or("the answers of earlier runs");
            why.push(format!("{} have their answer in {place}", found.kept));
        }
        if found.flawed > 0 {
            why.push(format!("{} make none and fail", found.flawed));
        }
        let left = found.rows - found.same - found.kept - found.flawed;
        let (sent, why) = (if self.store.offline { 0 } else { left }, why.join(", "));
        let offline = if self.store.offline && left > 0 {
            format!("; {left} have no answer and fail (--offline)")
        } else {
            String::new()
        };
        Some(format!("{sent} for {}: {why}{offline}", self.rows_left(found.rows)))
    }
}

/// The kept answers that count for a run.
struct FreshAnswers<'a> {
    plan: &'a Plan,
    answers: KnownAnswers,
    /// Where they are, for messages.
    place: String,
    /// The time, in milliseconds since 1970.
    now: u64,
}

impl FreshAnswers<'_> {
    /// The hash of what a request asks for.
    fn key(&self, request: &Request<Bytes>) -> RequestKey {
        self.answers.key(request)
    }

    /// Whether a request with any of these hashes is not sent.
    fn has_any(&self, keys: &[RequestKey]) -> Result<bool, Error> {
        keys.iter().try_fold(false, |has, key| Ok(has || self.has(*key)?))
    }

    /// Whether a request with this hash is not sent, since its answer is there.
    fn has(&self, key: RequestKey) -> Result<bool, Error> {
        let found = self.answers.find(key).map_err(|why| unreadable(&self.place, &why))?;
        let Some((asked, by)) = found else { return Ok(false) };
        let is_own = by.run == self.plan.output.run_number();
        // Only a store of the job outlives the runs of its results.
        if self.plan.dedupes && (is_own || self.plan.store.dir.is_none()) {
            return Ok(is_own);
        }
        let age = Duration::from_millis(self.now.saturating_sub(asked));
        Ok(self.plan.store.age.is_none_or(|most| age <= most))
    }
}

/// A row and what it asks for, as they are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RowRequest {
    key: RequestKey,
    row: u64,
    /// Whether a fallback's answer to it is kept.
    is_kept: bool,
}

impl Stored for RowRequest {
    fn size(&self) -> usize {
        size_of::<RowRequest>()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        // The number of a row leaves the lowest bit free.
        to.write_all(&(self.row << 1 | u64::from(self.is_kept)).to_le_bytes())?;
        to.write_all(&self.key.0)
    }

    fn read(from: &mut impl Read) -> io::Result<Option<RowRequest>> {
        let Some(row) = read_number(from)? else { return Ok(None) };
        let mut key = RequestKey([0; 16]);
        from.read_exact(&mut key.0)?;
        Ok(Some(RowRequest { key, row: row >> 1, is_kept: row & 1 == 1 }))
    }
}

fn unreadable(place: &str, why: &str) -> Error {
    Error::plan(format!("the answers that are kept at {place}: {why}"))
}

fn unsorted(error: io::Error) -> Error {
    Error::plan(format!("the requests of the rows can't be compared: {error}"))
}
