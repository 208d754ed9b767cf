//! Selects the rows of an input that are asked for: compares them with an earlier results file by
//! a key, or looks for their answers in the store. Both files may be larger than memory.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use roaring::RoaringTreemap;
use serde_json::Value;

use super::only::{KnownRow, Only};
use super::page_request::answer_keys;
use super::{Job, Stage, check_apart};
use crate::error::Error;
use crate::format::RESERVED;
use crate::fs::external_sort::{ExternalSort, Stored, read_number};
use crate::record::Record;
use crate::row::Fields;
use crate::secret::Secrets;
use crate::sink;
use crate::source::{self, Source};
use crate::store::KnownAnswers;

/// Memory for each of the two sorts, in bytes.
const PIECE: usize = 8 << 20;

/// The rows that are selected, and what there is to say of it.
pub(super) struct Selection {
    pub rows: RoaringTreemap,
    pub note: String,
}

/// Counts of a selection.
#[derive(Debug, Default)]
struct Counts {
    all: u64,
    /// Number of rows for each reason, in the order of the job. A row counts for its first one.
    taken: Vec<u64>,
    /// Number of earlier records whose row the input has no more.
    gone: u64,
}

/// What a selection knows of its run.
pub(super) struct OfRun<'a> {
    /// The number of all runs that continue the output.
    pub run: u64,
    pub secrets: &'a Secrets,
    /// The time, in milliseconds since 1970.
    pub now: u64,
}

/// Selects the rows of a source, whose fields have these names, by the reasons of the job; none
/// if the job takes all.
///
/// # Errors
/// The job says too little, or a file can't be read.
pub(super) fn select(
    job: &Job,
    stages: (&Stage, &[Stage]),
    source: &Source,
    names: &[String],
    of_run: &OfRun<'_>,
) -> Result<Option<Selection>, Error> {
    if job.only.is_empty() {
        let lacks = "against (--against) names earlier results, and nothing says which rows to ask for: give only (--only new)";
        return if job.against.is_some() { Err(Error::plan(lacks)) } else { Ok(None) };
    }
    if !source.lasts() {
        return Err(Error::plan(format!(
            "only (--only) reads the input before the run, and {} can be read once: give a file",
            source.name()
        )));
    }
    let selection = match (&job.against, &job.store.dir) {
        (Some(file), _) => against_file(job, file, source, names, of_run.now)?,
        (None, Some(dir)) => against_store(job, dir, stages, source, of_run)?,
        (None, None) => {
            return Err(Error::plan(
                "only (--only) compares rows with what is known: give earlier results with against (--against FILE) and output.key (--key FIELD), or a store (--store DIR)",
            ));
        }
    };
    Ok(Some(selection))
}

/// The time now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn against_file(
    job: &Job,
    file: &str,
    source: &Source,
    names: &[String],
    now: u64,
) -> Result<Selection, Error> {
    let Some(key) = &job.output.key else {
        return Err(Error::plan(
            "only (--only) finds the record of a row by a field: give output.key (--key FIELD)",
        ));
    };
    let output = job.output.file.as_deref();
    check_apart("against (--against)", Some(file), "the output", output)?;
    let wrong = |error: io::Error| Error::plan(format!("only (--only): {error}"));
    let directory = std::env::temp_dir();
    let mut earlier = ExternalSort::new(directory.clone(), PIECE);
    for known in known_rows(file, key, names)? {
        earlier.push(known?).map_err(wrong)?;
    }
    let mut rows = ExternalSort::new(directory, PIECE);
    for row in source.rows()? {
        let row = row?;
        let Some(value) = row.fields.get(key) else {
            return Err(Error::plan(format!(
                "output.key (--key): row {} of {} has no field {key:?}",
                row.number,
                source.name()
            )));
        };
        let entry = InputRow {
            key: hash_of([value]),
            fields: fields_hash(&row.fields, names),
            number: row.number,
        };
        rows.push(entry).map_err(wrong)?;
    }
    let mut earlier = earlier.sorted().map_err(wrong)?;
    let mut ahead = earlier.next().transpose().map_err(wrong)?;
    let mut known = next_known(&mut ahead, &mut earlier).map_err(wrong)?;
    let mut selected = RoaringTreemap::new();
    let mut counts = Counts { taken: vec![0; job.only.len()], ..Counts::default() };
    let mut latest = None;
    for row in rows.sorted().map_err(wrong)? {
        let row = row.map_err(wrong)?;
        while let Some(passed) = known.filter(|known| known.key < row.key) {
            counts.gone += u64::from(latest != Some(passed.key));
            known = next_known(&mut ahead, &mut earlier).map_err(wrong)?;
        }
        latest = Some(row.key);
        let of_row = known.filter(|known| known.key == row.key).map(|known| KnownRow {
            is_changed: known.fields != row.fields,
            is_failed: known.is_failed,
            asked: known.asked,
        });
        take(&job.only, of_row, now, row.number, &mut counts, &mut selected);
    }
    while let Some(left) = known {
        counts.gone += u64::from(latest != Some(left.key));
        known = next_known(&mut ahead, &mut earlier).map_err(wrong)?;
    }
    Ok(Selection { rows: selected, note: note(job, &counts, file) })
}

/// All that is known of the next key; `ahead` is the first record that is left.
fn next_known(
    ahead: &mut Option<EarlierRow>,
    rest: &mut impl Iterator<Item = io::Result<EarlierRow>>,
) -> io::Result<Option<EarlierRow>> {
    let Some(mut known) = ahead.take() else {
        return Ok(None);
    };
    loop {
        *ahead = rest.next().transpose()?;
        match ahead.take_if(|next| next.key == known.key) {
            Some(same) => known = known.with(same),
            None => return Ok(Some(known)),
        }
    }
}

fn against_store(
    job: &Job,
    dir: &str,
    (stage, fallbacks): (&Stage, &[Stage]),
    source: &Source,
    of_run: &OfRun<'_>,
) -> Result<Selection, Error> {
    if let Some(only) = job.only.iter().find(|it| matches!(it, Only::Changed | Only::Failed)) {
        return Err(Error::plan(format!(
            "only = \"{only}\" (--only) needs the records of an earlier run: give against (--against FILE) and output.key (--key FIELD). A store knows new and older-than: a changed request is a new one there, and failures are not kept"
        )));
    }
    let wrong = |why: String| Error::plan(format!("store.dir (--store) {dir}: {why}"));
    let answers = KnownAnswers::in_directory(Path::new(dir), of_run.secrets).map_err(wrong)?;
    let mut selected = RoaringTreemap::new();
    let mut counts = Counts { taken: vec![0; job.only.len()], ..Counts::default() };
    for row in source.rows()? {
        let row = row?;
        // A row that makes no request fails in the run, which says why.
        let keys = answer_keys(stage, fallbacks, &row, |request| answers.key(request));
        let mut answer = None;
        for key in keys.unwrap_or_default() {
            answer = answer.or(answers.find(key).map_err(wrong)?);
        }
        // A run that goes on takes the rows that it has asked for already.
        let asked = match answer {
            Some((_, by)) if by.run == of_run.run => (!job.only.contains(&Only::New)).then_some(0),
            answer => answer.map(|(asked, _)| asked),
        };
        let known = asked.map(|asked| KnownRow { is_changed: false, is_failed: false, asked });
        take(&job.only, known, of_run.now, row.number, &mut counts, &mut selected);
    }
    Ok(Selection { rows: selected, note: note(job, &counts, dir) })
}

/// Takes a row for the first reason that holds.
fn take(
    only: &[Only],
    known: Option<KnownRow>,
    now: u64,
    number: u64,
    counts: &mut Counts,
    selected: &mut RoaringTreemap,
) {
    counts.all += 1;
    if let Some(reason) = only.iter().position(|only| only.takes(known, now)) {
        counts.taken[reason] += 1;
        selected.insert(number);
    }
}

fn note(job: &Job, counts: &Counts, against: &str) -> String {
    let reasons = job.only.iter().zip(&counts.taken).map(|(only, taken)| format!("{taken} {only}"));
    let gone = match counts.gone {
        0 => String::new(),
        1 => format!("; 1 record of {against} is of no row of the input"),
        gone => format!("; {gone} records of {against} are of no row of the input"),
    };
    let taken: u64 = counts.taken.iter().sum();
    format!(
        "of {} rows {taken} are asked for, against {against}: {}{gone}",
        counts.all,
        reasons.collect::<Vec<_>>().join(", ")
    )
}

/// What the records of an earlier file say of their rows.
fn known_rows(
    file: &str,
    key: &str,
    names: &[String],
) -> Result<impl Iterator<Item = Result<EarlierRow, Error>>, Error> {
    let settings = source::Settings { file: Some(file.to_owned()), ..source::Settings::default() };
    let source = Source::new(&settings)
        .map_err(|error| Error::plan(format!("against (--against): {error}")))?;
    // Records without times are as old as their file.
    let written = std::fs::metadata(file).and_then(|data| data.modified());
    let written = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let written = written.and_then(|it| u64::try_from(it.as_millis()).ok()).unwrap_or(0);
    let (file, key, names) = (file.to_owned(), key.to_owned(), names.to_owned());
    Ok(source.rows()?.map(move |row| {
        let fields = row?.fields;
        let (key_hash, fields_hash) =
            (fields.get(&key).map(|it| hash_of([it])), fields_hash(&fields, &names));
        let wrong = |why: &str| {
            Error::plan(format!(
                "against (--against): {file} is no results file with the key {key:?}: {why}"
            ))
        };
        let record = sink::record(fields).map_err(|why| wrong(&why))?;
        Ok(EarlierRow {
            key: key_hash.ok_or_else(|| wrong("a record lacks it"))?,
            fields: fields_hash,
            is_failed: !record.is_ok(),
            asked: asked(&record).unwrap_or(written),
        })
    }))
}

/// When the last request of a record can have arrived, in milliseconds since 1970.
fn asked(record: &Record) -> Option<u64> {
    let last = record.arrived.iter().flatten().map(|arrived| arrived.to).max()?;
    u64::try_from(last / 1_000).ok()
}

/// The hash of those fields that have these names. Texts and numbers that are written alike are
/// the same, and so are null and nothing, as in formats without types.
fn fields_hash(fields: &Fields, names: &[String]) -> u128 {
    let own = names.iter().filter(|name| !RESERVED.contains(&name.as_str()));
    hash_of(own.map(|name| fields.get(name).unwrap_or(&Value::Null)))
}

fn hash_of<'a>(values: impl IntoIterator<Item = &'a Value>) -> u128 {
    let mut hash = blake3::Hasher::new();
    for value in values {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    u128::from_le_bytes(first)
}

/// A row of the input, as it is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct InputRow {
    key: u128,
    fields: u128,
    number: u64,
}

/// A record of an earlier file, as it is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EarlierRow {
    key: u128,
    fields: u128,
    is_failed: bool,
    asked: u64,
}

impl EarlierRow {
    /// One row of both records, such as those of two of its items.
    fn with(self, other: EarlierRow) -> EarlierRow {
        EarlierRow {
            is_failed: self.is_failed || other.is_failed,
            asked: self.asked.max(other.asked),
            ..other
        }
    }
}

fn write_all(to: &mut impl Write, hashes: [u128; 2], numbers: [u64; 1]) -> io::Result<()> {
    hashes.iter().try_for_each(|hash| to.write_all(&hash.to_le_bytes()))?;
    numbers.iter().try_for_each(|number| to.write_all(&number.to_le_bytes()))
}

fn read_hash(from: &mut impl Read) -> io::Result<Option<u128>> {
    let Some(low) = read_number(from)? else { return Ok(None) };
    let high = read_number(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some(u128::from(low) | u128::from(high) << 64))
}

/// The two hashes and the number of an entry; none at the end.
fn read_all(from: &mut impl Read) -> io::Result<Option<(u128, u128, u64)>> {
    let Some(key) = read_hash(from)? else { return Ok(None) };
    let fields = read_hash(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let number = read_number(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some((key, fields, number)))
}

impl Stored for InputRow {
    fn size(&self) -> usize {
        size_of::<InputRow>()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write_all(to, [self.key, self.fields], [self.number])
    }

    fn read(from: &mut impl Read) -> io::Result<Option<InputRow>> {
        Ok(read_all(from)?.map(|(key, fields, number)| InputRow { key, fields, number }))
    }
}

impl Stored for EarlierRow {
    fn size(&self) -> usize {
        size_of::<EarlierRow>()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        // The time leaves the lowest bit free.
        let number = self.asked << 1 | u64::from(self.is_failed);
        write_all(to, [self.key, self.fields], [number])
    }

    fn read(from: &mut impl Read) -> io::Result<Option<EarlierRow>> {
        Ok(read_all(from)?.map(|(key, fields, number)| EarlierRow {
            key,
            fields,
            is_failed: number & 1 == 1,
            asked: number >> 1,
        }))
    }
}
