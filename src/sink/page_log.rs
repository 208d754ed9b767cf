//! The log of pages, `FILE.pages`: the address of each page of an unfinished list, and the
//! number of its first item; and the rows that failed in a later stage ([`LaterRow`]).
//!
//! It is a hint. The journal alone says which items are there: a row goes on at a page only if
//! the journal has all items before it, and without the log a row begins at its first page.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::later_rows::{LaterRow, RowParts};
use super::resume::completed::Unfinished;
use crate::fs::beside;
use crate::pages::PageAddress;

/// A page at which a list can go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageStart {
    /// The number of the page, from 0.
    #[serde(rename = "page")]
    pub number: u64,
    /// The number of its first item among the row's items, from 0.
    pub item: u64,
    /// The address of its request.
    #[serde(flatten)]
    pub address: PageAddress,
}

/// One line of the log.
#[derive(Serialize, Deserialize)]
struct PageLine {
    row: u64,
    #[serde(flatten)]
    start: PageStart,
}

/// The log of a run that writes a file.
#[derive(Debug)]
pub struct PageLog {
    path: PathBuf,
    /// The length of the lines of later stages that it began with.
    later_bytes: u64,
    /// The open file; none before its first line.
    file: Mutex<Option<File>>,
    /// Whether `--retry-failed` needs it: a row ended at a page that failed, or in a later stage.
    is_needed: AtomicBool,
}

/// The latest page of each unfinished row before which no item is missing, by the row.
pub(super) fn read(results: &Path, unfinished: &Unfinished) -> io::Result<HashMap<u64, PageStart>> {
    let mut starts: HashMap<u64, PageStart> = HashMap::new();
    for line in lines(results)? {
        // A torn line is the last one of a run that was killed.
        let Ok(PageLine { row, start }) = serde_json::from_slice(&line?) else {
            continue;
        };
        if unfinished.of(row).is_some_and(|items| items.has_all_before(start.item)) {
            let known = starts.entry(row).or_insert_with(|| start.clone());
            if known.item <= start.item {
                *known = start;
            }
        }
    }
    Ok(starts)
}

/// The rows that failed in a later stage.
pub(super) fn later_rows(results: &Path) -> io::Result<impl Iterator<Item = io::Result<LaterRow>>> {
    let rows = lines(results)?.map(|line| line.map(|line| LaterRow::of_line(&line)));
    Ok(rows.filter_map(Result::transpose))
}

/// The lines of a log, if there is one.
fn lines(results: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    let file = match File::open(path(results)) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        file => Some(file?),
    };
    Ok(file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n')))
}

/// Removes a log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    match fs::remove_file(path(results)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn path(results: &Path) -> PathBuf {
    beside(results, ".pages")
}

impl PageLog {
    /// A log of these pages alone, after those rows of later stages of the log so far that are
    /// to stay.
    pub(super) fn start(
        results: &Path,
        starts: &HashMap<u64, PageStart>,
        mut stays: impl FnMut(&LaterRow) -> bool,
    ) -> io::Result<PageLog> {
        let path = path(results);
        let has_none = starts.is_empty() && !path.try_exists()?;
        if has_none {
            let is_needed = AtomicBool::new(false);
            return Ok(PageLog { path, later_bytes: 0, file: Mutex::default(), is_needed });
        }
        let new = beside(&path, ".new");
        let mut later_bytes = 0;
        let mut seen = RowParts::default();
        let mut file = BufWriter::new(File::create(&new)?);
        for later in later_rows(results)? {
            let later = later?;
            let (row, item, _) = later.place();
            if stays(&later) && seen.insert(row, item) {
                let line = json_line(&later);
                later_bytes += line.len() as u64;
                file.write_all(&line)?;
            }
        }
        for (row, start) in starts {
            file.write_all(&page_line(*row, start.clone()))?;
        }
        file.into_inner()?;
        if starts.is_empty() && later_bytes == 0 {
            fs::remove_file(&new)?;
            remove(results)?;
        } else {
            fs::rename(&new, &path)?;
        }
        let is_needed = AtomicBool::new(false);
        Ok(PageLog { path, later_bytes, file: Mutex::default(), is_needed })
    }

    /// The length of the lines of later stages that the log began with.
    pub(super) fn later_bytes(&self) -> u64 {
        self.later_bytes
    }

    /// Notes a page of this row. A page that can't be noted is requested once more after a
    /// crash, which is no reason to end the run.
    pub fn note(&self, row: u64, start: PageStart) {
        self.append(&page_line(row, start));
    }

    /// Notes a row that failed in a later stage, and keeps the log for `--retry-failed`.
    pub fn note_failed(&self, row: &LaterRow) {
        self.append(&json_line(row));
        self.keep();
    }

    fn append(&self, line: &[u8]) {
        let Ok(mut file) = self.file.lock() else {
            return;
        };
        if file.is_none() {
            *file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        }
        if let Some(open) = &mut *file
            && open.write_all(line).is_err()
        {
            *file = None;
        }
    }

    /// Keeps the log after the run: `--retry-failed` needs it.
    pub fn keep(&self) {
        self.is_needed.store(true, Ordering::Relaxed);
    }

    /// Removes the log after a run of which nothing is left to do.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(&self, all_done: bool) -> io::Result<()> {
        if !all_done || self.is_needed.load(Ordering::Relaxed) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn page_line(row: u64, start: PageStart) -> Vec<u8> {
    json_line(&PageLine { row, start })
}

fn json_line(line: &impl Serialize) -> Vec<u8> {
    // Numbers and texts can always be written.
    let mut line = serde_json::to_vec(line).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::ReadRecord;

    fn start(number: u64, item: u64) -> PageStart {
        PageStart { number, item, address: PageAddress::Param("after".into(), item.into()) }
    }

    fn unfinished(rows: &[(u64, u64)]) -> Unfinished {
        let mut unfinished = Unfinished::default();
        for &(row, item) in rows {
            let seen = ReadRecord { row, item: Some(item), last: false, failed: None, key: None };
            unfinished.add(row, &seen);
        }
        unfinished
    }

    #[test]
    fn a_list_goes_on_at_the_last_page_before_which_nothing_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let log = PageLog::start(&results, &HashMap::new(), |_| true).unwrap();
        let url = PageAddress::Url("http://h/?p=2".into());
        for (row, start) in [
            (0, start(1, 2)),
            (0, start(2, 4)),
            (7, PageStart { number: 1, item: 1, address: url.clone() }),
            (8, start(1, 1)),
        ] {
            log.note(row, start);
        }
        let mut torn = OpenOptions::new().append(true).open(path(&results)).unwrap();
        torn.write_all(b"{\"row\":0,\"page\":9,\"item\":1,\"par").unwrap();
        // Row 0 lacks its item 3, and row 8 is whole.
        let rows = unfinished(&[(0, 0), (0, 1), (0, 2), (0, 4), (7, 0)]);
        let starts = read(&results, &rows).unwrap();
        assert_eq!(starts.len(), 2);
        assert_eq!((&starts[&0], &starts[&7].address), (&start(1, 2), &url));
        // The next run keeps these alone, and the last one nothing.
        let log = PageLog::start(&results, &starts, |_| true).unwrap();
        assert_eq!(read(&results, &rows).unwrap(), starts);
        log.end(false).unwrap();
        assert!(path(&results).exists());
        log.end(true).unwrap();
        assert!(!path(&results).exists());
    }
}
