//! Signals: the first ends a run gracefully, the second drops the requests in flight,
//! the third ends the process at once.

use std::io;
use std::sync::Arc;

use crate::shutdown::{Interrupt, Shutdown, ShutdownReason};
use crate::{Error, threads};
use rustix::process::{getpgrp, getsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::exit::Exit;
use super::{full, live, say};

/// The answer to the first signal where answers to requests are awaited.
pub const AWAITING: &str = "waiting for answers; a second Ctrl-C ends the run at once";

/// The answer to the first signal where nothing is in flight.
pub const LEAVING: &str = "what is done stays";

/// The answer to the first signal of a worker.
pub const OF_WORKER: &str = "no further row is begun; a second Ctrl-C drops what is in flight";

/// The answer to the first signal of a run whose rows are with workers of other processes.
pub const OF_WORKERS: &str =
    "workers finish what they have in flight; a second Ctrl-C ends the run at once";

/// Starts a thread that listens for signals, and says this at the first one.
pub fn listen(stop: &Shutdown, answer: &'static str) -> Result<(), Error> {
    let mut signals = signals()?;
    signals.add_signal(SIGTSTP).map_err(|error| unheard(&error))?;
    let stop = stop.clone();
    let listening = threads::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGTSTP => suspend(),
                signal => hear(&stop, interrupt(signal), answer),
            }
        }
    });
    listening.map(drop).map_err(|error| unheard(&error))
}

/// Lets a write beyond the largest file size (`ulimit -f`) fail, as on a full disk,
/// instead of ending the process.
pub fn survive_file_limits() -> Result<(), Error> {
    let registered = signal_hook::flag::register(SIGXFSZ, Arc::default());
    registered.map(drop).map_err(|error| unheard(&error))
}

/// Waits for a signal.
pub fn wait() -> Result<(), Error> {
    signals()?.forever().next();
    Ok(())
}

fn signals() -> Result<Signals, Error> {
    Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| unheard(&error))
}

fn unheard(error: &io::Error) -> Error {
    Error::stopped(format!("signals can't be listened to: {error}"))
}

/// Ctrl-Z: leaves the terminal as it was, and sleeps until `fg`. Without a shell that could wake
/// it, as in a container, the process does not sleep: the system ignores the signal then, too.
fn suspend() {
    if has_shell() {
        live::clear();
        full::suspended(sleep_until_woken);
    }
}

/// Whether a shell started this process as a job, which it can wake.
fn has_shell() -> bool {
    getsid(None).is_ok_and(|session| session != getpgrp())
}

/// Sleeps until `fg`.
pub fn sleep_until_woken() {
    if has_shell() {
        // Without it the process only goes on.
        let _ = emulate_default_handler(SIGTSTP);
    }
}

/// Ctrl-C where the terminal makes a key of it, and no signal.
pub fn interrupt_run(stop: &Shutdown) {
    hear(stop, Interrupt::Int, AWAITING);
}

fn interrupt(signal: i32) -> Interrupt {
    match signal {
        SIGTERM => Interrupt::Term,
        SIGHUP => Interrupt::Hup,
        _ => Interrupt::Int,
    }
}

fn hear(stop: &Shutdown, signal: Interrupt, answer: &str) {
    match (stop.is_requested(), stop.is_aborted()) {
        (false, _) => {
            stop.request(ShutdownReason::Interrupted(signal));
            say::note(&format!("throng: stopping: {answer}"));
        }
        (true, false) => {
            stop.abort();
            say::note("throng: ending at once: the records so far are written");
        }
        #[expect(
            clippy::exit,
            reason = "a third signal demands an immediate end; --resume removes a torn record"
        )]
        (true, true) => {
            full::restore();
            std::process::exit(i32::from(Exit::of_signal(signal) as u8))
        }
    }
}
