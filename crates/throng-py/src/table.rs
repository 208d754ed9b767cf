//! Records of a results file: as a stream of Arrow, and as objects of Python.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, SchemaRef};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};
use serde_json::Value;
use tempfile::TempDir;
use throng::internals::convert::{self as tables, Selection};
use throng::internals::source::{Rows, Settings, Source};

use crate::errors;

/// Writes the table of one file to another one, in the format of its name; gives the number
/// of rows.
#[pyfunction]
pub fn convert(py: Python<'_>, from: String, to: String) -> PyResult<u64> {
    let converted = py
        .detach(|| tables::convert(&settings(from), Path::new(&to), &Selection::default(), false));
    converted.map_err(|error| errors::of(&error))
}

/// The records of a results file: all, or those of rows that failed.
#[pyfunction]
pub fn records(file: String, failed: bool) -> Records {
    Records { file, failed, rows: Mutex::default() }
}

/// Records of a results file.
#[pyclass(frozen)]
pub struct Records {
    file: String,
    failed: bool,
    /// The records that are read one after the other.
    rows: Mutex<Option<Rows>>,
}

#[pymethods]
impl Records {
    /// The records as a stream of Arrow, in a capsule.
    fn arrow_stream<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let reader = py.detach(|| self.arrow_reader());
        let reader = reader.map_err(errors::Stopped::new_err)?;
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The next records, as dicts; empty at the end.
    fn next_batch<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let batch = py.detach(|| self.read(most)).map_err(|error| errors::of(&error))?;
        let list = PyList::empty(py);
        for record in &batch {
            list.append(dict(py, record)?)?;
        }
        Ok(list)
    }
}

impl Records {
    fn source_rows(&self) -> Result<Rows, throng::Error> {
        let rows = Source::new(&settings(self.file.clone()))?.rows()?;
        Ok(if self.failed { tables::failed(rows) } else { rows })
    }

    fn read(&self, most: usize) -> Result<Vec<throng::Fields>, throng::Error> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = match &mut *rows {
            Some(rows) => rows,
            None => rows.insert(self.source_rows()?),
        };
        rows.by_ref().take(most).map(|row| row.map(|row| row.fields)).collect()
    }

    /// The types of the columns are known when all records have been read, so they are written
    /// to a file first.
    fn arrow_reader(&self) -> Result<TemporaryFile, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = directory.path().join("records.arrow");
        let from = settings(self.file.clone());
        let all = |path: &Path| tables::convert(&from, path, &Selection::default(), false);
        let written = if self.failed { tables::convert_failed(&from, &path) } else { all(&path) };
        let rows = written.map_err(|error| error.to_string())?;
        let is_empty = rows == 0;
        if is_empty && self.failed {
            // A table without rows has the columns that it would have with some.
            std::fs::remove_file(&path).map_err(|error| error.to_string())?;
            all(&path).map_err(|error| error.to_string())?;
        }
        let file = File::open(&path).map_err(|error| error.to_string())?;
        let reader = FileReader::try_new(BufReader::new(file), None);
        let reader = reader.map_err(|error| error.to_string())?;
        Ok(TemporaryFile { reader, is_empty, _directory: directory })
    }
}

fn settings(file: String) -> Settings {
    Settings { file: Some(file), ..Settings::default() }
}

/// A file that is gone when it has been read.
struct TemporaryFile {
    reader: FileReader<BufReader<File>>,
    /// Whether only the columns of the file are wanted.
    is_empty: bool,
    _directory: TempDir,
}

impl Iterator for TemporaryFile {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_empty { None } else { self.reader.next() }
    }
}

impl RecordBatchReader for TemporaryFile {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}

/// Fields as a dict.
pub fn dict<'py>(py: Python<'py>, fields: &throng::Fields) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in fields {
        dict.set_item(name, object(py, value)?)?;
    }
    Ok(dict)
}

/// A value of JSON as an object of Python.
pub fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(object(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(fields) => Ok(dict(py, fields)?.into_any()),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (None, Some(number)) => number.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
    }
}
