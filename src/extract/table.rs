//! A table in CSV, as a list of an object per line. Pure.

use std::collections::HashSet;

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use crate::record::{Failure, FailureKind};

/// Characters that stand between cells.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// An object for each line after the first, which has the names. All values are texts.
///
/// # Errors
/// A failure `not csv`, with the line: it has another number of cells than there are names.
pub fn table(text: &str) -> Result<Vec<Value>, Failure> {
    let (delimiter, text) = delimiter(text);
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let names = names(reader.headers().map_err(|error| not_csv(&error))?);
    let mut rows = Vec::new();
    for line in reader.records() {
        let line = line.map_err(|error| not_csv(&error))?;
        let cells = line.iter().map(Value::from);
        rows.push(Value::Object(names.iter().cloned().zip(cells).collect::<Map<_, _>>()));
    }
    Ok(rows)
}

fn not_csv(error: &csv::Error) -> Failure {
    let why = match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line} of the answer has {len} cells, and the first line {expected_len} names"
            )
        }
        _ => error.to_string(),
    };
    Failure::new(FailureKind::NotCsv, why)
}

/// The character between the cells, which a line `sep=;` names or the first line has most often,
/// and the text without such a line.
fn delimiter(text: &str) -> (u8, &str) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let [b's', b'e', b'p', b'=', named] = first.trim_end_matches('\r').as_bytes() {
        return (*named, rest);
    }
    let mut is_quoted = false;
    let mut counts = [0; DELIMITERS.len()];
    for byte in first.bytes() {
        is_quoted ^= byte == b'"';
        let place = DELIMITERS.iter().position(|known| *known == byte && !is_quoted);
        if let Some(place) = place {
            counts[place] += 1;
        }
    }
    let most = (0..DELIMITERS.len()).rev().max_by_key(|place| counts[*place]).unwrap_or(0);
    (DELIMITERS[most], text)
}

/// Whether a text is one line, with none of the characters that stand between cells.
pub fn is_one_cell(text: &str) -> bool {
    let line = text.trim();
    let is_between = |byte: u8| byte == b'\n' || DELIMITERS.contains(&byte);
    !line.is_empty() && !line.bytes().any(is_between) && !line.starts_with(['{', '['])
}

/// The names of the columns: one without a name is `column_1`, by its place, and one whose name
/// an earlier one has gets its place after it.
fn names(first: &StringRecord) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |(place, name): (usize, &str)| {
        let mut name = name.trim().to_owned();
        if name.is_empty() {
            name = format!("column_{place}");
        } else if taken.contains(&name) {
            name = format!("{name}_{place}");
        }
        taken.insert(name.clone());
        name
    };
    (1..).zip(first).map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_is_an_object() {
        for (text, expected) in [
            (
                "id,price\n1,2.5\n2,3.5\n",
                json!([{"id": "1", "price": "2.5"}, {"id": "2", "price": "3.5"}]),
            ),
            ("id;price\r\n1;2,5\r\n", json!([{"id": "1", "price": "2,5"}])),
            ("sep=|\nid|a,b\n1|2\n", json!([{"id": "1", "a,b": "2"}])),
            ("\"a,b\";c\n1;\"x\ny\"\n", json!([{"a,b": "1", "c": "x\ny"}])),
            (",a,a\n0,1,2\n", json!([{"column_1": "0", "a": "1", "a_3": "2"}])),
            ("id\tname\n", json!([])),
            ("id\n7\n", json!([{"id": "7"}])),
        ] {
            assert_eq!(Value::Array(table(text).unwrap()), expected, "{text:?}");
        }
    }

    #[test]
    fn one_line_without_columns_is_no_table() {
        for (text, expected) in [
            ("Error: too busy\n", true),
            ("id\n7\n", false),
            ("id;name\n", false),
            ("", false),
            ("{\"a\"}", false),
        ] {
            assert_eq!(is_one_cell(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_with_other_cells_is_named() {
        let failure = table("a,b\n1,2\n1,2,3\n").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotCsv);
        assert_eq!(failure.detail, "line 3 of the answer has 3 cells, and the first line 2 names");
    }
}
