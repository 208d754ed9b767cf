//! A directory of Parquet files, each of them whole when it appears. The journal lies
//! beside the directory; when it has enough records they become the next part, and
//! it begins anew. [door: files]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::check::{self, CheckedOutput};
use super::finish::{Product, ProductKind, as_lines, rows};
use super::glance;
use super::resume::ResumeState;
use super::sidecar::{self, beside};
use super::target::OpenMode;
use super::{Existing, Order, OutputFormat, Settings, past};
use crate::error::Error;
use crate::source;
use crate::table::{self, TableFormat, placed, sync_directory};

/// What a directory of parts, of about so many records each, has already.
pub(super) fn place(
    directory: &Path,
    most: u64,
    settings: &Settings,
    resends: bool,
) -> Result<CheckedOutput, Error> {
    let format = OutputFormat::of_form(TableFormat::Parquet);
    // `results/` is `results`.
    let directory = &sidecar::real(directory.components().as_path());
    check(directory, format, settings)?;
    let finished = Product {
        path: directory.to_owned(),
        kind: ProductKind::Parts(most),
    };
    let journal = finished.journal();
    let (parts, size) = (
        of(directory)?,
        journal.metadata().ok().map(|data| data.len()),
    );
    let has_records = !parts.is_empty() || size > Some(0);
    let (before, past, size) = match settings.existing() {
        Existing::Refuse if has_records => {
            return Err(past::refuse(directory, &|| finished.text(), format));
        }
        Existing::Refuse | Existing::Overwrite => (None, ResumeState::default(), None),
        _ if parts.is_empty() && size.is_none() => {
            let name = directory.display();
            return Err(Error::plan(format!(
                "there is nothing to resume: {name} has no parts; run without --resume"
            )));
        }
        _ => {
            let before = sidecar::read(directory);
            let synced = before.as_ref().and_then(|before| before.synced.as_ref());
            // Values of a key stand in any column.
            let glance = settings.key.is_none().then(|| glance::text(parts));
            let text = glance.flatten().map_or_else(|| text(directory), Ok)?;
            let texts = (text, whole(&journal)?);
            let past = past::of_parts(directory, texts, format, settings, synced, resends)?;
            (before, past, size.or(Some(0)))
        }
    };
    Ok(CheckedOutput {
        target: OpenMode::Parts(finished.clone(), size),
        format,
        past,
        before,
        finished: Some(finished),
    })
}

fn check(directory: &Path, format: OutputFormat, settings: &Settings) -> Result<(), Error> {
    let name = directory.display();
    if settings.format.is_some_and(|given| given != format) {
        return Err(Error::plan(
            "output.parts (--parts) are Parquet files: leave output.format (--output-format) out",
        ));
    }
    if settings.order == Order::Input {
        return Err(Error::plan(
            "output.order (--order input) needs one file, and output.parts (--parts) makes many: leave one of them out",
        ));
    }
    match directory.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => check::can_make(directory),
        Ok(data) if data.is_dir() => check::can_make(&directory.join("part")),
        Ok(_) => Err(Error::plan(format!(
            "the output {name} is a file, and output.parts (--parts) needs a directory: give another name"
        ))),
        Err(error) => Err(check::refused(directory, &error)),
    }
}

/// The parts in the order of their numbers. Other files of the directory are not ours.
fn of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let parts = numbered(directory)
        .map_err(|error| Error::plan(format!("{} cannot be read: {error}", directory.display())))?;
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// The same with their numbers.
fn numbered(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(number) = number(&path).filter(|_| path.is_file()) {
            parts.push((number, path));
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

/// None if it has no name that a part could have.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    // A number may have a sign, and a part does not.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The records of all parts.
pub(super) fn text(directory: &Path) -> Result<Box<dyn BufRead>, Error> {
    let records = of(directory)?.into_iter().flat_map(|part| {
        let records = rows(&part, Some(source::InputFormat::Parquet)).and_then(|part| part.rows());
        let (records, error) = match records {
            Ok(records) => (Some(records), None),
            Err(error) => (None, Some(Err(error))),
        };
        records.into_iter().flatten().chain(error)
    });
    Ok(as_lines(records))
}

/// All of a journal.
fn whole(journal: &Path) -> Result<Box<dyn BufRead>, Error> {
    match File::open(journal) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Box::new(io::empty())),
        Err(error) => Err(check::refused(journal, &error)),
    }
}

/// The whole lines of a journal.
pub(super) fn lines(journal: &Path) -> Result<impl BufRead + use<>, Error> {
    let (mut text, mut line, mut end) = (whole(journal)?, Vec::new(), 0);
    loop {
        line.clear();
        let read = text.read_until(b'\n', &mut line);
        read.map_err(|error| check::refused(journal, &error))?;
        if line.ends_with(b"\n") {
            end += line.len() as u64
        } else {
            return Ok(whole(journal)?.take(end));
        }
    }
}

/// Makes the next part of a journal, if there is anything in it.
pub(super) fn add(directory: &Path, journal: &Path) -> Result<(), Error> {
    if journal.metadata().is_ok_and(|data| data.len() == 0) {
        return Ok(());
    }
    let made = fs::create_dir(directory).and_then(|()| sync_directory(directory));
    if let Err(error) = made
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(cannot(directory, &error));
    }
    let last = numbered(directory)
        .map_err(|error| cannot(directory, &error))?
        .pop();
    let next = last.as_ref().map_or(0, |(number, _)| number + 1);
    let path = directory.join(format!("part-{next:06}.parquet"));
    let source = rows(journal, Some(source::InputFormat::Jsonl))?;
    placed(&path, |new| match &last {
        Some((_, last)) => table::write_after(last, &source, new),
        None => table::write(&source, TableFormat::Parquet, new),
    })
    .map(drop)
}

/// Takes all parts away.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for (_, part) in numbered(directory)? {
        fs::remove_file(part)?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    Error::stopped(format!("{} cannot be written: {error}", path.display()))
}

/// What people should know of results whose run is not complete.
#[must_use]
pub fn unfinished(results: &Path) -> Option<String> {
    let journal = beside(&sidecar::real(results), ".journal");
    let name = results.display();
    journal.exists().then(|| {
        format!(
            "{name} is not complete: --resume goes on with it, and adds what is in {}",
            journal.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_throng_numbers_is_a_part_and_the_last_has_the_highest_number() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "part-1000000.parquet",
            "part-999999.parquet",
            "part-00000-of-2.parquet",
            "part-+1.parquet",
            "part-.parquet",
            "zips.parquet",
            "part-000001.csv",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let numbers = || -> Vec<u64> {
            let parts = numbered(directory.path()).unwrap().into_iter();
            parts.map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(), [999_999, 1_000_000]);
        remove(directory.path()).unwrap();
        assert!(numbers().is_empty());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 5);
        assert!(numbered(&directory.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_line_counts_with_its_newline_only() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("out.journal");
        let read = || {
            let mut text = String::new();
            lines(&journal).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read(), "");
        fs::write(&journal, "{}\n{}\n{\"a").unwrap();
        assert_eq!(read(), "{}\n{}\n");
    }
}
