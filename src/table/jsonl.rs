//! JSON Lines: one object a row.

use super::TableWriter;
use super::pack::PackedWriter;
use crate::source::Fields;

pub(super) struct JsonlTable(PackedWriter);

impl JsonlTable {
    pub fn new(out: PackedWriter) -> JsonlTable {
        JsonlTable(out)
    }
}

impl TableWriter for JsonlTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        let mut line = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.0.write(&line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.0.end()
    }
}
