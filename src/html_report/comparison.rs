//! Two runs side by side: as text, and as a page.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::changes::{Changes, RowValues};
use super::charts;
use super::fold::RecordFold;
use super::page::{self, Page};
use super::run::{Plot, Shown};
use super::series::Series;
use crate::error::Error;
use crate::report::words::{count, number, percent, plural, seconds};
use crate::report::{Report, escape, short, table};
use crate::tally::{AggregateResult, Figures};

/// Maximum number of changed values that the text shows.
const LINES: usize = 10;

/// One of the two runs.
pub struct ComparedRun {
    /// The name of its results.
    pub name: String,
    pub report: Report,
    pub fold: RecordFold,
    pub values: RowValues,
}

/// What two runs have and have not in common.
pub struct Comparison {
    facts: Facts,
    series: Vec<Series>,
}

/// The facts of the template `comparison`.
#[derive(Serialize)]
struct Facts {
    a: String,
    b: String,
    version: &'static str,
    lines: Vec<Line>,
    failures: Vec<Line>,
    aggregates: Vec<Line>,
    rows: String,
    key: String,
    by_name: Vec<charts::Bar>,
    changes: Vec<ChangeFacts>,
    plots: Vec<Plot>,
    notes: Vec<String>,
}

/// A figure of both runs.
#[derive(Serialize)]
struct Line {
    name: String,
    a: String,
    b: String,
    change: String,
    /// `better`, `worse` or nothing.
    tone: &'static str,
}

#[derive(Serialize)]
struct ChangeFacts {
    key: String,
    name: String,
    a: String,
    b: String,
}

/// Whether more of a figure is better.
#[derive(Clone, Copy)]
enum More {
    Better,
    Worse,
    Neither,
}

impl Comparison {
    /// Compares two runs whose rows are told apart by the field `key`.
    ///
    /// # Errors
    /// What was put aside can't be read.
    pub fn new(key: &str, mut a: ComparedRun, mut b: ComparedRun) -> io::Result<Comparison> {
        let [shown_a, shown_b] = [&mut a, &mut b].map(|run| Shown::new(&run.report, &mut run.fold));
        let changes = Changes::between(a.values, b.values)?;
        let lines = lines([(&a.report, &shown_a, &a.fold), (&b.report, &shown_b, &b.fold)]);
        let has_plots = shown_a.series.is_some() && shown_b.series.is_some();
        let mut notes = Vec::new();
        if !has_plots {
            notes.push(
                "One of the files has no times of requests (_arrived), so times can't be compared."
                    .to_owned(),
            );
        }
        let facts = Facts {
            a: escape(&a.name),
            b: escape(&b.name),
            version: env!("CARGO_PKG_VERSION"),
            lines,
            failures: failures(&a.report, &b.report),
            aggregates: aggregates(&a.report.aggregates, &b.report.aggregates),
            rows: rows_in_words(&changes),
            key: short(key),
            by_name: charts::counts(
                changes.by_name.iter().map(|(name, count)| (&**name, *count)),
                changes.both,
                ["row", "rows"],
            ),
            changes: changes.examples.iter().map(ChangeFacts::new).collect(),
            plots: if has_plots { plots() } else { Vec::new() },
            notes,
        };
        let series = [shown_a.series, shown_b.series].into_iter().flatten().collect();
        Ok(Comparison { facts, series })
    }

    /// The comparison for people: lines, each with its newline.
    #[must_use]
    pub fn text(&self) -> String {
        let Facts { a, b, lines, failures, aggregates, .. } = &self.facts;
        let mut text = vec![format!("A: {a}"), format!("B: {b}"), String::new()];
        let head = ["", "A", "B", "change"].map(str::to_owned).to_vec();
        text.extend(table(std::iter::once(head).chain(lines.iter().map(Line::cells)), &[1, 2, 3]));
        for (title, lines) in [("failures", failures), ("values", aggregates)] {
            if !lines.is_empty() {
                text.extend([String::new(), format!("{title}:")]);
                text.extend(table(lines.iter().map(Line::cells), &[1, 2, 3]));
            }
        }
        text.extend([String::new(), format!("by {}: {}", self.facts.key, self.facts.rows)]);
        let names = self.facts.by_name.iter();
        text.extend(table(
            names.map(|bar| vec![short(&bar.label), bar.value.clone(), bar.beside.clone()]),
            &[1, 2],
        ));
        let changes = self.facts.changes.iter().take(LINES);
        text.extend(table(
            changes.map(|it| vec![it.key.clone(), it.name.clone(), format!("{} → {}", it.a, it.b)]),
            &[],
        ));
        let more = self.facts.changes.len().saturating_sub(LINES);
        if more > 0 {
            text.push(format!("  … and more: --html shows {}", self.facts.changes.len()));
        }
        text.join("\n") + "\n"
    }

    /// The comparison as a page.
    ///
    /// # Errors
    /// The page can't be made, which no record causes.
    pub fn page(&self) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Runs<'a> {
            runs: &'a [Series],
        }
        let title = format!("throng report: {} and {}", self.facts.a, self.facts.b);
        page::render(Page::Comparison, &title, &self.facts, &Runs { runs: &self.series })
    }
}

impl Line {
    fn new(
        name: &str,
        a: Option<f64>,
        b: Option<f64>,
        written: fn(f64) -> String,
        more: More,
    ) -> Line {
        let text = |value: Option<f64>| value.map_or("–".to_owned(), written);
        let (change, tone) = match (a, b) {
            (Some(a), Some(b)) => change(a, b, more),
            _ => (String::new(), ""),
        };
        Line { name: name.to_owned(), a: text(a), b: text(b), change, tone }
    }

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.a.clone(), self.b.clone(), self.change.clone()]
    }
}

impl ChangeFacts {
    fn new(change: &super::changes::Change) -> ChangeFacts {
        let text = |value: &Option<Value>| match value {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => short(text),
            // A whole number has no fraction, as elsewhere.
            Some(Value::Number(number)) => {
                let written = number.to_string();
                written.strip_suffix(".0").unwrap_or(&written).to_owned()
            }
            Some(value) => short(&value.to_string()),
        };
        ChangeFacts {
            key: short(&change.key),
            name: short(&change.name),
            a: text(&change.a),
            b: text(&change.b),
        }
    }
}

/// The change in percent of the first number, and whether it is for the better.
fn change(a: f64, b: f64, more: More) -> (String, &'static str) {
    if (b - a).abs() < 0.000_5 * a.abs() || a == b {
        return ("same".to_owned(), "");
    }
    let text = if a == 0.0 {
        String::new()
    } else {
        let sign = if b > a { "+" } else { "−" };
        format!("{sign}{}", percent(((b - a) / a).abs()))
    };
    let tone = match more {
        More::Neither => "",
        More::Better if b > a => "better",
        More::Worse if b < a => "better",
        _ => "worse",
    };
    (text, tone)
}

fn whole(number: f64) -> String {
    count(number as u64)
}

fn decimal(value: f64) -> String {
    number((value * 100.0).round() / 100.0)
}

/// The headline's figures of both.
fn lines(runs: [(&Report, &Shown, &RecordFold); 2]) -> Vec<Line> {
    let line = |name, of: &dyn Fn(&Report, &Shown, &RecordFold) -> Option<f64>, written, more| {
        let [a, b] = runs.map(|(report, shown, fold)| of(report, shown, fold));
        Line::new(name, a, b, written, more)
    };
    let latency = |of: fn(&crate::report::LatencyReport) -> f64| {
        move |report: &Report, _: &Shown, _: &RecordFold| report.latency_ms.as_ref().map(of)
    };
    let pace = |shown: &Shown| shown.pace.as_ref().map(|pace| pace.seconds);
    let requests = |report: &Report, fold: &RecordFold| match (fold.requests, fold.untimed) {
        (0, _) | (_, 1..) => report.sent.requests as f64,
        (requests, 0) => requests as f64,
    };
    vec![
        line("rows", &|it, _, _| Some(it.rows.rows as f64), whole, More::Neither),
        line("ok", &|it, _, _| Some(it.rows.ok as f64), whole, More::Better),
        line("failed", &|it, _, _| Some(it.rows.failed as f64), whole, More::Worse),
        line("time", &|_, it, _| pace(it), seconds, More::Worse),
        line(
            "share of the best possible pace",
            &|_, it, _| it.pace.as_ref().and_then(super::run::Pace::share),
            percent,
            More::Better,
        ),
        line("requests", &|it, _, fold| Some(requests(it, fold)), whole, More::Neither),
        line(
            "requests per second",
            &|it, shown, fold| {
                pace(shown).filter(|time| *time > 0.0).map(|time| requests(it, fold) / time)
            },
            decimal,
            More::Better,
        ),
        line("retries", &|it, _, _| Some(it.sent.retries as f64), whole, More::Worse),
        line("latency, median", &latency(|it| it.p50), charts::latency, More::Worse),
        line("latency, p90", &latency(|it| it.p90), charts::latency, More::Worse),
        line("latency, p99", &latency(|it| it.p99), charts::latency, More::Worse),
        line("latency, longest", &latency(|it| it.max), charts::latency, More::Worse),
        line(
            "greatest use of a limit",
            &|_, it, _| {
                let used = it.limits.iter().map(|limit| &limit.check);
                used.map(|check| check.peak as f64 / check.allowed.max(1) as f64).reduce(f64::max)
            },
            percent,
            More::Neither,
        ),
    ]
}

/// The kinds of failures of both, those of the first one first.
fn failures(a: &Report, b: &Report) -> Vec<Line> {
    let mut kinds: Vec<&str> = a.failures.iter().map(|it| &*it.kind).collect();
    let more = b.failures.iter().map(|it| &*it.kind);
    kinds.extend(more.filter(|kind| a.failures.iter().all(|it| it.kind != *kind)));
    let of = |report: &Report, kind: &str| {
        let found = report.failures.iter().find(|it| it.kind == kind);
        Some(found.map_or(0.0, |it| it.count as f64))
    };
    let line = |kind: &str| Line::new(&short(kind), of(a, kind), of(b, kind), whole, More::Worse);
    kinds.into_iter().map(line).collect()
}

/// The aggregates without groups.
fn aggregates(a: &[AggregateResult], b: &[AggregateResult]) -> Vec<Line> {
    let value = |answer: &AggregateResult| match &answer.figures {
        Figures::One(figure) => figure.value,
        Figures::Many { .. } => None,
    };
    let pairs = a.iter().zip(b).filter(|(a, _)| matches!(a.figures, Figures::One(_)));
    let line = |(a, b): (&AggregateResult, &AggregateResult)| {
        Line::new(&short(&a.name), value(a), value(b), number, More::Neither)
    };
    pairs.map(line).collect()
}

/// `482 rows are in both, 3 of them changed; 2 are only in A, none only in B`.
fn rows_in_words(changes: &Changes) -> String {
    let changed = match changes.changed {
        0 => "none of them changed".to_owned(),
        changed => format!("{} of them changed", count(changed)),
    };
    let none = |number| if number == 0 { "none".to_owned() } else { count(number) };
    format!(
        "{} in both, {changed}; {} only in A, {} only in B",
        plural(changes.both, "row", "rows"),
        none(changes.only_a),
        none(changes.only_b)
    )
}

fn plots() -> Vec<Plot> {
    let plot = |name: &str, title: &str, about: &str| Plot {
        name: name.to_owned(),
        title: title.to_owned(),
        about: about.to_owned(),
    };
    vec![
        plot("progress", "Progress", "Rows done, each run from its own beginning"),
        plot("latency", "Latency", "90th percentile, each run from its own beginning"),
    ]
}
