//! Bytes to rows.
//!
//! [`Settings`] say where the rows are, and a [`Source`] is that place once it is
//! checked; a [`Format`] reads its bytes.
//!
//! - `origin`: a file, standard input or a list, as the settings say
//! - `remote`: files at URLs
//! - `file`: finds and opens files and standard input
//! - `encoding`: texts as UTF-8
//! - `program`: rows that the program makes itself
//! - `places`: where rows are in their text; `shared`: rows that are read from there
//! - `head`: the first bytes of a text, and the format that they are like
//! - `settings`: the `input` of a job
//! - `shard`: the rows of one of several runs

use std::sync::Arc;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::rows::{FIRST, RowReader};
use crate::limit::Shard;
use crate::row::Row;

mod encoding;
mod file;
mod head;
mod origin;
mod places;
mod program;
mod remote;
mod settings;
mod shard;
mod shared;
#[cfg(test)]
mod tests;

pub use crate::format::Survey;
use origin::SourceOrigin;
pub(crate) use places::RowPlaces;
pub(crate) use program::ProgramRows;
pub use program::RowSource;
pub use settings::Settings;
use shard::ShardRows;
pub(crate) use shared::{SharedInput, SharedRows};

/// The fingerprint of the beginning of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFingerprint {
    /// The number of bytes.
    pub bytes: u64,
    /// Their hash.
    pub blake3: String,
}

/// Where rows come from, checked: they can be asked for.
#[derive(Debug, Clone)]
pub struct Source {
    origin: SourceOrigin,
    most: u64,
    /// The part of the rows that are taken; none if all are.
    shard: Option<ShardRows>,
    /// The numbers of the rows that are taken; none if all are.
    selected: Option<Arc<RoaringTreemap>>,
    /// Where the places of its rows are noted as they are read; none if they are not.
    places: Option<Arc<RowPlaces>>,
}

impl Source {
    /// Checks what can be checked before reading: that there is one source,
    /// that a file can be read, and that its format is known.
    ///
    /// # Errors
    ///
    /// A plan error for the first of these that is not so.
    pub fn new(settings: &Settings) -> Result<Source, Error> {
        Ok(Source {
            origin: SourceOrigin::new(settings).map_err(unusable)?,
            most: settings.take.unwrap_or(u64::MAX),
            shard: None,
            selected: None,
            places: None,
        })
    }

    /// The rows of the program, as many as the settings take.
    ///
    /// # Errors
    /// The settings name other rows.
    pub(crate) fn of_program(settings: &Settings, rows: ProgramRows) -> Result<Source, Error> {
        let most = settings.take.unwrap_or(u64::MAX);
        if *settings != (Settings { take: settings.take, ..Settings::default() }) {
            return Err(Error::plan(
                "the job names an input, and the program gives rows: remove one of them",
            ));
        }
        Ok(Source {
            origin: SourceOrigin::Program(rows),
            most,
            shard: None,
            selected: None,
            places: None,
        })
    }

    /// The source with the rows of one shard alone: those whose value of the field `key` falls
    /// to it, or else a range, which [`Source::survey`] settles.
    ///
    /// # Errors
    ///
    /// A range of an input that can't be counted.
    pub fn of_shard(self, shard: Option<Shard>, key: Option<&str>) -> Result<Source, Error> {
        if shard.is_some() && key.is_none() && !self.origin.lasts() {
            return Err(Error::plan(format!(
                "the rows of {} can't be counted before they are divided (--shard): give a file, or the field that decides with --key FIELD",
                self.name()
            )));
        }
        Ok(Source { shard: shard.map(|shard| ShardRows::new(shard, key)), ..self })
    }

    /// Its name in messages: its path, `standard input` or `the job's list`.
    #[must_use]
    pub fn name(&self) -> String {
        self.origin.name()
    }

    /// The path of its file or directory, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match &self.origin {
            SourceOrigin::File { path, .. } => Some(path.display().to_string()),
            SourceOrigin::Stdin { .. }
            | SourceOrigin::Remote { .. }
            | SourceOrigin::List(_)
            | SourceOrigin::Program(_) => None,
        }
    }

    /// Opens the source and gives its rows one by one, in bounded memory.
    /// They end after the first error. Standard input gives its rows only once.
    ///
    /// # Errors
    ///
    /// A plan error if the source cannot be opened or its beginning is wrong.
    /// A later mistake is an item: a plan error before the first row, then a stop.
    pub fn rows(&self) -> Result<Rows, Error> {
        if let SourceOrigin::Program(rows) = &self.origin
            && let Some(rows) = rows.take_numbered()
        {
            return Ok(rows);
        }
        let numbered = |most| match &self.places {
            None => Ok(numbered(self.origin.open().map_err(unusable)?, most)),
            Some(places) => noted(&self.origin, most, places),
        };
        let rows = match self.shard.clone() {
            None => numbered(self.most)?,
            Some(shard) => {
                let rows = numbered(self.most.min(shard.range().end))?;
                Box::new(rows.filter(move |row| row.as_ref().map_or(true, |row| shard.has(row))))
            }
        };
        Ok(match self.selected.clone() {
            None => rows,
            Some(selected) => {
                Box::new(rows.filter(move |row| {
                    row.as_ref().map_or(true, |row| selected.contains(row.number))
                }))
            }
        })
    }

    /// Notes the places of every so many rows as they are read from now on. Gives the input as
    /// other machines can read it, and the places.
    ///
    /// # Errors
    /// Its rows have no places.
    pub(crate) fn share(
        &mut self,
        settings: &Settings,
        every: u64,
    ) -> Result<(SharedInput, Arc<RowPlaces>), Error> {
        let input = SharedInput::new(settings, &self.origin)?;
        let places = Arc::new(RowPlaces::of_every(every));
        self.places = Some(places.clone());
        Ok((input, places))
    }

    /// Takes the rows with these numbers alone, which were looked for among all of this survey.
    ///
    /// # Errors
    ///
    /// A plan error if the rows can't be read again.
    pub fn select(&mut self, rows: RoaringTreemap, mut survey: Survey) -> Result<Survey, Error> {
        let count = rows.len();
        self.selected = Some(Arc::new(rows));
        survey.all = survey.of_all_shards();
        survey.first = self.rows()?.take(FIRST as usize).collect::<Result<_, _>>()?;
        survey.rows = Some(count);
        Ok(survey)
    }

    /// The fingerprint of the first `most` bytes; none if they can't be read twice.
    ///
    /// # Errors
    ///
    /// A plan error if they can't be read.
    pub fn fingerprint(&self, most: u64) -> Result<Option<InputFingerprint>, Error> {
        let fingerprint = self.origin.fingerprint(most).map_err(unusable)?;
        Ok(fingerprint.map(|(bytes, blake3)| InputFingerprint { bytes, blake3 }))
    }

    /// Maximum number of rows that are taken.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Whether it can be read more than once, which a pipe can't.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.origin.lasts()
    }

    /// Reads all rows once, where they can be read again afterwards, so that
    /// mistakes are found before anything is sent.
    ///
    /// # Errors
    ///
    /// A plan error for the first mistake in the data, with its place.
    pub fn survey(&mut self) -> Result<Survey, Error> {
        if !self.origin.lasts() {
            return Ok(Survey::default());
        }
        let mut items = self.origin.open().map_err(unusable)?;
        let mut survey = items.survey(self.most).map_err(unusable)?;
        let all = survey.rows.unwrap_or(0);
        let Some(shard) = &mut self.shard else {
            return Ok(survey);
        };
        shard.count(all);
        let is_range = shard.is_range();
        let range = shard.range();
        survey.first = self.rows()?.take(FIRST as usize).collect::<Result<_, _>>()?;
        survey.rows = Some(if is_range { range.end - range.start } else { self.count_rows()? });
        survey.all = Some(all);
        Ok(survey)
    }

    fn count_rows(&self) -> Result<u64, Error> {
        let mut count = 0;
        for row in self.rows()? {
            row?;
            count += 1;
        }
        Ok(count)
    }
}

/// Why an input can't be read, before anything was sent.
fn unusable(why: String) -> Error {
    Error::input(None, why)
}

/// The rows of a source in their order, read as they are asked for.
pub type Rows = Box<dyn Iterator<Item = Result<Row, Error>> + Send>;

/// The first `most` of these, numbered. Nothing is read beyond them.
fn numbered(items: Box<dyn RowReader>, most: u64) -> Rows {
    Box::new(Numbered { items, number: 0, most, note: None })
}

/// The first `most` rows of this, numbered, of which `places` notes some.
fn noted(origin: &SourceOrigin, most: u64, places: &Arc<RowPlaces>) -> Result<Rows, Error> {
    let (items, place) = origin.open_counted().map_err(unusable)?;
    places.clear();
    let places = places.clone();
    let note = Box::new(move |row| places.note(row, place()));
    Ok(Box::new(Numbered { items, number: 0, most, note: Some(note) }))
}

struct Numbered {
    items: Box<dyn RowReader>,
    number: u64,
    most: u64,
    /// Hears the number of each row before it is read.
    note: Option<Box<dyn Fn(u64) + Send>>,
}

impl Iterator for Numbered {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= self.most {
            return None;
        }
        if let Some(note) = &self.note {
            note(self.number);
        }
        let row = match self.items.next() {
            Some(Ok(fields)) => Some(Ok(Row { number: self.number, fields, ..Row::default() })),
            Some(Err(message)) => Some(Err(self.error(message))),
            None => None,
        };
        match row {
            Some(Ok(_)) => self.number += 1,
            _ => self.most = 0,
        }
        row
    }
}

impl Numbered {
    /// Before the first row nothing can have been sent.
    fn error(&self, message: String) -> Error {
        Error::input(Some(self.number).filter(|number| *number > 0), message)
    }
}
