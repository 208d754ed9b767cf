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
    schema: SchemaRef,
    columns: Vec<(String, ColumnBuilder)>,
    rows: usize,
    bytes: usize,
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
        let columns: Vec<_> = columns
            .columns
            .into_iter()
            .map(|(name, kind)| (name, ColumnBuilder::new(kind)))
            .collect();
        let fields = columns.iter().map(|(name, column)| Field::new(name, column.kind(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let file = BufWriter::new(File::create(path)?);
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        Ok(ArrowTable {
            writer: FileWriter::try_new_with_options(file, &schema, options)?,
            schema,
            columns,
            rows: 0,
            bytes: 0,
        })
    }

    fn write_batch(&mut self) -> Result<(), String> {
        (self.rows, self.bytes) = (0, 0);
        let columns = self.columns.iter_mut().map(|(_, column)| column.finish());
        let batch = RecordBatch::try_new(self.schema.clone(), columns.collect());
        let written = batch.and_then(|batch| self.writer.write(&batch));
        written.map_err(|error| error.to_string())
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
        for (name, column) in &mut self.columns {
            self.bytes += column.add(fields.get(name).unwrap_or(&Value::Null));
        }
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
