//! The records that a file has already. [door: files]

use std::io::BufRead;
use std::path::Path;

use super::done::CompletedRows;
use super::resume::{self, ResumeState, Unreadable, Unwanted};
use super::sidecar::Synced;
use super::{Existing, OutputFormat, Settings};
use crate::error::Error;

/// A way to the text, from its beginning.
pub(super) type TextOpener<'a> = &'a dyn Fn() -> Result<Box<dyn BufRead>, Error>;

/// Those of a file that is to be gone on with.
pub(super) fn of(
    path: &Path,
    text: TextOpener,
    format: OutputFormat,
    settings: &Settings,
    synced: Option<&Synced>,
    resends: bool,
) -> Result<ResumeState, Error> {
    let (key, unwanted) = (settings.key.as_deref(), unwanted(settings, resends));
    let past = read(&mut *text()?, format, key, synced, unwanted);
    past.map_err(|error| match (other_delimiter(text), error) {
        (Some(other), Unreadable::Line(1)) => Error::plan(format!(
            "{} cannot be resumed: its columns are separated by {other}, as some spreadsheets save them: save it with commas, as UTF-8",
            path.display()
        )),
        (_, error) => unreadable(path, format, key, error),
    })
}

/// What separates the columns of the first line, if that is no comma.
fn other_delimiter(text: TextOpener) -> Option<&'static str> {
    let mut line = String::new();
    text().ok()?.read_line(&mut line).ok()?;
    let has = |delimiter: &str| line.contains(&format!("{delimiter}_row{delimiter}"));
    let others = [(";", "semicolons"), ("\t", "tabs"), ("|", "|")];
    let found = others.iter().find(|(delimiter, _)| has(delimiter));
    found.map(|(_, name)| *name)
}

/// Those of parts, and of the journal of the next one.
pub(super) fn of_parts(
    directory: &Path,
    (mut parts, mut journal): (Box<dyn BufRead>, Box<dyn BufRead>),
    format: OutputFormat,
    settings: &Settings,
    synced: Option<&Synced>,
    resends: bool,
) -> Result<ResumeState, Error> {
    let key = settings.key.as_deref();
    let past = resume::read_parts(
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

fn unreadable(path: &Path, format: OutputFormat, key: Option<&str>, error: Unreadable) -> Error {
    let name = path.display();
    Error::plan(match error {
        Unreadable::Io(error) => format!("the output {name} cannot be read: {error}"),
        Unreadable::Line(line) => cannot_resume(path, format, line, key),
    })
}

fn cannot_resume(path: &Path, format: OutputFormat, line: u64, key: Option<&str>) -> String {
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

/// Why a file with something in it is left alone, and what may be done.
pub(super) fn refuse(path: &Path, text: TextOpener, format: OutputFormat) -> Error {
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
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn read(
    text: &mut dyn BufRead,
    format: OutputFormat,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: Unwanted,
) -> Result<ResumeState, Unreadable> {
    resume::read(
        text,
        &mut *format.decoder(key),
        CompletedRows::by(key, format),
        synced,
        unwanted,
    )
}
