//! Verifies limits from the times in the records of results files.
//!
//! Each record has, for each request of its row, the interval in which the request can have
//! reached the server (`_arrived`). A limit is proven if it holds wherever in their intervals
//! the requests arrived. The proof shares no arithmetic with the rate limiter.
//!
//! - `arrivals`: the intervals of one record, and the records that can't be
//! - `known`: the limits of a run, from the sidecar file beside its results
//! - `peak`: the largest count of each kind of limit, from intervals in order
//!
//! The intervals are sorted by way of files, so memory depends on the number of limits and of
//! keys, and not on the number of requests.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::external_sort::ExternalSort;
use crate::limit::{Limit, Measure};
use crate::record::is_of_request;
use crate::render::KeyTemplate;
use crate::row::Fields;
use crate::sink::{self, RunFacts};
use crate::source::{Settings, Source};

mod arrivals;
mod known;
mod peak;

pub(crate) use arrivals::Arrival;
pub use arrivals::ends_row;
pub use known::{KnownLimits, Scope, ScopedLimit, limits_of};
pub(crate) use peak::Level;
use peak::{Moment, Moments, Peak};

/// The size of the intervals in memory of each limit, by the beginning and by the end, in
/// bytes each.
const PIECE: usize = 4 << 20;

/// The checks of results files.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Number of requests in all records.
    pub requests: u64,
    /// The check of each limit, for its worst key.
    pub checks: Vec<Check>,
    /// The rows of each file.
    pub rows: Vec<FileRows>,
}

/// The check of one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The limit.
    pub limit: Limit,
    /// The names of the targets whose requests it counts; empty for all requests.
    pub targets: Vec<String>,
    /// Number of requests that it counts.
    pub requests: u64,
    /// The units that it allows.
    pub allowed: u64,
    /// Maximum number of units that can have arrived in one window.
    pub peak: u64,
    /// The beginning of that window, in microseconds since 1970.
    pub start: i64,
    /// The key of these requests; empty if all count together.
    pub key: String,
    /// Number of keys; 1 if all requests count together.
    pub keys: u64,
}

/// The rows of a results file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRows {
    /// The name of the file.
    pub name: String,
    /// Number of rows that have a record.
    pub with_record: u64,
    /// Number of rows of the run, if it is known.
    pub all: Option<u64>,
    /// Whether the job has steps: then the requests of all steps but the last one are in no
    /// record.
    pub has_steps: bool,
    /// Whether limits were not shared with the other runs of the account.
    pub is_alone: bool,
}

impl Check {
    /// Whether the limit was kept in the worst case.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.peak <= self.allowed
    }
}

impl FileRows {
    /// Number of rows without a record, if it is known.
    #[must_use]
    pub fn without_record(&self) -> Option<u64> {
        self.all.map(|all| all.saturating_sub(self.with_record))
    }
}

/// Checks these limits over the requests of all of these results files together.
///
/// # Errors
/// A file can't be read, is not a results file, or lacks records or times; or a limit can't be
/// checked by arrivals.
pub fn verify(files: &[Settings], limits: &[ScopedLimit]) -> Result<Verified, Error> {
    let mut counts = limits.iter().map(LimitCount::new).collect::<Result<Vec<_>, _>>()?;
    let (mut requests, mut rows) = (0, Vec::new());
    let mut firsts = HashMap::new();
    for (index, settings) in files.iter().enumerate() {
        let source = Source::new(settings)?;
        let file = ResultsFile { index, name: source.name(), facts: facts(settings) };
        rows.push(file.read(&source, &mut counts, &mut requests, &mut firsts)?);
    }
    let checks =
        counts.into_iter().map(|count| count.check(&mut |_| {})).collect::<Result<Vec<_>, _>>()?;
    Ok(Verified { requests, checks, rows })
}

/// Checks that a limit can be verified by times of arrival.
///
/// # Errors
/// The reason why not, and the limit that can be checked instead.
pub fn can_check(limit: &Limit) -> Result<Measure, String> {
    limit.measure().ok_or_else(|| {
        format!(
            "only the server knows where its windows begin: -r {} checks all windows of that length",
            limit.amount
        )
    })
}

fn facts(settings: &Settings) -> Option<RunFacts> {
    sink::facts_of(Path::new(settings.file.as_ref()?))
}

/// One of the files that are verified together.
struct ResultsFile {
    index: usize,
    name: String,
    facts: Option<RunFacts>,
}

impl ResultsFile {
    /// Refuses a file that begins as another one does: no two requests are sent in the same
    /// microsecond and answered in the same one.
    fn check_no_copy(
        &self,
        fields: &Fields,
        firsts: &mut HashMap<String, String>,
    ) -> Result<(), Error> {
        let first = format!("{:?} {:?}", fields.get("_row"), fields.get("_arrived"));
        match firsts.insert(first, self.name.clone()) {
            None => Ok(()),
            Some(other) => Err(Error::plan(format!(
                "{} and {other} begin with the same record: one is a copy of the other, and its requests would count twice; leave one of them out",
                self.name
            ))),
        }
    }

    fn read(
        &self,
        source: &Source,
        counts: &mut [LimitCount],
        requests: &mut u64,
        firsts: &mut HashMap<String, String>,
    ) -> Result<FileRows, Error> {
        let (mut records, mut with_record) = (0, 0);
        for row in source.rows()? {
            // Nothing is sent, so no read needs to be stopped early.
            let fields = row.map_err(|error| self.unread(&error.to_string(), records))?.fields;
            records += 1;
            let wrong = |why| Error::plan(format!("{}, record {records}: {why}", self.name));
            with_record += u64::from(arrivals::ends_row(&fields));
            let arrived = arrivals::of(&fields).map_err(wrong)?;
            if records == 1 && !arrived.is_empty() {
                self.check_no_copy(&fields, firsts)?;
            }
            *requests += arrived.len() as u64;
            for count in &mut *counts {
                count.add(self.index, &fields, &arrived).map_err(|error| match error {
                    AddError::Record(why) => wrong(why),
                    AddError::Disk(error) => disk_error(&error),
                })?;
            }
        }
        self.check_count(records, with_record)?;
        Ok(FileRows {
            name: self.name.clone(),
            with_record,
            all: self
                .facts
                .as_ref()
                .and_then(|facts| facts.rows.or(facts.complete.then_some(with_record))),
            has_steps: self.facts.as_ref().is_some_and(|facts| facts.has_steps),
            is_alone: self.facts.as_ref().is_some_and(|facts| facts.is_alone),
        })
    }

    /// The error of the record after this number of them, which can't be read.
    fn unread(&self, error: &str, records: u64) -> Error {
        let name = &self.name;
        let advice = if records > 0 && is_cut_off(Path::new(name)) {
            format!(
                ". If the run of {name} was cut off while it wrote this last record, go on with it (--resume), or delete the line: then its request is not counted"
            )
        } else {
            String::new()
        };
        Error::plan(format!("{error}{advice}"))
    }

    fn check_count(&self, records: u64, with_record: u64) -> Result<(), Error> {
        let name = &self.name;
        let known = self.facts.as_ref();
        let written = known.map_or(0, |facts| facts.records);
        if records < written {
            return Err(Error::plan(format!(
                "{name} has {records} records, and its run wrote {written}: the times of the missing ones can't be counted"
            )));
        }
        if records == 0 {
            return Err(Error::plan(format!("{name} has no records")));
        }
        match known.and_then(|facts| facts.rows) {
            Some(rows) if with_record > rows => Err(Error::plan(format!(
                "{name} has records of {with_record} rows, and its run had {rows}: some stand there twice, or are of another run"
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether the file's last line has no end.
fn is_cut_off(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        io::Result::Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

fn disk_error(error: &io::Error) -> Error {
    Error::plan(format!(
        "the times can't be sorted in {}: {error} (another directory: TMPDIR)",
        directory().display()
    ))
}

/// The directory of the files by way of which times are sorted.
fn directory() -> PathBuf {
    std::env::temp_dir()
}

/// Why the requests of a record can't be counted.
pub(crate) enum AddError {
    Record(String),
    Disk(io::Error),
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddError::Record(why) => write!(f, "a record can't be counted: {why}"),
            AddError::Disk(error) => disk_error(error).fmt(f),
        }
    }
}

/// All requests, as one limit counts them.
pub(crate) struct LimitCount {
    limit: Limit,
    targets: Vec<String>,
    requests: u64,
    measure: Measure,
    /// The scope of the limit in each file.
    scopes: Vec<CompiledScope>,
    keys: HashMap<String, u32>,
    begun: ExternalSort<Moment>,
    ended: ExternalSort<Moment>,
}

/// A scope whose template is compiled.
enum CompiledScope {
    All,
    Per(Box<KeyTemplate>),
    /// A template that uses the request, whose value the record has.
    OfRequest(String),
    Pool,
}

impl LimitCount {
    /// No requests so far.
    ///
    /// # Errors
    /// The limit can't be checked by arrivals.
    pub fn new(scoped: &ScopedLimit) -> Result<LimitCount, Error> {
        let limit = &scoped.limit;
        let wrong = |why| Error::plan(format!("\"{limit}\": {why}"));
        let scopes = scoped.scopes.iter().map(CompiledScope::new).collect::<Result<_, _>>();
        Ok(LimitCount {
            limit: limit.clone(),
            targets: scoped.targets.clone(),
            requests: 0,
            measure: can_check(limit).map_err(wrong)?,
            scopes: scopes.map_err(Error::plan)?,
            keys: HashMap::new(),
            begun: ExternalSort::new(directory(), PIECE),
            ended: ExternalSort::new(directory(), PIECE),
        })
    }

    /// Adds the requests of a record of the file with this index.
    ///
    /// # Errors
    /// The record lacks what the limit counts, or the disk has no room.
    pub fn add(
        &mut self,
        file: usize,
        fields: &Fields,
        arrivals: &[Arrival],
    ) -> Result<(), AddError> {
        for arrival in arrivals.iter().filter(|it| it.is_of(&self.targets)) {
            self.requests += 1;
            let units = arrival.units(self.limit.unit.as_deref()).map_err(AddError::Record)?;
            let key = self.scopes[file].key(fields, arrival).map_err(AddError::Record)?;
            let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
            let key = match self.keys.get(&key) {
                Some(key) => *key,
                None => *self.keys.entry(key).or_insert(next),
            };
            let &Arrival { from, to, .. } = arrival;
            let begun = Moment { time: from, other: to, units, key };
            let ended = Moment { time: to, other: from, units, key };
            self.begun.push(begun).map_err(AddError::Disk)?;
            self.ended.push(ended).map_err(AddError::Disk)?;
        }
        Ok(())
    }

    /// The check of all requests. `seen` is told each count of each key, in the order of time.
    ///
    /// # Errors
    /// The times can't be sorted by way of the disk.
    pub fn check(mut self, seen: &mut dyn FnMut(Level)) -> Result<Check, Error> {
        let keys = self.keys.len();
        let (peak, allowed) = self.peak(keys, seen).map_err(|error| disk_error(&error))?;
        let is_of = |(_, index): &(&String, &u32)| **index == peak.key;
        let key = self.keys.iter().find(is_of).map(|(key, _)| key.clone());
        Ok(Check {
            limit: self.limit.clone(),
            targets: self.targets.clone(),
            requests: self.requests,
            allowed,
            peak: peak.units,
            start: peak.start,
            key: key.unwrap_or_default(),
            keys: keys as u64,
        })
    }

    fn peak(&mut self, keys: usize, seen: &mut dyn FnMut(Level)) -> io::Result<(Peak, u64)> {
        let amount = self.limit.amount;
        let length = i64::try_from(amount.period.as_micros()).unwrap_or(i64::MAX);
        let moments = Moments { begun: self.begun.sorted()?, ended: self.ended.sorted()?, keys };
        let peak = match self.measure {
            Measure::AnyWindow => peak::any_window(moments, length, seen),
            Measure::ClockWindow => peak::clock_window(moments, length, seen),
            Measure::Day => {
                let zone = self.limit.counting.zone().unwrap_or(jiff::tz::TimeZone::UTC);
                peak::day(moments, &zone, seen)
            }
            Measure::Counter => peak::counter(moments, length),
            Measure::Total => peak::total(moments, seen),
            Measure::Bucket { burst } => {
                return Ok((peak::bucket(moments, amount.units, length, seen)?, burst));
            }
        };
        Ok((peak?, amount.units))
    }
}

impl CompiledScope {
    fn new(scope: &Scope) -> Result<CompiledScope, String> {
        match scope {
            Scope::All => Ok(CompiledScope::All),
            Scope::Pool => Ok(CompiledScope::Pool),
            Scope::Per(template) if is_of_request(template) => {
                Ok(CompiledScope::OfRequest(template.clone()))
            }
            Scope::Per(template) => Ok(CompiledScope::Per(Box::new(KeyTemplate::new(template)?))),
        }
    }

    /// The key of a request of a record with these fields.
    fn key(&self, fields: &Fields, arrival: &Arrival) -> Result<String, String> {
        match self {
            CompiledScope::All => Ok(String::new()),
            CompiledScope::Per(template) => template.of(fields),
            CompiledScope::OfRequest(template) => arrival.scope_key(template),
            CompiledScope::Pool => arrival.pool_key(),
        }
    }
}
