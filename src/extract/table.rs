//! A table in CSV, as a list of an object per line. Pure.

use std::collections::HashSet;

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use crate::record::{Failure, FailureKind};

/// Characters that stand between cells.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The mark by which some programs end a text.
const END: char = '\u{1a}';

/// An object for each line after the first, which has the names unless there is none. All values
/// are texts.
///
/// # Errors
/// A failure `not csv`, with the line: it has another number of cells than there are names.
pub fn table(text: &str, has_names: bool) -> Result<Vec<Value>, Failure> {
    let text = text.trim_end_matches(END);
    let (delimiter, cells) = delimiter(text);
    let skipped = text.len() - cells.len();
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(has_names)
        .from_reader(cells.as_bytes());
    let first = reader.headers().map_err(|error| not_csv(text, skipped, &error))?;
    let names = if has_names { names(first) } else { names(&first.iter().map(|_| "").collect()) };
    let mut rows = Vec::new();
    for line in reader.records() {
        let line = line.map_err(|error| not_csv(text, skipped, &error))?;
        let cells = line.iter().map(Value::from);
        rows.push(Value::Object(names.iter().cloned().zip(cells).collect::<Map<_, _>>()));
    }
    Ok(rows)
}

/// The failure of a table whose cells begin after so many bytes of the text.
fn not_csv(text: &str, skipped: usize, error: &csv::Error) -> Failure {
    let why = match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let at = pos.as_ref().map_or(0, csv::Position::byte);
            let line = line_at(text, skipped + usize::try_from(at).unwrap_or(0));
            let plural = if *len == 1 { "" } else { "s" };
            format!(
                "line {line} of the answer has {len} cell{plural}, and the first line {expected_len} names"
            )
        }
        _ => error.to_string(),
    };
    Failure::new(FailureKind::NotCsv, why)
}

/// The number of the line that begins at this byte of a text, or behind the ends of lines there.
fn line_at(text: &str, at: usize) -> usize {
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let ends = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
    let before = &text[..before.len() + ends];
    let returns = before.matches('\r').count() - before.matches("\r\n").count();
    1 + before.matches('\n').count() + returns
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
            ("id,name\r\n7,x\r\n\u{1a}", json!([{"id": "7", "name": "x"}])),
        ] {
            assert_eq!(Value::Array(table(text, true).unwrap()), expected, "{text:?}");
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
    fn a_table_may_have_no_names() {
        let rows = table("1,2\n3,4\n", false).unwrap();
        let expected =
            json!([{"column_1": "1", "column_2": "2"}, {"column_1": "3", "column_2": "4"}]);
        assert_eq!(Value::Array(rows), expected);
        assert_eq!(table("", false).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn a_line_with_other_cells_is_named() {
        for (text, what) in [
            ("a,b\n1,2\n1,2,3\n", "line 3 of the answer has 3 cells"),
            ("a,b\r\n1,2\r\n1\r\n", "line 3 of the answer has 1 cell"),
            ("a,b\r1,2\r1\r", "line 3 of the answer has 1 cell"),
            ("sep=;\r\na;b\r\n\r\n1\r\n", "line 4 of the answer has 1 cell"),
            ("a,b\n\"x\r\ny\",2\n1\n", "line 4 of the answer has 1 cell"),
        ] {
            let failure = table(text, true).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotCsv);
            assert_eq!(failure.detail, format!("{what}, and the first line 2 names"));
        }
    }
}
