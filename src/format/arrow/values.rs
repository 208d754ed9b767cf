//! The values of an Arrow column in JSON. Types that JSON lacks are text, as in Parquet.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray, downcast_dictionary_array};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::format::rows::shortest;
use crate::format::times::{DAY, date, time, timestamp};

/// The value of a row.
pub(super) fn value(column: &dyn Array, row: usize) -> Result<Value, String> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => number::<Int8Type>(column, row).into(),
        DataType::Int16 => number::<Int16Type>(column, row).into(),
        DataType::Int32 => number::<Int32Type>(column, row).into(),
        DataType::Int64 => number::<Int64Type>(column, row).into(),
        DataType::UInt8 => number::<UInt8Type>(column, row).into(),
        DataType::UInt16 => number::<UInt16Type>(column, row).into(),
        DataType::UInt32 => number::<UInt32Type>(column, row).into(),
        DataType::UInt64 => number::<UInt64Type>(column, row).into(),
        DataType::Float16 => float(number::<Float16Type>(column, row).to_f64()),
        DataType::Float32 => float(shortest(number::<Float32Type>(column, row))),
        DataType::Float64 => float(number::<Float64Type>(column, row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(column.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => bytes(column.as_fixed_size_binary().value(row)),
        DataType::Decimal32(..) => {
            column.as_primitive::<Decimal32Type>().value_as_string(row).into()
        }
        DataType::Decimal64(..) => {
            column.as_primitive::<Decimal64Type>().value_as_string(row).into()
        }
        DataType::Decimal128(..) => {
            column.as_primitive::<Decimal128Type>().value_as_string(row).into()
        }
        DataType::Decimal256(..) => {
            column.as_primitive::<Decimal256Type>().value_as_string(row).into()
        }
        DataType::List(_) => list(&column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row))?,
        DataType::Struct(_) => object(column.as_struct(), row)?,
        DataType::Map(..) => map(&column.as_map().value(row))?,
        DataType::Dictionary(..) => downcast_dictionary_array!(
            column => match column.key(row) {
                Some(key) => value(column.values(), key)?,
                None => Value::Null,
            },
            other => return Err(unknown(other)),
        ),
        kind => moment(column, row, kind)?,
    })
}

fn number<T: ArrowPrimitiveType>(column: &dyn Array, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

/// JSON has no number that is infinite; one that is none counts as missing.
fn float(number: f64) -> Value {
    if number.is_infinite() {
        let text = if number > 0.0 { "Infinity" } else { "-Infinity" };
        text.into()
    } else {
        number.into()
    }
}

fn bytes(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}

fn list(elements: &ArrayRef) -> Result<Value, String> {
    (0..elements.len()).map(|at| value(elements, at)).collect()
}

fn object(columns: &StructArray, row: usize) -> Result<Value, String> {
    let mut fields = Map::new();
    for (field, column) in columns.fields().iter().zip(columns.columns()) {
        fields.insert(field.name().clone(), value(column, row)?);
    }
    Ok(fields.into())
}

/// An entry has a key and a value.
fn map(entries: &StructArray) -> Result<Value, String> {
    let mut fields = Map::new();
    for at in 0..entries.len() {
        let key = match value(entries.column(0), at)? {
            Value::String(key) => key,
            key => key.to_string(),
        };
        fields.insert(key, value(entries.column(1), at)?);
    }
    Ok(fields.into())
}

/// A date, a time of day or a point in time.
fn moment(column: &dyn Array, row: usize, kind: &DataType) -> Result<Value, String> {
    let (count, unit) = match kind {
        DataType::Date32 => (i64::from(number::<Date32Type>(column, row)), DAY),
        DataType::Date64 => (number::<Date64Type>(column, row), 1_000_000),
        DataType::Time32(TimeUnit::Second) => {
            (i64::from(number::<Time32SecondType>(column, row)), 1_000_000_000)
        }
        DataType::Time32(_) => (i64::from(number::<Time32MillisecondType>(column, row)), 1_000_000),
        DataType::Time64(TimeUnit::Microsecond) => {
            (number::<Time64MicrosecondType>(column, row), 1_000)
        }
        DataType::Time64(_) => (number::<Time64NanosecondType>(column, row), 1),
        DataType::Timestamp(TimeUnit::Second, _) => {
            (number::<TimestampSecondType>(column, row), 1_000_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (number::<TimestampMillisecondType>(column, row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (number::<TimestampMicrosecondType>(column, row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (number::<TimestampNanosecondType>(column, row), 1)
        }
        kind => return Err(unknown(kind)),
    };
    let nanoseconds = i128::from(count) * unit;
    let text = match kind {
        DataType::Date32 | DataType::Date64 => date(nanoseconds.div_euclid(DAY)),
        DataType::Timestamp(_, zone) => timestamp(nanoseconds, zone.is_some()),
        _ => time(nanoseconds),
    };
    text.map(Value::from)
        .ok_or_else(|| format!("{count} is no time between the years -9999 and 9999"))
}

fn unknown(kind: &DataType) -> String {
    format!("its type is {kind}, which is not read: make it text")
}
