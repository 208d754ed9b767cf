//! What the values of a Parquet file are in JSON.
//!
//! What JSON has no type for is text as RFC 3339 and ISO 8601 write it: a point in time
//! ends with `Z`, one of which only the local time is known has no zone. Bytes are
//! base64, decimals text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::format::rows::shortest;
use crate::format::times::{DAY, date, time, timestamp};
use crate::row::Fields;

/// What the values of a column are, or of a part of it.
#[derive(Debug, PartialEq)]
pub(super) enum ColumnKind {
    Group(Vec<ColumnKind>),
    List(Box<ColumnKind>),
    Map(Box<ColumnKind>, Box<ColumnKind>),
    Date,
    /// A time of day; the number of nanoseconds in its unit.
    Time(i64),
    /// A point in time; the number of nanoseconds in its unit, and whether it is in UTC.
    Timestamp(i64, bool),
    /// Nanoseconds of a Julian day.
    Int96,
    /// Months, days, milliseconds.
    Interval,
    Uuid,
    /// What JSON has, or what has no better form.
    Plain,
}

impl ColumnKind {
    /// The kind of this type.
    pub fn of(of: &Type) -> ColumnKind {
        let about = of.get_basic_info();
        let kind =
            if of.is_primitive() { ColumnKind::of_primitive(of) } else { ColumnKind::of_group(of) };
        let is_repeated = about.has_repetition() && about.repetition() == Repetition::REPEATED;
        let is_list = of.is_group() && about.converted_type() == ConvertedType::LIST;
        if is_repeated && !is_list {
            return ColumnKind::List(Box::new(kind));
        }
        kind
    }

    fn of_group(of: &Type) -> ColumnKind {
        let fields = of.get_fields();
        match (of.get_basic_info().converted_type(), fields) {
            (ConvertedType::LIST, [repeated]) => {
                let element =
                    if is_element(repeated) { repeated } else { &repeated.get_fields()[0] };
                ColumnKind::List(Box::new(match ColumnKind::of(element) {
                    // It repeats what the list has.
                    ColumnKind::List(inner) if is_element(repeated) => *inner,
                    kind => kind,
                }))
            }
            (ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, [entry]) if entry.is_group() => {
                match entry.get_fields() {
                    [key, value] => ColumnKind::Map(
                        Box::new(ColumnKind::of(key)),
                        Box::new(ColumnKind::of(value)),
                    ),
                    keys => ColumnKind::List(Box::new(
                        keys.first().map_or(ColumnKind::Plain, |key| ColumnKind::of(key)),
                    )),
                }
            }
            _ => ColumnKind::Group(fields.iter().map(|field| ColumnKind::of(field)).collect()),
        }
    }

    fn of_primitive(of: &Type) -> ColumnKind {
        let about = of.get_basic_info();
        let nanoseconds = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1_000_000,
            TimeUnit::MICROS => 1_000,
            TimeUnit::NANOS => 1,
        };
        match about.logical_type_ref() {
            _ if of.get_physical_type() == Physical::INT96 => return ColumnKind::Int96,
            Some(LogicalType::Timestamp(it)) => {
                return ColumnKind::Timestamp(nanoseconds(&it.unit), it.is_adjusted_to_u_t_c);
            }
            Some(LogicalType::Time(it)) => return ColumnKind::Time(nanoseconds(&it.unit)),
            Some(LogicalType::Uuid) => return ColumnKind::Uuid,
            _ => {}
        }
        match about.converted_type() {
            ConvertedType::DATE => ColumnKind::Date,
            ConvertedType::TIME_MILLIS => ColumnKind::Time(1_000_000),
            ConvertedType::TIME_MICROS => ColumnKind::Time(1_000),
            ConvertedType::TIMESTAMP_MILLIS => ColumnKind::Timestamp(1_000_000, true),
            ConvertedType::TIMESTAMP_MICROS => ColumnKind::Timestamp(1_000, true),
            ConvertedType::INTERVAL => ColumnKind::Interval,
            _ => ColumnKind::Plain,
        }
    }

    /// The fields of a row, whose kind this is.
    pub fn fields(&self, row: &Row) -> Result<Fields, String> {
        let ColumnKind::Group(kinds) = self else {
            return Err("its schema is no group".to_owned());
        };
        let mut fields = Map::new();
        for (kind, (name, field)) in kinds.iter().zip(row.get_column_iter()) {
            let value = kind.value(field).map_err(|flaw| format!("{name:?}: {flaw}"))?;
            fields.insert(name.clone(), value);
        }
        Ok(fields)
    }

    fn value(&self, field: &Field) -> Result<Value, String> {
        match (self, field) {
            (_, Field::Null) => Ok(Value::Null),
            (ColumnKind::List(kind), Field::ListInternal(list)) => {
                list.elements().iter().map(|it| kind.value(it)).collect()
            }
            (kind, Field::ListInternal(list)) => {
                list.elements().iter().map(|it| kind.value(it)).collect()
            }
            (ColumnKind::List(kind), field) => kind.value(field),
            (ColumnKind::Map(keys, values), Field::MapInternal(map)) => {
                let mut entries = Map::new();
                for (key, value) in map.entries() {
                    let key = match keys.value(key)? {
                        Value::String(key) => key,
                        key => key.to_string(),
                    };
                    entries.insert(key, values.value(value)?);
                }
                Ok(entries.into())
            }
            (ColumnKind::Group(_), Field::Group(row)) => self.fields(row).map(Value::from),
            (kind, field) => kind.text(field).unwrap_or_else(|| plain(field)),
        }
    }

    /// A value that is text; none if it is what it is.
    fn text(&self, field: &Field) -> Option<Result<Value, String>> {
        let number = match field {
            Field::Int(number) => i128::from(*number),
            Field::Long(number) => i128::from(*number),
            Field::Bytes(bytes) => return self.text_of_bytes(bytes.data()),
            _ => return None,
        };
        let text = match self {
            ColumnKind::Date => date(number),
            ColumnKind::Time(unit) => time(number * i128::from(*unit)),
            ColumnKind::Timestamp(unit, is_utc) => timestamp(number * i128::from(*unit), *is_utc),
            _ => return None,
        };
        Some(
            text.map(Value::from)
                .ok_or_else(|| format!("{number} is no time between the years -9999 and 9999")),
        )
    }

    fn text_of_bytes(&self, bytes: &[u8]) -> Option<Result<Value, String>> {
        let number =
            |part: &[u8]| part.iter().rev().fold(0_i128, |all, byte| all << 8 | i128::from(*byte));
        let text = match (self, bytes.len()) {
            (ColumnKind::Int96, 12) => {
                // The first day of 1970.
                let day = number(&bytes[8..]) - 2_440_588;
                let within = i128::from(number(&bytes[..8]) as u64 as i64);
                let text = timestamp(day * DAY + within, false);
                return Some(text.map(Value::from).ok_or_else(|| {
                    format!("day {day} since 1970 is not between the years -9999 and 9999")
                }));
            }
            (ColumnKind::Interval, 12) => {
                interval(number(&bytes[..4]), number(&bytes[4..8]), number(&bytes[8..]))
            }
            (ColumnKind::Uuid, 16) => uuid(bytes),
            _ => return None,
        };
        Some(Ok(text.into()))
    }
}

/// Whether the elements of a list are this repeated type itself, as old writers have it.
fn is_element(repeated: &Type) -> bool {
    if repeated.is_primitive() {
        return true;
    }
    let fields = repeated.get_fields();
    let is_list = repeated.get_basic_info().converted_type() == ConvertedType::LIST;
    let repeats = |field: &Type| {
        let about = field.get_basic_info();
        about.has_repetition() && about.repetition() == Repetition::REPEATED
    };
    if is_list || matches!(fields, [only] if repeats(only)) {
        return false;
    }
    fields.len() > 1 || repeated.name() == "array" || repeated.name().ends_with("_tuple")
}

/// JSON has no number that is infinite; one that is none counts as missing.
fn plain(field: &Field) -> Result<Value, String> {
    let infinite =
        |number: f64| Ok(Value::from(if number > 0.0 { "Infinity" } else { "-Infinity" }));
    match field {
        Field::Float(number) if number.is_infinite() => infinite(f64::from(*number)),
        Field::Float(number) => Ok(shortest(*number).into()),
        Field::Double(number) if number.is_infinite() => infinite(*number),
        Field::Float16(number) if number.is_infinite() => infinite(f64::from(*number)),
        Field::Bytes(bytes) => Ok(BASE64_STANDARD.encode(bytes.data()).into()),
        field => Ok(field.to_json_value()),
    }
}

fn interval(months: i128, days: i128, milliseconds: i128) -> String {
    format!("P{months}M{days}DT{}.{:03}S", milliseconds / 1000, milliseconds % 1000)
}

fn uuid(bytes: &[u8]) -> String {
    let hex = |part: &[u8]| -> String { part.iter().map(|byte| format!("{byte:02x}")).collect() };
    let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    parts.map(hex).join("-")
}
