//! Where the bytes or values of a source are, once its settings make sense.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::rows::OpenedRows;
use super::{InputFormat, Settings, file, head, list, sqlite};

/// What the settings come down to.
#[derive(Debug, Clone)]
pub(super) enum SourceOrigin {
    File(PathBuf, InputFormat),
    /// A database, and which of its tables.
    Table(PathBuf, String),
    /// Without a format, its first bytes tell it.
    Stdin(Option<InputFormat>),
    List(Arc<[Value]>),
}

impl SourceOrigin {
    /// Refuses settings that name no source, or two, or a file that is not there.
    pub fn new(settings: &Settings) -> Result<SourceOrigin, String> {
        let format = settings.format;
        match (&settings.file, &settings.list) {
            (Some(file), None) if file == "-" => Ok(SourceOrigin::Stdin(format)),
            (Some(file), None) => {
                let format = file::check(file, format)?;
                match (&settings.table, format) {
                    (None, _) => Ok(SourceOrigin::File(file.into(), format)),
                    (Some(table), InputFormat::Sqlite) => {
                        Ok(SourceOrigin::Table(file.into(), table.clone()))
                    }
                    (Some(_), _) => Err(format!(
                        "input.table (--table) names a table of a SQLite database, and {file} is none: leave it out"
                    )),
                }
            }
            (None, Some(list)) if format.is_none() => {
                Ok(SourceOrigin::List(list.as_slice().into()))
            }
            (None, Some(_)) => Err(FORMAT_OF_LIST.into()),
            (None, None) => Err(NO_INPUT.into()),
            (Some(_), Some(_)) => Err(TWO_INPUTS.into()),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            SourceOrigin::File(path, _) | SourceOrigin::Table(path, _) => {
                path.display().to_string()
            }
            SourceOrigin::Stdin(_) => "standard input".into(),
            SourceOrigin::List(_) => "the job's list".into(),
        }
    }

    /// Whether it is still there after it was read; a pipe is not.
    pub fn lasts(&self) -> bool {
        match self {
            SourceOrigin::File(path, _) | SourceOrigin::Table(path, _) => {
                path.is_file() || path.is_dir()
            }
            SourceOrigin::Stdin(_) => false,
            SourceOrigin::List(_) => true,
        }
    }

    /// The hash of its first `most` bytes, and how many there were; none for a pipe.
    pub fn print(&self, most: u64) -> Result<Option<(u64, String)>, String> {
        match self {
            SourceOrigin::File(path, _) | SourceOrigin::Table(path, _) if self.lasts() => {
                file::print(path, most).map(Some)
            }
            SourceOrigin::List(list) => {
                let text = Value::from(&list[..]).to_string();
                Ok(Some(file::print_of(text.as_bytes(), most)))
            }
            SourceOrigin::File(..) | SourceOrigin::Table(..) | SourceOrigin::Stdin(_) => Ok(None),
        }
    }

    /// Starts to read it from its beginning.
    pub fn open(&self) -> OpenedRows {
        let name = self.name();
        if let SourceOrigin::File(path, format) = self
            && let Some(open) = format.opens_file()
        {
            return open(path);
        }
        let (bytes, format) = match self {
            SourceOrigin::Table(path, table) => return sqlite::open(path, Some(table)),
            SourceOrigin::File(path, format) => (file::open(path)?, Some(*format)),
            SourceOrigin::Stdin(format) => (file::stdin(), *format),
            SourceOrigin::List(list) => return Ok(Box::new(list::rows(list.clone(), &name))),
        };
        let (head, text) = head::read(bytes, &name)?;
        format
            .unwrap_or_else(|| head::guess(&head))
            .open(text, &name)
    }
}

const NO_INPUT: &str = "there is no input: \
    name a file with input.file (--input), or give the rows in input.list";
const TWO_INPUTS: &str = "there are two inputs, input.file and input.list: remove one of them";
const FORMAT_OF_LIST: &str = "input.format says how a file is written, \
    and input.list is no file: remove input.format";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_input_is_needed() {
        let list = Some(vec![]);
        let both = Settings {
            file: Some("-".into()),
            list: list.clone(),
            ..Settings::default()
        };
        let formatted = Settings {
            format: Some(InputFormat::Csv),
            list: list.clone(),
            ..Settings::default()
        };
        assert_eq!(
            SourceOrigin::new(&Settings::default()).unwrap_err(),
            NO_INPUT
        );
        assert_eq!(SourceOrigin::new(&both).unwrap_err(), TWO_INPUTS);
        assert_eq!(SourceOrigin::new(&formatted).unwrap_err(), FORMAT_OF_LIST);
    }

    #[test]
    fn a_pipe_is_never_read_ahead() {
        let stdin = Settings {
            file: Some("-".into()),
            ..Settings::default()
        };
        let list = Settings {
            list: Some(vec![]),
            ..Settings::default()
        };
        assert!(!SourceOrigin::new(&stdin).unwrap().lasts());
        assert!(SourceOrigin::new(&list).unwrap().lasts());
    }
}
