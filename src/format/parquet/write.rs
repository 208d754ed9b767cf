//! Parquet: typed columns, in groups of rows, compressed by zstd.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::format::column_set::{ColumnSet, ColumnType, text};
use crate::format::entry::{NewTable, TableWriter};
use crate::row::Fields;

/// Maximum number of rows of a group, and its maximum size in bytes: memory is bounded.
const MOST_ROWS: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

/// A new file with these columns.
pub(super) fn open(path: &Path, columns: ColumnSet) -> NewTable {
    Ok(Box::new(RowGroups::new(path, columns)?))
}

/// A file of groups.
struct RowGroups {
    writer: SerializedFileWriter<File>,
    shape: ColumnSet,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

/// The values of one column in the group that is being gathered.
#[derive(Default)]
struct Column {
    /// 1 for a value, 0 for null.
    levels: Vec<i16>,
    bools: Vec<bool>,
    ints: Vec<i64>,
    floats: Vec<f64>,
    texts: Vec<ByteArray>,
}

/// The columns of a file that was written before.
pub(crate) fn shape(path: &Path) -> Result<ColumnSet, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
    let columns = reader.metadata().file_metadata().schema().get_fields();
    Ok(ColumnSet::with(columns.iter().map(|column| {
        let kind = match column.get_physical_type() {
            Physical::BOOLEAN => ColumnType::Bool,
            Physical::INT64 => ColumnType::Int,
            Physical::DOUBLE => ColumnType::Float,
            _ => ColumnType::Text,
        };
        (column.name().to_owned(), kind)
    })))
}

impl RowGroups {
    fn new(path: &Path, shape: ColumnSet) -> Result<RowGroups, String> {
        let file = File::create(path).map_err(|error| error.to_string())?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .build();
        let schema = schema(&shape).map_err(|error| error.to_string())?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties));
        Ok(RowGroups {
            writer: writer.map_err(|error| error.to_string())?,
            columns: empty(&shape),
            shape,
            rows: 0,
            bytes: 0,
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let columns = std::mem::replace(&mut self.columns, empty(&self.shape));
        (self.rows, self.bytes) = (0, 0);
        let mut group = self.writer.next_row_group()?;
        for (column, (_, kind)) in columns.iter().zip(&self.shape.columns) {
            if let Some(mut writer) = group.next_column()? {
                column.write(*kind, &mut writer)?;
                writer.close()?;
            }
        }
        group.close()?;
        Ok(())
    }
}

fn empty(shape: &ColumnSet) -> Vec<Column> {
    shape.columns.iter().map(|_| Column::default()).collect()
}

fn schema(shape: &ColumnSet) -> Result<TypePtr, ParquetError> {
    let columns = shape.columns.iter().map(|(name, kind)| {
        let (physical, logical) = match kind {
            ColumnType::Bool => (Physical::BOOLEAN, None),
            ColumnType::Int | ColumnType::Long => (Physical::INT64, None),
            ColumnType::Float => (Physical::DOUBLE, None),
            ColumnType::Null | ColumnType::Text => {
                (Physical::BYTE_ARRAY, Some(LogicalType::String))
            }
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        column.build().map(Arc::new)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("row").with_fields(columns);
    schema.build().map(Arc::new)
}

impl Column {
    /// Adds a value; gives about how many bytes it takes.
    fn add(&mut self, kind: ColumnType, value: &Value) -> usize {
        let is_there = match kind {
            ColumnType::Bool => value.as_bool().map(|value| self.bools.push(value)),
            ColumnType::Int | ColumnType::Long => value.as_i64().map(|value| self.ints.push(value)),
            ColumnType::Float => value.as_f64().map(|value| self.floats.push(value)),
            ColumnType::Null | ColumnType::Text => {
                text(value).map(|text| self.texts.push(text.as_str().into()))
            }
        };
        self.levels.push(i16::from(is_there.is_some()));
        match value {
            Value::String(text) => text.len() + 32,
            _ => 16,
        }
    }

    fn write(
        &self,
        kind: ColumnType,
        writer: &mut SerializedColumnWriter<'_>,
    ) -> Result<usize, ParquetError> {
        let levels = Some(&self.levels[..]);
        match kind {
            ColumnType::Bool => writer.typed::<BoolType>().write_batch(&self.bools, levels, None),
            ColumnType::Int | ColumnType::Long => {
                writer.typed::<Int64Type>().write_batch(&self.ints, levels, None)
            }
            ColumnType::Float => {
                writer.typed::<DoubleType>().write_batch(&self.floats, levels, None)
            }
            ColumnType::Null | ColumnType::Text => {
                writer.typed::<ByteArrayType>().write_batch(&self.texts, levels, None)
            }
        }
    }
}

impl TableWriter for RowGroups {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        for (column, (name, kind)) in self.columns.iter_mut().zip(&self.shape.columns) {
            self.bytes += column.add(*kind, fields.get(name).unwrap_or(&Value::Null));
        }
        self.rows += 1;
        if self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES {
            self.write_group().map_err(|error| error.to_string())
        } else {
            Ok(())
        }
    }

    fn end(mut self: Box<Self>) -> Result<(), String> {
        if self.rows > 0 {
            self.write_group().map_err(|error| error.to_string())?;
        }
        self.writer.close().map_err(|error| error.to_string())?;
        Ok(())
    }
}
