//! An input that several machines reach under one name: each reads the rows that it needs, from
//! their place on.

use std::path;
use std::sync::Arc;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::origin::SourceOrigin;
use super::places::{RowPlace, RowPlaces};
use super::settings::Settings;
use super::{noted, numbered};
use crate::error::Error;
use crate::row::Row;

/// Number of rows at the beginning of a text that are read before any others: its first lines
/// tell the delimiter of a table.
const LEAD: u64 = 16;

/// A text that several machines reach, in the version that its rows are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedInput {
    input: Settings,
    version: String,
    /// The place after the first rows.
    lead: RowPlace,
}

/// Some rows of a shared input: their numbers, and the place from which they are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedRows {
    pub numbers: String,
    pub at: RowPlace,
}

impl SharedInput {
    /// The input of these settings at this place.
    ///
    /// # Errors
    /// Its rows have no places, or nothing tells its versions apart.
    pub(super) fn new(settings: &Settings, origin: &SourceOrigin) -> Result<SharedInput, Error> {
        let no = |why: &str| {
            Error::plan(format!(
                "{} can't be read by workers from the middle on (--shared-input), since {why}: without the flag its rows pass through the store",
                origin.name()
            ))
        };
        if !origin.has_places() {
            return Err(no(
                "it is no text of lines in UTF-8 that is not compressed (.csv, .tsv, .jsonl, .txt)",
            ));
        }
        let version = origin.version().map_err(Error::plan)?;
        let version = version.ok_or_else(|| no("its server does not tell its versions apart"))?;
        let mut input = Settings { take: None, ..settings.clone() };
        if let SourceOrigin::File { path, .. } = origin {
            let absolute = path::absolute(path).map_err(|error| Error::plan(error.to_string()))?;
            input.file = Some(absolute.display().to_string());
        }
        Ok(SharedInput { input, version, lead: lead(origin)? })
    }

    /// Makes sure that this machine reaches the input, and that it is the one that was submitted.
    ///
    /// # Errors
    /// Why it can't be read here, or that it has changed.
    pub fn check(&self) -> Result<(), Error> {
        self.origin().map(drop)
    }

    /// Reads rows.
    ///
    /// # Errors
    /// The input can't be read or has changed.
    pub fn rows(&self, numbers: &RoaringTreemap, at: RowPlace) -> Result<Vec<Row>, Error> {
        let origin = self.origin()?;
        let Some(last) = numbers.max() else { return Ok(Vec::new()) };
        let lost = || {
            Error::stopped(format!(
                "{} has not all of the rows that were submitted: it has changed since",
                origin.name()
            ))
        };
        let is_within_lead = at.row < self.lead.row;
        let text =
            if is_within_lead { origin.open() } else { origin.open_from(self.lead.byte, at.byte) };
        let mut rows = numbered(text.map_err(Error::plan)?, u64::MAX);
        // The first rows are there for what they tell of the others.
        let (dropped, first) = if is_within_lead { (0, 0) } else { (self.lead.row, at.row) };
        for _ in 0..dropped {
            rows.next().ok_or_else(lost)??;
        }
        let mut found = Vec::new();
        for number in first..=last {
            let row = rows.next().ok_or_else(lost)??;
            if numbers.contains(number) {
                found.push(Row { number, ..row });
            }
        }
        Ok(found)
    }

    fn origin(&self) -> Result<SourceOrigin, Error> {
        let origin = SourceOrigin::new(&self.input).map_err(Error::plan)?;
        let version = origin.version().map_err(Error::plan)?;
        if version.as_deref() != Some(&self.version) {
            return Err(Error::stopped(format!(
                "{} has changed since its rows were submitted: put back what it was, or `throng cancel` the job and submit the rows as they are now",
                origin.name()
            )));
        }
        Ok(origin)
    }
}

/// The place after the first rows of a text; after all of it if it has no more than these.
fn lead(origin: &SourceOrigin) -> Result<RowPlace, Error> {
    let places = Arc::new(RowPlaces::of_every(LEAD));
    for row in noted(origin, LEAD + 1, &places)? {
        if row?.number == LEAD {
            return Ok(places.before(LEAD).unwrap_or_default());
        }
    }
    Ok(RowPlace { row: u64::MAX, byte: 0 })
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn source(name: &str, text: &str) -> (tempfile::TempDir, Settings, Source) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = Some(path.display().to_string());
        let settings = Settings { file, ..Settings::default() };
        let source = Source::new(&settings).unwrap();
        (folder, settings, source)
    }

    /// Each chunk of rows is read from its place as it is read in the whole.
    fn assert_reads_parts(name: &str, text: &str) {
        let (_folder, settings, mut source) = source(name, text);
        let all: Vec<Row> = source.rows().unwrap().map(Result::unwrap).collect();
        assert!(all.len() > 40, "{name}: {}", all.len());
        let (input, places) = source.share(&settings, 10).unwrap();
        let again: Vec<Row> = source.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!(again, all);
        for part in all.chunks(7) {
            let numbers: RoaringTreemap = part.iter().map(|row| row.number).collect();
            let at = places.before(part[0].number).unwrap();
            assert!(at.row + 10 > part[0].number);
            assert_eq!(input.rows(&numbers, at).unwrap(), part, "{name}");
        }
    }

    #[test]
    fn rows_are_read_from_their_place_as_they_are_in_the_whole() {
        let csv =
            |row: u64| format!("{row};\"a;\n{row}\";x,y\r\n{}", "\n".repeat(row as usize % 3));
        let table: String = (0..50).map(csv).collect();
        assert_reads_parts("a.csv", &format!("\u{feff}id;text;more\n{table}"));
        let lines: String = (0..50).map(|row| format!("{{\"id\": {row}}}\n")).collect();
        assert_reads_parts("a.jsonl", &lines);
        assert_reads_parts("a.txt", &lines.replace('\n', "\n\n"));
    }

    #[test]
    fn an_input_that_has_changed_or_is_no_text_of_lines_is_refused() {
        let (_folder, settings, mut first) = source("a.txt", "a\nb\n");
        let (input, places) = first.share(&settings, 1).unwrap();
        assert_eq!(first.rows().unwrap().count(), 2);
        let numbers = RoaringTreemap::from_iter([1]);
        assert_eq!(input.rows(&numbers, places.before(1).unwrap()).unwrap()[0].number, 1);
        std::fs::write(settings.file.as_deref().unwrap(), "a\nb\nc\n").unwrap();
        let error = input.check().unwrap_err().to_string();
        assert!(error.contains("a.txt has changed since its rows were submitted"), "{error}");
        let (_folder, settings, mut array) = source("a.json", "[{\"a\": 1}]");
        let error = array.share(&settings, 1).unwrap_err().to_string();
        assert!(error.contains("it is no text of lines"), "{error}");
    }
}
