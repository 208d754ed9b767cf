//! All failures of a results file, for people: equal messages together, with their rows.

use std::collections::HashMap;

use crate::record::Record;

use super::escape::{escape, short};
use super::words::plural;

/// Width at which the rows of a message are wrapped.
const WIDTH: usize = 100;
/// Maximum number of characters of a row's first field.
const MAX_LABEL: usize = 40;

/// Failures by their messages, in the order in which messages appear.
#[derive(Default)]
pub struct FailureListing {
    places: HashMap<(String, String), usize>,
    groups: Vec<Group>,
    rows: u64,
}

struct Group {
    kind: String,
    detail: String,
    /// The number and the first field of each row.
    rows: Vec<(u64, String)>,
}

impl FailureListing {
    /// Adds a record, if it failed.
    pub fn add(&mut self, record: &Record) {
        self.rows += 1;
        let Some(failure) = record.outcome.as_ref().err().filter(|_| !record.is_ok()) else {
            return;
        };
        let key = (failure.kind.text().into_owned(), failure.detail.clone());
        let place = *self.places.entry(key).or_insert_with_key(|(kind, detail)| {
            let (kind, detail) = (kind.clone(), detail.clone());
            self.groups.push(Group { kind, detail, rows: Vec::new() });
            self.groups.len() - 1
        });
        let label = record.row.fields.values().next().map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let label = label.unwrap_or_default().chars().take(MAX_LABEL).collect();
        self.groups[place].rows.push((record.row.number, label));
    }

    /// Number of rows that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.groups.iter().map(|group| group.rows.len() as u64).sum()
    }

    /// The listing: lines, each with its newline; the most frequent message comes first.
    #[must_use]
    pub fn text(&self) -> String {
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
        let failed = plural(self.failed(), "row", "rows");
        let messages = plural(groups.len() as u64, "message", "messages");
        let mut text = format!("{failed} of {} failed, with {messages}\n", self.rows);
        for group in groups {
            let count = plural(group.rows.len() as u64, "row", "rows");
            let (kind, detail) = (short(&group.kind), escape(&group.detail));
            let rows = match &*group.rows {
                [row] => format!("{}\n", shown(row)),
                rows => format!("\n{}", wrapped(rows)),
            };
            text += &format!("\n{kind}: {detail}\n {count}:{rows}");
        }
        text
    }
}

/// A row by its number and its first field, after a space.
fn shown((number, label): &(u64, String)) -> String {
    let label = if label.is_empty() { String::new() } else { format!(" ({})", escape(label)) };
    format!(" {number}{label}")
}

/// The rows by their number, as many in a line as fit.
fn wrapped(rows: &[(u64, String)]) -> String {
    let mut rows: Vec<&(u64, String)> = rows.iter().collect();
    rows.sort();
    let (mut text, mut line) = (String::new(), String::new());
    for (index, row) in rows.iter().enumerate() {
        let comma = if index + 1 == rows.len() { "" } else { "," };
        let row = format!("{}{comma}", shown(row));
        if line.len() + row.len() > WIDTH && !line.is_empty() {
            text += &format!(" {line}\n");
            line.clear();
        }
        line += &row;
    }
    text + &format!(" {line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Failure, FailureKind};
    use crate::sink::samples::{failed, ok};

    #[test]
    fn equal_messages_stand_together_with_all_of_their_rows() {
        let mut listing = FailureListing::default();
        listing.add(&ok(0));
        for number in (1..=40).rev() {
            listing.add(&failed(number));
        }
        let mut other = failed(41);
        other.outcome = Err(Failure::new(FailureKind::Status(404), "no\u{1b}[m"));
        listing.add(&other);
        let text = listing.text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("41 rows of 42 failed, with 2 messages"));
        assert_eq!(lines.nth(1), Some("timeout: =no answer, in 30 s"));
        assert_eq!(lines.next(), Some(" 40 rows:"));
        assert!(lines.next().unwrap().starts_with("  1 (RIV), 2 (RIV), 3 (RIV),"), "{text}");
        assert!(text.ends_with("\nstatus 404: no\\u{1b}[m\n 1 row: 41 (RIV)\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH + 1), "{text}");
    }
}
