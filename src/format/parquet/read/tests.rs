//! Each type of Parquet, from a file to JSON.

use std::sync::Arc;

use parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::*;

/// Writes one value of the column.
type Write = fn(&mut SerializedColumnWriter<'_>);

fn int(writer: &mut SerializedColumnWriter<'_>, value: i32) {
    let written = writer.typed::<Int32Type>().write_batch(&[value], Some(&[1]), None);
    written.unwrap();
}

fn long(writer: &mut SerializedColumnWriter<'_>, value: i64) {
    let written = writer.typed::<Int64Type>().write_batch(&[value], Some(&[1]), None);
    written.unwrap();
}

fn double(writer: &mut SerializedColumnWriter<'_>, value: f64) {
    let written = writer.typed::<DoubleType>().write_batch(&[value], Some(&[1]), None);
    written.unwrap();
}

fn bytes(writer: &mut SerializedColumnWriter<'_>, value: &[u8]) {
    let value = ByteArray::from(value.to_vec());
    let written = writer.typed::<ByteArrayType>().write_batch(&[value], Some(&[1]), None);
    written.unwrap();
}

fn fixed(writer: &mut SerializedColumnWriter<'_>, value: &[u8]) {
    let value = FixedLenByteArray::from(value.to_vec());
    let writer = writer.typed::<FixedLenByteArrayType>();
    writer.write_batch(&[value], Some(&[1]), None).unwrap();
}

/// What is read of a column of this type, with one value.
fn read(kind: &str, write: Write) -> Result<Value, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let (physical, logical) = kind.split_once(' ').unwrap_or((kind, ""));
    let schema = format!("message m {{ optional {physical} a {logical}; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    write(&mut column);
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let row = file_rows(&path)?.into_iter().next().unwrap();
    Ok(row["a"].clone())
}

fn file_rows(path: &Path) -> Result<Vec<Value>, String> {
    open(path)?.map(|row| row.map(Value::from)).collect()
}

#[test]
fn each_type_comes_out_as_it_is() {
    /// 2024-01-02 03:04:05 UTC.
    const SECOND: i64 = 1_704_164_645;
    #[rustfmt::skip]
    let cases: [(&str, Write, Value); 29] = [
        ("int64 (TIMESTAMP(NANOS,true))", |it| long(it, SECOND * 1_000_000_000 + 1), json!("2024-01-02T03:04:05.000000001Z")),
        ("int64 (TIMESTAMP(NANOS,false))", |it| long(it, SECOND * 1_000_000_000), json!("2024-01-02T03:04:05")),
        ("int64 (TIMESTAMP(NANOS,true))", |it| long(it, i64::MIN), json!("1677-09-21T00:12:43.145224192Z")),
        ("int64 (TIMESTAMP(MICROS,true))", |it| long(it, SECOND * 1_000_000 + 10), json!("2024-01-02T03:04:05.00001Z")),
        ("int64 (TIMESTAMP(MICROS,false))", |it| long(it, -1), json!("1969-12-31T23:59:59.999999")),
        ("int64 (TIMESTAMP(MILLIS,false))", |it| long(it, SECOND * 1000 + 678), json!("2024-01-02T03:04:05.678")),
        ("int64 (TIMESTAMP_MILLIS)", |it| long(it, SECOND * 1000), json!("2024-01-02T03:04:05Z")),
        ("int96", |it| {
            let mut value = Int96::new();
            value.set_data(3_723_000_000_001_u64 as u32, (3_723_000_000_001_u64 >> 32) as u32, 2_440_589);
            it.typed::<Int96Type>().write_batch(&[value], Some(&[1]), None).unwrap();
        }, json!("1970-01-02T01:02:03.000000001")),
        ("int32 (DATE)", |it| int(it, 19_724), json!("2024-01-02")),
        ("int32 (DATE)", |it| int(it, -1), json!("1969-12-31")),
        ("int32 (TIME(MILLIS,true))", |it| int(it, 3_723_004), json!("01:02:03.004")),
        ("int64 (TIME(MICROS,false))", |it| long(it, 86_399_999_999), json!("23:59:59.999999")),
        ("int64 (TIME(NANOS,true))", |it| long(it, 1), json!("00:00:00.000000001")),
        ("fixed_len_byte_array(12) (INTERVAL)", |it| fixed(it, &[1, 0, 0, 0, 2, 0, 0, 0, 0xE8, 3, 0, 0]), json!("P1M2DT1.000S")),
        ("fixed_len_byte_array(16) (UUID)", |it| fixed(it, &[0xAB; 16]), json!("abababab-abab-abab-abab-abababababab")),
        ("fixed_len_byte_array(2) (FLOAT16)", |it| fixed(it, &[0, 0x3E]), json!(1.5)),
        ("fixed_len_byte_array(2)", |it| fixed(it, &[0, 0xFF]), json!("AP8=")),
        ("binary", |it| bytes(it, b"\xFF"), json!("/w==")),
        ("binary (BSON)", |it| bytes(it, b"ok"), json!("b2s=")),
        ("binary (UTF8)", |it| bytes(it, "é".as_bytes()), json!("é")),
        ("binary (ENUM)", |it| bytes(it, b"x"), json!("x")),
        ("int64 (INTEGER(64,false))", |it| long(it, -1), json!(u64::MAX)),
        ("int32 (INTEGER(32,false))", |it| int(it, -1), json!(u32::MAX)),
        ("int32 (INTEGER(8,true))", |it| int(it, -5), json!(-5)),
        ("int64 (DECIMAL(18,2))", |it| long(it, 110), json!("1.10")),
        ("binary (DECIMAL(20,3))", |it| bytes(it, &[0xFF, 0xFE]), json!("-0.002")),
        ("float", |it| {
            it.typed::<FloatType>().write_batch(&[0.5], Some(&[1]), None).unwrap();
        }, json!(0.5)),
        ("double", |it| double(it, f64::NEG_INFINITY), json!("-Infinity")),
        ("double", |it| double(it, f64::NAN), Value::Null),
    ];
    for (kind, write, value) in cases {
        assert_eq!(read(kind, write), Ok(value), "{kind}");
    }
}

#[test]
fn what_is_nested_comes_out_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let schema = "message m {
        optional group l (LIST) { repeated group list { optional int64 element (TIMESTAMP(MICROS,true)); } }
        required group s { optional int32 d (DATE); }
        optional group m (MAP) { repeated group key_value { required binary key (UTF8); optional int32 value (DATE); } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut next = |write: &mut dyn FnMut(&mut SerializedColumnWriter<'_>)| {
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column);
        column.close().unwrap();
    };
    // Two in the first row, and none in the second.
    next(&mut |it| {
        let times = it.typed::<Int64Type>();
        let levels = (Some(&[3, 3, 0][..]), Some(&[0, 1, 0][..]));
        times.write_batch(&[0, 1], levels.0, levels.1).unwrap();
    });
    next(&mut |it| {
        it.typed::<Int32Type>().write_batch(&[1], Some(&[1, 0]), None).unwrap();
    });
    next(&mut |it| {
        let keys = it.typed::<ByteArrayType>();
        keys.write_batch(&["k".into()], Some(&[2, 0]), Some(&[0, 0])).unwrap();
    });
    next(&mut |it| {
        let days = it.typed::<Int32Type>();
        days.write_batch(&[2], Some(&[3, 0]), Some(&[0, 0])).unwrap();
    });
    group.close().unwrap();
    writer.close().unwrap();
    let first = json!({"l": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z"], "s": {"d": "1970-01-02"}, "m": {"k": "1970-01-03"}});
    let second = json!({"l": null, "s": {"d": null}, "m": null});
    assert_eq!(file_rows(&path).unwrap(), [first, second]);
}

#[test]
fn what_is_out_of_reach_is_an_error_with_its_place() {
    let far: [(&str, Write); 3] = [
        ("int64 (TIMESTAMP(MILLIS,true))", |it| long(it, i64::MAX)),
        ("int32 (DATE)", |it| int(it, i32::MAX)),
        ("int32 (TIME(MILLIS,true))", |it| int(it, -1)),
    ];
    for (kind, write) in far {
        let error = read(kind, write).unwrap_err();
        assert!(error.contains("a.parquet, record 1: \"a\": "), "{error}");
    }
    let error = read("binary (UTF8)", |it| bytes(it, b"\xFF")).unwrap_err();
    assert!(error.contains("a.parquet, record 1: "), "{error}");
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let schema = parse_message_type("message m { optional int32 a; optional int64 a; }").unwrap();
    let file = File::create(&path).unwrap();
    let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default());
    writer.unwrap().close().unwrap();
    let error = file_rows(&path).unwrap_err();
    assert!(
        error.ends_with("has two columns that are called \"a\": rename one of them"),
        "{error}"
    );
}
