//! The view of a run: what stands where, at which size.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

use crate::events::{AggregateSnapshot, RowFailed};
use crate::limit::duration;
use crate::report::{count, escape, number};

use super::super::live;
use super::super::progress::{RunView, lines};
use super::history::{History, SHOWN};

/// Smallest height at which there is more than the two lines and the last failures.
const ROOM_FOR_CHARTS: u16 = 16;

/// Draws a run, and the charts of the time before it.
pub fn draw(frame: &mut Frame<'_>, view: &RunView, history: &History) {
    let area = frame.area();
    let has_charts = area.height >= ROOM_FOR_CHARTS;
    let charts_height = if has_charts { (area.height / 3).clamp(6, 16) } else { 0 };
    let [head, charts, tables, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(charts_height),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(headline(view, area.width)), head);
    if has_charts {
        let halves = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1);
        let [arrivals, latency] = halves.areas(charts);
        draw_arrivals(frame, arrivals, view, history);
        draw_latency(frame, latency, history);
    }
    draw_tables(frame, tables, view);
    frame.render_widget(Paragraph::new(footer(view)), foot);
}

/// The name of the run, and the two lines that a run shows without the view.
fn headline(view: &RunView, width: u16) -> Vec<Line<'static>> {
    let name = format!("throng  {}  (process {})", escape(view.name()), view.started.pid);
    let [first, second] = lines::lines(&view.facts(), usize::from(width));
    vec![Line::styled(name, Style::new().bold()), styled(&first), styled(&second)]
}

fn styled(line: &lines::Line) -> Line<'static> {
    let span = |(text, style): &(String, anstyle::Style)| Span::styled(text.clone(), of(*style));
    Line::from_iter(line.spans().iter().map(span))
}

/// A style of the two lines, as the view draws it.
fn of(style: anstyle::Style) -> Style {
    let color = match style.get_fg_color() {
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Green)) => Color::Green,
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Yellow)) => Color::Yellow,
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)) => Color::Red,
        _ => Color::Reset,
    };
    let style_of_color = Style::new().fg(shown(color));
    if style.get_effects().contains(anstyle::Effects::DIMMED) {
        style_of_color.dim()
    } else {
        style_of_color
    }
}

/// The color, unless colours are off.
fn shown(color: Color) -> Color {
    match super::super::color::of_stderr() {
        crate::report::Color::Always => color,
        crate::report::Color::Never => Color::Reset,
    }
}

fn block(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title).border_style(Style::new().dim())
}

/// Requests in the last period of the limit, against what it allows.
fn draw_arrivals(frame: &mut Frame<'_>, area: Rect, view: &RunView, history: &History) {
    let pace = view.facts().pace;
    let (title, limit) = match &pace.limit {
        Some((allowed, period)) => (
            format!(
                " sent in the last {period}: {} of {} ",
                count(pace.in_window),
                count(*allowed)
            ),
            Some(*allowed as f64),
        ),
        None => (format!(" sent in the last second: {} ", count(pace.in_window)), None),
    };
    let points = history.in_window.points();
    let most = limit.unwrap_or_default().max(history.in_window.most());
    let at_limit = limit.map(|limit| span_of(history).map(|at| (at, limit)));
    let mut lines = vec![series(&points, Color::Green)];
    lines.extend(at_limit.as_ref().map(|points| series(points, Color::Red)));
    let top = limit.map_or_else(|| count(most as u64), |limit| count(limit as u64));
    let chart = Chart::new(lines).block(block(title)).x_axis(time_axis(history));
    frame.render_widget(chart.y_axis(axis(most * 1.05, top)), area);
}

/// Latencies over time.
fn draw_latency(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let last = |series: &super::history::Series| {
        series.last().map_or_else(|| "–".to_owned(), |value| count(value.round() as u64))
    };
    let (p50, p90, p99) = (&history.p50, &history.p90, &history.p99);
    let title = format!(" latency in ms: p50 {}, p90 {}, p99 {} ", last(p50), last(p90), last(p99));
    let points = [p50.points(), p90.points(), p99.points()];
    let colors = [Color::Green, Color::Yellow, Color::Red];
    let lines = points.iter().zip(colors).map(|(points, color)| series(points, color)).collect();
    let most = p99.most().max(1.0);
    let chart = Chart::new(lines).block(block(title)).x_axis(time_axis(history));
    frame.render_widget(chart.y_axis(axis(most * 1.05, count(most.round() as u64))), area);
}

fn series(points: &[(f64, f64)], color: Color) -> Dataset<'_> {
    Dataset::default()
        .data(points)
        .graph_type(GraphType::Line)
        .marker(Marker::Braille)
        .style(Style::new().fg(shown(color)))
}

/// The first and the last time that the charts show.
fn span_of(history: &History) -> [f64; 2] {
    let first = (history.now - SHOWN.as_secs_f64()).max(0.0);
    [first, history.now.max(first + 10.0)]
}

fn time_axis(history: &History) -> Axis<'static> {
    let bounds = span_of(history);
    let ago = format!("{:.0} s ago", history.now - bounds[0]);
    Axis::default().bounds(bounds).labels([ago, "now".into()]).style(Style::new().dim())
}

fn axis(most: f64, top: String) -> Axis<'static> {
    let bounds = [0.0, most.max(1.0)];
    Axis::default().bounds(bounds).labels(["0".into(), top]).style(Style::new().dim())
}

fn draw_tables(frame: &mut Frame<'_>, area: Rect, view: &RunView) {
    let half = area.height.div_ceil(2);
    let [upper, lower] =
        Layout::vertical([Constraint::Length(half), Constraint::Min(0)]).areas(area);
    let columns = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(1);
    let [limits, answers] = columns.areas(upper);
    let [failures, values] = columns.areas(lower);
    draw_list(frame, limits, " limits and workers ", limit_lines(view));
    draw_list(frame, answers, " answers ", answer_lines(view));
    draw_list(frame, failures, " last failures ", failure_lines(view));
    draw_list(frame, values, " values and costs ", value_lines(view));
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<String>) {
    let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::raw(escape(line))).collect();
    frame.render_widget(Paragraph::new(lines).block(block(title.to_owned())), area);
}

fn limit_lines(view: &RunView) -> Vec<String> {
    let limits = view.now.limits.iter().map(|limit| {
        let period = limit.period.map(duration::exact);
        let window = period.map_or_else(String::new, |period| format!(" in {period}"));
        let (peak, units) = (count(limit.peak), count(limit.learnt.unwrap_or(limit.units)));
        let unit = if limit.unit == "requests" { "" } else { limit.unit.as_str() };
        format!("{}  at most {peak} of {units} {unit}{window}", limit.name).replace("  in", " in")
    });
    let workers = view.now.workers.iter().enumerate().map(|(index, worker)| {
        let waiting = match worker.waiting {
            0 => String::new(),
            waiting => format!(", {} waiting", count(waiting)),
        };
        let (sent, in_flight) = (count(worker.sent), count(worker.in_flight));
        format!("worker {}  {sent} sent, {in_flight} in flight{waiting}", index + 1)
    });
    limits.chain(workers).collect()
}

fn answer_lines(view: &RunView) -> Vec<String> {
    let statuses = view.now.statuses.iter();
    let statuses =
        statuses.map(|(status, answers)| format!("status {status}  {}", count(*answers)));
    let failures = view.now.rows.failures.iter();
    let others = failures.filter(|it| !it.kind.starts_with("status "));
    let others = others.map(|it| format!("{}  {} failed", it.kind, count(it.count)));
    statuses.chain(others).collect()
}

fn failure_lines(view: &RunView) -> Vec<String> {
    let line = |failed: &RowFailed| {
        let RowFailed { row, label, kind, detail, .. } = failed;
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        format!("row {row} ({label})  {kind}{detail}")
    };
    if view.failures.is_empty() {
        return vec!["none".to_owned()];
    }
    view.failures.iter().map(line).collect()
}

fn value_lines(view: &RunView) -> Vec<String> {
    let values = view.now.aggregates.iter().flat_map(aggregate_lines);
    let costs =
        view.now.costs.iter().map(|(unit, units)| format!("{unit}  {} used", count(*units)));
    let sent = format!("requests  {} sent", count(view.now.requests.sent));
    let bill = view.facts().bill.map(|(spent, budget)| match budget {
        Some(budget) => format!("bill  {spent} of {budget}"),
        None => format!("bill  {spent}"),
    });
    values.chain(costs).chain([sent]).chain(bill).collect()
}

/// An aggregate, or its largest groups.
fn aggregate_lines(aggregate: &AggregateSnapshot) -> Vec<String> {
    let value = |value: Option<f64>| value.map_or_else(|| "none yet".to_owned(), number);
    if aggregate.groups.is_empty() {
        return vec![format!("{}  {}", aggregate.name, value(aggregate.value))];
    }
    let groups = aggregate.groups.iter();
    groups
        .map(|group| format!("{}  {}  {}", aggregate.name, group.key, value(group.value)))
        .collect()
}

/// The keys, or the last message.
fn footer(view: &RunView) -> Line<'static> {
    if let Some(message) = live::last_message() {
        return Line::styled(message, Style::new().fg(shown(Color::Yellow)));
    }
    let keys = if view.may_control {
        let pause = if view.is_paused() { "resume" } else { "pause" };
        format!(
            "p {pause}   -/+ rate ({:.0} % of the limit)   s stop   q close the view",
            view.rate_share() * 100.0
        )
    } else {
        "another user's run, only to be read   q close the view".to_owned()
    };
    Line::styled(keys, Style::new().reversed())
}
