//! What a page shows of one run.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::causes::{CauseLine, CauseSeries};
use super::charts::{self, Bar, HistogramChart};
use super::fold::{LimitLine, RecordFold};
use super::page::{self, Page};
use super::series::{Series, series};
use super::values::ValueFold;
use crate::error::Error;
use crate::limit::{self, Guard, Policy, Time, Workload};
use crate::report::words::{count, number, per_second, percent, plural, seconds};
use crate::report::{Color, FailureReport, Report, escape, short, visible};
use crate::tally::{AggregateResult, Figure, Figures};
use crate::verify::Check;

/// Maximum number of bars of a chart.
const BARS: usize = 20;
/// Maximum number of groups of an aggregate.
const GROUPS: usize = 15;
/// Timeout of a run about which only its records tell, for the shortest time that its limits allow.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a page says beside its records.
pub struct PageContext {
    /// The name of the results, or of the job.
    pub title: String,
    /// The plan, as it was before the run, with secrets hidden.
    pub plan: Option<String>,
    /// Where the time went, as the run itself knows it.
    pub causes: CauseLine,
}

/// The facts of the template `run`.
#[derive(Default, Serialize)]
struct RunFacts {
    title: String,
    about: Vec<String>,
    version: &'static str,
    stopped: Option<String>,
    why: Option<String>,
    cards: Vec<Card>,
    notes: Vec<String>,
    plots: Vec<Plot>,
    limits: Vec<LimitFacts>,
    latency: Option<HistogramChart>,
    causes: Vec<Bar>,
    statuses: Vec<Bar>,
    failures: Vec<Bar>,
    examples: Vec<ExampleFacts>,
    examples_note: String,
    aggregates: Vec<FigureFacts>,
    groups: Vec<GroupFacts>,
    values: Vec<ValueFacts>,
    plan: Option<String>,
    words: String,
}

/// A number of the headline.
#[derive(Serialize)]
pub(super) struct Card {
    pub name: &'static str,
    pub value: String,
    pub lines: Vec<String>,
    /// `ok`, `warn`, `bad` or nothing.
    pub tone: &'static str,
}

#[derive(Serialize)]
pub(super) struct Plot {
    pub name: String,
    pub title: String,
    pub about: String,
}

#[derive(Serialize)]
struct LimitFacts {
    name: String,
    counted: String,
    peak: String,
    allowed: String,
    kept: &'static str,
    tone: &'static str,
}

#[derive(Serialize)]
struct ExampleFacts {
    row: u64,
    row_text: String,
    label: String,
    kind: String,
    detail: String,
}

#[derive(Serialize)]
struct FigureFacts {
    name: String,
    value: String,
    values: String,
    skipped: String,
}

#[derive(Serialize)]
struct GroupFacts {
    name: String,
    bars: Vec<Bar>,
    more: Option<String>,
}

#[derive(Serialize)]
struct ValueFacts {
    name: String,
    about: String,
    figures: Vec<(&'static str, String)>,
    histogram: Option<HistogramChart>,
    bars: Vec<Bar>,
}

/// The time of a run, and the shortest one that its limits allow.
pub(super) struct Pace {
    pub seconds: f64,
    pub bound: Option<(f64, String)>,
}

impl Pace {
    /// The share of the shortest possible time, 0 to 1.
    pub fn share(&self) -> Option<f64> {
        let (bound, _) = self.bound.as_ref()?;
        Some((bound / self.seconds.max(f64::EPSILON)).min(1.0))
    }
}

/// A run as it can be shown: its numbers over time, its limits and its pace.
pub(super) struct Shown {
    pub series: Option<Series>,
    pub limits: Vec<LimitLine>,
    pub pace: Option<Pace>,
}

impl Shown {
    pub fn new(report: &Report, fold: &mut RecordFold) -> Shown {
        let mut limits = fold.limits();
        let series = series(fold, &mut limits);
        let pace = match &report.pace {
            Some(pace) => Some(Pace {
                seconds: pace.seconds,
                bound: pace.best_possible_seconds.zip(pace.bound_by.clone()),
            }),
            None => series.as_ref().and_then(|series| of_records(fold, &limits, series)),
        };
        Shown { series, limits, pace }
    }
}

/// The page about one run, from its report and its records.
///
/// # Errors
/// The page can't be made, which no record causes.
pub fn run_page(
    context: PageContext,
    report: &Report,
    mut fold: RecordFold,
) -> Result<String, Error> {
    let Shown { series, limits, pace } = Shown::new(report, &mut fold);
    let causes_over_time = context.causes.series();
    let facts = RunFacts {
        title: escape(&context.title),
        about: about(report, &fold),
        version: env!("CARGO_PKG_VERSION"),
        stopped: report.ending.stopped.as_deref().map(short),
        why: report.why.as_deref().map(|why| sentence(&short(why))),
        cards: cards(report, &fold, &limits, pace.as_ref()),
        notes: notes(report, &fold, series.as_ref(), &limits),
        plots: plots(series.as_ref(), causes_over_time.as_ref()),
        limits: limits.iter().map(|limit| limit_facts(&limit.check)).collect(),
        latency: HistogramChart::new(&fold.latency, charts::latency),
        causes: causes(report),
        statuses: statuses(&fold),
        failures: failures(report),
        examples: examples(&report.failures),
        examples_note: examples_note(report),
        aggregates: report.aggregates.iter().filter_map(figure).collect(),
        groups: report.aggregates.iter().filter_map(group).collect(),
        values: fold.values.iter().filter_map(value).collect(),
        plan: context.plan.as_deref().map(visible),
        words: report.text(Color::Never),
    };
    let title = format!("throng report: {}", facts.title);
    let series = PageSeries { run: series.unwrap_or_default(), causes: causes_over_time };
    page::render(Page::Run, &title, &facts, &series)
}

/// The numbers of all plots over time.
#[derive(Serialize)]
struct PageSeries {
    #[serde(flatten)]
    run: Series,
    causes: Option<CauseSeries>,
}

/// The time from the first request to the last answer without the pauses, and the shortest time
/// in which the limits allow the requests, under the guard `strict`.
fn of_records(fold: &RecordFold, limits: &[LimitLine], series: &Series) -> Option<Pace> {
    let (first, last) = fold.span?;
    let pauses: f64 = series.pauses.iter().map(|pause| pause.seconds).sum();
    let seconds = ((last - first) as f64 / 1e6 - pauses).max(0.0);
    Some(Pace { seconds, bound: bound(fold, limits) })
}

fn bound(fold: &RecordFold, limits: &[LimitLine]) -> Option<(f64, String)> {
    let of_all = limits.iter().filter(|it| it.check.keys == 1 && it.check.key.is_empty());
    let rate: Vec<_> = of_all.map(|it| it.check.limit.clone()).collect();
    let units = rate.iter().filter_map(|limit| limit.unit.clone());
    let cost = units.map(|unit| (unit, "1".to_owned())).collect();
    let settings = limit::Settings { rate, cost, guard: Guard::Strict, ..Default::default() };
    let policy = Policy::new(&settings, TIMEOUT).ok()?;
    let units = policy.units().iter().map(|unit| match fold.units.get(unit) {
        Some(units) => *units,
        None => fold.requests,
    });
    let workload = Workload { units: units.collect(), ..Workload::default() };
    let latency = Duration::try_from_secs_f64(fold.latency.mean().unwrap_or(0.0) / 1e3).ok()?;
    let estimate = policy.bound(&workload, latency, Time::ZERO)?;
    Some((estimate.time.as_secs_f64(), estimate.binds))
}

fn about(report: &Report, fold: &RecordFold) -> Vec<String> {
    let mut about = Vec::new();
    if let Some((first, last)) = fold.span {
        let [first, last] = [first, last].map(Timestamp::from_microsecond);
        if let (Ok(first), Ok(last)) = (first, last) {
            let day = "%-d %B %Y";
            let (from, to) = (first.strftime(day).to_string(), last.strftime(day).to_string());
            let to = if from == to { String::new() } else { format!("{to}, ") };
            let clock = "%H:%M:%S";
            about.push(format!(
                "{from}, {} to {to}{} UTC",
                first.strftime(clock),
                last.strftime(clock)
            ));
        }
    }
    if let Some(output) = &report.ending.output {
        about.push(format!("records in {}", escape(output)));
    }
    about
}

/// The text with a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn cards(
    report: &Report,
    fold: &RecordFold,
    limits: &[LimitLine],
    pace: Option<&Pace>,
) -> Vec<Card> {
    let mut cards = vec![rows(report)];
    cards.extend(pace.map(|pace| time(report, pace)));
    cards.extend(limit_card(limits));
    cards.push(requests(report, fold, pace));
    cards.extend(report.latency_ms.as_ref().map(|latency| Card {
        name: "Latency",
        value: charts::latency(latency.p50),
        lines: vec![
            "median".to_owned(),
            format!("p90 {}, p99 {}", charts::latency(latency.p90), charts::latency(latency.p99)),
            format!("longest {}", charts::latency(latency.max)),
        ],
        tone: "",
    }));
    cards.extend(cost(report, fold));
    cards
}

/// The money, if anything had a price, and the units that limits count.
fn cost(report: &Report, fold: &RecordFold) -> Option<Card> {
    let written = |(unit, units): (&String, &u64)| format!("{} {}", count(*units), short(unit));
    let mut lines: Vec<String> = fold.units.iter().map(written).collect();
    let value = match (&report.bill, &report.spent) {
        (Some(bill), _) => {
            if bill.total > bill.usd {
                lines.push(format!("{} with earlier runs", bill.total));
            }
            bill.usd.to_string()
        }
        (None, Some(spent)) => {
            lines.push(
                if spent.at_most { "at most, of all runs" } else { "of all runs" }.to_owned(),
            );
            spent.usd.to_string()
        }
        (None, None) if lines.is_empty() => return None,
        (None, None) => lines.remove(0),
    };
    Some(Card { name: "Cost", value, lines, tone: "" })
}

fn rows(report: &Report) -> Card {
    let rows = &report.rows;
    let ok = rows.ok as f64 / rows.rows.max(1) as f64;
    let mut lines = vec![format!("{} ok, {}", count(rows.ok), percent(ok))];
    if rows.missing > 0 {
        lines.push(format!("{} of them missing at the server", count(rows.missing)));
    }
    lines.push(format!("{} failed", count(rows.failed)));
    if let Some(run) = &report.this_run {
        lines.push(format!("{} of this run, the others of earlier ones", count(run.rows)));
    }
    let tone = match (rows.failed, rows.ok) {
        (0, _) => "ok",
        (_, 0) => "bad",
        _ => "warn",
    };
    Card { name: "Rows", value: count(rows.rows), lines, tone }
}

fn time(report: &Report, pace: &Pace) -> Card {
    let mut lines = Vec::new();
    if report.this_run.is_some() {
        lines.push("of this run".to_owned());
    }
    match (&pace.bound, pace.share()) {
        (Some((bound, binds)), Some(share)) => {
            lines.push(format!("bound {} by {}", seconds(*bound), short(binds)));
            lines.push(format!("{} of the best possible pace", percent(share)));
        }
        _ => lines.push("no limit bounds it".to_owned()),
    }
    Card { name: "Time", value: seconds(pace.seconds), lines, tone: "" }
}

/// The limit whose greatest count came nearest to what it allows.
fn limit_card(limits: &[LimitLine]) -> Option<Card> {
    let checks = limits.iter().map(|limit| &limit.check);
    let used = |check: &&Check| check.peak as f64 / check.allowed.max(1) as f64;
    let nearest = checks.clone().max_by(|a, b| used(a).total_cmp(&used(b)))?;
    let broken = checks.filter(|check| !check.is_kept()).count();
    let mut lines = vec![format!("greatest count of {}", short(&nearest.limit.to_string()))];
    lines.push(match (broken, limits.len()) {
        (0, 1) => "kept, even in the worst case".to_owned(),
        (0, all) => format!("all {all} limits kept, even in the worst case"),
        (broken, all) => {
            format!("{broken} of {} may have been broken", plural(all as u64, "limit", "limits"))
        }
    });
    Some(Card {
        name: "Limit",
        value: format!("{} of {}", count(nearest.peak), count(nearest.allowed)),
        lines,
        tone: if broken > 0 { "bad" } else { "ok" },
    })
}

fn requests(report: &Report, fold: &RecordFold, pace: Option<&Pace>) -> Card {
    let is_live = report.pace.is_some();
    let sent = if is_live || fold.requests == 0 || fold.untimed > 0 {
        report.sent.requests
    } else {
        fold.requests
    };
    let mut lines = Vec::new();
    if let Some(pace) = pace.filter(|pace| pace.seconds > 0.0) {
        lines.push(per_second(sent as f64 / pace.seconds));
    }
    lines.push(plural(report.sent.retries, "retry", "retries"));
    if is_live {
        lines.push(format!("{} refused (429)", count(report.sent.refused)));
    }
    if report.this_run.is_some() {
        lines.push("of this run".to_owned());
    }
    Card { name: "Requests", value: count(sent), lines, tone: "" }
}

fn notes(
    report: &Report,
    fold: &RecordFold,
    series: Option<&Series>,
    limits: &[LimitLine],
) -> Vec<String> {
    let mut notes: Vec<String> = fold.notes.iter().map(|note| short(note)).collect();
    if fold.by_writing {
        notes.push("Records of this job don't tell when its requests were sent, since it has no limit, or polls: the plots go by the times at which records were written, and count one request for each.".to_owned());
    }
    if fold.untimed > 0 {
        let all = plural(fold.records, "record", "records");
        notes.push(format!(
            "{} of {all} don't tell when their requests were sent (_arrived): records have that where the job has a limit. The plots over time and the counts of limits lack them.",
            count(fold.untimed)
        ));
    } else if limits.is_empty() && !fold.by_writing && fold.records > 0 {
        notes.push("No limit is known that can be counted from the records.".to_owned());
    }
    for pause in series.iter().flat_map(|series| &series.pauses) {
        notes.push(format!("A pause of {} is cut out of the plots.", seconds(pause.seconds)));
    }
    if report.pace.is_none() {
        notes.push("Made from the records alone: where the time went, which answers were refused, and the plan are known to the run itself (throng run --report).".to_owned());
    }
    notes
}

/// The plots over time, in their order.
fn plots(series: Option<&Series>, causes: Option<&CauseSeries>) -> Vec<Plot> {
    let causes = causes.map(|causes| Plot {
        name: "causes".to_owned(),
        title: "Time by cause".to_owned(),
        about: format!(
            "Share of the workers' time by what they waited for, in steps of {}, of this run",
            step(causes.width)
        ),
    });
    series.map(plots_of_records).into_iter().flatten().chain(causes).collect()
}

fn plots_of_records(series: &Series) -> Vec<Plot> {
    let plot = |name: &str, title: &str, about: String| Plot {
        name: name.to_owned(),
        title: title.to_owned(),
        about,
    };
    let each = step(series.width);
    let mut plots = vec![
        plot(
            "requests",
            "Requests",
            format!("Sent per second, in steps of {each}; a limit may be used in bursts"),
        ),
        plot(
            "progress",
            "Progress",
            "Requests so far, beside the most that the limit would have allowed".to_owned(),
        ),
    ];
    for (index, limit) in series.limits.iter().enumerate() {
        plots.push(plot(
            &format!("limit_{index}"),
            &format!("Limit {}", limit.name),
            format!("Greatest count, worst case: {}", limit.counted),
        ));
    }
    plots.push(plot(
        "latency",
        "Latency over time",
        format!("Percentiles of the answers in {each}"),
    ));
    plots.push(plot(
        "in_flight",
        "In flight",
        "Requests sent and not yet answered, on average".to_owned(),
    ));
    if !series.failed.is_empty() {
        plots.push(plot(
            "outcome",
            "Failures over time",
            format!("Rows that failed per second, by kind, in steps of {each}"),
        ));
    }
    plots
}

fn step(width: f64) -> String {
    if width < 1.0 { charts::latency(width * 1e3) } else { seconds(width) }
}

fn limit_facts(check: &Check) -> LimitFacts {
    let key = match check.keys {
        0 | 1 => String::new(),
        keys => format!(" of {}, of the busiest of {} keys", short(&check.key), count(keys)),
    };
    let is_kept = check.is_kept();
    LimitFacts {
        name: short(&check.limit.to_string()),
        counted: format!(
            "{}{key}",
            check.limit.unit.as_deref().map_or("requests".to_owned(), short)
        ),
        peak: count(check.peak),
        allowed: count(check.allowed),
        kept: if is_kept { "✓ yes" } else { "✗ not in the worst case" },
        tone: if is_kept { "ok" } else { "bad" },
    }
}

fn causes(report: &Report) -> Vec<Bar> {
    let longest = report.causes.first().map_or(1.0, |share| share.seconds.max(f64::EPSILON));
    let bar = |share: &crate::metrics::TimeShare| Bar {
        label: short(&share.describe()),
        value: seconds(share.seconds),
        beside: percent(share.share),
        length: charts::short(share.seconds / longest * 100.0),
    };
    report.causes.iter().filter(|share| share.share >= 0.000_5).map(bar).collect()
}

fn statuses(fold: &RecordFold) -> Vec<Bar> {
    let mut counted: Vec<(String, u64)> =
        fold.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
    let answered: u64 = counted.iter().map(|(_, count)| count).sum();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if fold.records > answered && answered > 0 {
        counted.push(("none".to_owned(), fold.records - answered));
    }
    let few = counted.iter().take(BARS).map(|(status, count)| (&**status, *count));
    charts::counts(few, fold.records, ["row", "rows"])
}

fn failures(report: &Report) -> Vec<Bar> {
    let kinds: Vec<(String, u64)> =
        report.failures.iter().take(BARS).map(|it| (short(&it.kind), it.count)).collect();
    let kinds = kinds.iter().map(|(kind, count)| (&**kind, *count));
    charts::counts(kinds, report.rows.failed, ["row", "rows"])
}

/// The examples of all kinds, by row.
fn examples(failures: &[FailureReport]) -> Vec<ExampleFacts> {
    let of_kind = |failure: &FailureReport| {
        let kind = short(&failure.kind);
        let example = move |example: &crate::tally::Example| ExampleFacts {
            row: example.row,
            row_text: count(example.row),
            label: escape(&example.label),
            kind: kind.clone(),
            detail: escape(&example.detail),
        };
        failure.examples.iter().map(example).collect::<Vec<_>>()
    };
    let mut examples: Vec<ExampleFacts> = failures.iter().flat_map(of_kind).collect();
    examples.sort_by_key(|example| example.row);
    examples
}

fn examples_note(report: &Report) -> String {
    let shown: usize = report.failures.iter().map(|failure| failure.examples.len()).sum();
    if shown as u64 == report.rows.failed {
        return "All failed rows.".to_owned();
    }
    let listed = report.ending.output.as_ref().map_or_else(String::new, |output| {
        format!(" throng report --failed {} lists all.", escape(output))
    });
    format!(
        "The first rows of each kind, {} of {} that failed.{listed}",
        count(shown as u64),
        count(report.rows.failed)
    )
}

/// The figure of an aggregate without groups.
fn figure(answer: &AggregateResult) -> Option<FigureFacts> {
    let Figures::One(figure) = &answer.figures else {
        return None;
    };
    Some(FigureFacts {
        name: named(answer),
        value: figure_text(figure),
        values: count(figure.values),
        skipped: count(figure.skipped),
    })
}

fn group(answer: &AggregateResult) -> Option<GroupFacts> {
    let Figures::Many { groups } = &answer.figures else {
        return None;
    };
    let values = || groups.iter().take(GROUPS).filter_map(|group| group.figure.value);
    let longest = values().map(f64::abs).fold(0.0, f64::max);
    let bar = |group: &crate::tally::ResultGroup| Bar {
        label: short(&group.key),
        value: figure_text(&group.figure),
        beside: format!("of {}", plural(group.figure.values, "value", "values")),
        // A negative figure has no bar.
        length: match group.figure.value {
            Some(value) if longest > 0.0 => charts::short((value / longest * 100.0).max(0.0)),
            _ => 0.0,
        },
    };
    let more = groups.len().checked_sub(GROUPS).filter(|more| *more > 0);
    Some(GroupFacts {
        name: named(answer),
        bars: groups.iter().take(GROUPS).map(bar).collect(),
        more: more.map(|more| format!("The largest {GROUPS} groups; {} more", count(more as u64))),
    })
}

fn named(answer: &AggregateResult) -> String {
    let (name, expression) = (short(&answer.name), short(&answer.expression));
    if name == expression { name } else { format!("{name} = {expression}") }
}

fn figure_text(figure: &Figure) -> String {
    let about = match figure.accuracy {
        crate::tally::Accuracy::Exact => "",
        crate::tally::Accuracy::Approximate => "~",
    };
    figure.value.map_or("none".to_owned(), |value| format!("{about}{}", number(value)))
}

/// A value's numbers or texts; none if no result has it.
fn value(fold: &ValueFold) -> Option<ValueFacts> {
    let (numbers, texts) = (fold.numbers.count(), fold.text_count());
    if numbers + texts == 0 {
        return None;
    }
    let mut about = Vec::new();
    if numbers > 0 {
        about.push(plural(numbers, "number", "numbers"));
    }
    if texts > 0 {
        let different = match (fold.different_texts(), fold.other_texts) {
            (1, 0) => "all the same".to_owned(),
            (different, 0) if different as u64 == texts => "all different".to_owned(),
            (different, 0) => format!("{} different ones", count(different as u64)),
            (different, _) => format!("more than {} different ones", count(different as u64)),
        };
        let texts = plural(texts, "text", "texts");
        about.push(if texts == "1 text" { texts } else { format!("{texts}, {different}") });
    }
    if fold.missing > 0 {
        about.push(format!("{} without it", plural(fold.missing, "row", "rows")));
    }
    let is_numeric = numbers >= texts;
    let all = fold.texts();
    // Texts that are all different say nothing as bars.
    let repeats = texts > 1 && all.first().is_some_and(|(_, count)| *count > 1);
    let some: Vec<(String, u64)> =
        all.iter().take(BARS).map(|(text, count)| (short(text), *count)).collect();
    let bars = some.iter().map(|(text, count)| (&**text, *count));
    Some(ValueFacts {
        name: short(&fold.name),
        about: about.join("; "),
        figures: if numbers > 0 { figures(fold) } else { Vec::new() },
        histogram: HistogramChart::new(&fold.numbers, charts::value).filter(|_| is_numeric),
        bars: if repeats || (!is_numeric && all.len() <= 3) {
            charts::counts(bars, numbers + texts, ["row", "rows"])
        } else {
            Vec::new()
        },
    })
}

fn figures(fold: &ValueFold) -> Vec<(&'static str, String)> {
    let numbers = &fold.numbers;
    let ends = numbers.ends();
    let all = [
        ("smallest", ends.map(|(min, _)| min)),
        ("median", numbers.quantile(0.5)),
        ("mean", numbers.mean()),
        ("largest", ends.map(|(_, max)| max)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, number(value?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Failure, FailureKind, Record};
    use crate::row::Row;
    use crate::sink::samples::ok;
    use crate::tally::{Aggregate, Tally};
    use crate::verify::KnownLimits;

    const HOSTILE: &str =
        "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}\u{202e}";

    #[test]
    fn hostile_text_is_shown_and_never_part_of_the_page() {
        let mut row = Row { number: 1, ..Row::default() };
        row.fields.insert(HOSTILE.into(), HOSTILE.into());
        let failure = Failure::new(FailureKind::Other(HOSTILE.into()), HOSTILE);
        let failed = Record { row: row.clone(), outcome: Err(failure), ..ok(1) };
        let shown = Record { row, outcome: Ok(vec![HOSTILE.into()]), ..ok(2) };
        let mut tally =
            Tally::new(&[Aggregate::parse("n", "count(v) by v").unwrap()], &["v".into()]);
        let mut fold = RecordFold::new(&KnownLimits::of_run(&[]), Some(&["v".into()]));
        for record in [&failed, &shown] {
            tally.add(record);
            fold.add(record);
        }
        let context = PageContext {
            title: HOSTILE.into(),
            plan: Some(HOSTILE.into()),
            causes: CauseLine::default(),
        };
        let page = run_page(context, &Report::of(&tally), fold).unwrap();
        assert!(!page.contains("<img src=x") && !page.contains("<script>alert"), "{page}");
        assert!(!page.contains('\u{202e}'));
        assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("</script>").count(), 3);
    }

    #[test]
    fn no_records_make_a_page() {
        let fold = RecordFold::new(&KnownLimits::of_run(&[]), None);
        let context =
            PageContext { title: "empty.jsonl".into(), plan: None, causes: CauseLine::default() };
        let report = Report::of(&Tally::new(&[], &[]));
        assert!(run_page(context, &report, fold).unwrap().contains("empty.jsonl"));
    }
}
