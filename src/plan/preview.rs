//! A plan as people see it before anything is sent. Pure.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::Plan;
use crate::limit::{Guard, now};
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
            ("guards", self.guards()),
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
        let policy = &self.step.policy;
        if policy.is_unlimited() {
            return "none: as fast as the server answers (--rate 300/1m sets one)".into();
        }
        let awake = policy.parts().iter().filter(|part| !part.is_asleep());
        let names: Vec<&str> = awake.map(|part| part.name.as_str()).collect();
        let binding = match (names.len(), self.bound(LATENCY)) {
            (2.., Some(bound)) => format!("; {} binds", bound.binds),
            _ => String::new(),
        };
        let pool = match policy.keys().len() {
            0 => String::new(),
            keys => format!(", for each of {keys} keys"),
        };
        let guard = policy.guard().name();
        format!("{} ({guard}){pool}{binding}", names.join(" and "))
    }

    fn time(&self) -> String {
        let Some(rows) = self.survey.rows else {
            return "depends on the number of rows".into();
        };
        let least = |latency| self.bound(latency).map(|bound| seconds(bound.time));
        match (least(Duration::ZERO), least(LATENCY)) {
            (Some(least), Some(later)) => {
                format!("at least {least} for {rows} rows; {later} if each answer takes 250 ms")
            }
            _ => "no limit, no bound".into(),
        }
    }

    /// What the other guards would make of it, where that makes a difference.
    fn guards(&self) -> String {
        let policy = &self.step.policy;
        let Some(demand) = self.demand.as_ref().filter(|_| !policy.is_unlimited()) else {
            return "nothing to guard".into();
        };
        let times = Guard::ALL.map(|guard| policy.under(guard).bound(demand, LATENCY, now()));
        let [Some(strict), Some(acked), Some(sent)] = times else {
            return "nothing to guard".into();
        };
        let price = strict.time.as_secs_f64() / acked.time.as_secs_f64().max(1e-9) - 1.0;
        let advice = match price {
            ..0.05 => "strict, which is proven whatever the network does, costs little here",
            _ => {
                "acked is worth it where answers take so long: proven up to the server's network stack"
            }
        };
        format!(
            "strict {}, acked {}, sent {} if each answer takes 250 ms; {advice}",
            seconds(strict.time),
            seconds(acked.time),
            seconds(sent.time),
        )
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
