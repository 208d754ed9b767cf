//! `--log-format json`: the progress of a run and what happens in it, one JSON object a line.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::say::{self, Level};
use crate::events::{Event, EventKind, Snapshot, Subscription};

/// Minimum time between two lines of progress.
const EVERY: Duration = Duration::from_secs(5);

/// Writes a line every few seconds, and one for each event that a person is to know of.
pub fn write(events: Subscription) {
    let mut due = Instant::now() + EVERY;
    for event in events {
        match &event.kind {
            EventKind::Snapshot(snapshot) if Instant::now() >= due => {
                due = Instant::now() + EVERY;
                say::log(Level::Info, "progress", progress(&event, snapshot));
            }
            kind => {
                if let Some((level, message)) = notable(kind) {
                    say::log(level, message, serde_json::to_value(&*event).unwrap_or_default());
                }
            }
        }
    }
}

fn progress(event: &Event, snapshot: &Snapshot) -> Value {
    json!({
        "elapsed_seconds": (event.elapsed.as_secs_f64() * 1e3).round() / 1e3,
        "left_seconds": snapshot.left.map(|left| (left.as_secs_f64() * 1e3).round() / 1e3),
        "rows": snapshot.rows,
        "requests": snapshot.requests,
        "statuses": snapshot.statuses,
        "waits_for": snapshot.waits_for,
    })
}

/// The level and the message of an event that is logged.
fn notable(kind: &EventKind) -> Option<(Level, &'static str)> {
    Some(match kind {
        EventKind::RunStarted(_) => (Level::Info, "the run has begun"),
        EventKind::PauseStarted(_) => (Level::Info, "the server asks for a pause"),
        EventKind::PauseEnded => (Level::Info, "the server's pause is over"),
        EventKind::BreakerOpened(_) => (Level::Warn, "a server is out"),
        EventKind::BreakerClosed(_) => (Level::Info, "a server that was out is back"),
        EventKind::Stalled(_) => (Level::Warn, "no row has ended for some time"),
        EventKind::StallEnded => (Level::Info, "rows end again"),
        EventKind::StopRequested(_) => (Level::Warn, "the run is to end before its last row"),
        EventKind::RunEnded(_) => (Level::Info, "the run has ended"),
        _ => return None,
    })
}
