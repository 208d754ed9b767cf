//! The failures of rows, for people.

use super::escape::short;
use super::facts::FailureReport;
use super::table::bounded;
use super::words::{percent, plural};
use crate::tally::Example;

/// Maximum number of failed rows that are shown.
const EXAMPLES: usize = 15;

/// A table of the kinds, then some rows of each; empty without failures.
pub(super) fn failures(kinds: &[FailureReport]) -> Vec<String> {
    let kind = |kind: &FailureReport| {
        let share = percent(kind.share);
        vec![short(&kind.kind), plural(kind.count, "row", "rows"), share]
    };
    let mut lines = Vec::new();
    if !kinds.is_empty() {
        lines.push("why rows failed:".to_owned());
    }
    lines.extend(bounded(kinds.iter().map(kind).collect(), &[1, 2]));
    let each = EXAMPLES.div_ceil(kinds.len().max(1));
    let some = |kind: &FailureReport| example_lines(kind, each);
    lines.extend(kinds.iter().flat_map(some).take(EXAMPLES));
    lines
}

fn example_lines(kind: &FailureReport, most: usize) -> Vec<String> {
    let line = |example: &Example| {
        let label = match &*example.label {
            "" => String::new(),
            label => format!(" ({})", short(label)),
        };
        let (kind, detail) = (short(&kind.kind), short(&example.detail));
        format!("  row {}{label}: {kind}: {detail}", example.row)
    };
    kind.examples.iter().take(most).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_shared_among_kinds() {
        let example = |row| Example { row, label: String::new(), detail: "why".to_owned() };
        let kind = |place: u64| FailureReport {
            kind: format!("status {place}"),
            count: 20,
            share: 0.125,
            examples: (0..15).map(example).collect(),
        };
        let lines = failures(&[kind(1), kind(2)]);
        assert_eq!(lines.len(), 3 + 15);
        assert_eq!(lines[1], "  status 1  20 rows  12.5 %");
        assert_eq!(lines[3], "  row 0: status 1: why");
        assert_eq!(failures(&(0..30).map(kind).collect::<Vec<_>>()).len(), 22 + 15);
    }
}
