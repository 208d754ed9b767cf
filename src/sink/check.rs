//! Whether records could go where the job says. [door: files]
//!
//! Files are looked at here, but none is made or changed.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::finish::Product;
use super::resume::ResumeState;
use super::sidecar::{self, Sidecar};
use super::target::OpenMode;
use super::{Existing, OutputFormat, Settings};
use super::{parts, past};
use crate::error::Error;

/// What there is to open, how it is written, and what it has already.
#[derive(Debug, Clone)]
pub(super) struct CheckedOutput {
    pub target: OpenMode,
    pub format: OutputFormat,
    pub past: ResumeState,
    /// What the records that stay belong to, if that is known.
    pub before: Option<Sidecar>,
    /// What is made of the target when the run is complete, if it is not that itself.
    pub finished: Option<Product>,
}

impl CheckedOutput {
    /// The file that the user named, if there is one.
    pub fn results(&self) -> Option<&Path> {
        match &self.finished {
            Some(finished) => Some(&finished.path),
            None => self.target.path(),
        }
    }
}

/// The place that the settings mean, or why there is none. `resends` says whether
/// requests of unknown outcome may be sent again.
pub(super) fn place(settings: &Settings, resends: bool) -> Result<CheckedOutput, Error> {
    if settings.retry_failed && settings.existing == Existing::Overwrite {
        return Err(Error::plan(
            "--retry-failed keeps the rows that are ok, and --overwrite does not: leave one of them out",
        ));
    }
    match settings.file.as_deref() {
        None | Some("-") => stdout(settings),
        Some(name) if settings.parts.is_some() => {
            let most = settings.parts.map_or(u64::MAX, NonZeroU64::get);
            parts::place(Path::new(name), most, settings, resends)
        }
        Some(name) => file(Path::new(name), settings, resends),
    }
}

fn stdout(settings: &Settings) -> Result<CheckedOutput, Error> {
    let flag = match settings.existing() {
        _ if settings.parts.is_some() => "--parts",
        Existing::Refuse => {
            let format = settings.format.unwrap_or_else(OutputFormat::of_stdout);
            return stream(OpenMode::Stdout, format);
        }
        Existing::Overwrite => "--overwrite",
        _ if settings.retry_failed => "--retry-failed",
        _ => "--resume",
    };
    Err(Error::plan(format!(
        "{flag} needs an output file: give one with --output FILE"
    )))
}

fn file(named: &Path, settings: &Settings, resends: bool) -> Result<CheckedOutput, Error> {
    let path = &sidecar::real(named);
    let format = match settings.format {
        Some(format) => format,
        None if path.is_dir() => return text(path, OutputFormat::of_stdout(), settings, resends),
        None => OutputFormat::of_file(path).or_else(|_| OutputFormat::of_file(named))?,
    };
    let finished = Product::of(path, format).filter(|_| is_file_or_absent(path));
    if let Some(finished) = finished {
        let journal = finished.journal();
        if path.is_file() && !journal.exists() {
            return unpacked(finished, format, settings, resends);
        }
        let place = text(&journal, format, settings, resends)?;
        return Ok(CheckedOutput {
            finished: Some(finished),
            ..place
        });
    }
    text(path, format, settings, resends)
}

/// What is neither can't be replaced by a finished file.
fn is_file_or_absent(path: &Path) -> bool {
    path.metadata().map_or(true, |data| data.is_file())
}

/// A text that grows.
fn text(
    path: &Path,
    format: OutputFormat,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let existing = settings.existing();
    match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => absent(path, format, existing),
        Err(error) => Err(refused(path, &error)),
        Ok(data) if data.is_dir() => Err(Error::plan(format!(
            "the output {} is a directory: give a file, or --parts for Parquet files in it",
            path.display()
        ))),
        Ok(data) if !data.is_file() => device(path, format, existing),
        Ok(data) => present(path, format, settings, data.len(), resends),
    }
}

fn absent(path: &Path, format: OutputFormat, existing: Existing) -> Result<CheckedOutput, Error> {
    if existing.resumes() {
        let name = path.display();
        return Err(Error::plan(format!(
            "there is nothing to resume: {name} does not exist; run without --resume"
        )));
    }
    can_make(path)?;
    Ok(empty(OpenMode::New(path.to_owned()), format))
}

pub(super) fn can_make(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(Error::plan(format!(
            "the output {} cannot be made: there is no directory {}",
            path.display(),
            directory.display()
        )));
    }
    // A file without a name: it proves that one can be made, and is never seen.
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        // The error's own text would name that file.
        Err(error) => Err(refused(path, &error.kind())),
    }
}

/// The journal is gone, since the file was finished: it is put back when needed.
fn unpacked(
    finished: Product,
    format: OutputFormat,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let path = &finished.path;
    let target = OpenMode::Unpack(finished.clone());
    let place = match settings.existing() {
        Existing::Refuse => return Err(past::refuse(path, &|| finished.text(), format)),
        Existing::Overwrite => empty(OpenMode::New(finished.journal()), format),
        _ => CheckedOutput {
            past: past::of(path, &|| finished.text(), format, settings, None, resends)?,
            before: sidecar::read(path),
            ..empty(target, format)
        },
    };
    Ok(CheckedOutput {
        finished: Some(finished),
        ..place
    })
}

/// A pipe or a device has no past.
fn device(path: &Path, format: OutputFormat, existing: Existing) -> Result<CheckedOutput, Error> {
    if existing.resumes() {
        let name = path.display();
        return Err(Error::plan(format!(
            "--resume needs an output file: {name} is none that can be read again"
        )));
    }
    stream(OpenMode::Device(path.to_owned()), format)
}

/// Only texts can be written without going back.
fn stream(target: OpenMode, format: OutputFormat) -> Result<CheckedOutput, Error> {
    match format.table() {
        None => Ok(empty(target, format)),
        Some(_) => Err(Error::plan(format!(
            "a {format} output needs a file: give one with --output FILE"
        ))),
    }
}

fn present(
    path: &Path,
    format: OutputFormat,
    settings: &Settings,
    size: u64,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|error| refused(path, &error))?;
    let target = OpenMode::GoOn(path.to_owned(), size);
    match settings.existing() {
        Existing::Overwrite => Ok(empty(OpenMode::Replace(path.to_owned()), format)),
        Existing::Refuse if size > 0 => Err(past::refuse(path, &|| open(path), format)),
        Existing::Refuse => Ok(empty(target, format)),
        _ => {
            let before = sidecar::read(&results(path, format));
            let synced = before.as_ref().and_then(|before| before.synced.as_ref());
            Ok(CheckedOutput {
                past: past::of(path, &|| open(path), format, settings, synced, resends)?,
                before,
                ..empty(target, format)
            })
        }
    }
}

fn empty(target: OpenMode, format: OutputFormat) -> CheckedOutput {
    CheckedOutput {
        target,
        format,
        past: ResumeState::default(),
        before: None,
        finished: None,
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) => Err(refused(path, &error)),
    }
}

/// The results that a journal is kept for.
fn results(journal: &Path, format: OutputFormat) -> PathBuf {
    let stem = journal.with_extension("");
    let is_journal = journal.extension().is_some_and(|end| end == "journal");
    if is_journal && Product::of(&stem, format).is_some() {
        stem
    } else {
        journal.to_owned()
    }
}

pub(super) fn refused(path: &Path, error: &dyn Display) -> Error {
    let name = path.display();
    Error::plan(format!("the output {name} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Existing::{Overwrite, Refuse, Resume};
    use super::*;
    use std::fs;

    fn check(file: Option<&Path>, existing: Existing) -> Result<CheckedOutput, String> {
        let settings = Settings {
            file: file.map(|path| path.to_str().unwrap().to_owned()),
            existing,
            ..Settings::default()
        };
        place(&settings, false).map_err(|error| error.to_string())
    }

    #[test]
    fn stdout_has_no_past() {
        let place = check(None, Refuse).unwrap();
        assert_eq!(place.format.to_string(), "jsonl");
        for (existing, flag) in [(Resume, "--resume"), (Overwrite, "--overwrite")] {
            let error = check(Some(Path::new("-")), existing).unwrap_err();
            assert!(
                error.contains(&format!("{flag} needs an output")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_place_is_checked_without_being_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("ours.jsonl"), "{\"_row\":0}\n{\"_row\":1}\n{\"_r").unwrap();
        fs::write(path("ours.csv"), "a,_row,_ok\n1,0,true\n").unwrap();
        fs::write(path("theirs.csv"), "a,b\n1,2\n").unwrap();
        fs::create_dir(path("directory.csv")).unwrap();
        for (name, existing, expected) in [
            ("ours.jsonl", Refuse, "has 2 rows already: --resume"),
            ("ours.csv", Refuse, "has 1 row already"),
            ("theirs.csv", Refuse, "is no csv results file"),
            ("theirs.csv", Resume, "line 1 is no csv record"),
            ("new.csv", Resume, "nothing to resume"),
            ("missing/new.csv", Refuse, "there is no directory"),
            ("directory.csv", Overwrite, "is a directory"),
            ("new.txt", Refuse, "--output-format"),
        ] {
            let error = check(Some(&path(name)), existing).unwrap_err();
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
        for (name, existing) in [
            ("new.csv", Refuse),
            ("new.csv", Overwrite),
            ("theirs.csv", Overwrite),
            ("ours.jsonl", Resume),
        ] {
            check(Some(&path(name)), existing).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
        let ours = fs::read(path("ours.jsonl")).unwrap();
        assert!(ours.ends_with(b"{\"_r"));
    }
}
