//! Where records go, checked before anything is sent. [door: files, clock]

use std::io;
use std::sync::Arc;

use super::check::{self, CheckedOutput};
use super::compare::{Differences, compare};
use super::done::{CompletedRows, KeyCheck};
use super::finish::ProductKind;
use super::identity::Identity;
use super::intents::{self, IntentLog, IntentWriter};
use super::past::counted;
use super::sidecar;
use super::spent::PriorUsage;
use super::target::OpenMode;
use super::writer::milliseconds_now;
use super::{Columns, OutputFormat, Settings};
use crate::error::Error;
use crate::source::{Row, Rows};
use crate::table::TableFormat;
use crate::table::sqlite::too_many;

mod create;

/// A place for records that could be opened when the plan was made.
#[derive(Debug, Clone)]
pub struct Output {
    place: CheckedOutput,
    settings: Settings,
    /// The rows that may have been done without a record.
    doubtful: CompletedRows,
    /// The same for all runs that go on with one file.
    run: String,
}

impl Output {
    /// Checks the place; reads the file that is to be resumed. `resends` says
    /// whether requests of unknown outcome may be sent again, whenever they were sent.
    ///
    /// # Errors
    /// A plan error if records could not go there, or if there are records
    /// already and nothing says what to do with them.
    pub fn new(settings: &Settings, resends: bool) -> Result<Output, Error> {
        let mut place = check::place(settings, resends)?;
        let run = match &place.before {
            Some(before) if !before.run.is_empty() => before.run.clone(),
            _ => format!("{:032x}", rand::random::<u128>()),
        };
        let doubtful = doubtful(&place, settings.key.as_deref(), resends)?;
        place.past.keep(&doubtful);
        Ok(Output {
            doubtful,
            place,
            settings: settings.clone(),
            run,
        })
    }

    /// The place for people: `stdout` or the path.
    #[must_use]
    pub fn name(&self) -> String {
        match self.place.results() {
            Some(path) => path.display().to_string(),
            None => self.place.target.to_string(),
        }
    }

    /// The path of the file that keeps the records, if a file does.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let path = self.place.results();
        path.map(|path| path.display().to_string())
    }

    /// How records are written.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        self.place.format
    }

    /// Checks what these columns are called, and how many there are, as far as it is
    /// known.
    ///
    /// # Errors
    /// A plan error if this output can't have them, or can't tell two of them apart.
    pub fn check_columns(&self, columns: &Columns) -> Result<(), Error> {
        if !self.is_database() {
            return Ok(());
        }
        if let Some(flaw) = too_many(columns.count()) {
            return Err(Error::plan(format!("{self} cannot be written: {flaw}")));
        }
        match columns.twins() {
            Some((one, other)) => Err(Error::plan(format!(
                "the columns {one:?} and {other:?} differ only in case, and {self} is a SQLite database, which takes them for one: rename one of them, or choose another output format"
            ))),
            None => Ok(()),
        }
    }

    fn is_database(&self) -> bool {
        let finished = self.place.finished.as_ref();
        finished.is_some_and(|it| it.kind == ProductKind::Table(TableFormat::Sqlite))
    }

    /// The rows that the file to be resumed has already.
    #[must_use]
    pub fn done(&self) -> &CompletedRows {
        &self.place.past.done
    }

    /// How many of these rows failed, and are not asked for again.
    #[must_use]
    pub fn failed_before(&self) -> u64 {
        self.place.past.left_failed.len()
    }

    /// The check that each row has a key of its own, where rows are known by one.
    #[must_use]
    pub fn keys(&self) -> Option<KeyCheck> {
        let key = self.settings.key.as_deref()?;
        Some(KeyCheck::new(key, self.place.format))
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

    /// At least so many rows its input had, unless records are not where their rows are.
    #[must_use]
    pub fn least_rows(&self) -> u64 {
        let done = &self.place.past.done;
        match done.numbers_meet() {
            true => u64::MAX,
            false if done.key().is_some() => done.len(),
            false => done.end(),
        }
    }

    /// Compares the rows that have a record with those of an input.
    ///
    /// # Errors
    /// That the input or the file can't be read.
    pub fn compare(&self, rows: Rows, columns: &Columns) -> Result<Differences, Error> {
        let CheckedOutput {
            target,
            format,
            past,
            ..
        } = &self.place;
        let columns = format.columns(columns, &past.first_line)?;
        match target {
            OpenMode::Unpack(finished) | OpenMode::Parts(finished, _) => {
                let unreadable = |error: io::Error| Error::plan(format!("{self}: {error}"));
                let mut text = tempfile::NamedTempFile::new().map_err(unreadable)?;
                io::copy(&mut finished.text()?, &mut text).map_err(unreadable)?;
                compare(text.path(), *format, &columns, past, rows)
            }
            _ => match target.path() {
                None => Ok(Differences::default()),
                Some(path) => compare(path, *format, &columns, past, rows),
            },
        }
    }

    /// Asks again for rows that are changed or gone, whose records will go; all others
    /// get the number that they have now.
    pub fn follow(&mut self, differences: Differences) {
        let gone = differences.changed | differences.gone;
        let past = &mut self.place.past;
        match differences.keyed {
            None => past.forget(&gone),
            Some(_) if gone.is_empty() && differences.moved == 0 => {}
            Some(keyed) => past.follow(Arc::new(keyed), &gone),
        }
    }

    /// What people should know of the file that is gone on with.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let past = &self.place.past;
        let name = self.name();
        let torn = match &self.place.target {
            OpenMode::GoOn(_, size) if self.settings.existing().resumes() => {
                size.saturating_sub(past.end)
            }
            OpenMode::Parts(_, Some(size)) if !past.left_over => size.saturating_sub(past.end),
            _ => 0,
        };
        let records = |count| counted(count, "record", "records");
        let aside = |what: String| format!("{what}: kept aside in {name}.torn");
        [
            (torn > 0).then(|| aside(format!("{torn} bytes at the end of {name} are no whole record"))),
            (past.damaged > 0).then(|| aside(format!("{} of {name} cannot be read and will be asked for again", records(past.damaged)))),
            (past.twice > 0).then(|| format!("{} of {name} stood there twice: the first one of each row stays", records(past.twice))),
            (!self.doubtful.is_empty()).then(|| format!("{} sent and may have been done, but no answer was kept", counted(self.doubtful.len(), "row was", "rows were"))),
            past.edited.then(|| format!("{name} is not as throng left it: somebody has edited or damaged it; its records are taken as they stand")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The rows that an earlier run may have done, of which no record says so.
    #[must_use]
    pub fn doubtful(&self) -> &CompletedRows {
        &self.doubtful
    }

    /// Starts the log of what is about to be sent, beside a file that was created.
    /// `failed` hears why it can't be written any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn intents(
        &self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<Option<IntentWriter>, Error> {
        let Some(path) = self.place.results() else {
            return Ok(None);
        };
        let name = self.name();
        let wrong = move |error: std::io::Error| {
            Error::stopped(format!("{name}.intents cannot be written: {error}"))
        };
        let told = wrong.clone();
        IntentWriter::start(path, &self.doubtful, move |error| failed(told(error)))
            .map(Some)
            .map_err(wrong)
    }

    /// What an earlier run to this output has sent to the same place, and when.
    #[must_use]
    pub fn sent_before(&self, identity: &Identity) -> Vec<PriorUsage> {
        let Some(sidecar) = self.place.results().and_then(sidecar::read) else {
            return Vec::new();
        };
        if sidecar.identity.part("request.url") == identity.part("request.url") {
            sidecar
                .spent
                .before(milliseconds_now(), self.place.past.records)
        } else {
            Vec::new()
        }
    }

    /// A way to the log for one worker.
    #[must_use]
    pub fn handle(&self, log: &IntentWriter) -> IntentLog {
        log.handle(self.settings.key.as_deref(), self.place.format)
    }

    /// An `Idempotency-Key` of this row: the same in all runs that go on with one file.
    #[must_use]
    pub fn idempotency_key(&self, row: &Row) -> String {
        let key = self
            .settings
            .key
            .as_ref()
            .and_then(|key| row.fields.get(key));
        let row = key.map_or_else(|| row.number.to_string(), ToString::to_string);
        uuid(&format!("{}:{row}", self.run))
    }
}

/// A UUID of version 8, whose bits are ours: a hash.
fn uuid(of: &str) -> String {
    let hash = blake3::hash(of.as_bytes()).to_hex();
    let part = |from: usize, to: usize| &hash[from..to];
    format!(
        "{}-{}-8{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

/// Only a file that is gone on with has a past.
fn doubtful(
    place: &CheckedOutput,
    key: Option<&str>,
    resends: bool,
) -> Result<CompletedRows, Error> {
    let none = CompletedRows::by(key, place.format);
    let path = match (&place.target, place.results()) {
        (OpenMode::GoOn(..) | OpenMode::Unpack(_) | OpenMode::Parts(_, Some(_)), Some(path))
            if !resends =>
        {
            path
        }
        _ => return Ok(none),
    };
    let told = [&place.past.done, &place.past.answered];
    intents::doubtful(path, told, none).map_err(|error| {
        Error::plan(format!(
            "{}.intents cannot be read: {error}",
            path.display()
        ))
    })
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
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
        assert_eq!((output.done().len(), output.least_rows()), (1, 5));
        assert_eq!(Some(output.name()), settings.file);
        let notes = output.notes();
        assert!(notes[0].starts_with("9 bytes at the end of"), "{notes:?}");
    }
}
