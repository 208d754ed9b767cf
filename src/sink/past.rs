//! The records that a file has already. [door: files]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::Format;
use super::resume::{self, Past, Unreadable};
use crate::error::Error;

/// Those of a file that is to be resumed.
pub(super) fn of(path: &Path, format: Format) -> Result<Past, Error> {
    let name = path.display();
    read(path, format).map_err(|error| {
        Error::plan(match error {
            Unreadable::Io(error) => format!("the output {name} cannot be read: {error}"),
            Unreadable::Line(line) => {
                format!("{name} cannot be resumed: line {line} is no {format} record with a _row")
            }
        })
    })
}

/// Why a file with something in it is left alone, and what may be done.
pub(super) fn refuse(path: &Path, format: Format) -> Error {
    let name = path.display();
    let Ok(past) = read(path, format) else {
        return Error::plan(format!(
            "{name} exists and is no {format} results file: choose another name, or replace it \
             with --overwrite"
        ));
    };
    let rows = match past.rows.len() {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    };
    Error::plan(format!(
        "{name} has {rows} already: --resume goes on with it, --overwrite starts again"
    ))
}

fn read(path: &Path, format: Format) -> Result<Past, Unreadable> {
    let file = File::open(path).map_err(Unreadable::Io)?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    resume::read(&mut file, &mut *format.decoder())
}
