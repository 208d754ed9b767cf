//! SQLite databases: the rows of a table, with the types of their values.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde_json::{Number, Value};

use crate::format::rows::{FormatRow, OpenedRows, RowReader, accepted};
use crate::row::Fields;

/// The table that throng writes.
pub(super) const TABLE: &str = "results";
/// The number of rows that are read at a time.
const PAGE: usize = 256;

/// The rows of the table that is asked for; else of `results`, or of the only one.
pub(super) fn open(path: &Path, asked: Option<&str>, _: u64) -> OpenedRows {
    let name = path.display().to_string();
    let wrong = |error: rusqlite::Error| format!("{name} is no SQLite database: {error}");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let database = database.map_err(wrong)?;
    let tables = tables(&database).map_err(wrong)?;
    let wanted = asked.unwrap_or(TABLE);
    let table = match (tables.iter().find(|table| *table == wanted), &tables[..]) {
        (Some(table), _) => table,
        (None, [table]) if asked.is_none() => table,
        _ => return Err(which(&name, &tables, wanted)),
    };
    let columns = columns(&database, table).map_err(wrong)?;
    let place = place(&columns).ok_or_else(|| no_place(&name, table))?;
    Ok(Box::new(SqliteRows {
        table: quoted(table),
        name,
        place,
        database,
        page: Vec::new().into_iter(),
        after: i64::MIN,
    }))
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn which(name: &str, tables: &[String], wanted: &str) -> String {
    if tables.is_empty() {
        format!("{name} has no table")
    } else {
        format!(
            "{name} has the tables {}, and none called {wanted}: say which one with input.table (--table)",
            tables.join(", ")
        )
    }
}

fn tables(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name";
    let mut statement = database.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// The names of a table's columns, in their order.
pub(super) fn columns(database: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = database.prepare("select name from pragma_table_xinfo(?)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// What SQLite calls a row's place in its table, where no column is called so: a
/// column of that name would hide it.
fn place(columns: &[String]) -> Option<&'static str> {
    let is_column = |name: &str| columns.iter().any(|it| it.eq_ignore_ascii_case(name));
    let mut names = ["rowid", "_rowid_", "oid"].into_iter();
    names.find(|name| !is_column(name))
}

fn no_place(name: &str, table: &str) -> String {
    format!(
        "{name} cannot be read: the table {table} has columns called rowid, _rowid_ and oid, which hide the place of a row: rename one of them"
    )
}

/// Rows by their place in the table, a page at a time, so that nothing is locked
/// while they are worked on.
struct SqliteRows {
    name: String,
    table: String,
    /// What a row's place is called.
    place: &'static str,
    database: Connection,
    page: std::vec::IntoIter<(i64, FormatRow)>,
    after: i64,
}

impl SqliteRows {
    fn read(&self) -> rusqlite::Result<Vec<(i64, FormatRow)>> {
        let sql = format!(
            "select {place}, * from {} where {place} > ? order by {place} limit {PAGE}",
            self.table,
            place = self.place
        );
        let mut statement = self.database.prepare_cached(&sql)?;
        let names: Vec<String> =
            statement.column_names()[1..].iter().map(|name| (*name).to_owned()).collect();
        let rows = statement.query_map(params_from_iter([self.after]), |row| {
            let mut fields = Fields::new();
            for (place, name) in names.iter().enumerate() {
                match value(row.get_ref(place + 1)?) {
                    Ok(value) => fields.insert(name.clone(), own(name, value)),
                    Err(flaw) => return Ok((row.get(0)?, Err(format!("{name:?}: {flaw}")))),
                };
            }
            Ok((row.get(0)?, accepted(fields)))
        })?;
        rows.collect()
    }
}

impl Iterator for SqliteRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        if self.page.len() == 0 {
            match self.read() {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => return Some(Err(format!("{}: {error}", self.name))),
            }
        }
        let (place, fields) = self.page.next()?;
        self.after = place;
        Some(fields.map_err(|flaw| format!("{}, row {place}: {flaw}", self.name)))
    }
}

impl RowReader for SqliteRows {}

/// SQLite has no booleans, but results have.
fn own(name: &str, value: Value) -> Value {
    match (name, value.as_i64()) {
        ("_ok" | "_last", Some(number)) => Value::Bool(number != 0),
        _ => value,
    }
}

/// Bytes are base64; JSON has no number that is infinite.
fn value(value: ValueRef) -> Result<Value, String> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(f64::INFINITY) => "Infinity".into(),
        ValueRef::Real(f64::NEG_INFINITY) => "-Infinity".into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => str::from_utf8(text)
            .map_err(|_| "this text is not UTF-8: make it a blob, which is read as base64")?
            .into(),
        ValueRef::Blob(bytes) => BASE64_STANDARD.encode(bytes).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(values: &str) -> Vec<FormatRow> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let database = Connection::open(&path).unwrap();
        let sql = format!("create table t (a, b); insert into t values {values}");
        database.execute_batch(&sql).unwrap();
        open(&path, None, 0).unwrap().collect()
    }

    #[test]
    fn what_json_has_no_type_for_is_text_and_nothing_is_lost() {
        let rows = read("(x'00ff', 1e999), (-1e999, 'é'), (9007199254740993, null)");
        let expected = [
            json!({"a": "AP8=", "b": "Infinity"}),
            json!({"a": "-Infinity", "b": "é"}),
            json!({"a": 9_007_199_254_740_993_i64, "b": null}),
        ];
        let rows: Vec<_> = rows.into_iter().map(|row| Value::from(row.unwrap())).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_text_that_is_none_is_an_error_with_its_place() {
        let rows = read("(1, 2), (1, cast(x'ff' as text))");
        let error = rows[1].clone().unwrap_err();
        assert!(error.contains("a.db, row 2: \"b\": this text is not UTF-8"), "{error}");
    }
}
