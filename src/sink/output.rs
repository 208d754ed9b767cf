//! Where records go, checked before anything is sent.

use super::check::{self, Place};
use super::target::Target;
use super::{Columns, Format, RowSet, Settings, Writer};
use crate::error::Error;

/// A place for records that could be opened when the plan was made.
#[derive(Debug, Clone)]
pub struct Output(Place);

impl Output {
    /// Checks the place; reads the file that is to be resumed.
    ///
    /// # Errors
    /// A plan error if records could not go there, or if there are records
    /// already and nothing says what to do with them.
    pub fn new(settings: &Settings) -> Result<Output, Error> {
        check::place(settings).map(Output)
    }

    /// The place for people: `stdout` or the path.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.target.to_string()
    }

    /// The path of the file that keeps the records, if a file does.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let kept = !matches!(self.0.target, Target::Stdout | Target::Device(_));
        kept.then(|| self.0.target.to_string())
    }

    /// How records are written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// The rows that the file to be resumed has already.
    #[must_use]
    pub fn done(&self) -> &RowSet {
        &self.0.past.rows
    }

    /// Opens it for records with these columns. Only now a new file is made,
    /// an overwritten one emptied, a torn last record of a resumed one cut.
    ///
    /// # Errors
    /// A plan error if a resumed file has other columns; else one that says
    /// what the system says.
    pub fn create(&self, columns: &Columns) -> Result<Writer, Error> {
        let Place {
            target,
            format,
            past,
        } = &self.0;
        let first_line = (past.end > 0).then_some(&*past.first_line);
        let encode = format.encoder(columns, first_line)?;
        let opened = target.open(past.end)?;
        Ok(match first_line {
            None => Writer::start(encode, opened),
            Some(_) => Writer::go_on(encode, opened),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Existing;
    use super::*;
    use std::fs;

    #[test]
    fn a_resumed_file_tells_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "{\"_row\":4}\n{\"_row\":5").unwrap();
        let settings = Settings {
            file: Some(path.display().to_string()),
            existing: Existing::Resume,
            ..Settings::default()
        };
        let output = Output::new(&settings).unwrap();
        assert!(output.done().contains(4) && output.done().len() == 1);
        assert_eq!(Some(output.name()), settings.file);
    }
}
