//! Values anew from kept bodies: each record of a results file with the values that other
//! programs take of the answer that it keeps. Pure.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;

use crate::error::Error;
use crate::extract::{AnswerContext, AnswerKind, Extractor, Settings, list_names};
use crate::format::RESERVED;
use crate::record::{Failure, FailureKind, is_ok};
use crate::row::{Fields, Row};

/// Takes values of the bodies that records keep.
pub(crate) struct Renewal {
    extractor: Extractor,
    /// The kind of the answers' bodies, where the job says it.
    kind: Option<AnswerKind>,
    /// The names that the programs read as lists.
    lists: Vec<String>,
    /// The names of the values that the programs take.
    taken: Vec<String>,
    /// The values of the file as it was, by name.
    known: Vec<String>,
    /// Those of `known` that some record has.
    used: BTreeSet<String>,
    /// The names of a record's values, in order.
    names: Vec<String>,
    /// The records so far.
    pub counts: RenewalCounts,
}

/// The number of records by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RenewalCounts {
    /// Rows that were ok, and have the new values.
    pub renewed: u64,
    /// Rows that failed, and are ok now.
    pub mended: u64,
    /// Rows that failed, keep their body, and fail still.
    pub failed: u64,
    /// Rows that are ok, and of whose body a value can't be taken: they stay as they were.
    pub kept: u64,
    /// Rows that are ok, and keep no body: they stay as they were.
    pub without_body: u64,
}

impl RenewalCounts {
    /// The counts that are not zero, in words.
    pub fn lines(self) -> Vec<String> {
        let rows = |count: u64| format!("{count} {}", if count == 1 { "row" } else { "rows" });
        let said = [
            (self.mended, "that failed before: ok now"),
            (self.renewed, "with values anew"),
            (self.failed, "whose answer is kept: failed still"),
            (self.kept, "of whose answer a value can't be taken: left as they were, ok"),
            (self.without_body, "without an answer (--keep-body keeps all): left as they were, ok"),
        ];
        let said = said.into_iter().filter(|(count, _)| *count > 0);
        said.map(|(count, what)| format!("{} {what}", rows(count))).collect()
    }
}

impl Renewal {
    /// Of a file whose values had these names, as far as its sidecar tells.
    ///
    /// # Errors
    /// A program is wrong, or has the name of a field of throng's own.
    pub fn new(
        settings: &Settings,
        kind: Option<AnswerKind>,
        known: Vec<String>,
    ) -> Result<Renewal, Error> {
        let extractor = Extractor::of_record(settings)?;
        let taken = extractor.names();
        if taken.is_empty() {
            return Err(Error::plan(
                "nothing says which values to take: give them with --extract NAME=JQ, or name the job file",
            ));
        }
        if let Some(name) = taken.iter().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(Error::plan(format!(
                "the extracted value {name:?} needs another name: that name is throng's own"
            )));
        }
        Ok(Renewal {
            extractor,
            kind,
            lists: list_names(settings.values().filter_map(Value::as_str)),
            taken,
            known,
            used: BTreeSet::new(),
            names: Vec::new(),
            counts: RenewalCounts::default(),
        })
    }

    /// Takes note of a record, before any is renewed: a value that no record has is none of
    /// the file's any more.
    pub fn note(&mut self, fields: &Fields) {
        if let Some(FailureKind::MissingValue(name)) = failure(fields)
            && !self.known.contains(&name)
        {
            self.known.push(name);
        }
        for name in &self.known {
            if fields.get(name).is_some_and(has_value) && !self.used.contains(name) {
                self.used.insert(name.clone());
            }
        }
    }

    /// Ends the notes. Gives the names of the values that records will have, and whether the
    /// programs take all of them.
    ///
    /// # Errors
    /// A value has the name of a field of the rows.
    pub fn names(&mut self, first: Option<&Fields>) -> Result<(Vec<String>, bool), Error> {
        let is_field = |name: &&String| {
            !self.known.is_empty()
                && !self.known.contains(*name)
                && first.is_some_and(|first| first.contains_key(*name))
        };
        if let Some(name) = self.taken.iter().find(is_field) {
            return Err(Error::plan(format!(
                "the extracted value {name:?} needs another name: the rows have a field of that name already"
            )));
        }
        let mut names = self.known.clone();
        names.retain(|name| self.used.contains(name) && !self.taken.contains(name));
        let is_whole = names.is_empty();
        if is_whole {
            names.clone_from(&self.taken);
        } else {
            names = self.known.clone();
            names.retain(|name| self.used.contains(name) || self.taken.contains(name));
            let more = self.taken.iter().filter(|name| !self.known.contains(name));
            names.extend(more.cloned());
        }
        self.names.clone_from(&names);
        Ok((names, is_whole))
    }

    /// The record with its values anew.
    pub fn renew(&mut self, fields: Fields) -> Fields {
        let failed = failure(&fields);
        let is_ok = failed.is_none();
        let body = fields.get("_body").and_then(Value::as_str).filter(|body| !body.is_empty());
        let may_change = failed.as_ref().is_none_or(is_of_extraction);
        let Some(body) = body.filter(|_| may_change) else {
            self.counts.without_body += u64::from(is_ok);
            return self.arranged(fields, Vec::new(), None);
        };
        let row = self.row(&fields);
        let status = fields.get("_status").and_then(number);
        let context = AnswerContext {
            kind: self.kind,
            lists: &self.lists,
            status: status.and_then(|status| StatusCode::from_u16(status).ok()),
            row: Some(&row),
            ..AnswerContext::default()
        };
        let extracted = self.extractor.extract_in(body.as_bytes(), &context);
        let extracted = extracted.and_then(|values| match self.lacks(&fields) {
            Some(name) if !is_ok => Err(Failure::new(
                FailureKind::MissingValue(name.to_owned()),
                "the row failed, and this value was not taken anew with the others",
            )),
            _ => Ok(values),
        });
        match extracted {
            Ok(values) if is_ok => {
                self.counts.renewed += 1;
                self.arranged(fields, values, None)
            }
            Ok(values) => {
                self.counts.mended += 1;
                self.arranged(fields, values, Some(None))
            }
            Err(_) if is_ok => {
                self.counts.kept += 1;
                self.arranged(fields, Vec::new(), None)
            }
            Err(failure) => {
                self.counts.failed += 1;
                self.arranged(fields, Vec::new(), Some(Some(failure)))
            }
        }
    }

    /// The row of a record, as far as programs read it.
    fn row(&self, fields: &Fields) -> Row {
        let mut row = Row::default();
        if self.extractor.uses("$row") {
            let is_input =
                |name: &String| !RESERVED.contains(&name.as_str()) && !self.is_value(name);
            let input = fields.iter().filter(|(name, _)| is_input(name));
            row.fields = input.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        row
    }

    /// Whether a field of this name is a value of the programs, now or before.
    fn is_value(&self, name: &str) -> bool {
        self.known.iter().chain(&self.taken).any(|value| value == name)
    }

    /// A value that the record has not, and that the programs don't take.
    fn lacks(&self, fields: &Fields) -> Option<&str> {
        let mut others = self.names.iter().filter(|name| !self.taken.contains(name));
        others.find(|name| !fields.get(*name).is_some_and(has_value)).map(String::as_str)
    }

    /// The fields in the order of a record, with these values if there are any, and this
    /// outcome if it is another one.
    fn arranged(
        &self,
        mut fields: Fields,
        values: Vec<Value>,
        outcome: Option<Option<Failure>>,
    ) -> Fields {
        for (name, value) in self.taken.iter().zip(values) {
            fields.insert(name.clone(), value);
        }
        if let Some(failure) = outcome {
            let text = |text: String| Value::from(text);
            let kind = failure.as_ref().map(|it| text(it.kind.text().into_owned()));
            fields.insert("_ok".to_owned(), failure.is_none().into());
            fields.insert("_error".to_owned(), kind.unwrap_or_default());
            let detail = failure.map(|it| text(it.detail));
            fields.insert("_detail".to_owned(), detail.unwrap_or_default());
        }
        let mut arranged = Fields::new();
        let is_own = |name: &str| RESERVED.contains(&name);
        let is_input = |name: &String| !is_own(name) && !self.is_value(name);
        for (name, value) in fields.iter().filter(|(name, _)| is_input(name)) {
            arranged.insert(name.clone(), value.clone());
        }
        for name in &self.names {
            arranged.insert(name.clone(), fields.get(name).cloned().unwrap_or_default());
        }
        for name in RESERVED {
            if let Some(value) = fields.get(name) {
                arranged.insert(name.to_owned(), value.clone());
            }
        }
        arranged
    }
}

/// The failure of a record; none if it is ok.
fn failure(fields: &Fields) -> Option<FailureKind> {
    // The status and the like don't matter, and a record without `_ok` is none of throng's.
    let is_ok = is_ok(fields)?;
    let kind = fields.get("_error").and_then(Value::as_str).unwrap_or_default();
    (!is_ok || kind == FailureKind::Missing.text()).then(|| FailureKind::parse(kind))
}

/// Whether the answer is a success of which values could not be taken.
fn is_of_extraction(kind: &FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::MissingValue(_)
            | FailureKind::JqTooLong
            | FailureKind::Interrupted
            | FailureKind::NotJson
            | FailureKind::NotSse
            | FailureKind::NotCsv
            | FailureKind::NotXml
            | FailureKind::NotHtml
            | FailureKind::SeveralDocuments
    )
}

/// A status, which formats of texts have as one.
fn number(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|number| u16::try_from(number).ok()),
    }
}

fn has_value(value: &Value) -> bool {
    !value.is_null() && value != ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn renewed(programs: Value, known: &[&str], records: &[Value]) -> (Vec<Value>, RenewalCounts) {
        let known = known.iter().map(|name| (*name).to_owned()).collect();
        let mut renewal = Renewal::new(programs.as_object().unwrap(), None, known).unwrap();
        let records = records.iter().map(|record| record.as_object().unwrap().clone());
        let records: Vec<Fields> = records.collect();
        records.iter().for_each(|record| renewal.note(record));
        renewal.names(records.first()).unwrap();
        let renewed = records.into_iter().map(|record| renewal.renew(record).into()).collect();
        (renewed, renewal.counts)
    }

    #[test]
    fn a_record_gets_its_values_and_a_name_that_was_wrong_goes() {
        let body = r#"{"price": 7}"#;
        let record = json!({"id": 1, "prize": null, "_row": 0, "_ok": false, "_error": "missing prize", "_detail": "x", "_body": body});
        let (renewed, counts) = renewed(json!({"price": ".price"}), &["prize"], &[record]);
        let expected = json!({"id": 1, "price": 7, "_row": 0, "_ok": true, "_error": null, "_detail": null, "_body": body});
        assert_eq!(renewed[0], expected);
        let names: Vec<_> = renewed[0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names[..2], ["id", "price"]);
        assert_eq!(counts, RenewalCounts { mended: 1, ..RenewalCounts::default() });
    }

    #[test]
    fn what_other_rows_have_is_kept_and_what_is_no_answer_fails_still() {
        let records = [
            json!({"a": 5, "_row": 0, "_ok": true, "_error": null}),
            json!({"a": null, "_row": 1, "_ok": false, "_error": "missing a", "_body": "{\"b\": 2}"}),
            json!({"a": null, "_row": 2, "_ok": false, "_error": "status 500", "_body": "{\"a\": 2}"}),
            json!({"a": null, "_row": 3, "_ok": false, "_error": "missing a", "_body": "{\"c\": 2}"}),
            json!({"a": 6, "_row": 4, "_ok": true, "_error": null, "_body": "{}"}),
        ];
        let (renewed, counts) = renewed(json!({"a": ".b"}), &["a"], &records);
        let values: Vec<&Value> = renewed.iter().map(|record| &record["a"]).collect();
        assert_eq!(values, [&json!(5), &json!(2), &Value::Null, &Value::Null, &json!(6)]);
        assert_eq!(renewed[2], records[2]);
        let expected = RenewalCounts { renewed: 0, mended: 1, failed: 1, kept: 1, without_body: 1 };
        assert_eq!(counts, expected);
        // A program for one of two values makes no failed row ok.
        let record = json!({"a": 1, "b": 2, "_row": 0, "_ok": true, "_error": null});
        let failed = json!({"a": null, "b": null, "_row": 1, "_ok": false, "_error": "missing b", "_body": "{\"b\": 2}"});
        let (renewed, counts) =
            super::tests::renewed(json!({"b": ".b"}), &["a", "b"], &[record, failed]);
        assert_eq!((counts.mended, &renewed[1]["_error"]), (0, &json!("missing a")));
    }
}
