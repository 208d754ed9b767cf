//! `--events FILE`: the events of a run as JSON Lines.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use crate::Error;
use crate::cli::say;
use crate::events::{Event, EventKind, Subscription};
use crate::report::visible;

/// The name of standard output.
const STDOUT: &str = "-";

/// Minimum time between two snapshots in the file.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(900);

/// A file that events are written to.
pub struct EventsFile {
    path: String,
    to: Box<dyn Write + Send>,
    /// The time of the run at the last snapshot.
    snapshot: Option<Duration>,
}

impl EventsFile {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The file can't be created.
    pub fn create(path: &str) -> Result<EventsFile, Error> {
        let to: Box<dyn Write + Send> = if path == STDOUT {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).map_err(|error| {
                Error::plan(format!("the events can't be written to {path} (--events): {error}"))
            })?)
        };
        Ok(EventsFile { path: path.to_owned(), to, snapshot: None })
    }

    /// Writes the events, as many at a time as wait. If they can't be written, that is said once,
    /// and the run goes on without them.
    pub fn write(mut self, mut events: Subscription) {
        let mut lines = String::new();
        while let Some(event) = events.next() {
            self.push(&mut lines, &event);
            while let Some(event) = events.try_recv() {
                self.push(&mut lines, &event);
            }
            let written = self.to.write_all(lines.as_bytes()).and_then(|()| self.to.flush());
            if let Err(error) = written {
                return say::note(&format!(
                    "throng: WARNING: the events can't be written to {} (--events): {error}; the run goes on without them",
                    self.path
                ));
            }
            lines.clear();
        }
    }

    /// Adds the line of an event. Of the snapshots, two a second would fill the file.
    fn push(&mut self, lines: &mut String, event: &Event) {
        if matches!(event.kind, EventKind::Snapshot(_)) {
            let next = self.snapshot.map(|before| before + SNAPSHOT_EVERY);
            if next.is_some_and(|next| event.elapsed < next) {
                return;
            }
            self.snapshot = Some(event.elapsed);
        }
        // An event is always JSON: it has no names but texts.
        if let Ok(line) = serde_json::to_string(event) {
            lines.push_str(&visible(&line));
            lines.push('\n');
        }
    }
}
