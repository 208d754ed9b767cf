//! A table with commas: one header with all names.

use serde_json::Value;

use super::TableWriter;
use super::cells::{cell, end, json, raw, text};
use super::pack::PackedWriter;
use super::shape::ColumnSet;
use crate::source::Fields;
use crate::source::guard::has_guards;

pub(super) struct CsvTable {
    out: PackedWriter,
    names: Vec<String>,
    /// Whether texts that look like formulas get a guard: a reader takes it away
    /// only from results, and all other tables keep their texts as they are.
    guards: bool,
    line: Vec<u8>,
    scratch: String,
}

impl CsvTable {
    pub fn new(mut out: PackedWriter, shape: &ColumnSet) -> Result<CsvTable, String> {
        let names: Vec<String> = shape.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut line = Vec::new();
        let guards = has_guards(names.iter().map(String::as_str));
        let header = if guards { text } else { cell };
        names.iter().for_each(|name| header(name, &mut line));
        end(&mut line);
        out.write(&line)?;
        Ok(CsvTable {
            out,
            names,
            guards,
            line,
            scratch: String::new(),
        })
    }
}

impl TableWriter for CsvTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        self.line.clear();
        let write = if self.guards { json } else { raw };
        for name in &self.names {
            let value = fields
                .get(name)
                .filter(|value| !matches!(value, Value::Null));
            write(value, &mut self.scratch, &mut self.line);
        }
        end(&mut self.line);
        self.out.write(&self.line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.out.end()
    }
}
