//! A directory of Parquet files, each of them whole when it appears. The journal lies
//! beside the directory; when it has enough records they become the next part, and
//! it begins anew.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::product::{Product, as_lines, source};
use crate::convert;
use crate::error::Error;
use crate::format::Format;
use crate::fs::{placed, sync_directory};
use crate::row::Row;

/// A directory of parts.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub directory: PathBuf,
    /// About how many records each part has.
    pub size: u64,
}

impl Product for Parts {
    fn path(&self) -> &Path {
        &self.directory
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        Ok(Box::new(text(&self.directory)?.chain(lines(&self.journal())?)))
    }

    /// Makes the next part of the journal.
    fn make(&self) -> Result<(), Error> {
        add(&self.directory, &self.journal())
    }

    fn part_size(&self) -> Option<u64> {
        Some(self.size)
    }
}

/// The parts in the order of their numbers. Other files of the directory are not ours.
pub(crate) fn of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let parts = numbered(directory)
        .map_err(|error| Error::plan(format!("{} cannot be read: {error}", directory.display())))?;
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// The parts with their numbers.
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

/// The number of a part; none if the file has no name that a part could have.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    // A number may have a sign, and a part does not.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The records of all parts as JSON Lines.
pub(crate) fn text(directory: &Path) -> Result<Box<dyn BufRead>, Error> {
    rows(directory).map(as_lines)
}

/// The records of all parts.
pub(crate) fn rows(
    directory: &Path,
) -> Result<impl Iterator<Item = Result<Row, Error>> + use<>, Error> {
    Ok(of(directory)?.into_iter().flat_map(|part| {
        let records = source(&part, Format::PARQUET).and_then(|part| part.rows());
        let (records, error) = match records {
            Ok(records) => (Some(records), None),
            Err(error) => (None, Some(Err(error))),
        };
        records.into_iter().flatten().chain(error)
    }))
}

/// All of a journal, which may be missing.
pub(crate) fn whole(journal: &Path) -> Result<Box<dyn BufRead>, Error> {
    match File::open(journal) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Box::new(io::empty())),
        Err(error) => Err(unreadable(journal, &error)),
    }
}

/// The whole lines of a journal.
fn lines(journal: &Path) -> Result<impl BufRead + use<>, Error> {
    let (mut text, mut line, mut end) = (whole(journal)?, Vec::new(), 0);
    loop {
        line.clear();
        let read = text.read_until(b'\n', &mut line);
        read.map_err(|error| unreadable(journal, &error))?;
        if line.ends_with(b"\n") {
            end += line.len() as u64
        } else {
            return Ok(whole(journal)?.take(end));
        }
    }
}

/// Makes the next part of a journal, if there is anything in it.
fn add(directory: &Path, journal: &Path) -> Result<(), Error> {
    if journal.metadata().is_ok_and(|data| data.len() == 0) {
        return Ok(());
    }
    let made = fs::create_dir(directory).and_then(|()| sync_directory(directory));
    if let Err(error) = made
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(cannot(directory, &error));
    }
    let last = numbered(directory).map_err(|error| cannot(directory, &error))?.pop();
    let next = last.as_ref().map_or(0, |(number, _)| number + 1);
    let path = directory.join(format!("part-{next:06}.parquet"));
    let journal = source(journal, Format::JSONL)?;
    placed(&path, |new| match &last {
        Some((_, last)) => convert::write_after(last, &journal, new),
        None => convert::write(&journal, Format::PARQUET, new),
    })
    .map(drop)
}

/// Removes all parts.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    for (_, part) in numbered(directory)? {
        fs::remove_file(part)?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    Error::stopped(format!("{} cannot be written: {error}", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let name = path.display();
    Error::plan(format!("the output {name} cannot be used: {error}"))
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
