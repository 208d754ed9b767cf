//! From any format to any other one and back.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn settings(path: &Path) -> Settings {
    Settings { file: Some(path.display().to_string()), ..Settings::default() }
}

fn rows(path: &Path) -> Vec<Value> {
    let rows = Source::new(&settings(path)).unwrap().rows().unwrap();
    rows.map(|row| row.unwrap().fields.into()).collect()
}

fn given() -> Vec<Value> {
    vec![
        json!({"id": "007", "price": 12.5, "_row": 0, "_ok": true, "note": "a,\"b\"\nc"}),
        json!({"id": "é", "price": null, "_row": 1, "_ok": false, "note": "=1+1"}),
        json!({"id": "9", "price": 3.0, "_row": 2, "_ok": true, "note": ""}),
    ]
}

fn written(directory: &Path) -> PathBuf {
    let path = directory.join("a.jsonl");
    let text: String = given().iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn values_survive_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let mut from = written(directory.path());
    for name in
        ["b.parquet", "c.jsonl.zst", "d.parquet", "e.jsonl.gz", "f.jsonl", "g.arrow", "h.jsonl"]
    {
        let to = directory.path().join(name);
        assert_eq!(convert(&settings(&from), &to, &Selection::default(), false).unwrap(), 3);
        assert_eq!(rows(&to), given(), "{name}");
        from = to;
    }
}

#[test]
fn a_database_keeps_the_type_of_each_value() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (written(directory.path()), directory.path().join("b.db"));
    convert(&settings(&from), &to, &Selection::default(), false).unwrap();
    let rows = rows(&to);
    assert_eq!(rows[0]["id"], "007");
    assert_eq!(rows[0]["price"], 12.5);
    assert_eq!(rows[1]["price"], Value::Null);
    assert_eq!((&rows[2]["_row"], &rows[2]["_ok"]), (&json!(2), &json!(true)));
}

#[test]
fn names_that_differ_only_in_case_have_columns_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("a.jsonl"), directory.path().join("b.db"));
    let text =
        "{\"_ROW\":7,\"id\":1,\"_row\":0}\n{\"ID\":2,\"id\":3,\"Id\":4}\n{\"Id\":5,\"_row\":2}\n";
    fs::write(&from, text).unwrap();
    assert_eq!(convert(&settings(&from), &to, &Selection::default(), false).unwrap(), 3);
    let rows = rows(&to);
    let of = |name: &str| -> Vec<Value> { rows.iter().map(|row| row[name].clone()).collect() };
    let none = Value::Null;
    assert_eq!(of("_row"), [json!(0), none.clone(), json!(2)]);
    assert_eq!(of("_ROW_2"), [json!(7), none.clone(), none.clone()]);
    assert_eq!(of("id"), [json!(1), json!(3), none.clone()]);
    assert_eq!(of("ID_2"), [none.clone(), json!(2), none.clone()]);
    assert_eq!(of("Id_3"), [none, json!(4), json!(5)]);
}

#[test]
fn a_table_is_text_with_one_header() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (written(directory.path()), directory.path().join("b.csv.gz"));
    convert(&settings(&from), &to, &Selection::default(), false).unwrap();
    let rows = rows(&to);
    assert_eq!(rows[0]["note"], "a,\"b\"\nc");
    assert_eq!((&rows[1]["price"], &rows[1]["note"]), (&json!(""), &json!("=1+1")));
}

#[test]
fn any_text_comes_back_from_a_table() {
    let pieces = [
        "", "'", "''", "=", "@", "-1", "+", "\t", "\r", "\r\n", "\n", "\"", "\\", ",", " ", "x",
        "\u{feff}", "é",
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (own, table) in [(true, "b.csv"), (false, "b.csv"), (true, "b.tsv"), (false, "b.tsv")] {
        let mut text = String::new();
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let mut row =
                        json!({"'@a": format!("{one}{two}{three}"), "=b": format!("{three}{one}")});
                    if own {
                        row["_row"] = 0.into();
                        row["_ok"] = true.into();
                    }
                    text += &format!("{row}\n");
                }
            }
        }
        fs::write(path("a.jsonl"), &text).unwrap();
        for (from, to) in [("a.jsonl", table), (table, "c.jsonl")] {
            convert(&settings(&path(from)), &path(to), &Selection::default(), true).unwrap();
        }
        let back = fs::read_to_string(path("c.jsonl")).unwrap();
        assert!(back == text, "{table} with throng's own columns: {own}");
        let header = fs::read_to_string(path(table)).unwrap();
        let delimiter = if table == "b.csv" { ',' } else { '\t' };
        assert_eq!(
            header.starts_with(&format!("''@a{delimiter}'=b")),
            own,
            "guards are in results only"
        );
    }
}

#[test]
fn a_database_with_too_many_columns_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("a.jsonl"), directory.path().join("b.db"));
    let row = |columns: usize| -> Value {
        (0..columns).map(|n| (format!("c{n}"), n.into())).collect::<serde_json::Map<_, _>>().into()
    };
    fs::write(&from, format!("{}\n", row(2001))).unwrap();
    let error =
        convert(&settings(&from), &to, &Selection::default(), false).unwrap_err().to_string();
    assert!(error.contains("2001 columns") && error.contains(".parquet"), "{error}");
    fs::write(&from, format!("{}\n", row(2000))).unwrap();
    assert_eq!(convert(&settings(&from), &to, &Selection::default(), false).unwrap(), 1);
}

#[test]
fn nothing_is_replaced_unless_told_and_nothing_half_done_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let from = written(directory.path());
    let to = directory.path().join("b.csv");
    fs::write(&to, "precious").unwrap();
    let error = convert(&settings(&from), &to, &Selection::default(), false).unwrap_err();
    assert!(error.to_string().contains("--overwrite"), "{error}");
    fs::write(&from, "{\"a\": 1}\nnonsense\n").unwrap();
    assert!(convert(&settings(&from), &to, &Selection::default(), true).is_err());
    assert_eq!(fs::read_to_string(&to).unwrap(), "precious");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    let error =
        convert(&settings(&from), Path::new("b.xlsx"), &Selection::default(), true).unwrap_err();
    assert!(error.to_string().contains(".parquet, .db"), "{error}");
}

#[test]
fn groups_of_rows_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("a.txt"), directory.path().join("b.parquet"));
    let text: String = (0..250_000).map(|n| format!("{n}\n")).collect();
    fs::write(&from, text).unwrap();
    convert(&settings(&from), &to, &Selection::default(), false).unwrap();
    let all = rows(&to);
    assert_eq!((all.len(), &all[249_999]["line"]), (250_000, &json!("249999")));
}
