//! JSON Lines: one object a row.

use super::Table;
use super::pack::Packed;
use crate::source::Fields;

pub(super) struct Lines(Packed);

impl Lines {
    pub fn new(out: Packed) -> Lines {
        Lines(out)
    }
}

impl Table for Lines {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        let mut line = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.0.write(&line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.0.end()
    }
}
