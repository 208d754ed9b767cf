//! The file of a store: a SQLite database, which several runs may read and write at a time and
//! which a kill at any moment leaves whole.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::entry::{AskedBy, KeptAnswer};
use super::request_key::RequestKey;
use crate::fs::beside;

/// A connection to a store. Each thread has its own.
pub(super) struct Database {
    connection: Connection,
}

/// An entry that is to be written.
pub(super) struct NewEntry {
    pub key: RequestKey,
    pub asked: u64,
    pub by: AskedBy,
    /// Whether the server can be asked if the answer still holds.
    pub has_validator: bool,
    /// The number of the process for which alone a failure is kept; none for an answer.
    pub failed_in: Option<u64>,
    pub bytes: Vec<u8>,
}

/// The version of the tables.
const VERSION: i64 = 1;
/// Maximum time to wait for another run that writes.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS answers (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        asked INTEGER NOT NULL,
        run INTEGER NOT NULL,
        row INTEGER NOT NULL,
        has_validator INTEGER NOT NULL,
        failed_in INTEGER,
        answer BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS failures ON answers (failed_in) WHERE failed_in IS NOT NULL;
";

impl Database {
    /// Opens the database, and makes it if it isn't there, for its owner alone.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(path: &Path) -> Result<Database, String> {
        create(path).map_err(|error| error.to_string())?;
        Database::connect(path).map_err(|error| explained(&error))?
    }

    fn connect(path: &Path) -> rusqlite::Result<Result<Database, String>> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |it| it.get(0))?;
        if version > VERSION {
            return Ok(Err("a newer version of throng has made it".to_owned()));
        }
        if version < VERSION {
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        Ok(Ok(Database { connection }))
    }

    /// The entry of this request; none if there is none, or if it is damaged. A failure counts
    /// only for the process with this number.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn find(&self, key: RequestKey, process: u64) -> Result<Option<KeptAnswer>, String> {
        let sql = "SELECT asked, run, row, answer FROM answers \
                   WHERE key = ? AND (failed_in IS NULL OR failed_in = ?)";
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let found = statement.query_row(params![key.0, signed(process)], |row| {
                let by = AskedBy { run: unsigned(row.get(1)?), row: unsigned(row.get(2)?) };
                let entry = row.get_ref(3)?.as_blob().unwrap_or_default();
                Ok(KeptAnswer::decode(key, unsigned(row.get(0)?), by, entry))
            });
            found.optional()
        });
        found.map(Option::flatten).map_err(|error| explained(&error))
    }

    /// When the answer to this request came, in milliseconds since 1970, and for whom, if there
    /// is one.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn asked(&self, key: RequestKey) -> Result<Option<(u64, AskedBy)>, String> {
        let sql = "SELECT asked, run, row FROM answers WHERE key = ? AND failed_in IS NULL";
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let found = statement.query_row(params![key.0], |row| {
                let by = AskedBy { run: unsigned(row.get(1)?), row: unsigned(row.get(2)?) };
                Ok((unsigned(row.get(0)?), by))
            });
            found.optional()
        });
        found.map_err(|error| explained(&error))
    }

    /// Writes all of these entries, in the place of earlier ones.
    ///
    /// # Errors
    /// The file can't be written: then it has none of them.
    pub fn put(&mut self, entries: &[NewEntry]) -> Result<(), String> {
        let mut put = || -> rusqlite::Result<()> {
            let immediate = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(immediate)?;
            {
                let sql = "INSERT OR REPLACE INTO answers \
                           (key, asked, run, row, has_validator, failed_in, answer) \
                           VALUES (?, ?, ?, ?, ?, ?, ?)";
                let mut insert = transaction.prepare_cached(sql)?;
                for entry in entries {
                    insert.execute(params![
                        entry.key.0,
                        signed(entry.asked),
                        signed(entry.by.run),
                        signed(entry.by.row),
                        entry.has_validator,
                        entry.failed_in.map(signed),
                        entry.bytes,
                    ])?;
                }
            }
            transaction.commit()
        };
        put().map_err(|error| explained(&error))
    }

    /// Removes the answers that came before this time and can't be renewed.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn remove_before(&self, asked: u64) -> Result<(), String> {
        let sql = "DELETE FROM answers WHERE asked < ? AND NOT has_validator";
        let removed = self.connection.execute(sql, params![signed(asked)]);
        removed.map(|_| ()).map_err(|error| explained(&error))
    }

    /// Removes the answers for which other runs than this one have asked.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn remove_others(&self, run: u64) -> Result<(), String> {
        let removed = self.connection.execute("DELETE FROM answers WHERE run <> ?", [signed(run)]);
        removed.map(|_| ()).map_err(|error| explained(&error))
    }

    /// Removes the failures of the process with this number, or of all.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn remove_failures(&self, process: u64) -> Result<(), String> {
        let sql = "DELETE FROM answers WHERE failed_in = ?";
        let removed = self.connection.execute(sql, params![signed(process)]);
        removed.map(|_| ()).map_err(|error| explained(&error))
    }

    /// Removes the oldest entries until the others take no more than this number of bytes. Gives
    /// the number of those that were removed.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn shrink_to(&self, max_size: u64) -> Result<u64, String> {
        self.shrink(max_size).map_err(|error| explained(&error))
    }

    fn shrink(&self, max_size: u64) -> rusqlite::Result<u64> {
        let mut removed = 0;
        while self.size()?.used > max_size {
            let ends = "SELECT min(id), max(id) FROM answers";
            let (first, last): (Option<i64>, Option<i64>) =
                self.connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (Some(first), Some(last)) = (first, last) else { break };
            let until = first + (last - first) / PARTS;
            let count = self.connection.execute("DELETE FROM answers WHERE id <= ?", [until])?;
            removed += count as u64;
        }
        if self.size()?.file > max_size {
            // Each page that is free gives a row.
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(removed)
    }

    /// Moves all that was written into the file itself, which is cut to what it needs. Other
    /// connections to it may go on.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn settle(&self) -> Result<(), String> {
        let settled = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        settled.map_err(|error| explained(&error))
    }

    fn size(&self) -> rusqlite::Result<Size> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        let (pages, free): (i64, i64) = (pragma("page_count")?, pragma("freelist_count")?);
        let page: i64 = pragma("page_size")?;
        Ok(Size { used: unsigned((pages - free) * page), file: unsigned(pages * page) })
    }
}

/// Sizes, in bytes.
struct Size {
    /// That of all entries.
    used: u64,
    /// That of the file, once it has all that was written.
    file: u64,
}

/// The part of the oldest entries that is removed at a time.
const PARTS: i64 = 20;

/// Makes an empty file that its owner alone may read, unless it is there.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(|_| ())
}

/// Removes a database and the files beside it.
///
/// # Errors
/// What the system says.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for file in files(path) {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn files(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")]
}

fn explained(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            format!(
                "{error}: the file is damaged, or no store; move it away, and answers are kept anew"
            )
        }
        _ => error.to_string(),
    }
}

fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
