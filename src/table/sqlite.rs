//! The table `results` of a SQLite database, which others may read while it is
//! written. [door: files]

use std::iter;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::Value;

use super::TableWriter;
use crate::source::Fields;
use crate::source::sqlite::{TABLE, columns, quoted};

/// A table that grows by transactions.
pub(crate) struct Database {
    connection: Connection,
    columns: Vec<String>,
    /// What makes a row the only one of its kind.
    key: &'static str,
}

/// A table of SQLite's has no more columns.
const MOST_COLUMNS: usize = 2000;

/// Why a table can't have so many columns, and what to do; none if it can.
pub(crate) fn too_many(columns: usize) -> Option<String> {
    (columns > MOST_COLUMNS).then(|| {
        format!(
            "there are {columns} columns, and a table of a SQLite database has {MOST_COLUMNS} at most: choose another output format (.parquet, .jsonl)"
        )
    })
}

/// The types of throng's own columns; all others keep the type of each value.
const TYPES: [(&str, &str); 10] = [
    ("_row", "integer"),
    ("_item", "integer"),
    ("_last", "boolean"),
    ("_ok", "boolean"),
    ("_status", "integer"),
    ("_error", "text"),
    ("_detail", "text"),
    ("_attempts", "integer"),
    ("_ms", "real"),
    ("_body", "text"),
];

impl Database {
    /// Opens one, or makes it; with the columns that identify a row, if any do.
    pub fn open(path: &Path, key: &'static str) -> rusqlite::Result<Database> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What a power cut takes is put back from the journal.
        connection.pragma_update(None, "synchronous", "normal")?;
        let columns = columns(&connection, TABLE)?;
        Ok(Database {
            connection,
            columns,
            key,
        })
    }

    /// How many rows there are.
    pub fn count(&self) -> rusqlite::Result<u64> {
        if self.columns.is_empty() {
            return Ok(0);
        }
        let sql = format!("select count(*) from {TABLE}");
        let count: i64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Adds rows, all of them or none.
    pub fn add<'a>(&mut self, rows: impl Iterator<Item = &'a Fields>) -> rusqlite::Result<()> {
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

    /// Moves all of it into the one file.
    pub fn close(self) -> rusqlite::Result<()> {
        self.connection
            .pragma_update(None, "journal_mode", "delete")?;
        self.connection.close().map_err(|(_, error)| error)
    }

    fn insert(&mut self, row: &Fields) -> rusqlite::Result<()> {
        let have = self.columns.len();
        let names: Vec<String> = row.keys().map(|name| quoted(&self.column(name))).collect();
        self.make_columns(have)?;
        let places = vec!["?"; names.len()].join(",");
        let sql = format!(
            "insert or replace into {TABLE} ({}) values ({places})",
            names.join(",")
        );
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
        let own = TYPES.iter().any(|(own, _)| is_twin(own, name));
        own || self.columns.iter().any(|known| is_twin(known, name))
    }

    /// Columns come as rows have them; so many are there.
    fn make_columns(&self, have: usize) -> rusqlite::Result<()> {
        let mut new = self.columns[have..].iter().map(|name| column(name));
        if have == 0 {
            let columns: Vec<String> = new.collect();
            let key = match self.key {
                "" => String::new(),
                key => format!(", primary key ({key})"),
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

/// Whether these are two names, and one to SQLite.
pub(crate) fn is_twin(one: &str, other: &str) -> bool {
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

/// A database that is filled at once.
pub(super) struct Filling {
    database: Database,
    rows: Vec<Fields>,
}

/// So many rows are added at a time.
const BATCH: usize = 1000;

impl Filling {
    pub fn new(path: &Path) -> Result<Filling, String> {
        // What an earlier try has left there would be added to.
        let _ = std::fs::remove_file(path);
        let database = Database::open(path, "").map_err(|error| error.to_string())?;
        Ok(Filling {
            database,
            rows: Vec::new(),
        })
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
