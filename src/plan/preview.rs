//! A plan as people see it before anything is sent. Pure.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::Plan;
use crate::report::escape;

/// Used where the real latency isn't known yet.
const LATENCY: Duration = Duration::from_millis(250);

impl Plan {
    /// The rows, the first requests with their secrets as `***`, the limits,
    /// and the least time that they allow.
    #[must_use]
    pub fn preview(&self) -> String {
        let mut text = String::new();
        for (name, said) in [
            ("input", self.input()),
            ("limit", self.limit()),
            ("time", self.time()),
            ("workers", self.crew()),
            ("output", self.output.name()),
        ] {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<8}  {said}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "{:<8}  {}", "note", escape(note));
        }
        for row in &self.survey.first {
            let request = self.step.renderer.render(row);
            let shown = match &request {
                Ok(request) => self.show(request),
                Err(failure) => format!("this row will fail: {}\n", failure.detail),
            };
            let _ = write!(
                text,
                "\nrow {}:\n{}",
                row.number,
                escape_lines(&self.secrets.hide(shown))
            );
        }
        text
    }

    fn input(&self) -> String {
        let name = self.source.name();
        match self.survey.rows {
            Some(rows) => format!("{name}: {rows} rows with {}", self.survey.names.join(", ")),
            None => format!("{name}: rows are counted as they come"),
        }
    }

    fn limit(&self) -> String {
        if self.step.policy.rates.is_empty() {
            return "none: as fast as the server answers (--rate 300/1m sets one)".into();
        }
        let rates: Vec<String> = self
            .step
            .policy
            .rates
            .iter()
            .map(ToString::to_string)
            .collect();
        let binding = match (rates.len(), self.binding()) {
            (2.., Some(rate)) => format!("; {rate} binds"),
            _ => String::new(),
        };
        format!(
            "{} ({}){binding}",
            rates.join(" and "),
            self.step.policy.guard.name()
        )
    }

    /// The limit that makes this job wait the longest.
    fn binding(&self) -> Option<String> {
        let rows = self.survey.rows.unwrap_or(1_000_000);
        let bound = |rate: &crate::limit::Rate| {
            crate::limit::best_possible(&[*rate], self.step.policy.guard, rows, LATENCY)
        };
        self.step
            .policy
            .rates
            .iter()
            .max_by_key(|rate| bound(rate))
            .map(ToString::to_string)
    }

    fn time(&self) -> String {
        let Some(rows) = self.survey.rows else {
            return "depends on the number of rows".into();
        };
        let least = |latency| self.best_possible(rows, latency).map(seconds);
        match (least(Duration::ZERO), least(LATENCY)) {
            (Some(least), Some(later)) => format!(
                "at least {least} for {rows} rows; {later} if each answer takes 250 ms, which {} the guard",
                match self.step.policy.guard {
                    crate::limit::Guard::Strict => "is the price of",
                    crate::limit::Guard::Sent => "hardly matters to",
                }
            ),
            _ => "no limit, no bound".into(),
        }
    }

    fn crew(&self) -> String {
        format!(
            "{}, each with up to {} in flight",
            self.workers.count, self.workers.in_flight
        )
    }

    fn show(&self, request: &Request<Bytes>) -> String {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            let _ = writeln!(
                text,
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            );
        }
        for name in self.step.signer.names() {
            let _ = writeln!(text, "{name}: ***");
        }
        if !request.body().is_empty() {
            let _ = writeln!(text, "\n{}", String::from_utf8_lossy(request.body()));
        }
        text
    }
}

fn escape_lines(text: &str) -> String {
    text.lines().map(|line| escape(line) + "\n").collect()
}

fn seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_millis(time.as_millis() as u64)).to_string()
}
