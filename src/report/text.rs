//! The report for people: a short block of lines.

use anstyle::{AnsiColor, Style};

use crate::metrics::{BatchProgress, TimeShare, Warning};
use crate::wording::worded;

use super::escape::{escape, short};
use super::summary::{
    BillReport, BrakeReport, EstimateReport, FoundLimit, LatencyReport, LimitReport, Report,
    RunEnding, SharingReport, WorkerReport,
};
use super::tables::{answers, failures};
use super::words::{count, milliseconds, per_second, percent, plural, seconds};

/// Whether the text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// Text with the escape sequences of a terminal.
    Always,
}

impl Report {
    /// The report for people: lines, each with its newline.
    #[must_use]
    pub fn text(&self, color: Color) -> String {
        let mut lines = vec![color.paint(style(self), &rows(self))];
        lines.extend(stopped(self, color));
        lines.extend(self.brake.iter().flat_map(brake));
        lines.extend(insecure(self, color));
        lines.extend(time(self));
        lines.extend(why(self));
        lines.extend(self.pace.as_ref().and_then(|pace| pace.advice.clone()));
        lines.push(sent(self));
        lines.extend(targets(self));
        lines.extend(self.bill.as_ref().map(bill));
        lines.extend(self.spent.as_ref().map(|spent| format!("bill: {}", spent.text())));
        lines.extend(self.estimates.iter().map(estimate));
        lines.extend(self.batches.as_ref().map(batches));
        lines.extend(self.limits.iter().map(limit));
        lines.extend(sharing(self));
        for (header, why) in &self.header_warnings {
            lines.push(format!("ignored header: {}: {}", short(header), short(why)));
        }
        lines.extend(self.warnings.iter().map(|it| warning(it, color)));
        lines.extend(self.latency_ms.as_ref().map(latency));
        let run = self.this_run.as_ref();
        lines.extend(apart(answers(&self.aggregates, run.map(|run| &*run.aggregates))));
        // What the first answers had in common stands above.
        if self.brake.is_none() {
            let of_run = run.map(|run| &*run.failures);
            let results = self.ending.output.as_deref();
            lines.extend(apart(failures(&self.failures, of_run, results)));
        }
        lines.extend(apart(ending(self)));
        lines.join("\n") + "\n"
    }

    /// The work of each worker, one line each.
    #[must_use]
    pub fn worker_lines(&self) -> Vec<String> {
        self.workers.iter().map(worker).collect()
    }
}

impl Color {
    /// The text in this style.
    #[must_use]
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        match self {
            Color::Never => text.to_owned(),
            Color::Always => format!("{style}{text}{style:#}"),
        }
    }
}

/// Green only if all rows are ok and the run was complete.
fn style(report: &Report) -> Style {
    let color = match (&report.ending.stopped, report.rows.failed) {
        (None, 0) => AnsiColor::Green,
        (None, _) => AnsiColor::Yellow,
        (Some(_), _) => AnsiColor::Red,
    };
    color.on_default().bold()
}

fn rows(report: &Report) -> String {
    let rows = &report.rows;
    let outcome = |ok, missing, failed| {
        let missing = match missing {
            0 => String::new(),
            missing => format!(" ({} missing)", count(missing)),
        };
        format!("{} ok{missing}, {} failed", count(ok), count(failed))
    };
    let mut parts = Vec::new();
    if let Some(run) = &report.this_run {
        parts.push(format!(
            "this run {}: {}",
            count(run.rows),
            outcome(run.ok, run.missing, run.failed)
        ));
    }
    let skipped = count(rows.skipped);
    match rows.skipped_failed {
        _ if rows.skipped == 0 => {}
        0 => parts.push(format!("{skipped} more done before")),
        failed => {
            parts.push(format!("{skipped} more done before, of which {} failed", count(failed)));
        }
    }
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) };
    let all = plural(rows.rows, "row", "rows");
    format!("{all}: {}{parts}", outcome(rows.ok, rows.missing, rows.failed))
}

fn batches(batches: &BatchProgress) -> String {
    let BatchProgress { submitted, in_progress, completed } = *batches;
    format!(
        "{} submitted, {} in progress, {} completed",
        plural(submitted, "batch", "batches"),
        count(in_progress),
        count(completed)
    )
}

fn stopped(report: &Report, color: Color) -> Option<String> {
    let why = report.ending.stopped.as_deref()?;
    let red = AnsiColor::Red.on_default();
    Some(color.paint(red, &format!("stopped: {}", escape(why))))
}

/// The server's words, up to a page of them.
fn brake(brake: &BrakeReport) -> Vec<String> {
    const LINES: usize = 20;
    const WIDTH: usize = 110;
    let status = brake.status.map_or_else(String::new, |status| format!(", status {status}"));
    let mut lines = vec![format!("the server said (row {}{status}):", brake.row)];
    let said: Vec<char> =
        brake.said.trim_end().lines().map(escape).collect::<Vec<_>>().join("\n").chars().collect();
    let pieces = said.split(|char| *char == '\n').flat_map(|line| line.chunks(WIDTH));
    let mut pieces = pieces.map(|piece| format!("  {}", piece.iter().collect::<String>()));
    lines.extend(pieces.by_ref().take(LINES));
    if pieces.next().is_some() {
        lines.push("  …".to_owned());
    }
    lines.extend(brake.keys.as_ref().map(|keys| escape(keys)));
    lines
}

fn insecure(report: &Report, color: Color) -> Option<String> {
    let warning = worded(
        "WARNING: certificates were NOT checked (tls.insecure or --insecure): anyone on the way may have read and changed all data",
    );
    let red = AnsiColor::Red.on_default().bold();
    report.insecure.then(|| color.paint(red, &warning))
}

fn time(report: &Report) -> Option<String> {
    let pace = report.pace.as_ref()?;
    let took = seconds(pace.seconds);
    let Some(best) = pace.best_possible_seconds else {
        return Some(took);
    };
    let mut binds = pace.bound_by.as_deref().map_or_else(String::new, short);
    if let Some(units) = pace.at_a_time {
        binds += &format!(" and the latency, at most {} in flight", count(units));
    }
    let limit = report.limits.iter().find(|it| Some(&it.rate) == pace.bound_by.as_ref());
    if let Some(found) = limit.and_then(|limit| limit.found.as_ref()) {
        if !found.is_settled {
            return Some(format!("{took}, bound unknown while {binds} is searched for"));
        }
        binds += &format!(" at {}, as it found", per_second(found.per_second));
    }
    if let Some(others) = limit.map(|it| it.other_runs).filter(|others| *others > 0) {
        let others = plural(others, "other run", "other runs");
        let best = seconds(best);
        return Some(format!(
            "{took}, bound {best} for a run alone ({binds}, shared with {others})"
        ));
    }
    let share = percent((best / pace.seconds.max(f64::EPSILON)).min(1.0));
    Some(format!("{took}, bound {} ({binds}), {share}", seconds(best)))
}

/// The time by reason and the advice, if they are worth a line.
fn why(report: &Report) -> Vec<String> {
    const MOST: usize = 4;
    let Some(why) = &report.why else {
        return Vec::new();
    };
    let describe =
        |share: &TimeShare| format!("{} {}", short(&share.describe()), percent(share.share));
    let shares = report.causes.iter().take(MOST);
    let shares: Vec<String> = shares.filter(|it| it.share >= 0.001).map(describe).collect();
    vec![format!("time went to: {}", shares.join(", ")), short(why)]
}

fn sent(report: &Report) -> String {
    let sent = &report.sent;
    let pace = match &report.pace {
        Some(pace) => format!(" ({})", per_second(pace.requests_per_second)),
        None => String::new(),
    };
    let how = match sent.refused - sent.refused_otherwise {
        by_429 if by_429 == sent.refused => "429".to_owned(),
        0 => "not by 429".to_owned(),
        by_429 => format!("{} by 429", count(by_429)),
    };
    let mut unsent = String::new();
    if sent.stored > 0 {
        unsent += &format!(", {} from the store", plural(sent.stored, "answer", "answers"));
    }
    if sent.shared > 0 {
        let spared = plural(sent.shared, "request", "requests");
        unsent += &format!(", {spared} not sent, since equal ones were");
    }
    format!(
        "{}{pace}, {}, {} refused ({how}){unsent}",
        plural(sent.requests, "request", "requests"),
        plural(sent.retries, "retry", "retries"),
        count(sent.refused)
    )
}

/// Who has answered, where a job has fallbacks.
fn targets(report: &Report) -> Option<String> {
    let all = report.targets.iter();
    let all: Vec<String> =
        all.map(|(name, rows)| format!("{} {}", short(name), count(*rows))).collect();
    (!all.is_empty()).then(|| format!("rows ok by target: {}", all.join(", ")))
}

fn bill(bill: &BillReport) -> String {
    let units = bill.units.iter().filter(|(unit, _)| *unit != "requests");
    let units: Vec<String> = units
        .map(|(unit, billed)| format!("{} {} {}", count(billed.units), short(unit), billed.usd))
        .collect();
    let units = if units.is_empty() { String::new() } else { format!(" ({})", units.join(", ")) };
    let mut line = format!("bill: {}{units}", bill.usd);
    if bill.unsettled_requests > 0 {
        let requests = plural(bill.unsettled_requests, "request", "requests");
        line += &format!(
            "; {} of it is an estimate, for {requests} of which no answer told the cost",
            bill.unsettled
        );
    }
    if bill.total > bill.usd {
        line += &format!("; {} with earlier runs", bill.total);
    }
    if let Some(budget) = bill.budget {
        line += &format!("; budget {budget}");
    }
    line
}

fn estimate(estimate: &EstimateReport) -> String {
    let EstimateReport { unit, answers, factor } = estimate;
    let learned = match answers {
        0 => "no answer has told what it cost".to_owned(),
        answers => {
            let answers = plural(u64::from(*answers), "answer", "answers");
            format!("multiplied by {factor:.2}, as {answers} have told")
        }
    };
    format!("estimates of {} by length (auto): {learned}", short(unit))
}

fn limit(limit: &LimitReport) -> String {
    let guard = match &limit.kept_as_strict {
        Some(why) => format!("{}, kept as strict since {why}", limit.guard),
        None => limit.guard.clone(),
    };
    let of = limit.target.as_ref().map_or_else(String::new, |it| format!(" of {}", short(it)));
    let rate = short(&limit.rate);
    let mut line = format!("limit {rate}{of} ({}): {}", escape(&guard), kept(limit));
    match &limit.found {
        Some(found) => line += &found_limit(found),
        None => line += &adjusted(limit),
    }
    if let Some(kinds) = &limit.kinds_to_try {
        let times = plural(limit.refused_unexplained.unwrap_or_default(), "request", "requests");
        line += &format!(
            "; the server refused {times} that its own count allows: it may count in another way, try {}",
            short(kinds)
        );
    }
    if let Some(percent) = limit.cost_percent {
        let unit = short(&limit.unit);
        let times = percent as f64 / 100.0;
        line += &worded(format!(
            "; requests cost {times:.2} times the {unit} that --cost reserves, which explains refusals: make --cost {unit}=… so much larger"
        ));
    }
    if let Some(keys) = limit.keys {
        line += &format!(", for each of {}", plural(keys, "key", "keys"));
    }
    if limit.used_before > 0 {
        line += &format!("; {} used before this run", units(limit.used_before, &limit.unit));
    }
    if limit.other_runs > 0 {
        line += &format!("; shared with {}", plural(limit.other_runs, "other run", "other runs"));
    }
    if let Some(margin) = limit.margin_seconds {
        line += &format!("; margin {}", seconds(margin));
    }
    if limit.lost > 0 {
        let lost = plural(limit.lost, "request", "requests");
        let linger = seconds(limit.linger_seconds);
        line += &format!("; {lost} without an answer, each counted for {linger} more");
    }
    line
}

/// The pace that was found, and the flags for next time.
fn found_limit(found: &FoundLimit) -> String {
    let pace = per_second(found.per_second);
    let what = match (found.is_settled, found.was_refused) {
        _ if found.is_named => format!("the server names its limit, {pace}"),
        (true, _) => format!("found {pace}"),
        (false, true) => format!("was still searching, at {pace}"),
        (false, false) => format!("was never refused, at {pace}: the server may take more"),
    };
    format!("; {what}; next time: {}", short(&found.next_time))
}

/// That the limits are the run's alone, as the job says.
fn sharing(report: &Report) -> Option<String> {
    let is_alone = report.sharing == Some(SharingReport::None);
    is_alone.then(|| worded("limits: this run's alone (--share none), whatever other runs send"))
}

/// The limit of the server, if that is not the job's.
fn adjusted(limit: &LimitReport) -> String {
    let declared = || count(limit.units_allowed);
    match (limit.units_named, limit.units_learnt) {
        (Some(named), learnt) if learnt.is_none_or(|learnt| learnt == named) => {
            format!("; you declared {}, the server says {}", declared(), count(named))
        }
        (Some(named), Some(learnt)) => format!(
            "; you declared {}, the server says {}, and has shown {} to be its limit",
            declared(),
            count(named),
            count(learnt)
        ),
        (None, Some(learnt)) => {
            format!("; adjusted to {}, which the server has shown to be its limit", count(learnt))
        }
        _ => String::new(),
    }
}

/// The observance of the limit, as far as the guard proves it.
fn kept(limit: &LimitReport) -> String {
    if let Some(spacing) = limit.spacing_seconds {
        return format!("sent {} apart", seconds(spacing));
    }
    let most = units(limit.most_in_window, &limit.unit);
    let Some(period) = limit.period_seconds.map(seconds) else {
        return format!("at most {most}{}", excess(limit));
    };
    match (limit.guard.as_str(), &limit.kept_as_strict) {
        ("sent", _) => format!(
            "at most {} sent in any {period}; {most} can have arrived in one, which this guard does not rule out",
            units(limit.units_allowed, &limit.unit)
        ),
        ("acked", None) => format!(
            "at most {most} can have reached the server's network stack in any {period}{}",
            excess(limit)
        ),
        _ => format!("at most {most} can have arrived in any {period}{}", excess(limit)),
    }
}

fn excess(limit: &LimitReport) -> &'static str {
    if limit.most_in_window > limit.units_allowed { ", MORE THAN IT ALLOWS" } else { "" }
}

fn warning(warning: &Warning, color: Color) -> String {
    let (what, count, example) = (&warning.message, count(warning.count), short(&warning.example));
    let yellow = AnsiColor::Yellow.on_default();
    color.paint(yellow, &format!("warning: {what}: {count}, the first: {example}"))
}

/// A number of units; requests are not named.
fn units(number: u64, unit: &str) -> String {
    match unit {
        "requests" | "" => count(number),
        unit => format!("{} {}", count(number), short(unit)),
    }
}

fn latency(latency: &LatencyReport) -> String {
    format!(
        "latency: p50 {}, p90 {}, p99 {}, max {}",
        milliseconds(latency.p50),
        milliseconds(latency.p90),
        milliseconds(latency.p99),
        milliseconds(latency.max)
    )
}

fn ending(report: &Report) -> Vec<String> {
    let RunEnding { output, resume, retry, extract, .. } = &report.ending;
    let output = output.iter().map(|path| format!("records: {}", escape(path)));
    let resume = resume.iter().map(|command| format!("to continue: {}", escape(command)));
    let retry = retry.iter().map(|command| format!("to retry: {}", escape(command)));
    let extract = extract.iter().map(|command| format!("to mend: {}", escape(command)));
    output.chain(resume).chain(retry).chain(extract).collect()
}

fn worker(worker: &WorkerReport) -> String {
    let answered = plural(worker.answered, "request", "requests");
    let time = seconds(worker.seconds);
    format!("worker {}: {answered} answered in {time}", worker.worker)
}

/// The lines as a paragraph, if there are any.
fn apart(lines: Vec<String>) -> Vec<String> {
    let space = (!lines.is_empty()).then(String::new);
    space.into_iter().chain(lines).collect()
}
