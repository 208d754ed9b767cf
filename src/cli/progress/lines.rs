//! The facts of a run in two lines, or in one of a log. Pure.
//!
//! A line is a row of parts, each of which can be written at length or in short, or be left out.
//! Where a line is too wide, the parts are shortened one after the other, the least important
//! first.

use std::time::Duration;

use anstyle::{AnsiColor, Effects, Style};
use unicode_width::UnicodeWidthStr;

use crate::limit::duration;
use crate::metrics::BatchProgress;
use crate::report::{Color, count, escape};

use super::facts::{Facts, State};

const PLAIN: Style = Style::new();
const DIM: Style = Style::new().effects(Effects::DIMMED);
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// Between two parts.
const BETWEEN: &str = " · ";
/// In place of the end of a text that is cut.
const CUT: &str = "…";

/// A line of the display.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line(Vec<(String, Style)>);

/// A part of a line.
struct Part {
    style: Style,
    /// From the longest to the shortest one; an empty one leaves the part out.
    forms: Vec<String>,
    /// The form that is written.
    chosen: usize,
    /// What stands between it and the part before it.
    between: &'static str,
}

impl Line {
    /// The texts of the line with their styles.
    #[cfg(feature = "tui")]
    pub fn spans(&self) -> &[(String, Style)] {
        &self.0
    }

    /// The line as a terminal gets it.
    pub fn text(&self, color: Color) -> String {
        self.0.iter().map(|(text, style)| color.paint(*style, text)).collect()
    }
}

impl Part {
    fn new<const FORMS: usize>(style: Style, forms: [String; FORMS]) -> Part {
        Part { style, forms: forms.into(), chosen: 0, between: BETWEEN }
    }

    fn text(&self) -> &str {
        self.forms.get(self.chosen).map_or("", String::as_str)
    }
}

/// The two lines of a display of this width.
pub fn lines(facts: &Facts, width: usize) -> [Line; 2] {
    let [bar, rows, time, ok, failed, retried, refused] = [0, 1, 2, 3, 4, 5, 6];
    let first = [bar, rows, ok, bar, rows, refused, failed, retried, time, failed, rows];
    let [state, pace, in_flight, waiting, batches, bill, deadline] = [0, 1, 2, 3, 4, 5, 6];
    let second = [waiting, in_flight, pace, batches, bill, deadline, batches, bill, state];
    [fit(counts(facts), &first, width), fit(standing(facts), &second, width)]
}

/// The same in one line of a log.
pub fn log_line(facts: &Facts) -> String {
    let parts = counts(facts).into_iter().skip(1).chain(standing(facts));
    let texts: Vec<String> = parts.map(|part| part.text().to_owned()).collect();
    let texts: Vec<&str> =
        texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    texts.join(BETWEEN)
}

/// How far the run is, and what became of the rows.
fn counts(facts: &Facts) -> Vec<Part> {
    vec![
        Part::new(GREEN, bars(facts)),
        Part { between: " ", ..Part::new(PLAIN, rows(facts)) },
        Part::new(PLAIN, time(facts)),
        Part::new(PLAIN, ok(facts)),
        Part::new(RED, failed(facts)),
        Part::new(YELLOW, number(facts.retried, "retried")),
        Part::new(YELLOW, number(facts.refused, "refused")),
    ]
}

/// What the run does or waits for.
fn standing(facts: &Facts) -> Vec<Part> {
    let deadline = facts.deadline.filter(|_| facts.state != State::Stopping);
    let deadline = deadline.map(|left| format!("deadline in {}", duration::rounded(left)));
    vec![
        state(&facts.state, facts),
        Part::new(DIM, [pace(facts), String::new()]),
        Part::new(DIM, [format!("{} in flight", count(facts.in_flight)), String::new()]),
        Part::new(DIM, number(facts.waiting, "waiting")),
        Part::new(PLAIN, batches(facts)),
        Part::new(PLAIN, bill(facts)),
        Part::new(DIM, [deadline.unwrap_or_default(), String::new()]),
    ]
}

/// A bar; none without a total.
fn bars(facts: &Facts) -> [String; 3] {
    let share =
        facts.total.filter(|total| *total > 0).map(|total| facts.done as f64 / total as f64);
    let bar = |cells: usize| {
        share.map_or_else(String::new, |share| {
            let full = ((share * cells as f64) as usize).min(cells);
            format!("{}{}", "━".repeat(full), "╌".repeat(cells - full))
        })
    };
    [bar(20), bar(10), String::new()]
}

fn rows(facts: &Facts) -> [String; 4] {
    let done = count(facts.done);
    let Some(total) = facts.total else {
        return [format!("{done} records"), format!("{done} records"), done.clone(), done];
    };
    // A run is at 100 % when it is done.
    let percent = facts.done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let total = count(total);
    [
        format!("{done} of {total} rows ({percent} %)"),
        format!("{done}/{total} ({percent} %)"),
        format!("{done}/{total}"),
        format!("{percent} %"),
    ]
}

fn time(facts: &Facts) -> [String; 2] {
    let elapsed = duration::rounded(Duration::from_secs(facts.elapsed.as_secs()));
    match facts.left.filter(|_| facts.total.is_some_and(|total| facts.done < total)) {
        Some(left) => {
            let left = duration::rounded(left.max(Duration::from_secs(1)));
            [format!("{elapsed}, {left} left"), format!("{left} left")]
        }
        None => [elapsed.clone(), elapsed],
    }
}

fn ok(facts: &Facts) -> [String; 2] {
    match (facts.done, facts.failed) {
        (0, _) => [String::new(), String::new()],
        (_, 0) => ["all ok".into(), "all ok".into()],
        (done, failed) => [format!("{} ok", count(done - failed)), String::new()],
    }
}

fn failed(facts: &Facts) -> [String; 3] {
    if facts.failed == 0 {
        return [const { String::new() }; 3];
    }
    let failed = format!("{} failed", count(facts.failed));
    let kind = |(kind, rows): &(String, u64)| format!("{} {}", count(*rows), escape(kind));
    let kinds: Vec<String> = facts.failures.iter().take(2).map(kind).collect();
    let with = |kinds: &[String]| {
        let more =
            if kinds.len() < facts.failures.len() { format!(", {CUT}") } else { String::new() };
        if kinds.is_empty() {
            failed.clone()
        } else {
            format!("{failed} ({}{more})", kinds.join(", "))
        }
    };
    [with(&kinds), with(&kinds[..kinds.len().min(1)]), failed.clone()]
}

/// What the run has cost, and its budget; nothing if nothing has a price.
fn bill(facts: &Facts) -> [String; 3] {
    match facts.bill {
        None => [const { String::new() }; 3],
        Some((spent, Some(budget))) => {
            [format!("{spent} of {budget}"), spent.to_string(), String::new()]
        }
        Some((spent, None)) => [spent.to_string(), spent.to_string(), String::new()],
    }
}

/// The batches at a provider; nothing without them.
fn batches(facts: &Facts) -> [String; 3] {
    let Some(BatchProgress { submitted, in_progress, completed }) = facts.batches else {
        return [const { String::new() }; 3];
    };
    let [submitted, in_progress, completed] = [submitted, in_progress, completed].map(count);
    [
        format!("batches: {submitted} submitted, {in_progress} in progress, {completed} completed"),
        format!("{in_progress} batches in progress"),
        String::new(),
    ]
}

/// `12 refused`; nothing for none.
fn number(number: u64, what: &str) -> [String; 2] {
    let text = if number > 0 { format!("{} {what}", count(number)) } else { String::new() };
    [text, String::new()]
}

/// The requests of late, where they are not held back by the server, or for long.
fn pace(facts: &Facts) -> String {
    let tenths = (facts.pace.requests * 10.0).floor() / 10.0;
    match (&facts.state, &facts.pace.limit) {
        (
            State::Pause { .. }
            | State::UnknownUse { .. }
            | State::Outage(_)
            | State::Held
            | State::Making(_)
            | State::Begins,
            _,
        ) => String::new(),
        (_, Some((allowed, period))) => format!("{tenths} of {} in {period}", count(*allowed)),
        (State::Limited { .. }, None) => String::new(),
        (_, None) => format!("{tenths:.1} requests/s"),
    }
}

fn state(state: &State, facts: &Facts) -> Part {
    let (style, long, short) = match state {
        State::Begins => (DIM, "begins".to_owned(), "begins".to_owned()),
        State::BoundBy { cause, share } => {
            let short = format!("bound by {cause}");
            (PLAIN, format!("{short} ({:.0} %)", share * 100.0), short)
        }
        State::Limited { limit, wait, at } => {
            let wait = duration::rounded(*wait);
            let long = format!("waits for {limit}: goes on at {at} (in {wait})");
            (PLAIN, long, format!("{limit}: goes on in {wait}"))
        }
        State::Pause { wait, at } => {
            let wait = duration::rounded(*wait);
            let long = format!("the server asks for a pause until {at} ({wait} more)");
            (YELLOW, long, format!("server pause: {wait} more"))
        }
        State::UnknownUse { limit, wait, at } => {
            let wait = duration::rounded(*wait);
            let long =
                format!("the store doesn't know the use of {limit}: goes on at {at} (in {wait})");
            (YELLOW, long, format!("use of {limit} unknown: goes on in {wait}"))
        }
        State::Outage(outage) => (RED, format!("server out: {outage}"), outage.clone()),
        State::Held => (YELLOW, "paused by hand".to_owned(), "paused by hand".to_owned()),
        State::Stopping => {
            let answers = count(facts.in_flight);
            let long = format!("stopping: waits for {answers} answers; Ctrl-C again drops them");
            (YELLOW, long, format!("stopping: waits for {answers} answers"))
        }
        State::Making(file) => {
            let long = format!("makes {file} of its journal");
            (PLAIN, long, format!("makes {file}"))
        }
    };
    Part::new(style, [escape(&long), escape(&short)])
}

/// The parts in a line that is no wider than this. `order` names the part that is shortened
/// next.
fn fit(mut parts: Vec<Part>, order: &[usize], width: usize) -> Line {
    let mut order = order.iter();
    while width_of(&parts) > width
        && let Some(part) = order.next()
    {
        let part = &mut parts[*part];
        part.chosen = (part.chosen + 1).min(part.forms.len() - 1);
    }
    let mut line = Line::default();
    let mut left = width;
    for part in parts.iter().filter(|part| !part.text().is_empty()) {
        let between = if line.0.is_empty() { "" } else { part.between };
        for (text, style) in [(between, DIM), (part.text(), part.style)] {
            let text = cut(text, left);
            left -= text.width();
            line.0.push((text, style));
        }
    }
    line
}

fn width_of(parts: &[Part]) -> usize {
    let written = parts.iter().filter(|part| !part.text().is_empty());
    let between = written.clone().skip(1).map(|part| part.between.width());
    written.map(|part| part.text().width()).chain(between).sum()
}

/// The text in at most this width.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for char in text.chars() {
        if format!("{cut}{char}{CUT}").width() > width {
            break;
        }
        cut.push(char);
    }
    if width > 0 { cut + CUT } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::facts::Pace;

    fn facts() -> Facts {
        Facts {
            bill: None,
            done: 22_500,
            total: Some(50_000),
            elapsed: Duration::from_secs(312),
            left: Some(Duration::from_secs(380)),
            failed: 20,
            failures: vec![("status 404".into(), 12), ("timeout".into(), 8)],
            retried: 31,
            refused: 12,
            in_flight: 19,
            waiting: 40,
            batches: None,
            pace: Pace { requests: 21.97, in_window: 22, limit: Some((22, "5s".into())) },
            deadline: None,
            state: State::BoundBy { cause: "22/5s".into(), share: 0.964 },
        }
    }

    fn texts(facts: &Facts, width: usize) -> [String; 2] {
        lines(facts, width).map(|line| line.text(Color::Never))
    }

    #[test]
    fn what_matters_most_is_shown_at_every_width() {
        for (width, first, second) in [
            (40, "45 % · 6 m 20 s left · 20 failed", "bound by 22/5s (96 %) · 21.9 of 22 in 5s"),
            (
                79,
                "22,500/50,000 · 5 m 12 s, 6 m 20 s left · 20 failed (12 status 404, …)",
                "bound by 22/5s (96 %) · 21.9 of 22 in 5s · 19 in flight · 40 waiting",
            ),
            (
                119,
                "22,500/50,000 (45 %) · 5 m 12 s, 6 m 20 s left · 20 failed (12 status 404, 8 timeout) · 31 retried · 12 refused",
                "bound by 22/5s (96 %) · 21.9 of 22 in 5s · 19 in flight · 40 waiting",
            ),
            (
                199,
                "━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌ 22,500 of 50,000 rows (45 %) · 5 m 12 s, 6 m 20 s left · 22,480 ok · 20 failed (12 status 404, 8 timeout) · 31 retried · 12 refused",
                "bound by 22/5s (96 %) · 21.9 of 22 in 5s · 19 in flight · 40 waiting",
            ),
        ] {
            assert_eq!(texts(&facts(), width), [first, second], "{width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_display() {
        let states = [
            State::Begins,
            State::BoundBy { cause: "pauses that the server asks for".into(), share: 0.5 },
            State::Limited {
                limit: "25/1d@America/Los_Angeles".into(),
                wait: Duration::from_secs(18_780),
                at: "2026-11-28 09:00".into(),
            },
            State::Pause { wait: Duration::from_secs(48), at: "14:03:12".into() },
            State::UnknownUse {
                limit: "25/1d@America/Los_Angeles".into(),
                wait: Duration::from_secs(62),
                at: "14:03:12".into(),
            },
            State::Outage("接続.example: connection refused for 12 s, next try in 8 s".into()),
            State::Stopping,
            State::Held,
            State::Making("/very/long/directory/漢字/quotes.parquet".into()),
        ];
        for state in states {
            let facts = Facts { state, deadline: Some(Duration::from_secs(90)), ..facts() };
            for width in 0..220 {
                let widths = texts(&facts, width).map(|line| line.width());
                assert!(widths.iter().all(|it| *it <= width), "{width}: {widths:?}");
            }
        }
    }

    #[test]
    fn an_unknown_total_has_no_bar_and_no_end() {
        let facts = Facts { total: None, left: None, failed: 0, ..facts() };
        let [first, _] = texts(&facts, 79);
        assert_eq!(first, "22,500 records · 5 m 12 s · all ok · 31 retried · 12 refused");
    }

    #[test]
    fn a_run_that_begins_promises_nothing() {
        let facts = Facts { total: Some(500), ..Facts::default() };
        assert_eq!(
            texts(&facts, 79),
            ["╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 0 of 500 rows (0 %) · 0 s", "begins · 0 in flight"]
        );
    }

    #[test]
    fn a_server_s_text_is_shown_and_not_obeyed() {
        let failures = vec![("\u{1b}[2J\nrow 7".into(), 1)];
        let facts = Facts { failed: 1, failures, ..facts() };
        assert!(texts(&facts, 199)[0].contains("(1 \\u{1b}[2J\\nrow 7)"));
        assert!(log_line(&facts).contains("\\u{1b}[2J\\nrow 7"));
    }

    #[test]
    fn colours_are_no_part_of_the_width() {
        let line = &lines(&facts(), 79)[0];
        let painted = line.text(Color::Always);
        assert!(painted.contains(&format!("{RED}20 failed")), "{painted:?}");
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), line.text(Color::Never));
    }
}
