//! One row of a sheet after the other, on a thread of its own: the reader of the cells borrows
//! the workbook. Texts that several cells share are in memory, and a few rows.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use calamine::{DataRef, ExcelDateTime, Reader, Xlsx, XlsxError};
use serde_json::Value;

use crate::format::rows::{FormatRow, OpenedRows, RowReader};
use crate::row::Fields;
use crate::threads;

type Workbook = Xlsx<BufReader<File>>;

/// A row, or the end of the sheet.
type RowMessage = Option<FormatRow>;

/// Number of rows that are read ahead.
const AHEAD: usize = 64;

/// The greatest whole number to which all smaller ones are doubles.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The rows of the sheet that is asked for, or else of the only one, after the first `skipped`.
pub(super) fn open(path: &Path, asked: Option<&str>, skipped: u64) -> OpenedRows {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let workbook = Xlsx::new(BufReader::new(file))
        .map_err(|error: XlsxError| format!("{name} is no workbook of Excel: {error}"))?;
    let sheet = sheet(&workbook.sheet_names(), &name, asked)?;
    let (sender, rows) = sync_channel(AHEAD);
    let place = format!("{name}, sheet {sheet}");
    let sheet_place = place.clone();
    let read = move || {
        let message = match read(workbook, &sheet, &sheet_place, skipped, &sender) {
            Ok(()) => None,
            Err(why) => Some(Err(why)),
        };
        // Rows that nothing takes any more have no end.
        let _ = sender.send(message);
    };
    threads::spawn(read).map_err(|error| format!("{name}: {error}"))?;
    Ok(Box::new(SheetRows { place, rows, is_at_end: false }))
}

/// The sheet that is asked for, or else the only one.
fn sheet(names: &[String], workbook: &str, asked: Option<&str>) -> Result<String, String> {
    match (asked, names) {
        (None, [only]) => Ok(only.clone()),
        (Some(asked), _) if names.iter().any(|name| name == asked) => Ok(asked.to_owned()),
        (_, []) => Err(format!("{workbook} has no sheet")),
        (asked, _) => Err(format!(
            "{workbook} has the sheets {}{}: say which one with input.table (--table)",
            names.join(", "),
            asked.map_or_else(String::new, |asked| format!(", and none called {asked}"))
        )),
    }
}

struct SheetRows {
    place: String,
    rows: Receiver<RowMessage>,
    is_at_end: bool,
}

impl Iterator for SheetRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        if self.is_at_end {
            return None;
        }
        let message = self.rows.recv().unwrap_or_else(|_| {
            // The thread has panicked: what it has read so far is not all.
            Some(Err(format!("{} cannot be read to its end", self.place)))
        });
        self.is_at_end = !matches!(message, Some(Ok(_)));
        message
    }
}

impl RowReader for SheetRows {}

/// Sends the rows of a sheet, until it ends or nothing takes them any more.
fn read(
    mut workbook: Workbook,
    sheet: &str,
    place: &str,
    skipped: u64,
    rows: &SyncSender<RowMessage>,
) -> Result<(), String> {
    let wrong = |error: XlsxError| format!("{place}: {error}");
    let mut cells = workbook.worksheet_cells_reader(sheet).map_err(wrong)?;
    let mut names: Option<Vec<String>> = None;
    let (mut row, mut number, mut has_formula) = (Vec::new(), 0, false);
    loop {
        let cell = cells.next_cell_with_formula_metadata().map_err(wrong)?;
        let is_in_row = cell.as_ref().is_some_and(|cell| cell.pos.0 == number);
        if !is_in_row && (has_formula || row.iter().any(|value| *value != Value::Null)) {
            let whole = std::mem::take(&mut row);
            has_formula = false;
            match &names {
                None => names = Some(header(&whole, place, number)?),
                Some(names) => {
                    let fields = fields(names, whole, place, number)?;
                    if rows.send(Some(Ok(fields))).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        let Some(cell) = cell else {
            return Ok(());
        };
        let (line, column) = cell.pos;
        if u64::from(line) < skipped {
            continue;
        }
        if line != number {
            row.clear();
            number = line;
        }
        // A program that calculates nothing leaves out the values of formulas.
        has_formula |= cell.formula.is_some();
        let column = column as usize;
        if row.len() <= column {
            row.resize(column + 1, Value::Null);
        }
        row[column] = value(&cell.value);
    }
}

/// The names of the columns. One without a name is called by its place, as in a table.
fn header(row: &[Value], place: &str, number: u32) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut names: Vec<String> = row.iter().map(text).collect();
    for at in 0..names.len() {
        let name = &names[at];
        if !name.is_empty() && names[..at].contains(name) {
            let line = number + 1;
            return Err(format!(
                "{place}, row {line}: two columns are called {name:?}: rename one of them"
            ));
        }
    }
    for at in 0..names.len() {
        if names[at].is_empty() {
            names[at] = format!("column_{}", at + 1);
            while names[..at].contains(&names[at]) || names[at + 1..].contains(&names[at]) {
                names[at].push('_');
            }
        }
    }
    Ok(names)
}

/// The fields of a row; those that it lacks at its end are null.
fn fields(
    names: &[String],
    mut row: Vec<Value>,
    place: &str,
    number: u32,
) -> Result<Fields, String> {
    if let Some(at) = row.iter().skip(names.len()).position(|value| *value != Value::Null) {
        return Err(format!(
            "{place}, row {}: column {} has a value and no name: name it, remove the value, or leave out rows before the names (--skip-lines N, input.skip-lines)",
            number + 1,
            names.len() + at + 1
        ));
    }
    row.resize(names.len(), Value::Null);
    Ok(names.iter().cloned().zip(row).collect())
}

/// The value of a cell. An error, such as `#N/A`, is null.
fn value(cell: &DataRef<'_>) -> Value {
    match cell {
        DataRef::Int(number) => (*number).into(),
        // Excel has no whole numbers: all are doubles.
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE => {
            (*number as i64).into()
        }
        DataRef::Float(number) => (*number).into(),
        DataRef::String(text) => text.as_str().into(),
        DataRef::SharedString(text) => (*text).into(),
        DataRef::Bool(flag) => (*flag).into(),
        DataRef::DateTime(time) => moment(time).into(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.as_str().into(),
        DataRef::Error(_) | DataRef::Empty => Value::Null,
    }
}

/// A date, a time of day or both, as ISO 8601 has them; a duration in hours, minutes, seconds.
fn moment(time: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let fraction = if milli == 0 { String::new() } else { format!(".{milli:03}") };
    let days = time.as_f64();
    if time.is_duration() {
        let seconds = (days * 86_400.0).round() as i64;
        let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
        return format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let of_day = format!("{hour:02}:{minute:02}:{second:02}{fraction}");
    match days {
        _ if days.fract() == 0.0 => format!("{year:04}-{month:02}-{day:02}"),
        _ if days < 1.0 => of_day,
        _ => format!("{year:04}-{month:02}-{day:02}T{of_day}"),
    }
}
