//! Ready-made requests: one JSON object per line, with `url`, and perhaps `method`,
//! `headers` and `body`; all else, such as `custom_id`, comes back in the record.

use serde_json::Value;

use super::entry::{FormatEntry, Read};
use super::jsonl;
use super::rows::{FormatRow, OpenedRows, OpenedText, RowReader, TextOptions};
use crate::row::Fields;

/// One JSON object per line, each of them a request: `method`, `url`, `headers`, `body`.
pub(super) static FORMAT: FormatEntry =
    FormatEntry { name: "requests", extensions: &[], read: Read::Text(open), write: None };

/// A text with a request on each line.
fn open(text: OpenedText, name: &str, options: &TextOptions) -> OpenedRows {
    Ok(Box::new(RequestRows {
        objects: jsonl::open(text, name, options)?,
        name: name.to_owned(),
        number: 0,
    }))
}

struct RequestRows {
    objects: Box<dyn RowReader>,
    name: String,
    number: u64,
}

impl Iterator for RequestRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = self.objects.next()?;
        self.number += 1;
        Some(found.and_then(|fields| match flaw(&fields) {
            None => Ok(fields),
            Some(flaw) => Err(format!("{}, request {}: {flaw}", self.name, self.number)),
        }))
    }
}

impl RowReader for RequestRows {}

fn flaw(fields: &Fields) -> Option<String> {
    if !fields.contains_key("url") {
        return Some("it has no \"url\": each line is {\"method\": …, \"url\": …, \"headers\": {…}, \"body\": …}".into());
    }
    let wrong = |name: &str, kind: &str, is_right: fn(&Value) -> bool| {
        let value = fields.get(name).filter(|value| !value.is_null())?;
        (!is_right(value)).then(|| format!("its \"{name}\" is not {kind}"))
    };
    wrong("url", "a text", Value::is_string)
        .or_else(|| wrong("method", "a text", Value::is_string))
        .or_else(|| wrong("headers", "an object", Value::is_object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<usize, String> {
        let mut count = 0;
        for found in open(Box::new(text.as_bytes()), "r.jsonl", &TextOptions::default())? {
            found?;
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn each_line_is_a_request() {
        let good = "{\"url\": \"/a\", \"headers\": null}\n{\"custom_id\": 7, \"method\": \"PUT\", \"url\": \"http://h\", \"body\": [1]}\n";
        assert_eq!(read(good), Ok(2));
        for (line, why) in [
            ("{\"url\": \"/a\"}\n\n{\"method\": \"GET\"}", "r.jsonl, request 2: it has no \"url\""),
            ("{\"url\": 7}", "r.jsonl, request 1: its \"url\" is not a text"),
            ("{\"url\": \"/\", \"headers\": []}", "its \"headers\" is not an object"),
            ("[]", "r.jsonl, line 1: "),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
