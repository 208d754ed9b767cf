//! The table `results` of a SQLite database, which others may read while it is written.

use std::collections::HashMap;
use std::iter;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::Value;

use super::read::{TABLE, columns, quoted};
use crate::format::column_set::ColumnSet;
use crate::format::columns::Columns;
use crate::format::entry::{MirrorFile, NewTable, OpenedMirror, TableWriter};
use crate::row::Fields;

/// A table that grows by transactions.
struct Database {
    connection: Connection,
    columns: Vec<String>,
    /// The columns of the primary key, with commas; empty for none.
    key: String,
}

/// The maximum number of columns of a table.
const MOST_COLUMNS: usize = 2000;

/// A new database whose table is filled row by row.
pub(super) fn table(path: &Path, columns: ColumnSet) -> NewTable {
    match too_many(columns.columns.len()) {
        None => Ok(Box::new(Filling::new(path)?)),
        Some(flaw) => Err(flaw),
    }
}

/// A database that follows a journal; with the columns that identify a record.
pub(super) fn mirror(path: &Path, key: &[&str]) -> OpenedMirror {
    let name = path.display().to_string();
    let database = Database::open(path, key).map_err(|error| with_advice(&error, &name))?;
    Ok(Box::new(DatabaseMirror { database, name }))
}

/// Why a database of this name can't have these columns, if it can't.
pub(super) fn flaw(columns: &Columns, name: &str) -> Option<String> {
    let too_many = too_many(columns.names().count());
    too_many
        .map(|flaw| format!("{name} cannot be written: {flaw}"))
        .or_else(|| {
            case_collision(columns.names()).map(|(one, other)| {
                format!(
                    "the columns {one:?} and {other:?} differ only in case, and {name} is a SQLite database, which takes them for one: rename one of them, or choose another output format"
                )
            })
        })
}

/// The first two names that SQLite takes for one.
fn case_collision<'a>(names: impl Iterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut seen = HashMap::new();
    for name in names {
        if let Some(before) = seen.insert(name.to_ascii_lowercase(), name) {
            return Some((before, name));
        }
    }
    None
}

/// Why a table can't have this number of columns, and what to do; none if it can.
fn too_many(columns: usize) -> Option<String> {
    (columns > MOST_COLUMNS).then(|| {
        format!(
            "there are {columns} columns, and a table of a SQLite database has {MOST_COLUMNS} at most: choose another output format (.parquet, .jsonl)"
        )
    })
}

/// The types of throng's own columns; all others keep the type of each value.
const TYPES: [(&str, &str); 17] = [
    ("_row", "integer"),
    ("_item", "integer"),
    ("_last", "boolean"),
    ("_ok", "boolean"),
    ("_status", "integer"),
    ("_error", "text"),
    ("_detail", "text"),
    ("_attempts", "integer"),
    ("_ms", "real"),
    ("_stored", "boolean"),
    ("_same_as", "integer"),
    ("_target", "text"),
    ("_file", "text"),
    ("_size", "integer"),
    ("_sha256", "text"),
    ("_content_type", "text"),
    ("_body", "text"),
];

impl Database {
    /// Opens a database, or makes it; with the columns that identify a row, if any do.
    fn open(path: &Path, key: &[&str]) -> rusqlite::Result<Database> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What a power cut takes is put back from the journal.
        connection.pragma_update(None, "synchronous", "normal")?;
        let columns = columns(&connection, TABLE)?;
        Ok(Database { connection, columns, key: key.join(", ") })
    }

    /// How many rows there are.
    fn count(&self) -> rusqlite::Result<u64> {
        if self.columns.is_empty() {
            return Ok(0);
        }
        let sql = format!("select count(*) from {TABLE}");
        let count: i64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Adds rows, all of them or none.
    fn add<'a>(&mut self, rows: impl Iterator<Item = &'a Fields>) -> rusqlite::Result<()> {
        self.connection.execute_batch("begin")?;
        for row in rows {
            if let Err(error) = self.insert(row) {
                // Whatever this says, the first error is what matters.
                let _ = self.connection.execute_batch("rollback");
                self.columns = columns(&self.connection, TABLE)?;
                return Err(error);
            }
        }
        self.connection.execute_batch("commit")
    }

    /// Moves its log into the one file.
    fn close(self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "delete")?;
        self.connection.close().map_err(|(_, error)| error)
    }

    fn insert(&mut self, row: &Fields) -> rusqlite::Result<()> {
        let have = self.columns.len();
        let names: Vec<String> = row.keys().map(|name| quoted(&self.column(name))).collect();
        self.make_columns(have)?;
        let places = vec!["?"; names.len()].join(",");
        let sql = format!("insert or replace into {TABLE} ({}) values ({places})", names.join(","));
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.execute(params_from_iter(row.values().map(Cell)))?;
        Ok(())
    }

    /// The column of this name; a new one if there is none. SQLite takes names that
    /// differ only in case for one, so that the later one gets a number.
    fn column(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        for column in iter::once(name.to_owned()).chain(numbered) {
            if self.columns.contains(&column) {
                return column;
            }
            if !self.is_taken(&column) {
                self.columns.push(column.clone());
                return column;
            }
        }
        name.to_owned()
    }

    fn is_taken(&self, name: &str) -> bool {
        let own = TYPES.iter().any(|(own, _)| collides(own, name));
        own || self.columns.iter().any(|known| collides(known, name))
    }

    /// Makes the columns after the first `have`.
    fn make_columns(&self, have: usize) -> rusqlite::Result<()> {
        let mut new = self.columns[have..].iter().map(|name| column(name));
        if have == 0 {
            let columns: Vec<String> = new.collect();
            let key = if self.key.is_empty() {
                String::new()
            } else {
                format!(", primary key ({})", self.key)
            };
            let sql = format!("create table {TABLE} ({}{key})", columns.join(", "));
            return self.connection.execute_batch(&sql);
        }
        new.try_for_each(|column| {
            let sql = format!("alter table {TABLE} add column {column}");
            self.connection.execute_batch(&sql)
        })
    }
}

/// Whether two names differ only in case.
fn collides(one: &str, other: &str) -> bool {
    one != other && one.eq_ignore_ascii_case(other)
}

fn column(name: &str) -> String {
    let own = TYPES.iter().find(|(own, _)| *own == name);
    format!("{} {}", quoted(name), own.map_or("", |(_, kind)| kind))
}

struct Cell<'a>(&'a Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(SqlValue::Null),
            Value::Bool(value) => i64::from(*value).into(),
            Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => number.into(),
                (None, Some(number)) if !self.0.is_u64() => number.into(),
                _ => self.0.to_string().into(),
            },
            other => other.to_string().into(),
        })
    }
}

/// A database that follows a journal.
struct DatabaseMirror {
    database: Database,
    name: String,
}

impl MirrorFile for DatabaseMirror {
    fn count(&self) -> Result<u64, String> {
        let count = self.database.count();
        count.map_err(|error| with_advice(&error, &self.name))
    }

    fn add(&mut self, rows: &[Fields]) -> Result<(), String> {
        let added = self.database.add(rows.iter());
        added.map_err(|error| with_advice(&error, &self.name))
    }

    fn close(self: Box<Self>) -> Result<(), String> {
        let closed = self.database.close();
        closed.map_err(|error| with_advice(&error, &self.name))
    }
}

/// An error, and what to do where the plan could not know the columns.
fn with_advice(error: &rusqlite::Error, name: &str) -> String {
    let error = error.to_string();
    if !error.starts_with("too many columns") {
        return error;
    }
    format!(
        "{error}: a table of a SQLite database has {MOST_COLUMNS} at most; no record is lost: make another file of them with throng convert --format jsonl {name}.journal OTHER.jsonl, and go on with that one"
    )
}

/// A database that is filled at once.
struct Filling {
    database: Database,
    rows: Vec<Fields>,
}

/// The number of rows that are added at a time.
const BATCH: usize = 1000;

impl Filling {
    fn new(path: &Path) -> Result<Filling, String> {
        // What an earlier try has left there would be added to.
        let _ = std::fs::remove_file(path);
        let database = Database::open(path, &[]).map_err(|error| error.to_string())?;
        Ok(Filling { database, rows: Vec::new() })
    }

    fn add(&mut self) -> Result<(), String> {
        let rows = std::mem::take(&mut self.rows);
        let added = self.database.add(rows.iter());
        added.map_err(|error| error.to_string())
    }
}

impl TableWriter for Filling {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        self.rows.push(fields.clone());
        match self.rows.len() {
            BATCH.. => self.add(),
            _ => Ok(()),
        }
    }

    fn end(mut self: Box<Self>) -> Result<(), String> {
        self.add()?;
        self.database.close().map_err(|error| error.to_string())
    }
}
