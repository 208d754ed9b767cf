//! One JSON array of objects, read one object at a time and never as a whole.

use std::io::Read;

use serde::Deserialize;
use serde_json::{Deserializer, Error};

use super::entry::{FormatEntry, Read as ReadRows};
use super::rows::{FormatRow, OpenedRows, OpenedText, RowReader, accepted};
use crate::row::Fields;

mod located;

use located::Located;

/// One JSON array of objects.
pub(super) static FORMAT: FormatEntry =
    FormatEntry { name: "json", extensions: &["json"], read: ReadRows::Text(open), write: None };

/// An array, with its opening bracket read.
fn open(text: OpenedText, name: &str) -> OpenedRows {
    Ok(Box::new(rows(text, name)?))
}

/// The message of an error without its place.
pub(super) fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.into())
}

fn rows<R: Read>(bytes: R, name: &str) -> Result<Array<R>, String> {
    let mut array = Array { text: Located::new(bytes), name: name.into(), is_first: true };
    array.enter()?;
    Ok(array)
}

struct Array<R> {
    text: Located<R>,
    name: String,
    is_first: bool,
}

impl<R: Read> Iterator for Array<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        match self.pass_to_element() {
            Ok(true) => Some(self.element()),
            Ok(false) => None,
            Err(message) => Some(Err(message)),
        }
    }
}

impl<R: Read + Send> RowReader for Array<R> {}

impl<R: Read> Array<R> {
    fn enter(&mut self) -> Result<(), String> {
        match self.peek()? {
            Some(b'[') => self.text.pass(),
            Some(b'{') => return self.fail(AN_OBJECT),
            Some(_) => return self.fail(NO_ARRAY),
            None => return Err(format!("{} is empty: it must be an array", self.name)),
        }
        Ok(())
    }

    /// Passes what is between elements; false when that is the end of the array.
    fn pass_to_element(&mut self) -> Result<bool, String> {
        match self.peek()? {
            Some(b']') => return self.leave(),
            Some(_) if self.is_first => self.is_first = false,
            Some(b',') => self.text.pass(),
            Some(_) => return self.fail("a comma is missing between two elements: add it"),
            None => return self.fail("the array has no closing ]: the file may be cut off"),
        }
        Ok(true)
    }

    fn leave(&mut self) -> Result<bool, String> {
        self.text.pass();
        match self.peek()? {
            Some(_) => self.fail("there is more after the end of the array: remove it"),
            None => Ok(false),
        }
    }

    fn element(&mut self) -> FormatRow {
        if self.peek()? != Some(b'{') {
            return self.fail(NO_OBJECT);
        }
        let start = self.text.start_row();
        let fields = Fields::deserialize(&mut Deserializer::from_reader(&mut self.text));
        let fields = fields.map_err(|error| {
            let (place, reason) = (start.of(&error), reason(&error));
            format!("{}, {place}: {reason}: correct the JSON there", self.name)
        })?;
        accepted(fields).map_err(|flaw| format!("{}, {start}: {flaw}", self.name))
    }

    /// The next byte that is not blank; it is not passed.
    fn peek(&mut self) -> Result<Option<u8>, String> {
        let peeked = self.text.peek();
        peeked.map_err(|error| format!("cannot read {}: {error}", self.name))
    }

    fn fail<T>(&self, flaw: &str) -> Result<T, String> {
        Err(format!("{}, {}: {flaw}", self.name, self.text.place()))
    }
}

const AN_OBJECT: &str =
    "this is an object and no array: for one object per line use --format jsonl";
const NO_ARRAY: &str = "this is no array: the file must be one array of objects, [{...}, {...}]";
const NO_OBJECT: &str = "this element is no object: each must be one, {\"name\": value}";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<Value>, String> {
        rows(text.as_bytes(), "t.json")?.map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn an_element_is_a_row() {
        let all = vec![json!({"b": 1, "a": "]},"}), json!({"c": {"d": []}})];
        assert_eq!(read(" [\r\n{\"b\": 1, \"a\": \"]},\"} , {\"c\":{\"d\":[]}}]\n"), Ok(all));
        assert_eq!(read("[ ]"), Ok(vec![]));
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        #[rustfmt::skip]
        let cases = [
            ("", " is empty: it must be an array"),
            ("{\"a\": 1}\n", ", line 1, column 1: this is an object and no array: for one"),
            ("\n 7", ", line 2, column 2: this is no array: the file must be one"),
            ("[{},\n7]", ", line 2, column 1: this element is no object: each must be one"),
            ("[{},]", ", line 1, column 5: this element is no object: each must be one"),
            ("[{}\n {}]", ", line 2, column 2: a comma is missing between two elements"),
            ("[{}\n", ", line 2, column 1: the array has no closing ]: the file may be cut off"),
            ("[] []", ", line 1, column 4: there is more after the end of the array"),
            ("[\n  {\"a\" 1}]", ", line 2, column 8: expected `:`: correct the JSON there"),
            ("[{\n\"a\": 1,\n}]", ", line 3, column 1: trailing comma: correct the JSON there"),
            ("[\n{\"\": 1}]", ", line 2, column 1: a field has no name"),
        ];
        for (text, start) in cases {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("t.json{start}")), "{error}");
        }
    }
}
