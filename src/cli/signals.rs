//! Signals: the first ends a run gracefully, the second drops the requests in flight,
//! the third ends the process at once.

use std::io;
use std::sync::Arc;

use crate::shutdown::{Interrupt, Shutdown, ShutdownReason};
use crate::{Error, threads};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::exit::Exit;
use super::say;

/// Starts a thread that listens for signals.
pub fn listen(stop: &Shutdown) -> Result<(), Error> {
    let mut signals = signals()?;
    let stop = stop.clone();
    let listening = threads::spawn(move || {
        for signal in signals.forever() {
            hear(&stop, interrupt(signal));
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

fn interrupt(signal: i32) -> Interrupt {
    match signal {
        SIGTERM => Interrupt::Term,
        SIGHUP => Interrupt::Hup,
        _ => Interrupt::Int,
    }
}

fn hear(stop: &Shutdown, signal: Interrupt) {
    match (stop.is_requested(), stop.is_aborted()) {
        (false, _) => {
            stop.request(ShutdownReason::Interrupted(signal));
            say::note(
                "throng: stopping: waiting for the answers in flight; a second Ctrl-C or signal ends the run at once",
            );
        }
        (true, false) => {
            stop.abort();
            say::note("throng: ending at once: the records so far are written");
        }
        #[expect(
            clippy::exit,
            reason = "a third signal demands an immediate end; --resume removes a torn record"
        )]
        (true, true) => std::process::exit(i32::from(Exit::of_signal(signal) as u8)),
    }
}
