//! Opening the place for the records of a run. [door: files, clock]

use std::io;

use super::{CheckedOutput, Output};
use crate::error::Error;
use crate::file_lock;
use crate::sink::finish::ProductKind;
use crate::sink::identity::Identity;
use crate::sink::intents;
use crate::sink::mirror::{self, SqliteSync};
use crate::sink::sidecar::{self, Sidecar, SidecarLock};
use crate::sink::target::OpenMode;
use crate::sink::text::TextOutput;
use crate::sink::writer::{WriterEnding, milliseconds_now};
use crate::sink::{Columns, Order, Writer};
use crate::table::TableFormat;

impl Output {
    /// Opens it for records with these columns, which belong to this. Only now
    /// a new file is made, an overwritten one emptied, a torn last record of a
    /// resumed one cut. Up to `uncounted` requests may be sent at any time without
    /// being in its records yet.
    ///
    /// # Errors
    /// A plan error if a resumed file has other columns, or if another run
    /// writes it; else one that says what the system says.
    pub fn create(
        &self,
        columns: &Columns,
        identity: &Identity,
        uncounted: u64,
    ) -> Result<Writer, Error> {
        let in_use = |error: io::Error| {
            let by = match (error.kind(), self.place.results()) {
                (io::ErrorKind::WouldBlock, Some(results)) => sidecar::holder(results),
                _ => error.to_string(),
            };
            Error::plan(format!("the output {self} is in use: {by}"))
        };
        // The sidecar goes by the file's name, and is all that older versions look at.
        let locked = self.place.target.lock().map_err(in_use)?;
        let mut held = self.hold(identity, uncounted).map_err(in_use)?;
        self.forget_intents()?;
        let CheckedOutput {
            target,
            format,
            past,
            ..
        } = &self.place;
        let first_line = (past.end > 0).then_some(&*past.first_line);
        let encode = format.encoder(columns, first_line)?;
        let opened = target.open(locked, past, *format)?;
        // Fewer than were read, if some of them were to go.
        let records = opened.records();
        if let Some(held) = &mut held {
            held.says.spent.keeps(records);
        }
        let mut text = match first_line {
            None => TextOutput::start(encode, opened),
            Some(_) => TextOutput::go_on(encode, opened),
        };
        text.mirror_to(self.mirror(columns)?);
        let safe = (records, self.settings.sync);
        Writer::new(text, held, self.ending(records), safe)
    }

    /// What is left to do when the run is complete; the output has so many records.
    fn ending(&self, records: u64) -> WriterEnding {
        WriterEnding {
            sorts: (self.settings.order == Order::Input)
                .then(|| self.place.target.file())
                .flatten(),
            format: Some(self.place.format),
            finished: self.place.finished.clone(),
            in_journal: self.in_journal(records),
        }
    }

    /// How many of the output's records its journal has when it is opened.
    fn in_journal(&self, records: u64) -> u64 {
        let past = &self.place.past;
        if past.is_to_be_rewritten() {
            records
        } else {
            records - past.in_parts
        }
    }

    /// A database grows with its journal.
    fn mirror(&self, columns: &Columns) -> Result<Option<SqliteSync>, Error> {
        let finished = self.place.finished.as_ref();
        let Some(database) =
            finished.filter(|it| it.kind == ProductKind::Table(TableFormat::Sqlite))
        else {
            return Ok(None);
        };
        // By two names it would have two logs, which spoil it when both are written.
        let begins_anew = self.place.past.is_to_be_rewritten()
            || self.place.past.records == 0
            || file_lock::has_hard_links(&database.path);
        if begins_anew {
            mirror::remove(&database.path)?;
        }
        let key = match (columns.items, &self.settings.key) {
            (true, _) => "_row, _item",
            (false, None) => "_row",
            // Rows are known by another field, and their numbers may meet again.
            (false, Some(_)) => "",
        };
        SqliteSync::open(&database.path, &database.journal(), key).map(Some)
    }

    /// A file that begins anew has no use for what was sent before.
    fn forget_intents(&self) -> Result<(), Error> {
        let (OpenMode::New(_) | OpenMode::Replace(_) | OpenMode::Parts(_, None), Some(path)) =
            (&self.place.target, self.place.results())
        else {
            return Ok(());
        };
        intents::remove(path)
            .map_err(|error| Error::plan(format!("{self}.intents cannot be removed: {error}")))
    }

    /// Keeps other runs away from a file.
    fn hold(&self, identity: &Identity, uncounted: u64) -> io::Result<Option<SidecarLock>> {
        let Some(path) = self.place.results() else {
            return Ok(None);
        };
        let mut held = SidecarLock::take(path)?;
        // It goes on with the limits even where records do not.
        let mut spent = std::mem::take(&mut held.says.spent);
        spent.begin(milliseconds_now(), self.place.past.records, uncounted);
        held.says = Sidecar {
            throng: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            run: self.run.clone(),
            identity: identity.clone(),
            synced: None,
            spent,
        };
        Ok(Some(held))
    }
}
