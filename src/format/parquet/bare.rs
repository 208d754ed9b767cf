//! A Parquet file whose times, dates and the like come out as the numbers or bytes that
//! are in it. The library would round some of them, and knows no others.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::PageReader;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, RowGroupMetaData,
};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

/// How long an INT96 is, in bytes.
const INT96: i32 = 12;

/// The file, with the types of its columns made bare.
pub(super) struct Bare {
    file: SerializedFileReader<File>,
    metadata: ParquetMetaData,
}

impl Bare {
    pub fn new(file: File) -> Result<Bare> {
        let file = SerializedFileReader::new(file)?;
        let about = file.metadata().file_metadata();
        let schema = SchemaDescriptor::new(bare(&about.schema_descr().root_schema_ptr())?);
        let schema = Arc::new(schema);
        let groups = file.metadata().row_groups().iter();
        let groups = groups.map(|group| bare_group(group, &schema));
        let metadata = ParquetMetaData::new(
            FileMetaData::new(about.version(), about.num_rows(), None, None, schema.clone(), None),
            groups.collect::<Result<_>>()?,
        );
        Ok(Bare { file, metadata })
    }

    /// The types as the file has them.
    pub fn schema(&self) -> TypePtr {
        let about = self.file.metadata().file_metadata();
        about.schema_descr().root_schema_ptr()
    }
}

fn bare_group(group: &RowGroupMetaData, schema: &SchemaDescPtr) -> Result<RowGroupMetaData> {
    let columns = schema.columns().iter();
    let columns = columns.map(|column| ColumnChunkMetaData::builder(column.clone()).build());
    RowGroupMetaData::builder(schema.clone())
        .set_num_rows(group.num_rows())
        .set_column_metadata(columns.collect::<Result<_>>()?)
        .build()
}

fn bare(of: &TypePtr) -> Result<TypePtr> {
    let about = of.get_basic_info();
    if of.is_group() {
        let fields = of.get_fields().iter().map(bare).collect::<Result<_>>()?;
        let mut group = Type::group_type_builder(of.name()).with_fields(fields);
        if about.has_repetition() {
            group = group.with_repetition(about.repetition());
        }
        let group = group.with_converted_type(about.converted_type());
        return group.build().map(Arc::new);
    }
    let physical = of.get_physical_type();
    if physical != Physical::INT96 && is_known(of) {
        return Ok(of.clone());
    }
    let (physical, length) = match of.as_ref() {
        _ if physical == Physical::INT96 => (Physical::FIXED_LEN_BYTE_ARRAY, INT96),
        Type::PrimitiveType { type_length, .. } => (physical, *type_length),
        Type::GroupType { .. } => (physical, -1),
    };
    Type::primitive_type_builder(of.name(), physical)
        .with_repetition(about.repetition())
        .with_length(length)
        .build()
        .map(Arc::new)
}

/// Whether the library reads it, and loses nothing.
fn is_known(of: &Type) -> bool {
    let about = of.get_basic_info();
    let is_whole = matches!(
        of.get_physical_type(),
        Physical::INT32 | Physical::INT64 | Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY
    );
    match about.converted_type() {
        ConvertedType::NONE => {
            matches!(about.logical_type_ref(), None | Some(LogicalType::Float16))
        }
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => {
            of.get_physical_type() == Physical::BYTE_ARRAY
        }
        ConvertedType::DECIMAL => is_whole,
        ConvertedType::INT_8
        | ConvertedType::INT_16
        | ConvertedType::INT_32
        | ConvertedType::UINT_8
        | ConvertedType::UINT_16
        | ConvertedType::UINT_32 => of.get_physical_type() == Physical::INT32,
        ConvertedType::INT_64 | ConvertedType::UINT_64 => of.get_physical_type() == Physical::INT64,
        _ => false,
    }
}

impl FileReader for Bare {
    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    fn num_row_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn get_row_group(&self, place: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(BareGroup {
            pages: self.file.get_row_group(place)?,
            metadata: self.metadata.row_group(place),
        }))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct BareGroup<'a> {
    pages: Box<dyn RowGroupReader + 'a>,
    metadata: &'a RowGroupMetaData,
}

impl RowGroupReader for BareGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        self.pages.get_column_page_reader(column)
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}
