//! Rows to batches of typed columns, compressed by LZ4.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use serde_json::Value;

use crate::format::column_set::{ColumnSet, ColumnType, text};
use crate::format::entry::{NewTable, TableWriter};
use crate::row::Fields;

/// Maximum number of rows of a batch.
const MOST_ROWS: usize = 64 * 1024;
/// Maximum size of a batch, in bytes, before its last row.
const MOST_BYTES: usize = 64 << 20;

/// A new file with these columns.
pub(super) fn open(path: &Path, columns: ColumnSet) -> NewTable {
    let table = ArrowTable::new(path, columns).map_err(|error| error.to_string())?;
    Ok(Box::new(table))
}

struct ArrowTable {
    writer: FileWriter<BufWriter<File>>,
    batch: BatchBuilder,
    rows: usize,
    bytes: usize,
}

/// Gathers rows to batches of these columns.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    columns: Vec<(String, ColumnType, ColumnBuilder)>,
}

/// The values of one column in the batch that is being gathered.
enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
}

impl ArrowTable {
    fn new(path: &Path, columns: ColumnSet) -> Result<ArrowTable, ArrowError> {
        let batch = BatchBuilder::new(columns);
        let file = BufWriter::new(File::create(path)?);
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let writer = FileWriter::try_new_with_options(file, &batch.schema, options)?;
        Ok(ArrowTable { writer, batch, rows: 0, bytes: 0 })
    }

    fn write_batch(&mut self) -> Result<(), String> {
        (self.rows, self.bytes) = (0, 0);
        let batch = self.batch.finish()?;
        self.writer.write(&batch).map_err(|error| error.to_string())
    }
}

impl BatchBuilder {
    /// A builder of empty batches.
    pub fn new(columns: ColumnSet) -> BatchBuilder {
        let columns = columns.columns.into_iter();
        let columns = columns.map(|(name, kind)| (name, kind, ColumnBuilder::new(kind)));
        let columns: Vec<_> = columns.collect();
        let field = |(name, _, column): &(String, ColumnType, ColumnBuilder)| {
            Field::new(name, column.kind(), true)
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        BatchBuilder { schema, columns }
    }

    /// Why a row has no place in these columns, if it has none.
    pub fn flaw(&self, fields: &Fields) -> Option<String> {
        let wrong = |(name, value): (&String, &Value)| {
            let column = self.columns.iter().find(|(column, ..)| column == name);
            match column {
                None if value.is_null() => None,
                None => Some(format!("the column {name} is in no row before")),
                Some((_, kind, _)) if kind.holds(value) => None,
                Some((_, _, column)) => Some(format!(
                    "the column {name} is {} in the rows before, and {value} is not",
                    column.kind()
                )),
            }
        };
        fields.iter().find_map(wrong)
    }

    /// Adds a row; gives about how many bytes it takes.
    pub fn add(&mut self, fields: &Fields) -> usize {
        let columns = self.columns.iter_mut();
        let add = |(name, _, column): &mut (String, ColumnType, ColumnBuilder)| {
            column.add(fields.get(name).unwrap_or(&Value::Null))
        };
        columns.map(add).sum()
    }

    /// The batch of the rows so far.
    pub fn finish(&mut self) -> Result<RecordBatch, String> {
        let columns = self.columns.iter_mut().map(|(_, _, column)| column.finish());
        let batch = RecordBatch::try_new(self.schema.clone(), columns.collect());
        batch.map_err(|error| error.to_string())
    }
}

impl ColumnBuilder {
    fn new(kind: ColumnType) -> ColumnBuilder {
        match kind {
            ColumnType::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            ColumnType::Int | ColumnType::Long => ColumnBuilder::Int(Int64Builder::new()),
            ColumnType::Float => ColumnBuilder::Float(Float64Builder::new()),
            ColumnType::Null | ColumnType::Text => ColumnBuilder::Text(StringBuilder::new()),
        }
    }

    fn kind(&self) -> DataType {
        match self {
            ColumnBuilder::Bool(_) => DataType::Boolean,
            ColumnBuilder::Int(_) => DataType::Int64,
            ColumnBuilder::Float(_) => DataType::Float64,
            ColumnBuilder::Text(_) => DataType::Utf8,
        }
    }

    /// Adds a value; gives about how many bytes it takes.
    fn add(&mut self, value: &Value) -> usize {
        match self {
            ColumnBuilder::Bool(column) => column.append_option(value.as_bool()),
            ColumnBuilder::Int(column) => column.append_option(value.as_i64()),
            ColumnBuilder::Float(column) => column.append_option(value.as_f64()),
            ColumnBuilder::Text(column) => {
                let text = text(value);
                column.append_option(text.as_deref());
                return 5 + text.map_or(0, |text| text.len());
            }
        }
        9
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Bool(column) => Arc::new(column.finish()),
            ColumnBuilder::Int(column) => Arc::new(column.finish()),
            ColumnBuilder::Float(column) => Arc::new(column.finish()),
            ColumnBuilder::Text(column) => Arc::new(column.finish()),
        }
    }
}

impl TableWriter for ArrowTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        self.bytes += self.batch.add(fields);
        self.rows += 1;
        if self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES { self.write_batch() } else { Ok(()) }
    }

    fn end(mut self: Box<Self>) -> Result<(), String> {
        if self.rows > 0 {
            self.write_batch()?;
        }
        let file = self.writer.into_inner().map_err(|error| error.to_string())?;
        file.into_inner().map_err(|error| error.to_string())?;
        Ok(())
    }
}
