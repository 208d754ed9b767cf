//! Signals: the first ends a run in good order, the second lets go what is in
//! flight, the third ends it as it is. [door: signals]

use std::io;
use std::sync::Arc;

use crate::shutdown::{Interrupt, Shutdown, ShutdownReason};
use crate::{Error, threads};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::{Exit, say};

/// Listens from now on, on a thread of its own.
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

/// A file that gets longer than one may be (`ulimit -f`) fails to be written, as on a
/// full disk, and does not end the process.
pub fn survive_file_limits() -> Result<(), Error> {
    let registered = signal_hook::flag::register(SIGXFSZ, Arc::default());
    registered.map(drop).map_err(|error| unheard(&error))
}

/// Returns when one comes.
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
                "throng: stopping: waiting for the answers in flight; once more to end at once",
            );
        }
        (true, false) => {
            stop.abort();
            say::note("throng: ending at once: the records so far are written");
        }
        #[expect(
            clippy::exit,
            reason = "whoever asks three times means now; what is torn is cut by --resume"
        )]
        (true, true) => std::process::exit(i32::from(Exit::of_signal(signal) as u8)),
    }
}
