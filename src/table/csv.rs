//! A table with commas: one header with all names.

use serde_json::Value;

use super::Table;
use super::cells::{cell, end, json};
use super::pack::Packed;
use super::shape::Shape;
use crate::source::Fields;

pub(super) struct Csv {
    out: Packed,
    names: Vec<String>,
    line: Vec<u8>,
    scratch: String,
}

impl Csv {
    pub fn new(mut out: Packed, shape: &Shape) -> Result<Csv, String> {
        let names: Vec<String> = shape.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut line = Vec::new();
        names.iter().for_each(|name| cell(name, &mut line));
        end(&mut line);
        out.write(&line)?;
        Ok(Csv {
            out,
            names,
            line,
            scratch: String::new(),
        })
    }
}

impl Table for Csv {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        self.line.clear();
        for name in &self.names {
            let value = fields
                .get(name)
                .filter(|value| !matches!(value, Value::Null));
            json(value, &mut self.scratch, &mut self.line);
        }
        end(&mut self.line);
        self.out.write(&self.line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.out.end()
    }
}
