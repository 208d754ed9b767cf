//! Where records go, checked before anything is sent.

use roaring::RoaringTreemap;

use super::check::{self, Place};
use super::compare::{Differences, compare};
use super::done::Done;
use super::identity::Identity;
use super::sidecar::{Held, Sidecar};
use super::text::Text;
use super::{Columns, Format, Settings, Writer};
use crate::error::Error;
use crate::source::Rows;

/// A place for records that could be opened when the plan was made.
#[derive(Debug, Clone)]
pub struct Output {
    place: Place,
    settings: Settings,
}

impl Output {
    /// Checks the place; reads the file that is to be resumed. `resends` says
    /// whether requests of unknown outcome may be sent again.
    ///
    /// # Errors
    /// A plan error if records could not go there, or if there are records
    /// already and nothing says what to do with them.
    pub fn new(settings: &Settings, resends: bool) -> Result<Output, Error> {
        Ok(Output {
            place: check::place(settings, resends)?,
            settings: settings.clone(),
        })
    }

    /// The place for people: `stdout` or the path.
    #[must_use]
    pub fn name(&self) -> String {
        self.place.target.to_string()
    }

    /// The path of the file that keeps the records, if a file does.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let path = self.place.target.file();
        path.map(|path| path.display().to_string())
    }

    /// How records are written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.place.format
    }

    /// The rows that the file to be resumed has already.
    #[must_use]
    pub fn done(&self) -> &Done {
        &self.place.past.done
    }

    /// What the job says of it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the records that are there belong to, if that is known.
    #[must_use]
    pub fn before(&self) -> Option<&Identity> {
        self.place.before.as_ref().map(|before| &before.identity)
    }

    /// One more than the highest number of a row with a record.
    #[must_use]
    pub fn end_of_rows(&self) -> u64 {
        self.place.past.done.end()
    }

    /// Compares the rows that have a record with those of an input.
    ///
    /// # Errors
    /// That the input or the file can't be read.
    pub fn compare(&self, rows: Rows, columns: &Columns) -> Result<Differences, Error> {
        let Place {
            target,
            format,
            past,
            ..
        } = &self.place;
        match target.file() {
            None => Ok(Differences::default()),
            Some(path) => {
                let columns = format.columns(columns, &past.first_line)?;
                compare(path, *format, &columns, rows)
            }
        }
    }

    /// Asks for these rows again; their records will go.
    pub fn ask_again(&mut self, rows: &RoaringTreemap) {
        self.place.past.forget(rows);
    }

    /// What people should know of the file that is gone on with.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let past = &self.place.past;
        let name = self.name();
        let torn = match &self.place.target {
            super::target::Target::GoOn(_, size) if self.settings.existing().resumes() => {
                size.saturating_sub(past.end)
            }
            _ => 0,
        };
        let aside = |what: String| format!("{what}: kept aside in {name}.torn");
        [
            (torn > 0).then(|| aside(format!("{torn} bytes at the end of {name} are no whole record"))),
            (past.damaged > 0).then(|| aside(format!("{} records of {name} are damaged, and are asked for again", past.damaged))),
            (past.twice > 0).then(|| format!("{} records of {name} stood there twice: the first one of each row stays", past.twice)),
            past.edited.then(|| format!("{name} is not as throng left it: somebody has edited or damaged it; its records are taken as they stand")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Opens it for records with these columns, which belong to this. Only now
    /// a new file is made, an overwritten one emptied, a torn last record of a
    /// resumed one cut.
    ///
    /// # Errors
    /// A plan error if a resumed file has other columns, or if another run
    /// writes it; else one that says what the system says.
    pub fn create(&self, columns: &Columns, identity: &Identity) -> Result<Writer, Error> {
        let held = self.hold(identity)?;
        let Place {
            target,
            format,
            past,
            ..
        } = &self.place;
        let first_line = (past.end > 0).then_some(&*past.first_line);
        let encode = format.encoder(columns, first_line)?;
        let opened = target.open(past, *format)?;
        let text = match first_line {
            None => Text::start(encode, opened),
            Some(_) => Text::go_on(encode, opened),
        };
        Writer::new(text, held, self.settings.sync)
    }

    /// Keeps other runs away from a file.
    fn hold(&self, identity: &Identity) -> Result<Option<Held>, Error> {
        let Some(path) = self.place.target.file() else {
            return Ok(None);
        };
        let mut held = Held::take(path)
            .map_err(|error| Error::plan(format!("the output {self} is in use: {error}")))?;
        let run = match &self.place.before {
            Some(before) if !before.run.is_empty() => before.run.clone(),
            _ => format!("{:032x}", rand::random::<u128>()),
        };
        held.says = Sidecar {
            throng: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            run,
            identity: identity.clone(),
            synced: None,
        };
        Ok(Some(held))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.target.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Existing;
    use super::*;
    use std::fs;

    #[test]
    fn a_resumed_file_tells_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "{\"_row\":4}\n{\"_row\":5").unwrap();
        let settings = Settings {
            file: Some(path.display().to_string()),
            existing: Existing::Resume,
            ..Settings::default()
        };
        let output = Output::new(&settings, false).unwrap();
        assert_eq!((output.done().len(), output.end_of_rows()), (1, 5));
        assert_eq!(Some(output.name()), settings.file);
        let notes = output.notes();
        assert!(notes[0].starts_with("9 bytes at the end of"), "{notes:?}");
    }
}
