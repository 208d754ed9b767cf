//! The progress of a run: two live lines on a terminal, or a line every few seconds.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::Run;
use crate::threads;

use super::flags::{DisplayFlags, Progress};
use super::{color, live, say};

mod facts;
mod lines;
mod outlook;
mod sent_log;

use facts::Sampler;

const LIVE_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Shows a run's progress until `end`.
pub struct ProgressDisplay {
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl ProgressDisplay {
    /// Starts to show a run, in the requested form.
    pub fn start(run: &Run, show: &DisplayFlags) -> ProgressDisplay {
        let is_live = match show.progress {
            _ if show.quiet => return ProgressDisplay { shown: None },
            Progress::None => return ProgressDisplay { shown: None },
            Progress::Auto => live::is_possible() && !has_records_on_terminal(run),
            Progress::Bar => live::is_possible(),
            Progress::Log => false,
        };
        let (end, ended) = mpsc::channel();
        let run = run.clone();
        let thread =
            threads::spawn(
                move || {
                    if is_live { show_live(&run, &ended) } else { show_log(&run, &ended) }
                },
            );
        // Without this thread the run goes on, or fails with an error if it lacks threads itself.
        ProgressDisplay { shown: thread.ok().map(|thread| (end, thread)) }
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

fn show_live(run: &Run, ended: &mpsc::Receiver<()>) {
    let mut sampler = Sampler::new(run);
    while waits(ended, LIVE_EVERY) {
        let facts = sampler.sample(run);
        let lines = lines::lines(&facts, live::width());
        let color = color::of_stderr();
        live::draw(&lines.map(|line| line.text(color)));
    }
    live::clear();
}

fn show_log(run: &Run, ended: &mpsc::Receiver<()>) {
    let mut sampler = Sampler::new(run);
    while waits(ended, LOG_EVERY) {
        say::note(&lines::log_line(&sampler.sample(run)));
    }
}

/// Whether the run still goes on after this time.
fn waits(ended: &mpsc::Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}
