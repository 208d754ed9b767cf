//! The records of a file that is there already: continued, or refused.

use std::io::BufRead;
use std::path::Path;

use super::completed::CompletedRows;
use super::{ResumeState, Unreadable, Unwanted};
use crate::error::Error;
use crate::format::Format;
use crate::sink::settings::{Existing, Settings};
use crate::sink::sidecar::Synced;

/// A way to the text, from its beginning.
pub(crate) type TextOpener<'a> = &'a dyn Fn() -> Result<Box<dyn BufRead>, Error>;

/// The records of a file that is continued.
pub(crate) fn of(
    path: &Path,
    text: TextOpener,
    format: Format,
    settings: &Settings,
    synced: Option<&Synced>,
    resends: bool,
) -> Result<ResumeState, Error> {
    let (key, unwanted) = (settings.key.as_deref(), unwanted(settings, resends));
    let past = read(&mut *text()?, format, key, synced, unwanted);
    past.map_err(|error| match (flaw(text, format), error) {
        (Some(flaw), Unreadable::Line(1)) => {
            Error::plan(format!("{} cannot be resumed: {flaw}", path.display()))
        }
        (_, error) => unreadable(path, format, key, error),
    })
}

/// Why the text can't be read, as far as its first line tells.
fn flaw(text: TextOpener, format: Format) -> Option<String> {
    let mut line = String::new();
    text().ok()?.read_line(&mut line).ok()?;
    format.flaw_of(&line)
}

/// The records of parts, and of the journal of the next one.
pub(crate) fn of_parts(
    directory: &Path,
    (mut parts, mut journal): (Box<dyn BufRead>, Box<dyn BufRead>),
    format: Format,
    settings: &Settings,
    synced: Option<&Synced>,
    resends: bool,
) -> Result<ResumeState, Error> {
    let key = settings.key.as_deref();
    let past = super::read_parts(
        (&mut *parts, &mut *journal),
        &mut *format.decoder(key),
        CompletedRows::by(key, format),
        synced,
        unwanted(settings, resends),
    );
    past.map_err(|error| unreadable(directory, format, key, error))
}

fn unwanted(settings: &Settings, resends: bool) -> Unwanted {
    Unwanted {
        failed: settings.retry_failed,
        unknown: resends,
        damaged: settings.existing == Existing::ResumeDamaged,
    }
}

fn unreadable(path: &Path, format: Format, key: Option<&str>, error: Unreadable) -> Error {
    let name = path.display();
    Error::plan(match error {
        Unreadable::Io(error) => format!("the output {name} cannot be read: {error}"),
        Unreadable::Line(line) => cannot_resume(path, format, line, key),
    })
}

fn cannot_resume(path: &Path, format: Format, line: u64, key: Option<&str>) -> String {
    let needs = match key {
        Some(key) => format!("with a _row and the key {key:?}"),
        None => "with a _row".to_owned(),
    };
    let advice = match line {
        1 => "is this the right file?",
        _ => "mend or remove it, or run with --resume=damaged, which asks for its row again",
    };
    let name = path.display();
    format!("{name} cannot be resumed: line {line} is no {format} record {needs}: {advice}")
}

/// Why a file that has records is left alone, and what to do.
pub(crate) fn refuse(path: &Path, text: TextOpener, format: Format) -> Error {
    let name = path.display();
    let read =
        |mut text: Box<dyn BufRead>| read(&mut *text, format, None, None, Unwanted::default()).ok();
    let Some(past) = text().ok().and_then(read) else {
        return Error::plan(format!(
            "{name} exists and is no {format} results file: choose another name, or replace it \
             with --overwrite"
        ));
    };
    let rows = counted(past.done.len(), "row", "rows");
    let failed = match past.failed {
        0 => String::new(),
        failed => format!(", --retry-failed asks for the {failed} that failed as well"),
    };
    Error::plan(format!(
        "{name} has {rows} already: --resume goes on with it{failed}, --overwrite starts again"
    ))
}

/// A number with what it counts.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn read(
    text: &mut dyn BufRead,
    format: Format,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: Unwanted,
) -> Result<ResumeState, Unreadable> {
    super::read(text, &mut *format.decoder(key), CompletedRows::by(key, format), synced, unwanted)
}
