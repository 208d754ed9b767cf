//! The progress of a run: two live lines on a terminal, or a line every few seconds.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::Run;
use crate::{Error, threads};

use super::flags::{DisplayFlags, Progress};
use super::{color, full, live, say};

mod facts;
pub mod lines;
mod view;

pub use facts::time_of_day;
pub use view::{Follower, LAST_FAILURES, RunView};

const LIVE_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Shows a run's progress until `end`.
pub struct ProgressDisplay {
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl ProgressDisplay {
    /// Starts to show a run, in the requested form.
    ///
    /// # Errors
    /// The build lacks the full view, or it needs a terminal; or the system has no thread left.
    pub fn start(run: &Run, show: &DisplayFlags) -> Result<ProgressDisplay, Error> {
        let show: fn(&Run, Follower, &mpsc::Receiver<()>) = match show.progress {
            _ if show.quiet || say::is_json() => return Ok(ProgressDisplay { shown: None }),
            Progress::None => return Ok(ProgressDisplay { shown: None }),
            Progress::Full => {
                full::check()?;
                show_full
            }
            Progress::Auto if live::is_possible() && !has_records_on_terminal(run) => show_live,
            Progress::Bar if live::is_possible() => show_live,
            Progress::Auto | Progress::Bar | Progress::Log => show_log,
        };
        let (end, ended) = mpsc::channel();
        let (run, follower) = (run.clone(), Follower::new(run)?);
        let thread = threads::spawn(move || show(&run, follower, &ended));
        // Without this thread the run goes on, or fails with an error if it lacks threads itself.
        Ok(ProgressDisplay { shown: thread.ok().map(|thread| (end, thread)) })
    }

    /// Clears the live lines.
    pub fn end(self) {
        if let Some((end, thread)) = self.shown {
            drop(end);
            // A panic of the display does not affect the run.
            let _ = thread.join();
        }
    }
}

/// Whether the records go to a terminal, between which live lines would be torn.
fn has_records_on_terminal(run: &Run) -> bool {
    run.plan().output_file().is_none() && std::io::stdout().is_terminal()
}

fn show_live(_: &Run, mut follower: Follower, ended: &mpsc::Receiver<()>) {
    while waits(ended, LIVE_EVERY) {
        let lines = lines::lines(&follower.update().facts(), live::width());
        let color = color::of_stderr();
        live::draw(&lines.map(|line| line.text(color)));
    }
    live::clear();
}

/// Shows the full view, and the live lines once that is closed.
fn show_full(run: &Run, mut follower: Follower, ended: &mpsc::Receiver<()>) {
    full::of_run(run, &mut follower, ended);
    show_live(run, follower, ended);
}

fn show_log(_: &Run, mut follower: Follower, ended: &mpsc::Receiver<()>) {
    while waits(ended, LOG_EVERY) {
        say::note(&lines::log_line(&follower.update().facts()));
    }
}

/// Whether the run still goes on after this time.
fn waits(ended: &mpsc::Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}
