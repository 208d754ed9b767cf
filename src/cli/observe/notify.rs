//! `--notify CMD`: a command that is run when the run ends, stalls, or a server is out.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use crate::cli::say;
use crate::events::{Event, EventKind, Outcome, RunStarted, Snapshot, Subscription};
use crate::report::escape;
use crate::threads;

/// Maximum time that the end of the process waits for commands.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum number of commands at a time.
const AT_A_TIME: usize = 4;

/// The commands of a run.
struct Notifier {
    command: String,
    started: RunStarted,
    snapshot: Snapshot,
    running: usize,
    to_ended: Sender<std::io::Result<ExitStatus>>,
    ended: Receiver<std::io::Result<ExitStatus>>,
}

/// Runs the command at each event that it is for. None holds the run.
pub fn run_commands(command: String, events: Subscription) {
    let (to_ended, ended) = mpsc::channel();
    let (started, snapshot) = (RunStarted::default(), Snapshot::default());
    let mut notifier = Notifier { command, started, snapshot, running: 0, to_ended, ended };
    for event in events {
        notifier.take(&event);
    }
    notifier.wait();
}

impl Notifier {
    fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted(started) => self.started = (**started).clone(),
            EventKind::Snapshot(snapshot) => self.snapshot = (**snapshot).clone(),
            EventKind::RunEnded(_) | EventKind::Stalled(_) | EventKind::BreakerOpened(_) => {
                self.start(event);
            }
            _ => {}
        }
    }

    /// Starts the command in a thread of its own, which gives it the event.
    fn start(&mut self, event: &Event) {
        while let Ok(ended) = self.ended.try_recv() {
            self.note_end(&ended);
        }
        if self.running >= AT_A_TIME {
            return say::note(&format!(
                "throng: WARNING: {} commands of --notify still run: an event was not told",
                self.running
            ));
        }
        let mut command = shell(&self.command);
        command.envs(self.facts(event));
        let (line, ended) =
            (serde_json::to_string(event).unwrap_or_default(), self.to_ended.clone());
        let started = threads::spawn(move || {
            // The run may be over by then.
            let _ = ended.send(carry_out(command, &line));
        });
        match started {
            Ok(_) => self.running += 1,
            Err(error) => failed(&error),
        }
    }

    fn note_end(&mut self, ended: &std::io::Result<ExitStatus>) {
        self.running -= 1;
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => failed(status),
            Err(error) => failed(error),
        }
    }

    /// Waits for the commands that still run, and not for long.
    fn wait(mut self) {
        let until = Instant::now() + PATIENCE;
        while self.running > 0 {
            match self.ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(ended) => self.note_end(&ended),
                Err(_) => {
                    return say::note(
                        "throng: WARNING: the command of --notify still runs, and is left alone",
                    );
                }
            }
        }
    }

    /// The facts that the command finds in its environment.
    fn facts(&self, event: &Event) -> Vec<(&'static str, String)> {
        let rows = &self.snapshot.rows;
        let mut facts = vec![
            ("THRONG_PID", self.started.pid.to_string()),
            ("THRONG_INPUT", self.started.input.clone().unwrap_or_default()),
            ("THRONG_OUTPUT", self.started.output.clone().unwrap_or_default()),
            ("THRONG_OK", rows.ok.to_string()),
            ("THRONG_FAILED", rows.failed.to_string()),
            ("THRONG_ROWS_TO_DO", rows.to_do.map(|it| it.to_string()).unwrap_or_default()),
            ("THRONG_SECONDS", format!("{:.1}", event.elapsed.as_secs_f64())),
        ];
        facts.extend(of_event(event));
        // The system takes no text with a zero byte.
        facts.into_iter().map(|(name, value)| (name, escape(&value))).collect()
    }
}

/// The facts of the event alone.
fn of_event(event: &Event) -> Vec<(&'static str, String)> {
    match &event.kind {
        EventKind::RunEnded(ended) => {
            let (name, words) = match ended.outcome {
                Outcome::Finished | Outcome::Unread => ("finished", "finished"),
                Outcome::Interrupted => ("interrupted", "was interrupted"),
                Outcome::Stopped => ("stopped", "stopped"),
            };
            let reason = ended.reason.clone().unwrap_or_default();
            let mut message =
                format!("the run {words}: {} rows ok, {} failed", ended.ok, ended.failed);
            if ended.outcome == Outcome::Stopped {
                message = format!("{message}; {reason}");
            }
            vec![
                ("THRONG_EVENT", "run_ended".to_owned()),
                ("THRONG_OUTCOME", name.to_owned()),
                ("THRONG_REASON", reason),
                ("THRONG_MESSAGE", message),
            ]
        }
        EventKind::Stalled(stalled) => {
            let waits_for = stalled.waits_for.as_ref().map(|it| it.description.clone());
            let reason = waits_for.unwrap_or_else(|| "an unknown reason".to_owned());
            let message = format!(
                "no row has ended for {:.0} s; the run is bound by {reason}",
                stalled.stalled.as_secs_f64()
            );
            vec![
                ("THRONG_EVENT", "stalled".to_owned()),
                ("THRONG_REASON", reason),
                ("THRONG_MESSAGE", message),
            ]
        }
        EventKind::BreakerOpened(opened) => vec![
            ("THRONG_EVENT", "breaker_opened".to_owned()),
            ("THRONG_SERVER", opened.server.clone()),
            ("THRONG_REASON", opened.cause.clone()),
            ("THRONG_MESSAGE", format!("{} is out: {}", opened.server, opened.cause)),
        ],
        _ => Vec::new(),
    }
}

/// A command of the shell, whose output goes to standard error: the records may go to standard
/// output. Ctrl-C in the terminal does not reach it.
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt as _;

    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::piped()).process_group(0);
    match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => shell.stdout(Stdio::from(stderr)),
        Err(_) => shell.stdout(Stdio::null()),
    };
    shell
}

/// Runs a command to its end, with this line as its standard input.
fn carry_out(mut command: Command, line: &str) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Most commands read none of it.
        let _ = writeln!(stdin, "{line}");
    }
    child.wait()
}

fn failed(why: &dyn std::fmt::Display) {
    say::note(&format!("throng: WARNING: the command of --notify failed: {why}"));
}
