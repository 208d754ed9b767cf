//! Rows to a table: one header with all names.

use std::path::Path;

use serde_json::Value;

use super::cells::Cells;
use super::guard::has_guards;
use crate::format::column_set::ColumnSet;
use crate::format::compress::PackedWriter;
use crate::format::entry::{NewTable, TableWriter};
use crate::row::Fields;

/// A new file with these columns.
pub(super) fn open(path: &Path, columns: &ColumnSet, delimiter: u8) -> NewTable {
    let names: Vec<String> = columns.names().map(str::to_owned).collect();
    let mut table = CsvTable {
        out: PackedWriter::new(path)?,
        guards: has_guards(names.iter().map(String::as_str)),
        cells: Cells::new(delimiter),
        line: Vec::new(),
        names,
    };
    for name in &table.names {
        if table.guards {
            table.cells.text(name, &mut table.line);
        } else {
            table.cells.cell(name, &mut table.line);
        }
    }
    table.end_line()?;
    Ok(Box::new(table))
}

struct CsvTable {
    out: PackedWriter,
    names: Vec<String>,
    /// Whether texts that look like formulas get a guard: a reader takes it away
    /// only from results, and all other tables keep their texts as they are.
    guards: bool,
    cells: Cells,
    line: Vec<u8>,
}

impl CsvTable {
    fn end_line(&mut self) -> Result<(), String> {
        Cells::end(&mut self.line);
        self.out.write(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

impl TableWriter for CsvTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        for name in &self.names {
            let value = fields.get(name).filter(|value| **value != Value::Null);
            if self.guards {
                self.cells.json(value, &mut self.line);
            } else {
                self.cells.raw(value, &mut self.line);
            }
        }
        self.end_line()
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.out.end()
    }
}
