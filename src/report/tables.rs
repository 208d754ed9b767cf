//! The tables of a report for people: the results of aggregates, and the failures of rows.

use std::collections::HashMap;

use comfy_table::{CellAlignment, Table, presets};

use super::escape::{escape, short};
use super::summary::FailureReport;
use super::words::{count, number, percent, plural};
use crate::tally::{Accuracy, AggregateResult, Example, Figure, Figures, ResultGroup};
use crate::wording::worded;

/// Maximum number of lines of a table.
const LINES: usize = 20;
/// Maximum number of failed rows that are shown.
const EXAMPLES: usize = 15;
/// Maximum number of rows that are named for one message.
const ROWS_OF_MESSAGE: usize = 5;

/// A table of the single figures, then a table for each grouped aggregate; with the figures
/// of this run where they are others.
pub(super) fn answers(
    answers: &[AggregateResult],
    of_run: Option<&[AggregateResult]>,
) -> Vec<String> {
    let (mut single, mut grouped) = (Vec::new(), Vec::new());
    for (index, answer) in answers.iter().enumerate() {
        let of_run = of_run.and_then(|of_run| of_run.get(index)).map(|it| &it.figures);
        match (&answer.figures, of_run) {
            (Figures::One(figure), Some(Figures::One(of_run))) => {
                single.push(beside(line(title(answer), figure), figure, Some(of_run)));
            }
            (Figures::One(figure), _) => single.push(line(title(answer), figure)),
            (Figures::Many { groups }, of_run) => {
                grouped.push(title(answer));
                grouped.extend(bounded(group_lines(groups, of_run), &[1]));
            }
        }
    }
    let mut lines = table(single.into_iter(), &[1]);
    lines.extend(grouped);
    lines
}

/// A line for each group, with the figure of this run's results of it, if there was another
/// run.
fn group_lines(groups: &[ResultGroup], of_run: Option<&Figures>) -> Vec<Vec<String>> {
    let line = |group: &ResultGroup| line(short(&group.key), &group.figure);
    let Some(Figures::Many { groups: of_run }) = of_run else {
        return groups.iter().map(line).collect();
    };
    let of_run: HashMap<&str, &Figure> =
        of_run.iter().map(|group| (&*group.key, &group.figure)).collect();
    let both = groups.iter().map(|group| {
        let of_run = of_run.get(&*group.key).copied();
        beside(line(group), &group.figure, of_run)
    });
    both.collect()
}

/// The line with the figure of this run, if it differs; none if the run has no results for it.
fn beside(mut line: Vec<String>, figure: &Figure, of_run: Option<&Figure>) -> Vec<String> {
    match of_run {
        Some(of_run) if of_run.value == figure.value => {}
        Some(of_run) if of_run.values > 0 => {
            let value = of_run.value.map_or("none".to_owned(), number);
            let about = about(of_run);
            line.push(format!("this run {about}{value} of {}", count(of_run.values)));
        }
        _ => line.push("this run none".to_owned()),
    }
    line
}

/// The name, with the expression if it differs.
fn title(answer: &AggregateResult) -> String {
    let (name, expression) = (short(&answer.name), short(&answer.expression));
    if name == expression { name } else { format!("{name} = {expression}") }
}

/// A title, its figure, and the number of values.
fn line(title: String, figure: &Figure) -> Vec<String> {
    let about = about(figure);
    let value = figure.value.map_or("none".to_owned(), number);
    let values = plural(figure.values, "value", "values");
    let skipped = match figure.skipped {
        0 => String::new(),
        skipped => format!(", {} left out: missing, or not a number", count(skipped)),
    };
    vec![title, format!("{about}{value}"), format!("of {values}{skipped}")]
}

/// The mark of a figure that is an estimate.
fn about(figure: &Figure) -> &'static str {
    match figure.accuracy {
        Accuracy::Exact => "",
        Accuracy::Approximate => "~",
    }
}

/// A table of the kinds, then some rows of each, equal messages together; empty without failures.
/// With the number of this run's rows where it differs, and the command that lists all failures
/// of the results file.
pub(super) fn failures(
    kinds: &[FailureReport],
    of_run: Option<&[FailureReport]>,
    results: Option<&str>,
) -> Vec<String> {
    let kind = |kind: &FailureReport| {
        let share = percent(kind.share);
        let mut line = vec![short(&kind.kind), plural(kind.count, "row", "rows"), share];
        let of_run = of_run.map(|all| {
            let same = all.iter().find(|it| it.kind == kind.kind);
            same.map_or(0, |it| it.count)
        });
        line.extend(
            of_run.filter(|it| *it != kind.count).map(|it| format!("this run {}", count(it))),
        );
        line
    };
    let mut lines = Vec::new();
    if !kinds.is_empty() {
        lines.push("why rows failed:".to_owned());
    }
    lines.extend(bounded(kinds.iter().map(kind).collect(), &[1, 2]));
    let each = EXAMPLES.div_ceil(kinds.len().max(1));
    let some = |kind: &FailureReport| example_lines(kind, each);
    lines.extend(kinds.iter().flat_map(some).take(EXAMPLES));
    let all: u64 = kinds.iter().map(|kind| kind.count).sum();
    if all > EXAMPLES as u64
        && let Some(results) = results
    {
        lines.push(format!("  all of them: throng report --failed {}", escape(results)));
    }
    lines
}

/// The examples of a kind, in `most` lines at most: equal messages share a line.
fn example_lines(kind: &FailureReport, most: usize) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Example>)> = Vec::new();
    for example in &kind.examples {
        match groups.iter_mut().find(|(detail, _)| *detail == example.detail) {
            Some((_, rows)) => rows.push(example),
            None => groups.push((&example.detail, vec![example])),
        }
    }
    let has_more = kind.count > kind.examples.len() as u64;
    let line = |(detail, rows): (&str, Vec<&Example>)| {
        let mut named: Vec<String> = rows.iter().take(ROWS_OF_MESSAGE).map(|it| row(it)).collect();
        if rows.len() > ROWS_OF_MESSAGE || (has_more && rows.len() > 1) {
            named.push("…".to_owned());
        }
        let rows = if named.len() == 1 { "row" } else { "rows" };
        format!("  {rows} {}: {}: {}", named.join(", "), short(&kind.kind), short(detail))
    };
    groups.into_iter().take(most).map(line).collect()
}

/// A row by its number and its first field.
fn row(example: &Example) -> String {
    match &*example.label {
        "" => example.row.to_string(),
        label => format!("{} ({})", example.row, short(label)),
    }
}

/// The first rows of a table, with the number of the rest.
fn bounded(mut rows: Vec<Vec<String>>, right: &[usize]) -> Vec<String> {
    let more = rows.len().saturating_sub(LINES);
    rows.truncate(LINES);
    let mut lines = table(rows.into_iter(), right);
    if more > 0 {
        lines.push(worded(format!("  … and {} more in --summary-json", count(more as u64))));
    }
    lines
}

/// Indented rows; the columns `right` are aligned to the right.
pub(crate) fn table(rows: impl Iterator<Item = Vec<String>>, right: &[usize]) -> Vec<String> {
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
        let answers = [
            answer("mean_price", Figures::One(figure(75.213_456, 0, Accuracy::Exact))),
            answer("mean(price)", Figures::One(figure(5.0, 2, Accuracy::Approximate))),
        ];
        let lines = super::answers(&answers, None);
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
        let lines = super::answers(&[answer("by_group", groups)], None);
        assert_eq!(lines.len(), 22);
        assert_eq!(lines[0], "by_group = mean(price)");
        assert_eq!(lines[1], "  group 0   1  of 500 values");
        assert_eq!(lines[21], "  … and 13 more in --summary-json");
    }

    #[test]
    fn examples_are_shared_among_kinds() {
        let example = |row| Example { row, label: String::new(), detail: format!("why {row}") };
        let kind = |place: u64| FailureReport {
            kind: format!("status {place}"),
            count: 20,
            share: 0.125,
            examples: (0..15).map(example).collect(),
        };
        let lines = failures(&[kind(1), kind(2)], None, Some("a.jsonl"));
        assert_eq!(lines.len(), 3 + 15 + 1);
        assert_eq!(lines[1], "  status 1  20 rows  12.5 %");
        assert_eq!(lines[3], "  row 0: status 1: why 0");
        assert_eq!(lines[18], "  all of them: throng report --failed a.jsonl");
        let many: Vec<FailureReport> = (0..30).map(kind).collect();
        assert_eq!(failures(&many, None, None).len(), 22 + 15);
    }

    #[test]
    fn equal_messages_share_a_line() {
        let example = |row: u64, detail: &str| Example {
            row,
            label: if row == 0 { "A".to_owned() } else { String::new() },
            detail: detail.to_owned(),
        };
        let kind = |count, examples| FailureReport {
            kind: "timeout".to_owned(),
            count,
            share: 1.0,
            examples,
        };
        let few = vec![example(0, "why"), example(1, "else"), example(2, "why")];
        let lines = failures(&[kind(3, few)], None, None);
        assert_eq!(lines[2..], ["  rows 0 (A), 2: timeout: why", "  row 1: timeout: else"]);
        let many = (1..=15).map(|row| example(row, "why")).collect();
        let lines = failures(&[kind(40, many)], None, None);
        assert_eq!(lines[2..], ["  rows 1, 2, 3, 4, 5, …: timeout: why"]);
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
