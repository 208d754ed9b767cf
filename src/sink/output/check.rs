//! Whether records could go where the job says: an output that was checked, and can be opened.
//! Files are looked at here, but none is made or changed.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open_mode::OpenMode;
use crate::error::Error;
use crate::format::parquet::parts_scan;
use crate::format::{Format, names};
use crate::fs::real;
use crate::sink::parts::{self, Parts};
use crate::sink::product::{self, Product};
use crate::sink::resume::{self, ResumeState, Unwanted};
use crate::sink::settings::{Existing, Order, Settings};
use crate::sink::sidecar::{self, MadeFile, Sidecar, Synced};

/// The output that the settings mean, or why it can't be used. `resends` says whether
/// requests of unknown outcome may be sent again.
pub(super) fn checked(settings: &Settings, resends: bool) -> Result<CheckedOutput, Error> {
    if settings.retry_failed.is_any() && settings.existing == Existing::Overwrite {
        return Err(Error::plan(
            "--retry-failed keeps the rows that are ok, and --overwrite does not: leave one of them out",
        ));
    }
    match (settings.file.as_deref(), settings.parts) {
        (None | Some("-"), _) => stdout(settings),
        (Some(name), Some(size)) => checked_parts(Path::new(name), size.get(), settings, resends),
        (Some(name), None) => file(Path::new(name), settings, resends),
    }
}

fn stdout(settings: &Settings) -> Result<CheckedOutput, Error> {
    let needs = match settings.existing() {
        _ if settings.parts.is_some() => "--parts needs",
        _ if settings.selection().is_some() => "--columns and --no-meta need",
        // Files of answers may be there although the records are not.
        Existing::Overwrite if settings.saves => {
            return stream(OpenMode::Stdout, settings.format.unwrap_or(Format::JSONL));
        }
        Existing::Refuse => {
            let format = settings.format.unwrap_or(Format::JSONL);
            return stream(OpenMode::Stdout, format);
        }
        Existing::Overwrite => "--overwrite needs",
        _ if settings.retry_failed.is_any() => "--retry-failed needs",
        _ => "--resume needs",
    };
    Err(needs_file(needs))
}

fn needs_file(needs: &str) -> Error {
    Error::plan(format!("{needs} an output file: give one with --output FILE"))
}

fn file(named: &Path, settings: &Settings, resends: bool) -> Result<CheckedOutput, Error> {
    let path = &real(named);
    let format = match settings.format {
        Some(format) => format,
        None if path.is_dir() => return text(path, Format::JSONL, settings, resends),
        None => of_extension(path).or_else(|_| of_extension(named))?,
    };
    format.check_written(path)?;
    if format.has_own_form() && settings.selection().is_some() {
        return Err(Error::plan(format!(
            "{format} has a form of its own: leave out output.columns (--columns) and output.no-meta (--no-meta)"
        )));
    }
    let product = product::of(path, format, settings.selection());
    let Some(product) = product.filter(|_| is_file_or_absent(path)) else {
        if settings.selection().is_some() {
            return Err(needs_file("--columns and --no-meta need"));
        }
        return text(path, format, settings, resends);
    };
    let journal = product.journal();
    if path.is_file() && !journal.exists() {
        return unpacked(product, format, settings, resends);
    }
    Ok(CheckedOutput { product: Some(product), ..text(&journal, format, settings, resends)? })
}

/// Whether a finished file could replace it: a device can't be replaced.
fn is_file_or_absent(path: &Path) -> bool {
    path.metadata().map_or(true, |data| data.is_file())
}

/// A text that grows.
fn text(
    path: &Path,
    format: Format,
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

fn absent(path: &Path, format: Format, existing: Existing) -> Result<CheckedOutput, Error> {
    if existing.resumes() && existing != Existing::ResumeOrNew {
        let name = path.display();
        return Err(Error::plan(format!(
            "there is nothing to resume: {name} does not exist; run without --resume"
        )));
    }
    can_make(path)?;
    Ok(empty(OpenMode::New(path.to_owned()), format))
}

/// The journal is gone, since the file was finished: it is put back when needed.
fn unpacked(
    product: Arc<dyn Product>,
    format: Format,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let path = product.path();
    let output = match settings.existing() {
        Existing::Refuse => return Err(resume::refuse(path, &|| product.text(), format)),
        Existing::Overwrite => empty(OpenMode::New(product.journal()), format),
        _ => {
            let before = sidecar::read(path);
            let assumed =
                before.as_ref().and_then(|before| assumed(path, before, format, settings));
            let past = match assumed {
                Some(past) => past,
                None => read(&*product, format, settings, before.as_ref(), resends)?,
            };
            CheckedOutput { past, before, ..empty(OpenMode::Unpack(product.clone()), format) }
        }
    };
    Ok(CheckedOutput { product: Some(product), ..output })
}

/// The records of a finished file.
pub(super) fn read(
    product: &dyn Product,
    format: Format,
    settings: &Settings,
    before: Option<&Sidecar>,
    resends: bool,
) -> Result<ResumeState, Error> {
    let unwanted = Unwanted::new(settings, resends, before);
    let (key, text) = (settings.key.as_deref(), || product.text());
    resume::continued(product.path(), &text, format, key, None, &unwanted)
}

/// The records of a finished file that is as the last run has made it, without reading it: one
/// for each row. None if that is not sure, or if some may be asked for again.
fn assumed(
    path: &Path,
    before: &Sidecar,
    format: Format,
    settings: &Settings,
) -> Option<ResumeState> {
    let made = before.made.as_ref()?;
    let rows = before.identity.rows.filter(|rows| before.complete && *rows == before.records)?;
    let is_plain = matches!(settings.existing, Existing::Resume | Existing::ResumeOrNew)
        && !settings.retry_failed.is_any()
        && settings.key.is_none()
        && before.identity.shard.is_none()
        && (!format.is_appended() || settings.selection().is_some());
    let is_there = MadeFile::at(path, made.failed, made.missing).as_ref() == Some(made);
    (is_plain && is_there && made.failed == 0)
        .then(|| ResumeState::assumed(rows, made.failed, made.missing))
}

/// A pipe or a device, which has no records that could be read again.
fn device(path: &Path, format: Format, existing: Existing) -> Result<CheckedOutput, Error> {
    if existing.resumes() {
        let name = path.display();
        return Err(Error::plan(format!(
            "--resume needs an output file: {name} is none that can be read again"
        )));
    }
    stream(OpenMode::Device(path.to_owned()), format)
}

/// Only texts can be written without going back.
fn stream(mode: OpenMode, format: Format) -> Result<CheckedOutput, Error> {
    if format.is_appended() {
        return Ok(empty(mode, format));
    }
    Err(Error::plan(format!("a {format} output needs a file: give one with --output FILE")))
}

fn present(
    path: &Path,
    format: Format,
    settings: &Settings,
    size: u64,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|error| refused(path, &error))?;
    let mode = OpenMode::GoOn(path.to_owned(), size);
    match settings.existing() {
        Existing::Overwrite => Ok(empty(OpenMode::Replace(path.to_owned()), format)),
        Existing::Refuse if size > 0 => Err(resume::refuse(path, &|| open(path), format)),
        existing => {
            let before = sidecar::read(&results(path, format, settings));
            let synced = synced(existing, before.as_ref());
            let unwanted = Unwanted::new(settings, resends, before.as_ref());
            let (key, text) = (settings.key.as_deref(), || open(path));
            Ok(CheckedOutput {
                past: resume::continued(path, &text, format, key, synced, &unwanted)?,
                before,
                ..empty(mode, format)
            })
        }
    }
}

/// The records that must be there. An output without records is begun anew or gone on with: its
/// user may have emptied it.
fn synced(existing: Existing, before: Option<&Sidecar>) -> Option<&Synced> {
    before.and_then(|before| before.synced.as_ref()).filter(|_| existing.resumes())
}

fn empty(mode: OpenMode, format: Format) -> CheckedOutput {
    CheckedOutput { mode, format, past: ResumeState::default(), before: None, product: None }
}

/// The format that an output's extension stands for.
fn of_extension(path: &Path) -> Result<Format, Error> {
    Format::of_output(path).ok_or_else(|| {
        Error::plan(format!(
            "the name of the output file {} does not say its format: end it in {}, or give --output-format {}",
            path.display(),
            Format::output_extensions(),
            names(Format::outputs(), "|"),
        ))
    })
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) => Err(refused(path, &error)),
    }
}

/// The results of a journal.
fn results(journal: &Path, format: Format, settings: &Settings) -> PathBuf {
    let stem = journal.with_extension("");
    let is_journal = journal.extension().is_some_and(|end| end == "journal");
    let is_of_product = is_journal && product::of(&stem, format, settings.selection()).is_some();
    if is_of_product { stem } else { journal.to_owned() }
}

/// A directory of parts of about `part_size` records each, and the records it has already.
fn checked_parts(
    directory: &Path,
    part_size: u64,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let format = Format::PARQUET;
    // `results/` is `results`.
    let directory = &real(directory.components().as_path());
    check_settings(directory, format, settings)?;
    format.check_written(directory)?;
    let product = Parts { directory: directory.to_owned(), size: part_size };
    let journal = product.journal();
    let parts = parts::of(directory)?;
    let size = journal.metadata().ok().map(|data| data.len());
    let has_records = !parts.is_empty() || size > Some(0);
    let existing = settings.existing();
    let (before, past, size) = match existing {
        Existing::Refuse if has_records => {
            return Err(resume::refuse(directory, &|| product.text(), format));
        }
        Existing::Overwrite => (None, ResumeState::default(), None),
        Existing::Refuse if size.is_none() => (None, ResumeState::default(), None),
        Existing::ResumeOrNew if !has_records && size.is_none() => {
            (None, ResumeState::default(), None)
        }
        _ if parts.is_empty() && size.is_none() => {
            let name = directory.display();
            return Err(Error::plan(format!(
                "there is nothing to resume: {name} has no parts; run without --resume"
            )));
        }
        _ => {
            let before = sidecar::read(directory);
            let synced = synced(existing, before.as_ref());
            // Values of a key stand in any column.
            let scan = settings.key.is_none().then(|| parts_scan::text(parts));
            let text = scan.flatten().map_or_else(|| parts::text(directory), Ok)?;
            let journal = parts::whole(&journal)?;
            let unwanted = Unwanted::new(settings, resends, before.as_ref());
            let key = settings.key.as_deref();
            let past =
                resume::continued_parts(directory, text, journal, format, key, synced, &unwanted)?;
            (before, past, size.or(Some(0)))
        }
    };
    Ok(CheckedOutput {
        mode: OpenMode::Parts(product.clone(), size),
        format,
        past,
        before,
        product: Some(Arc::new(product)),
    })
}

fn check_settings(directory: &Path, format: Format, settings: &Settings) -> Result<(), Error> {
    let name = directory.display();
    if settings.format.is_some_and(|given| given != format) {
        return Err(Error::plan(
            "output.parts (--parts) are Parquet files: leave output.format (--output-format) out",
        ));
    }
    if settings.selection().is_some() {
        return Err(Error::plan(
            "output.columns (--columns) and output.no-meta (--no-meta) need one file, and output.parts (--parts) makes many: leave one of them out",
        ));
    }
    if settings.order == Order::Input {
        return Err(Error::plan(
            "output.order (--order input) needs one file, and output.parts (--parts) makes many: leave one of them out",
        ));
    }
    match directory.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => can_make(directory),
        Ok(data) if data.is_dir() => can_make(&directory.join("part")),
        Ok(_) => Err(Error::plan(format!(
            "the output {name} is a file, and output.parts (--parts) needs a directory: give another name"
        ))),
        Err(error) => Err(refused(directory, &error)),
    }
}

/// An output that could be opened: its format, and the records that it has already.
#[derive(Debug, Clone)]
pub(super) struct CheckedOutput {
    pub mode: OpenMode,
    pub format: Format,
    pub past: ResumeState,
    /// The sidecar of the records that stay, if there is one.
    pub before: Option<Sidecar>,
    /// The product of the file that grows, if that file is not the output itself.
    pub product: Option<Arc<dyn Product>>,
}

impl CheckedOutput {
    /// The file that the user named, if there is one.
    pub fn results(&self) -> Option<&Path> {
        match &self.product {
            Some(product) => Some(product.path()),
            None => self.mode.path(),
        }
    }
}

/// Checks that a file could be made at this path.
fn can_make(path: &Path) -> Result<(), Error> {
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

/// Why an output can't be used.
fn refused(path: &Path, error: &dyn Display) -> Error {
    let name = path.display();
    Error::plan(format!("the output {name} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use super::Existing::{Overwrite, Refuse, Resume};

    fn check(file: Option<&Path>, existing: Existing) -> Result<CheckedOutput, String> {
        let settings = Settings {
            file: file.map(|path| path.to_str().unwrap().to_owned()),
            existing,
            ..Settings::default()
        };
        checked(&settings, false).map_err(|error| error.to_string())
    }

    #[test]
    fn stdout_has_no_past() {
        let place = check(None, Refuse).unwrap();
        assert_eq!(place.format.to_string(), "jsonl");
        for (existing, flag) in [(Resume, "--resume"), (Overwrite, "--overwrite")] {
            let error = check(Some(Path::new("-")), existing).unwrap_err();
            assert!(error.contains(&format!("{flag} needs an output")), "{error}");
        }
    }

    #[test]
    fn a_place_is_checked_without_being_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(
            path("ours.jsonl"),
            "{\"_row\":0,\"_ok\":true}\n{\"_row\":1,\"_ok\":true}\n{\"_r",
        )
        .unwrap();
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
