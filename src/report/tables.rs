//! The tables of a report for people: the results of aggregates, and the failures of rows.

use comfy_table::{CellAlignment, Table, presets};

use super::escape::short;
use super::summary::FailureReport;
use super::words::{count, number, percent, plural};
use crate::tally::{Accuracy, AggregateResult, Example, Figure, Figures, ResultGroup};

/// Maximum number of lines of a table.
const LINES: usize = 20;
/// Maximum number of failed rows that are shown.
const EXAMPLES: usize = 15;

/// A table of the single figures, then a table for each grouped aggregate.
pub(super) fn answers(answers: &[AggregateResult]) -> Vec<String> {
    let figure = |answer: &AggregateResult| match &answer.figures {
        Figures::One(figure) => Some(line(title(answer), figure)),
        Figures::Many { .. } => None,
    };
    let groups = |answer: &AggregateResult| match &answer.figures {
        Figures::One(_) => vec![],
        Figures::Many { groups } => grouped(answer, groups),
    };
    let mut lines = table(answers.iter().filter_map(figure), &[1]);
    lines.extend(answers.iter().flat_map(groups));
    lines
}

fn grouped(answer: &AggregateResult, groups: &[ResultGroup]) -> Vec<String> {
    let rows = groups.iter().map(|group| line(short(&group.key), &group.figure));
    let mut lines = vec![title(answer)];
    lines.extend(bounded(rows.collect(), &[1]));
    lines
}

/// The name, with the expression if it differs.
fn title(answer: &AggregateResult) -> String {
    let (name, expression) = (short(&answer.name), short(&answer.expression));
    if name == expression { name } else { format!("{name} = {expression}") }
}

/// A title, its figure, and the number of values.
fn line(title: String, figure: &Figure) -> Vec<String> {
    let about = match figure.accuracy {
        Accuracy::Exact => "",
        Accuracy::Approximate => "~",
    };
    let value = figure.value.map_or("none".to_owned(), number);
    let values = plural(figure.values, "value", "values");
    let skipped = match figure.skipped {
        0 => String::new(),
        skipped => format!(", {} left out: missing, or not a number", count(skipped)),
    };
    vec![title, format!("{about}{value}"), format!("of {values}{skipped}")]
}

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

/// The first rows of a table, with the number of the rest.
fn bounded(mut rows: Vec<Vec<String>>, right: &[usize]) -> Vec<String> {
    let more = rows.len().saturating_sub(LINES);
    rows.truncate(LINES);
    let mut lines = table(rows.into_iter(), right);
    if more > 0 {
        lines.push(format!("  … and {} more in --summary-json", count(more as u64)));
    }
    lines
}

/// Indented rows; the columns `right` are aligned to the right.
fn table(rows: impl Iterator<Item = Vec<String>>, right: &[usize]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let line = |line: String| format!(" {}", line.trim_end());
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, skipped: u64, accuracy: Accuracy) -> Figure {
        Figure { value: Some(value), values: 500, skipped, accuracy }
    }

    fn answer(name: &str, figures: Figures) -> AggregateResult {
        AggregateResult { name: name.to_owned(), expression: "mean(price)".to_owned(), figures }
    }

    #[test]
    fn figures_are_aligned() {
        let lines = super::answers(&[
            answer("mean_price", Figures::One(figure(75.213_456, 0, Accuracy::Exact))),
            answer("mean(price)", Figures::One(figure(5.0, 2, Accuracy::Approximate))),
        ]);
        assert_eq!(
            lines,
            [
                "  mean_price = mean(price)  75.2135  of 500 values",
                "  mean(price)                    ~5  of 500 values, 2 left out: missing, or not a number",
            ]
        );
    }

    #[test]
    fn many_groups_are_truncated() {
        let group = |place: u64| ResultGroup {
            key: format!("group {place}"),
            figure: figure(1.0, 0, Accuracy::Exact),
        };
        let groups = Figures::Many { groups: (0..33).map(group).collect() };
        let lines = super::answers(&[answer("by_group", groups)]);
        assert_eq!(lines.len(), 22);
        assert_eq!(lines[0], "by_group = mean(price)");
        assert_eq!(lines[1], "  group 0   1  of 500 values");
        assert_eq!(lines[21], "  … and 13 more in --summary-json");
    }

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

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "10", "x"], ["long", "5", ""]];
        let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(rows, &[1]), ["  a     10  x", "  long   5"]);
        assert!(table(std::iter::empty(), &[1]).is_empty());
    }

    #[test]
    fn a_long_table_is_truncated() {
        let rows: Vec<Vec<String>> = (0..33).map(|row| vec![row.to_string()]).collect();
        assert_eq!(bounded(rows[..20].to_vec(), &[]).len(), 20);
        let lines = bounded(rows, &[]);
        assert_eq!(lines.len(), 21);
        assert_eq!(lines[20], "  … and 13 more in --summary-json");
    }
}
