//! Values that other programs have changed on the way: ids as floats, empty cells as texts,
//! long numbers that were shortened. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::row::Row;

/// Number of rows whose values are looked at.
pub const ROWS: usize = 1_000;

/// Texts that programs write for a cell without a value.
const EMPTY: [&str; 7] = ["nan", "NaN", "None", "NaT", "<NA>", "#N/A", "null"];

/// A warning of each of these fields whose values look changed in these rows.
pub fn warnings(fields: &BTreeSet<String>, rows: &[Row]) -> Vec<String> {
    fields.iter().flat_map(|field| of_field(field, rows)).collect()
}

fn of_field(field: &str, rows: &[Row]) -> Vec<String> {
    let values: Vec<(u64, String)> = rows
        .iter()
        .filter_map(|row| Some((row.number, text(row.fields.get(field)?)?)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let is_empty = |text: &str| EMPTY.contains(&text);
    let mut all = values.iter().filter(|(_, text)| !is_empty(text));
    let are_floats = all.clone().next().is_some() && all.all(|(_, text)| is_whole_float(text));
    let float = values.iter().find(|(_, text)| are_floats && is_whole_float(text)).map(|value| {
        warning(field, value, "ids that were read as floats end so: read that column as text where the file is made (pandas: dtype=str)")
    });
    let empty = values.iter().find(|(_, text)| is_empty(text)).map(|value| {
        warning(field, value, "an empty cell is written so by other programs, and will be asked for as it is: take such rows out")
    });
    let short = values.iter().find(|(_, text)| is_shortened(text)).map(|value| {
        warning(field, value, "spreadsheets write long numbers so, and their last digits are gone: format the column as text before it is saved")
    });
    [float, empty, short].into_iter().flatten().collect()
}

fn warning(field: &str, (row, text): &(u64, String), why: &str) -> String {
    format!("in row {row} {field} is {text:?}: {why}")
}

/// A value as a request has it; none if it is no text or number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number with zeros behind a point.
fn is_whole_float(text: &str) -> bool {
    let Some((whole, part)) = text.split_once('.') else {
        return false;
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    are_digits(whole) && !part.is_empty() && part.bytes().all(|byte| byte == b'0')
}

/// A number as spreadsheets shorten it: `4.01E+12`.
fn is_shortened(text: &str) -> bool {
    let Some((number, power)) = text.split_once(['E', 'e']) else {
        return false;
    };
    let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    let power = power.strip_prefix('+');
    whole.len() == 1
        && are_digits(whole)
        && are_digits(part)
        && power.is_some_and(|power| power.len() == 2 && are_digits(power))
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(values: &[Value]) -> Vec<String> {
        let row = |(number, value): (usize, &Value)| Row {
            number: number as u64,
            fields: [("id".to_owned(), value.clone())].into_iter().collect(),
            ..Row::default()
        };
        let rows: Vec<Row> = values.iter().enumerate().map(row).collect();
        warnings(&["id".to_owned()].into(), &rows)
    }

    #[test]
    fn values_that_other_programs_changed_are_told_with_their_row() {
        for (values, starts) in [
            (
                vec![json!("1.0"), json!(""), json!("nan")],
                vec![
                    "in row 0 id is \"1.0\": ids that were read as floats",
                    "in row 2 id is \"nan\": an empty cell",
                ],
            ),
            (vec![json!(2.0)], vec!["in row 0 id is \"2.0\""]),
            (
                vec![json!("7"), json!("4.01E+12")],
                vec!["in row 1 id is \"4.01E+12\": spreadsheets"],
            ),
            (vec![json!("a"), json!("None")], vec!["in row 1 id is \"None\""]),
        ] {
            let found = of(&values);
            assert_eq!(found.len(), starts.len(), "{found:?}");
            for (found, start) in found.iter().zip(starts) {
                assert!(found.starts_with(start), "{found}");
            }
        }
    }

    #[test]
    fn other_numbers_and_texts_are_no_reason_to_warn() {
        for values in [
            vec![json!("52.0"), json!("13.4")],
            vec![json!("v1.0"), json!("1.0.0")],
            vec![json!("1e5"), json!("3E7A"), json!("12E+10")],
            vec![json!("Nancy"), json!(null), json!(7)],
            vec![],
        ] {
            assert_eq!(of(&values), Vec::<String>::new(), "{values:?}");
        }
    }
}
