//! Kinds of failure, with a few examples of each.

use serde::Serialize;
use serde_json::Value;

use super::value::{cut, text};
use crate::record::{Failure, FailureKind};
use crate::row::Row;

/// Maximum number of separate kinds, since a server can invent new ones.
const MAX_KINDS: usize = 100;
/// The kind of all further failures.
const OTHERS: &str = "other kinds";
/// Maximum number of examples of a kind.
const MAX_EXAMPLES: usize = 15;
/// Maximum number of characters of a label.
const MAX_LABEL_CHARS: usize = 40;
/// Maximum number of characters of a detail.
const MAX_DETAIL_CHARS: usize = 500;

/// The rows that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    /// The reason in short.
    pub kind: FailureKind,
    /// Number of rows.
    pub count: u64,
    /// The first rows by row number, 15 at most.
    pub examples: Vec<Example>,
}

/// One row that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Example {
    /// The row number, from 0.
    pub row: u64,
    /// The first field, shortened.
    pub label: String,
    /// The details of the failure.
    pub detail: String,
}

/// All failures so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failures(Vec<FailureGroup>);

impl Failures {
    pub(super) fn add(&mut self, row: &Row, failure: &Failure) {
        let kind = self.kind(&failure.kind);
        kind.count += 1;
        if kind.wants(row.number) {
            kind.examples.push(Example::of(row, failure));
            kind.keep_first();
        }
    }

    /// Adds the other's failures.
    pub(super) fn merge(&mut self, other: Failures) {
        for theirs in other.0 {
            let mine = self.kind(&theirs.kind);
            mine.count += theirs.count;
            mine.examples.extend(theirs.examples);
            mine.keep_first();
        }
    }

    /// The kinds, the most frequent first.
    pub(super) fn kinds(&self) -> Vec<FailureGroup> {
        let mut kinds = self.0.clone();
        kinds.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.text().cmp(&b.kind.text())));
        kinds
    }

    /// The kinds with their numbers of rows, the most frequent first.
    pub(super) fn counts(&self) -> Vec<(FailureKind, u64)> {
        let counts = self.0.iter().map(|group| (group.kind.clone(), group.count));
        let mut counts: Vec<(FailureKind, u64)> = counts.collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.text().cmp(&b.0.text())));
        counts
    }

    fn kind(&mut self, kind: &FailureKind) -> &mut FailureGroup {
        let index = match self.index(kind) {
            Some(index) => index,
            None if self.0.len() < MAX_KINDS => self.push(kind.clone()),
            None => {
                let others = FailureKind::Other(OTHERS.to_owned());
                self.index(&others).unwrap_or_else(|| self.push(others))
            }
        };
        &mut self.0[index]
    }

    fn index(&self, kind: &FailureKind) -> Option<usize> {
        self.0.iter().position(|group| group.kind == *kind)
    }

    fn push(&mut self, kind: FailureKind) -> usize {
        self.0.push(FailureGroup { kind, count: 0, examples: Vec::new() });
        self.0.len() - 1
    }
}

impl FailureGroup {
    fn wants(&self, row: u64) -> bool {
        let is_before = |last: &Example| row < last.row;
        self.examples.len() < MAX_EXAMPLES || self.examples.last().is_some_and(is_before)
    }

    /// Keeps the examples with the lowest row numbers, so that every order of
    /// records gives the same examples.
    fn keep_first(&mut self) {
        self.examples.sort_by_key(|example| example.row);
        self.examples.truncate(MAX_EXAMPLES);
    }
}

impl Example {
    /// Of a row with this failure.
    pub(crate) fn of(row: &Row, failure: &Failure) -> Example {
        Example {
            row: row.number,
            label: row.fields.values().next().map(label).unwrap_or_default(),
            detail: cut(&failure.detail, MAX_DETAIL_CHARS).to_owned(),
        }
    }
}

fn label(value: &Value) -> String {
    cut(text(value, &mut String::new()), MAX_LABEL_CHARS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(failures: &mut Failures, number: u64, kind: FailureKind) {
        let mut row = Row { number, ..Row::default() };
        row.fields.insert("symbol".into(), "é".repeat(50).into());
        failures.add(&row, &Failure::new(kind, "detail"));
    }

    #[test]
    fn the_first_rows_are_the_examples_in_any_order() {
        let mut failures = Failures::default();
        for number in (0..40).rev() {
            add(&mut failures, number, FailureKind::Timeout);
        }
        let kind = &failures.kinds()[0];
        let rows: Vec<u64> = kind.examples.iter().map(|example| example.row).collect();
        assert_eq!((kind.count, rows), (40, (0..15).collect()));
        assert_eq!(kind.examples[0].label, "é".repeat(40));
        assert_eq!(kind.examples[0].detail, "detail");
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..250 {
            add(&mut failures, number, FailureKind::Status(number as u16));
        }
        let kinds = failures.kinds();
        assert_eq!(kinds.len(), 101);
        assert_eq!((&*kinds[0].kind.text(), kinds[0].count), ("other kinds", 150));
    }
}
