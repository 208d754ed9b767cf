//! The results of aggregates, for people.

use super::escape::short;
use super::table::{bounded, table};
use super::words::{count, number, plural};
use crate::tally::{Accuracy, AggregateResult, Figure, Figures, ResultGroup};

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
}
