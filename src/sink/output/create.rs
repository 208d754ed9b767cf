//! Opening the place for the records of a run.

use std::io;

use super::Output;
use super::checked::CheckedOutput;
use super::open_mode::OpenMode;
use crate::error::Error;
use crate::format::Columns;
use crate::sink::intents;
use crate::sink::product::JournalMirror;
use crate::sink::settings::Order;
use crate::sink::sidecar::identity::Identity;
use crate::sink::sidecar::{self, Sidecar, SidecarLock};
use crate::sink::writer::text::TextOutput;
use crate::sink::writer::{Writer, WriterEnding, milliseconds_now};

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
            let by = match (error.kind(), self.checked.results()) {
                (io::ErrorKind::WouldBlock, Some(results)) => sidecar::holder(results),
                _ => error.to_string(),
            };
            Error::plan(format!("the output {self} is in use: {by}"))
        };
        // The sidecar goes by the file's name, and is all that older versions look at.
        let locked = self.checked.mode.lock().map_err(in_use)?;
        let mut held = self.hold(identity, uncounted).map_err(in_use)?;
        self.forget_intents()?;
        let CheckedOutput { mode, format, past, .. } = &self.checked;
        let first_line = (past.end > 0).then_some(&*past.first_line);
        let encode = format.encoder(columns, first_line)?;
        let opened = mode.open(locked, past, *format)?;
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

    /// The work that is left when the run is complete; the output has `records` now.
    fn ending(&self, records: u64) -> WriterEnding {
        WriterEnding {
            sorts: (self.settings.order == Order::Input)
                .then(|| self.checked.mode.file())
                .flatten(),
            format: Some(self.checked.format),
            product: self.checked.product.clone(),
            in_journal: self.in_journal(records),
        }
    }

    /// The number of the output's records that its journal has when it is opened.
    fn in_journal(&self, records: u64) -> u64 {
        let past = &self.checked.past;
        if past.is_to_be_rewritten() { records } else { records - past.in_parts }
    }

    /// The file that grows with the journal, if one does.
    fn mirror(&self, columns: &Columns) -> Result<Option<JournalMirror>, Error> {
        let Some(product) = &self.checked.product else {
            return Ok(None);
        };
        let key: &[&str] = match (columns.items, &self.settings.key) {
            (true, _) => &["_row", "_item"],
            (false, None) => &["_row"],
            // Rows are known by another field, and their numbers may meet again.
            (false, Some(_)) => &[],
        };
        let past = &self.checked.past;
        product.mirror(key, past.is_to_be_rewritten() || past.records == 0)
    }

    /// A file that begins anew has no use for what was sent before.
    fn forget_intents(&self) -> Result<(), Error> {
        let (OpenMode::New(_) | OpenMode::Replace(_) | OpenMode::Parts(_, None), Some(path)) =
            (&self.checked.mode, self.checked.results())
        else {
            return Ok(());
        };
        intents::remove(path)
            .map_err(|error| Error::plan(format!("{self}.intents cannot be removed: {error}")))
    }

    /// Keeps other runs away from a file.
    fn hold(&self, identity: &Identity, uncounted: u64) -> io::Result<Option<SidecarLock>> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let mut held = SidecarLock::take(path)?;
        // It goes on with the limits even where records do not.
        let mut spent = std::mem::take(&mut held.says.spent);
        spent.begin(milliseconds_now(), self.checked.past.records, uncounted);
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
